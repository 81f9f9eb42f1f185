"""Writes, truncation and fsync of live files, and when the index learns of them.

The order for one write: the index says that the file has a writer (at open) and that it is dirty (before the
first byte); the bytes go to the backing file; for a PARTIAL file the index learns of the new extents and of
the size; then the write is answered. So after SIGKILL every answered byte is found again: in a FULL file the
backing file itself tells, in a PARTIAL file the extents do.

Checkpoints: room in the tier, `mutate`, worker threads, `index.durable()`. A small write into a tier with
room has none.
"""

import errno
from collections.abc import Callable
from typing import Final

import trio
from attrs import evolve

from tierfs.content.ledger import Ledger, is_clean
from tierfs.content.live import LiveFile
from tierfs.errors import FsError
from tierfs.hottier.disk import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from tierfs.hottier.extents import ExtentSet
from tierfs.hottier.files import INLINE_WRITE_MAX_BYTES
from tierfs.index import inodes, intents, residency
from tierfs.index.env import Txn
from tierfs.model import Inode, InodeFlag, Residency, Spill

# ext4 with 4 KiB blocks ends at 16 TiB
_SIZE_MAX_BYTES: Final = (16 << 40) - 4096
_BIG_WRITE_PIECE_BYTES: Final = 8 << 20
_ZEROING: Final = (
    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
)


class Writer:
    """Changes of live files.

    `part_bytes`: the parts whose last writes are noted, as the Spiller has them. `on_growth` is told when a file with
    a writer holds more than it did.
    """

    def __init__(self, ledger: Ledger, *, part_bytes: int, on_growth: Callable[[LiveFile], None]) -> None:
        self._ledger = ledger
        self._part_bytes = part_bytes
        self._on_growth = on_growth

    # ---- writers come and go ----

    async def begin(self, live: LiveFile) -> None:
        """The file has one writer more; the index knows it before the first byte can change."""
        live.writers += 1
        try:
            await self._declare(live)
        except BaseException:
            self._leave(live)
            raise

    async def _declare(self, live: LiveFile) -> None:
        ledger = self._ledger
        ledger.materialize(live, writing=True)
        record = live.record
        assert record is not None
        inode = ledger.inode(live.ino)
        if live.writers == 1 and live.present is None:
            # an unchanged backing file is told from a changed one by its mtime, also after SIGKILL
            live.open_backing.set_times(atime_ns=inode.atime_ns, mtime_ns=inode.mtime_ns)
            live.seen = (live.size_bytes, inode.mtime_ns)
            live.alterations += 1
        if not record.writing:
            ledger.set_record(live, evolve(record, writing=True))
        if record.synced and InodeFlag.DATA_DIRTY not in inode.flags:
            # after power loss a trusted clean copy must not be found half overwritten
            await ledger.index.durable()

    def created(self, live: LiveFile, inode: Inode) -> None:
        """The first writer of a file that was made a moment ago: nothing to wait for."""
        live.writers += 1
        try:
            backing = self._ledger.materialize(live, writing=True)
            backing.set_times(atime_ns=inode.atime_ns, mtime_ns=inode.mtime_ns)
            live.seen = (0, inode.mtime_ns)
        except BaseException:
            self._leave(live)
            raise

    def end(self, live: LiveFile) -> None:
        """One writer less; the last one's size and times go to the index, and the file is no longer `writing`."""
        try:
            if not live.is_dead:
                self._ledger.publish(live, is_last=live.writers == 1)
        finally:
            self._leave(live)

    def _leave(self, live: LiveFile) -> None:
        live.writers -= 1
        if live.writers or live.is_dead or live.record is None or not live.record.writing:
            return
        self._ledger.recharge(live)
        self._ledger.set_record(live, evolve(live.record, writing=False, bytes_charged=live.charged_bytes))

    # ---- write ----

    async def write(self, live: LiveFile, offset: int, data: bytes, *, is_writeback: bool = False) -> int:
        """Writes all of `data`; see `Files.write`. FsError: EFBIG, ENOSPC (see hottier.space), EIO, ESTALE."""
        size = len(data)
        if offset + size > _SIZE_MAX_BYTES:
            raise FsError(errno.EFBIG)
        if self._fits_inline(live, offset, size):
            if kept_bytes := self._kept_bytes(live, offset, size, is_writeback):
                self._prepare(live, offset, kept_bytes)
                try:
                    live.open_backing.write_inline(offset, data[:kept_bytes])
                except FsError:
                    self._undo_growth(live)
                    raise
                self._written(live, offset, kept_bytes, is_synced=False)
            return size
        view = memoryview(data)
        for at in range(0, size, _BIG_WRITE_PIECE_BYTES):
            await self._write_slowly(live, offset + at, view[at : at + _BIG_WRITE_PIECE_BYTES], is_writeback)
        return size

    def _fits_inline(self, live: LiveFile, offset: int, size: int) -> bool:
        if size > INLINE_WRITE_MAX_BYTES or live.mutate.locked() or live.is_dead:
            return False
        record = live.record
        if record is not None and record.synced and not live.covers(offset, offset + size):
            return False  # extents of a synced file count only once they are on the disk
        return self._ledger.space.fits(size)

    def _kept_bytes(self, live: LiveFile, offset: int, size: int, is_writeback: bool) -> int:
        """How much of a write counts: what a mapping stored makes no file longer.

        The page may have been on its way when O_TRUNC cut the file, for which the kernel does not wait.
        """
        if self._ledger.lending.serves_writes(live.ino):
            self._ledger.refresh(live)  # what was written since then is not ours to cut off after an error
        return max(0, min(size, live.size_bytes - offset)) if is_writeback else size

    async def _write_slowly(self, live: LiveFile, offset: int, data: memoryview, is_writeback: bool) -> None:
        async with self._ledger.space.reserved(len(data), overdraws=is_writeback), live.mutate:
            self._check_alive(live)
            size = self._kept_bytes(live, offset, len(data), is_writeback)
            if not size:
                return
            self._prepare(live, offset, size)
            try:
                await live.open_backing.write(offset, data[:size])
            except FsError:
                self._undo_growth(live)
                raise
            record = live.record
            is_synced = record is not None and record.synced and not live.is_whole
            if is_synced:
                await live.open_backing.sync()
            self._check_alive(live)
            self._written(live, offset, size, is_synced=is_synced)

    @staticmethod
    def _undo_growth(live: LiveFile) -> None:
        """A write that failed half-way leaves no longer file behind than its caller knows of."""
        if live.open_backing.stat().size_bytes > live.size_bytes:
            live.open_backing.truncate(live.size_bytes)

    def _prepare(self, live: LiveFile, offset: int, size: int) -> None:
        if not live.is_marked:
            self._ledger.mark(live)
        live.content_version += 1
        self._note_parts(live, offset, size)

    def _written(self, live: LiveFile, offset: int, size: int, *, is_synced: bool) -> None:
        """The bytes are in the backing file: memory and index follow."""
        old_size = live.size_bytes
        stat = self._ledger.recharge(live)
        self._ledger.adopt(live, stat)
        live.content_version += 1
        self._note_parts(live, offset, size)
        if live.present is not None:
            # what lies between the old end and the write are zeros of the file, not absent bytes
            start = min(offset, old_size)
            if not live.present.covers(start, offset + size):
                ranges = [(offset, offset + size)] if offset <= old_size else [(old_size, offset + size)]
                inode = self._ledger.current(live, self._ledger.inode(live.ino), look=False)
                self._ledger.add_present(live, ranges, is_synced=is_synced, inode=inode)
                live.has_news = False
        self._on_growth(live)

    def _note_parts(self, live: LiveFile, offset: int, size: int) -> None:
        now_s = trio.current_time()
        part = self._part_bytes
        for number in range(offset // part, (offset + size - 1) // part + 1):
            live.part_writes[number] = (now_s, live.content_version)

    # ---- zeros and room ----

    async def fallocate(self, live: LiveFile, offset: int, length: int, mode: int) -> None:
        """See `Files.fallocate`."""
        if offset < 0 or length <= 0:
            raise FsError(errno.EINVAL)
        stop = offset + length
        if mode == 0:
            await self.allocate(live, offset, stop)
        elif mode in _ZEROING:
            size_bytes = self._ledger.current(live, self._ledger.inode(live.ino)).size_bytes
            if mode == FALLOC_FL_ZERO_RANGE and stop > size_bytes:
                await self.set_size(live, stop)
            await self.zero(live, offset, stop)
        else:
            raise FsError(errno.EOPNOTSUPP)

    async def zero(self, live: LiveFile, start: int, stop: int) -> None:
        """[start, stop) of the file reads as zeros, its blocks are given back, and nothing is fetched for it."""
        async with live.mutate:
            self._check_alive(live)
            if live.writers:
                self._ledger.refresh(live)
            stop = min(stop, live.size_bytes)
            if start >= stop:
                return
            self._prepare(live, start, stop - start)
            await live.open_backing.zero(start, stop)
            record = live.record
            is_synced = record is not None and record.synced and not live.is_whole
            if is_synced:
                await live.open_backing.sync()
            self._check_alive(live)
            self._written(live, start, stop - start, is_synced=is_synced)

    async def allocate(self, live: LiveFile, start: int, stop: int) -> None:
        """The file is at least `stop` long, and what of [start, stop) is here keeps its room until it is evicted.

        FsError: EFBIG, ENOSPC (see hottier.space), ESTALE.
        """
        if stop > _SIZE_MAX_BYTES:
            raise FsError(errno.EFBIG)
        is_sparse = live.open_backing.stat().allocated_bytes < live.size_bytes
        need_bytes = stop - start if is_sparse else max(0, stop - max(start, live.size_bytes))
        async with self._ledger.space.reserved(need_bytes), live.mutate:
            self._check_alive(live)
            if live.writers:
                self._ledger.refresh(live)
            old_size = live.size_bytes
            here = live.present.within(start, old_size) if live.present is not None else [(start, old_size)]
            try:
                for piece in [*here, (max(start, old_size), stop)]:
                    if piece[0] < min(piece[1], stop):
                        await live.open_backing.allocate(piece[0], min(piece[1], stop))
            except FsError:
                live.open_backing.truncate(live.size_bytes)  # gives back what is beyond the end
                self._ledger.recharge(live)
                raise
            self._check_alive(live)
            if stop > live.size_bytes:
                self._resize(live, stop)
            self._ledger.recharge(live)
            self._on_growth(live)

    @staticmethod
    def _check_alive(live: LiveFile) -> None:
        if live.is_dead:
            raise FsError(errno.ESTALE)

    # ---- truncate ----

    async def set_size(self, live: LiveFile, size: int) -> None:
        """truncate(2). A cold file is not fetched for it."""
        if size > _SIZE_MAX_BYTES:
            raise FsError(errno.EFBIG)
        async with live.mutate:
            if live.is_dead:
                raise FsError(errno.ESTALE)
            record, inode = live.record, self._ledger.inode(live.ino)
            if record is not None and record.synced and InodeFlag.DATA_DIRTY not in inode.flags and not record.writing:
                # see _declare: the clean copy loses its trust before its bytes go
                await self._distrust(live)
            if not live.is_whole or live.writers > 1:
                # the ranges that are read there may go now; and what another writer's mapping stored may be on its
                # way there, which must not come after the cut
                await self._ledger.lending.withdraw(live.ino)
                self._check_alive(live)
            self._resize(live, size)

    async def _distrust(self, live: LiveFile) -> None:
        record = live.record
        assert record is not None
        self._ledger.set_record(live, evolve(record, synced=False))
        await self._ledger.index.durable()

    def _resize(self, live: LiveFile, size: int) -> None:
        ledger = self._ledger
        ledger.materialize(live)
        ledger.refresh(live)
        now_ns = ledger.clock.now_ns()
        live.content_version += 1
        live.resizes += 1
        old_size = live.size_bytes
        backing = live.open_backing
        if size > old_size:  # rows after bytes; a shrinking file the other way round
            backing.truncate(size)
        inode = evolve(
            ledger.current(live, ledger.inode(live.ino), look=False),
            size_bytes=size,
            mtime_ns=now_ns,
            ctime_ns=now_ns,
        )
        try:
            present, spills = self._resize_rows(live, inode, old_size)
        except BaseException:
            self._undo_growth(live)
            raise
        if size <= old_size:
            backing.truncate(size)
        # a part that was cut is another part
        first_cut = size // self._part_bytes
        live.part_writes = {number: last for number, last in live.part_writes.items() if number < first_cut}
        live.present, live.spills = present, spills
        live.size_bytes, live.has_news = size, False
        live.content_version += 1
        live.is_marked, live.marked_version = True, live.content_version
        live.checks = None
        backing.set_times(atime_ns=inode.atime_ns, mtime_ns=now_ns)
        live.seen = (size, now_ns)
        ledger.recharge(live)

    def _resize_rows(self, live: LiveFile, inode: Inode, old_size: int) -> tuple[ExtentSet | None, list[Spill]]:
        """The index's side of a truncation, in one transaction; returns what memory has to follow."""
        ledger, size, record = self._ledger, inode.size_bytes, live.record
        assert record is not None
        present = None if live.present is None or size == 0 else ExtentSet(live.present)
        if present is not None:
            present.remove(size, old_size)
            present.add(old_size, size)
            if present.covers(0, size):
                present = None
        spills: list[Spill] = []
        with ledger.index.transaction() as txn:
            was_clean = InodeFlag.DATA_DIRTY not in inode.flags
            quiet_s = ledger.quiet_s_of(txn, inode)
            intents.mark_dirty(txn, inode, InodeFlag.DATA_DIRTY, now_ns=inode.ctime_ns, quiet_s=quiet_s)
            if live.present is not None:
                if present is None:
                    residency.extents_clear(txn, live.ino)
                else:
                    residency.extents_remove(txn, live.ino, size, max(old_size, size))
                    residency.extents_add(txn, live.ino, old_size, size)
                spills = self._cut_spills(txn, live, 0 if present is None else size)
            # nothing of an empty file can be doubted
            fresh = was_clean or size == 0
            record = evolve(
                record,
                residency=Residency.FULL if present is None else Residency.PARTIAL,
                synced=False if fresh else record.synced,
                boot_id=ledger.index.boot_id if fresh else record.boot_id,
            )
            residency.hot_put(txn, live.ino, record)
        live.record = record
        return present, spills

    def _cut_spills(self, txn: Txn, live: LiveFile, size: int) -> list[Spill]:
        kept = []
        for spill in self._ledger.spills(live):
            if spill.start >= size:
                self._ledger.release_spills(txn, live.ino, [spill])
                continue
            cut = evolve(spill, stop=min(spill.stop, size))
            if cut != spill:
                residency.spill_put(txn, live.ino, cut)
            kept.append(cut)
        return kept

    # ---- durability ----

    async def fsync(self, live: LiveFile, *, data_only: bool) -> None:
        """Bytes, size and times survive power loss. FsError(EIO) when that cannot be known."""
        if live.backing is not None and (live.writers or not self._is_clean(live)):
            if live.is_whole:
                await live.backing.sync(data_only=data_only)
            else:
                # no extent may be published between the sync and the record that says so
                async with live.mutate:
                    if live.backing is not None:
                        await live.backing.sync(data_only=data_only)
                        self._note_synced(live)
            if live.is_whole:
                self._note_synced(live)
        if not live.is_dead and live.writers:
            self._ledger.publish(live)
        await self._ledger.index.durable()

    def _is_clean(self, live: LiveFile) -> bool:
        inode = inodes.get(self._ledger.index, live.ino)
        return inode is None or is_clean(inode)

    def _note_synced(self, live: LiveFile) -> None:
        """For a dirty file: it was synced since it became dirty, which is what power loss asks."""
        record = live.record
        if live.is_dead or record is None or record.synced:
            return
        if self._ledger.is_unproven(record) or self._is_clean(live):
            return
        self._ledger.set_record(live, evolve(record, synced=True))
