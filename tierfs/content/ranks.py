"""What the files of the tier are worth, over the index: `policy.ranking` with a memory that survives a restart.

The clock is what the tier was charged since it exists; of it the index is told in steps, and what a crash takes from it
only makes the files that came last a little younger. Plain functions, no checkpoints; `leaving` reads page by page and
may be left and gone on with while rows change.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

from attrs import evolve

from tierfs.clock import Clock
from tierfs.hottier.space import Space
from tierfs.index import ranks, residency, settings
from tierfs.index.env import Index, Table, Txn
from tierfs.model import HotRecord
from tierfs.policy.duel import Duel
from tierfs.policy.ranking import BATCH_SHARE, Ranking
from tierfs.units import NS_PER_S

_CLOCK: Final = "hot_tier_clock_bytes"
_PAGE_FILES: Final = 1000
_KEEP_SHARE: Final = 1 / 64
_EXPECTED_MAX: Final = 1024
_TICK_NS: Final = NS_PER_S // 10
_TICKS_MAX: Final = 100

_Row: TypeAlias = tuple[int, int]
_Read: TypeAlias = Callable[[_Row | None, int], list[_Row]]


class Ranks:
    """One for each mount; `begin` comes before all else, once the tier is charged with what is in it."""

    def __init__(self, index: Index, space: Space, clock: Clock, *, by_age: bool = False) -> None:
        """`by_age`: what was used longest ago leaves first, whatever it is worth."""
        self._index = index
        self._space = space
        self._clock = clock
        self._duel = Duel(space.limit_bytes)
        self._seen_last = 0
        self._by_age = by_age
        self._offset_bytes = 0
        self._begun_at_bytes = 0
        self._kept_clock_bytes = 0
        # (time, clock in bytes) of late, for uses that are told some time after them
        self._ticks: deque[tuple[int, int]] = deque(maxlen=_TICKS_MAX)
        self._expected: OrderedDict[int, None] = OrderedDict()
        # until then what comes in takes the place of what was evicted; later on there is room
        self._refilled_at_bytes = -self._space.limit_bytes

    @property
    def clock_bytes(self) -> int:
        """What the tier was ever charged."""
        return self._offset_bytes + self._space.entered_bytes

    @property
    def _ranking(self) -> Ranking:
        return Ranking(self._space.limit_bytes)

    def begin(self) -> None:
        """Goes on where the last daemon was. Files that an older tierfs left are settled, and worth nothing yet."""
        self._kept_clock_bytes = int(settings.get(self._index, _CLOCK) or b"0")
        self._begun_at_bytes = self._kept_clock_bytes
        self._offset_bytes = self._kept_clock_bytes - self._space.entered_bytes
        if self._index.count(Table.HOT) and not self._index.count(Table.RANKS):
            self._add_rows()

    def _add_rows(self) -> None:
        after_ino = 0
        while page := residency.hot_page(self._index, after_ino, _PAGE_FILES):
            after_ino = page[-1][0]
            with self._index.transaction() as txn:
                for ino, record in page:
                    ranks.move(txn, ino, None, record)

    def keep_clock(self, txn: Txn) -> None:
        """Tells the index, if it is worth that."""
        if self.clock_bytes - self._kept_clock_bytes >= self._space.limit_bytes * _KEEP_SHARE:
            self._kept_clock_bytes = self.clock_bytes
            settings.put(txn, _CLOCK, b"%d" % self.clock_bytes)

    def entering(self, ino: int, record: HotRecord, size_bytes: int) -> HotRecord:
        """The first record of a file that comes in: is it settled, or on probation?"""
        clock_bytes, ranking = self.clock_bytes, self._ranking
        self._tick(clock_bytes)
        if ino not in self._expected:
            self._saw(ino, size_bytes)
        history, used_at_bytes = ranks.recall(self._index, ino) or (None, 0)
        has_room = clock_bytes >= self._refilled_at_bytes + self._space.limit_bytes * BATCH_SHARE
        is_settled = has_room or self._admits(history)
        # a large file may have been opened and closed again without a read
        is_again = history is not None and not ranking.is_new_use(used_at_bytes, clock_bytes, 0)
        return evolve(
            record,
            rank_bytes=history if history is not None and is_again else ranking.raised(history, clock_bytes),
            used_at_bytes=clock_bytes,
            on_probation=not is_settled,
        )

    def _admits(self, history: int | None) -> bool:
        if history is None or self._duel.admits_returning:
            return history is not None
        return self._ranking.admits(history, ranks.weakest(self._index))

    def _saw(self, ino: int, size_bytes: int) -> None:
        """One use is noted several times: as the file comes in, at its open, at each read that comes to us."""
        if ino != self._seen_last:
            self._seen_last = ino
            self._duel.saw(ino, size_bytes)

    def _tick(self, clock_bytes: int) -> None:
        now_ns = self._clock.now_ns()
        if not self._ticks or abs(now_ns - self._ticks[-1][0]) >= _TICK_NS:
            self._ticks.append((now_ns, clock_bytes))

    def clock_at(self, when_ns: int) -> int:
        """What the clock showed at that moment, or a little less."""
        return next((clock for tick_ns, clock in reversed(self._ticks) if tick_ns <= when_ns), self._begun_at_bytes)

    def expect(self, ino: int) -> None:
        """The file is fetched ahead: coming in is no use of it, and it should be here when it is opened."""
        self._expected[ino] = None
        if len(self._expected) > _EXPECTED_MAX:
            self._expected.popitem(last=False)

    def used(self, ino: int, record: HotRecord, size_bytes: int, clock_bytes: int) -> HotRecord:
        """The record after a use at `clock_bytes`; itself where that does not count again."""
        self._saw(ino, size_bytes)
        if ino in self._expected:
            del self._expected[ino]
            return evolve(record, used_at_bytes=clock_bytes)  # the use that it was fetched for
        if not self._ranking.is_new_use(record.used_at_bytes, clock_bytes, size_bytes):
            return record
        rank_bytes = self._ranking.raised(record.rank_bytes, clock_bytes)
        return evolve(record, rank_bytes=rank_bytes, used_at_bytes=clock_bytes, on_probation=False)

    def wanted(self, record: HotRecord) -> HotRecord:
        """The record of a file that somebody asked to have here: settled, and worth what is used most."""
        clock_bytes = self.clock_bytes
        rank_bytes = self._ranking.highest(clock_bytes)
        return evolve(record, rank_bytes=rank_bytes, used_at_bytes=clock_bytes, on_probation=False)

    def evicted(self, freed_bytes: int) -> None:
        """Room was made, so much."""
        # before the tier is full again room may be made again, by those who keep some of it free
        self._refilled_at_bytes = max(self._refilled_at_bytes, self.clock_bytes) + freed_bytes

    def leaving(self, page_files: int, is_open: Callable[[int], bool]) -> Iterator[list[int]]:
        """Inodes in the order in which they should leave.

        First whose probation is over, then closed files that are settled, the rest of those on probation, and at last
        what is open or expected to be.
        """
        clock_bytes, ranking, index = self.clock_bytes, self._ranking, self._index

        def over(after: _Row | None, limit: int) -> list[_Row]:
            return [row for row in ranks.on_probation(index, after, limit) if ranking.is_over(row[0], clock_bytes)]

        def is_needed(ino: int) -> bool:
            return is_open(ino) or ino in self._expected

        settled, rest = partial(ranks.settled, index), partial(ranks.on_probation, index)
        if self._by_age:
            yield from self._pages(partial(residency.coldest, index), page_files)
            return
        for page in self._pages(over, page_files):
            yield [ino for ino in page if ino not in self._expected]
        for page in self._pages(settled, page_files):
            yield [ino for ino in page if not is_needed(ino)]
        yield from self._pages(rest, page_files)
        for page in self._pages(settled, page_files):
            yield [ino for ino in page if is_needed(ino)]

    @staticmethod
    def _pages(read: _Read, page_files: int) -> Iterator[list[int]]:
        after: _Row | None = None
        while page := read(after, page_files):
            after = page[-1]
            yield [ino for _, ino in page]
