"""Whether a full tier should keep what it has, or take in what comes back: by trying both on a sample.

To keep what is here is right for loops, scans and popular files. Where the working set moves on, each file being used
for a while and never again, it costs hits: then a file that was here before is worth its room at once. Nobody can tell
from the accesses of a moment which it is, so both rules run beside the tier, as two small tiers of names over a sample
of all files (spatial sampling and miniature simulation: Waldspurger et al., FAST 2015 and USENIX ATC 2017), and the one
with more hits of late counts.

Pure. At most `_ENTRIES_MAX` names in each; an access costs a few microseconds where it is in the sample, else nothing.
"""

from collections import OrderedDict
from heapq import heappop, heappush, heapreplace
from typing import Final

from tierfs.policy.ranking import BATCH_SHARE, Ranking

_HISTORY_SLOTS: Final = 1 << 20
_ENTRIES_MAX: Final = 512
_MEMORY_ACCESSES: Final = 2000  # of the sample
_LEAD: Final = 0.02  # of all accesses; less is chance


class _Entry:
    """An object that a `RankedTier` holds."""

    __slots__ = ("is_settled", "rank", "size_bytes", "used_at_bytes")

    def __init__(self, size_bytes: int, rank: int, used_at_bytes: int, *, is_settled: bool) -> None:
        self.size_bytes = size_bytes
        self.rank = rank
        self.used_at_bytes = used_at_bytes
        self.is_settled = is_settled


class RankedTier:
    """`policy.ranking` over keys in memory."""

    def __init__(self, capacity_bytes: int, *, admits_returning: bool = False) -> None:
        """`admits_returning`: what was here before is settled at once, whatever it is worth."""
        self.admits_returning = admits_returning
        self._capacity_bytes = capacity_bytes
        self._ranking = Ranking(capacity_bytes)
        self._used_bytes = 0
        self._clock_bytes = 0
        self._full_until_bytes = 0
        self._entries: dict[int, _Entry] = {}
        self._probation: OrderedDict[int, int] = OrderedDict()  # key: clock when it came
        self._settled: list[tuple[int, int]] = []  # a heap of (rank, key); ranks may be outdated
        self._history: dict[int, tuple[int, int]] = {}  # slot: (key, rank)

    def __len__(self) -> int:
        return len(self._entries)

    def access(self, key: int, size_bytes: int) -> bool:
        """Was the object here? Afterwards it is, unless it is larger than the tier."""
        entry = self._entries.get(key)
        if entry is not None:
            if self._ranking.is_new_use(entry.used_at_bytes, self._clock_bytes, entry.size_bytes):
                self._use_again(key, entry)
            return True
        if size_bytes > self._capacity_bytes:
            return False
        if self._used_bytes + size_bytes > self._capacity_bytes:
            self._make_room(size_bytes)
        known, rank = self._history.get(key % _HISTORY_SLOTS, (-1, 0))
        history = rank if known == key else None
        has_room = self._clock_bytes >= self._full_until_bytes
        is_settled = has_room or self._admits(history)
        rank = self._ranking.raised(history, self._clock_bytes)
        self._entries[key] = _Entry(size_bytes, rank, self._clock_bytes, is_settled=is_settled)
        if is_settled:
            heappush(self._settled, (rank, key))
        else:
            self._probation[key] = self._clock_bytes
        self._used_bytes += size_bytes
        self._clock_bytes += size_bytes
        return False

    def _admits(self, history: int | None) -> bool:
        return history is not None and (self.admits_returning or self._ranking.admits(history, self._weakest()))

    def drop(self, key: int) -> None:
        """Somebody has it leave, who knows why; nothing where it is not here."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._probation.pop(key, None)
            self._history[key % _HISTORY_SLOTS] = (key, entry.rank)
            self._used_bytes -= entry.size_bytes

    def _use_again(self, key: int, entry: _Entry) -> None:
        entry.rank = self._ranking.raised(entry.rank, self._clock_bytes)
        entry.used_at_bytes = self._clock_bytes
        if not entry.is_settled:
            entry.is_settled = True
            del self._probation[key]
            heappush(self._settled, (entry.rank, key))

    def _weakest(self) -> int | None:
        """The lowest rank of a settled object, which is the first of the heap afterwards."""
        while self._settled:
            rank, key = self._settled[0]
            entry = self._entries.get(key)
            if entry is None or not entry.is_settled:  # it was dropped, and may have come back since
                heappop(self._settled)
            elif entry.rank == rank:
                return rank
            else:
                heapreplace(self._settled, (entry.rank, key))
        return None

    def _make_room(self, size_bytes: int) -> None:
        shortage_bytes = self._used_bytes + size_bytes - self._capacity_bytes
        wanted_bytes = max(shortage_bytes, int(self._capacity_bytes * BATCH_SHARE))
        freed_bytes = 0
        while freed_bytes < wanted_bytes and self._entries:
            key = self._victim()
            entry = self._entries.pop(key)
            self._history[key % _HISTORY_SLOTS] = (key, entry.rank)
            freed_bytes += entry.size_bytes
        self._used_bytes -= freed_bytes
        # what takes the place of what went is not room
        self._full_until_bytes = self._clock_bytes + freed_bytes + int(self._capacity_bytes * BATCH_SHARE)

    def _victim(self) -> int:
        oldest = next(iter(self._probation), None)
        is_over = oldest is not None and self._ranking.is_over(self._probation[oldest], self._clock_bytes)
        if is_over or self._weakest() is None:
            return self._probation.popitem(last=False)[0]
        return heappop(self._settled)[1]


class Duel:
    """For a tier of `tier_bytes`: `saw` each use, and `admits_returning` says what is better."""

    def __init__(self, tier_bytes: int) -> None:
        self.admits_returning = False
        self._tier_bytes = tier_bytes
        self._sample_mask = 0
        self._lead = 0.0  # of the keeping tier, in hits for each access
        self._begin()

    def __len__(self) -> int:
        """How many names it holds."""
        return len(self._keeping) + len(self._taking)

    def _begin(self) -> None:
        share_bytes = self._tier_bytes // (self._sample_mask + 1)
        self._keeping, self._taking = RankedTier(share_bytes), RankedTier(share_bytes, admits_returning=True)

    def saw(self, key: int, size_bytes: int) -> None:
        """A file was used, wherever it was."""
        if _mixed(key) & self._sample_mask:
            return
        kept, taken = self._keeping.access(key, size_bytes), self._taking.access(key, size_bytes)
        self._lead += (kept - taken - self._lead) / _MEMORY_ACCESSES
        if abs(self._lead) > _LEAD:
            self.admits_returning = self._lead < 0
        if max(len(self._keeping), len(self._taking)) > _ENTRIES_MAX:
            self._sample_mask = 2 * self._sample_mask + 1
            self._begin()


def _mixed(key: int) -> int:
    """Numbers that follow each other spread over all samples (Fibonacci hashing)."""
    return (key * 0x9E3779B97F4A7C15 & 0xFFFF_FFFF_FFFF_FFFF) >> 32
