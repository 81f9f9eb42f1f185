"""Making room in the tier: clean bytes go, least worth first; see policy.ranking for what a file is worth.

Evicting one file is a plain function: what it checks is still so when it acts. Checkpoints: between pages of
candidates.
"""

import sys
from collections.abc import Callable
from typing import Final

import trio

from tierfs.content.ledger import Ledger, is_clean
from tierfs.content.live import LiveFile
from tierfs.index import held, inodes, residency
from tierfs.model import HotRecord, Inode
from tierfs.policy.eviction import Candidate, choose, choose_ranges
from tierfs.policy.ranking import BATCH_SHARE

_PAGE_FILES: Final = 64
_EDGES_BYTES: Final = 2 * 4096
_ALL_BYTES: Final = sys.maxsize


class Evictor:
    """`hottier.space.Reclaimer` over the index."""

    def __init__(self, ledger: Ledger, hurry: Callable[[], None]) -> None:
        self._ledger = ledger
        self._hurry = hurry

    def hurry(self) -> None:
        """See Reclaimer."""
        self._hurry()

    async def evict_clean(self, need_bytes: int) -> int:
        """See Reclaimer. Frees somewhat more than is needed: a walk over the ages for every block would be dear."""
        ledger = self._ledger
        batch_bytes = min(ledger.settings.evict_batch_bytes, int(ledger.space.limit_bytes * BATCH_SHARE))
        wanted = max(need_bytes, batch_bytes)
        freed = 0
        for page in ledger.ranks.leaving(_PAGE_FILES, is_open=lambda ino: ino in ledger.lives):
            if freed >= wanted:
                break
            victims = choose([self._candidate(ino) for ino in page], wanted - freed)
            came_back = await ledger.lending.recall_all([victim.ino for victim in victims])
            for victim in victims:
                # it may have been opened for writing since it was chosen, and be mapped for all the borrower can tell
                live = ledger.lives.get(victim.ino)
                if victim.ino not in came_back or (live is not None and _is_kept_for_writers(live)):
                    continue
                record = residency.hot_get(ledger.index, victim.ino)
                if record is None or record.used_at_bytes != victim.used_at_bytes:
                    continue  # used since it was chosen
                freed += self.evict(victim.ino, need_bytes=wanted - freed, is_pressed=True)
            await trio.lowlevel.checkpoint()
        ledger.ranks.evicted(freed)
        await ledger.hot.bury()
        return freed

    def _candidate(self, ino: int) -> Candidate:
        index = self._ledger.index
        record, inode = residency.hot_get(index, ino), inodes.get(index, ino)
        if record is None or inode is None:
            return Candidate(ino, 0)
        live = self._ledger.lives.get(ino)
        size_bytes = record.bytes_charged if live is None else min(live.charged_bytes, _total(_evictable(live)))
        return Candidate(
            ino,
            size_bytes,
            used_at_bytes=record.used_at_bytes,
            is_dirty=not self._is_copy(inode),
            is_written=record.writing if live is None else _is_kept_for_writers(live),
            is_pinned=record.pinned or self._ledger.rules.keeps(inode, record),
        )

    def _is_copy(self, inode: Inode) -> bool:
        """The bucket has these bytes. What it has lost and somebody still has to decide about is only here."""
        return is_clean(inode) and not held.covers(self._ledger.index, inode.parent, inode.name, inode.ino)

    def evict(
        self,
        ino: int,
        *,
        start: int = 0,
        stop: int | None = None,
        need_bytes: int = _ALL_BYTES,
        is_pressed: bool = False,
    ) -> int:
        """Drops clean bytes of one file: a closed one whole, of an open one what nobody is reading.

        Returns the bytes freed; 0 for a file that is dirty, open for writing, pinned, lent, or not here. When the
        tier is full (`is_pressed`), a PARTIAL file that is open for writing, but clean, gives up bytes, too:
        its writers come through here, so they cannot miss what is gone. Else a file whose local pieces fill
        the tier could never be written on.
        """
        ledger = self._ledger
        record, inode = residency.hot_get(ledger.index, ino), inodes.get(ledger.index, ino)
        if record is None or inode is None or not self._is_copy(inode) or record.pinned:
            return 0
        if ledger.lending.has(ino) or ledger.lending.serves(ino):
            return 0
        end = inode.size_bytes if stop is None else min(stop, inode.size_bytes)
        live = ledger.lives.get(ino)
        if live is None and start == 0 and end == inode.size_bytes:
            return self._evict_closed(ino, record)
        live = ledger.hold(ino)
        try:
            if live.record is None or (live.writers and not is_pressed) or _is_kept_for_writers(live):
                return 0
            return self._evict_ranges(live, inode, start, end, need_bytes)
        finally:
            ledger.let_go(live)

    def _evict_closed(self, ino: int, record: HotRecord) -> int:
        if record.writing:
            return 0
        self._ledger.forget_record(ino, remembers=True)
        self._ledger.remove_file(ino)
        return record.bytes_charged

    def _evict_ranges(self, live: LiveFile, inode: Inode, start: int, stop: int, need_bytes: int) -> int:
        ledger = self._ledger
        if not inode.size_bytes:
            return 0 if live.guards or live.writers else ledger.drop(live)
        ranges = [(max(start, a), min(stop, b)) for a, b in _evictable(live) if a < stop and start < b]
        is_mapped = ledger.lending.is_mapped(live)
        may_drop = ranges == live.local_ranges() and not live.guards and not live.writers
        if may_drop and (is_mapped or _total(ranges) <= need_bytes):
            return ledger.drop(live)
        if is_mapped:
            return 0
        # the blocks at the edges may stay
        need_bytes = min(need_bytes, _ALL_BYTES - _EDGES_BYTES) + _EDGES_BYTES
        victims = choose_ranges(ranges, [stream.position for stream in live.streams], need_bytes)
        return ledger.remove_present(live, victims) if victims else 0


def _is_kept_for_writers(live: LiveFile) -> bool:
    """The kernel may write to the backing file of a FULL file without asking us."""
    return bool(live.writers) and live.is_whole


def _evictable(live: LiveFile) -> list[tuple[int, int]]:
    """Local ranges that nobody reads; none while somebody changes the file."""
    return [] if live.mutate.locked() else live.unguarded(live.local_ranges())


def _total(ranges: list[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in ranges)
