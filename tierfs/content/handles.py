"""`Files`: what the file system and the export ask of open files. Puts the parts of this package together.

The rules that tasks follow are in the package's docstring; here each method says whether it has checkpoints.
"""

import errno
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import trio
from attrs import define, evolve

from tierfs.clock import Clock
from tierfs.content import recovery
from tierfs.content import snapshot as snapshots
from tierfs.content.ahead import NextFiles
from tierfs.content.brake import Brake
from tierfs.content.closing import last_store
from tierfs.content.fetch import Fetcher
from tierfs.content.keeping import Keeping
from tierfs.content.ledger import Ledger
from tierfs.content.live import LiveFile
from tierfs.content.loans import Loans
from tierfs.content.placing import NoRules, PlacementRules
from tierfs.content.reader import Reader
from tierfs.content.reclaim import Evictor
from tierfs.content.recovery import Recovery
from tierfs.content.settings import ContentSettings
from tierfs.content.snapshot import Piece, Snapshot, Where, WhereKind
from tierfs.content.spill import Spiller, spill_part_bytes
from tierfs.content.writer import Writer
from tierfs.errors import FsError
from tierfs.hottier.extents import ExtentSet
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index import intents, residency
from tierfs.index.env import Index
from tierfs.model import Inode, Residency
from tierfs.objectstore.base import ObjectStore
from tierfs.telemetry.meters import Meters

__all__ = ["ContentSettings", "Files", "Piece", "Recovery", "Snapshot", "Where", "WhereKind"]


@define
class _Handle:
    live: LiveFile
    is_writer: bool
    passes: bool = False


class Files:
    """Open files of one mount. `run` must run while anything is read that may be absent, or written that may spill."""

    def __init__(
        self,
        *,
        index: Index,
        hot: HotFiles,
        space: Space,
        store: ObjectStore,
        clock: Clock,
        locate: Callable[[int], str],
        settings: ContentSettings,
        wake_export: Callable[[], None],
        hurry_export: Callable[[], None] | None = None,
        on_stale: Callable[[int], None] = lambda ino: None,
        quiet_s_of: intents.QuietTime = lambda reader, inode: 5.0,
        meters: Meters | None = None,
        rules: PlacementRules | None = None,
        is_local: Callable[[int], bool] = lambda ino: False,
    ) -> None:
        """`locate`: the key of an inode's base object now. `hurry_export`: the tier is full of dirty bytes, export
        without quiet time (default: as `wake_export`). `on_stale`: an object was found changed or gone. `is_local`:
        whether the inode's bytes may not leave for the bucket."""
        self._index = index
        self._hot = hot
        self._ledger = Ledger(index, hot, space, clock, settings, quiet_s_of, rules or NoRules())
        self._nursery: trio.Nursery | None = None
        self._wake_export = wake_export
        self._hurry_export = hurry_export or wake_export
        self._fetcher = Fetcher(self._ledger, store, locate, self._running)
        self._meters = meters or Meters()
        self._reader = Reader(self._ledger, self._fetcher, store, on_stale, self._meters)
        self._next_files = NextFiles(self._ledger, self._fetcher)
        part_bytes = spill_part_bytes(store.part_size_bytes, space.limit_bytes)
        self._spiller = Spiller(self._ledger, store, self._running, part_bytes=part_bytes, is_local=is_local)
        self._writer = Writer(self._ledger, part_bytes=part_bytes, on_growth=self._spiller.grown)
        self._evictor = Evictor(self._ledger, self._hurry)
        space.reclaimer = self._evictor
        self.keeping = Keeping(self._ledger, self._evictor, self.has_handles)
        self._handles: dict[int, _Handle] = {}
        self._next_handle = 1
        self.lending, self.archive, self.ranks = self._ledger.lending, self._ledger.archive, self._ledger.ranks
        self._brake = Brake(self._ledger)
        self._loans = Loans(self._ledger, self._brake, int(space.limit_bytes * settings.spill_share))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The nursery of flights and spills, and the freeing of big removed files; until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                nursery.start_soon(self._brake.run)
                nursery.start_soon(self.lending.run)
                nursery.start_soon(self._hot.spares.run)
                task_status.started()
                await self._hot.bury_forever()
            finally:
                self._nursery = None

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise FsError(errno.EIO, "tierfs is stopping")
        return self._nursery

    def _hurry(self) -> None:
        self._hurry_export()
        self._spiller.relieve()

    # ---- handles ----

    async def open(
        self, ino: int, *, write: bool, truncate: bool, in_place: bool = False, passes: bool = False, token: int = 0
    ) -> int:
        """A handle. With `write` the index knows of the writer when this returns; `truncate` needs `write`.

        `in_place`: the writer will neither truncate nor append, so he may write past us. `token`: of the request, noted
        when the file was cut; see index.answers. `passes`: what this reader alone has fetched is not kept in the tier.

        May wait for the bucket (a small cold file, to be read), for the journal (a clean copy that was
        synced, to be written). FsError, StoreError; then nothing is open.
        """
        live = self._ledger.hold(ino)
        try:
            if not truncate:
                await self._fetcher.admit(live)
            if write:
                await self._writer.begin(live)
                try:
                    if live.writers == 1:  # else all go the way that the first one went
                        await self._loans.first_writer(live, in_place=in_place)
                    if truncate:
                        await self._writer.set_size(live, 0)
                        self._ledger.note_made(token)
                    self._loans.serve(live)
                except BaseException:
                    self._writer.end(live)
                    raise
            else:
                await self._begin_reader(live, passes=passes)
        except BaseException:
            self._ledger.let_go(live)
            raise
        if not passes:
            self._ledger.touch(live)
        return self._add_handle(live, is_writer=write, passes=passes and not write)

    async def _begin_reader(self, live: LiveFile, *, passes: bool) -> None:
        live.readers += 1
        live.passers += passes
        try:
            if 0 < live.size_bytes <= self._ledger.settings.small_file_bytes:
                is_cold = live.residency is Residency.COLD
                if not passes:
                    self._next_files.opened(self._ledger.inode(live.ino), was_cold=is_cold)
                if is_cold:
                    await self._reader.fetch_small(live)
            if self._loans.lend(live):
                await self.lending.trim()
            if not live.is_whole:
                self._ledger.materialize(live)
            self._loans.serve(live)
        except BaseException:
            live.readers -= 1
            live.passers -= passes
            raise

    def created(self, ino: int) -> int:
        """A handle for writing of a file that was just created: FULL and empty. No checkpoint."""
        live = self._ledger.hold(ino)
        try:
            self._writer.created(live, self._ledger.inode(ino))
            self._loans.serve(live, is_new=True)
        except BaseException:
            self._ledger.let_go(live)
            raise
        return self._add_handle(live, is_writer=True)

    async def reopen(self, handle: int, ino: int, *, write: bool) -> None:
        """A handle that the daemon before gave out. Its bytes come through us, unless the kernel has the file lent."""
        live = self._ledger.hold(ino)
        try:
            if write:
                await self._writer.begin(live)
            else:
                if not live.is_whole:
                    self._ledger.materialize(live)
                live.readers += 1
        except BaseException:
            self._ledger.let_go(live)
            raise
        self._handles[handle] = _Handle(live, write)
        self._next_handle = max(self._next_handle, handle + 1)

    async def recall_lent(self, inos: Collection[int]) -> None:
        """Files that are lent since before our start come back, or stay lent while the kernel has them open."""
        self.lending.adopt(inos)
        for ino in set(inos) - await self.lending.recall_all(list(inos)):
            live = self._ledger.lives.get(ino)
            if live is not None and live.writers:
                self._brake.watch(live)

    def _add_handle(self, live: LiveFile, *, is_writer: bool, passes: bool = False) -> int:
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._handles[handle] = _Handle(live, is_writer, passes)
        return handle

    def _of(self, fh: int) -> _Handle:
        handle = self._handles.get(fh)
        if handle is None:
            raise FsError(errno.EBADF)
        return handle

    async def read(self, fh: int, offset: int, size: int) -> bytes:
        """Short only at the end of the file. FsError, StoreError (PRECONDITION_FAILED = ESTALE)."""
        return await self._reader.read(self._of(fh).live, offset, size)

    async def bring(self, fh: int, offset: int, size: int) -> None:
        """As `read`, for somebody who is told of what becomes present (`Borrower.offer`) and reads it by himself.

        What the tier has no room for does not become present: `read` has it.
        """
        await self._reader.bring(self._of(fh).live, offset, size)

    async def write(self, fh: int, offset: int, data: bytes, *, is_writeback: bool = False) -> int:
        """Writes all of `data`, returns its length; waits while the tier is full. ENOSPC, EFBIG, EBADF. `is_writeback`:
        it was stored by a mapping, and nobody hears of ENOSPC: after the wait it exceeds the tier."""
        handle = self._of(fh)
        if not handle.is_writer:
            raise FsError(errno.EBADF, "not open for writing")
        self._meters.wrote(len(data))
        return await self._writer.write(handle.live, offset, data, is_writeback=is_writeback)

    async def fallocate(self, fh: int, offset: int, length: int, mode: int) -> None:
        """fallocate(2): room and size (mode 0), a hole, or zeros; never fetches. ENOSPC, EFBIG, EBADF, EINVAL.

        EOPNOTSUPP for the other modes, also for room beyond the end: bytes may leave the tier, and room with them.
        """
        handle = self._of(fh)
        if not handle.is_writer:
            raise FsError(errno.EBADF, "not open for writing")
        await self._writer.fallocate(handle.live, offset, length, mode)

    async def seek(self, fh: int, offset: int, whence: int) -> int:
        """SEEK_DATA and SEEK_HOLE. ENXIO, EINVAL. No checkpoint."""
        return self._reader.seek(self._of(fh).live, offset, whence)

    async def flush(self, fh: int) -> None:
        """close(2) of one descriptor: size and times go to the index. No checkpoint."""
        handle = self._of(fh)
        if handle.is_writer and not handle.live.is_dead:
            self._ledger.publish(handle.live)

    async def fsync(self, fh: int, datasync: bool) -> None:
        """Returns when bytes, size and times survive power loss."""
        await self._writer.fsync(self._of(fh).live, data_only=datasync)

    async def fsync_inode(self, ino: int, datasync: bool) -> None:
        """As `fsync`, through a descriptor that the kernel opened without us."""
        live = self._ledger.hold(ino)
        try:
            await self._writer.fsync(live, data_only=datasync)
        finally:
            self._ledger.let_go(live)

    async def release(self, fh: int) -> None:
        """The handle ends; the last writer's end queues the export. No checkpoint."""
        handle = self._of(fh)
        del self._handles[fh]
        live = handle.live
        live.passers -= handle.passes
        if not handle.passes:
            self._ledger.note_close(live)
        if handle.is_writer and live.writers == 1 and self._nursery is not None and self.lending.has(live.ino):
            if not live.is_dead:
                self._ledger.publish(live)
            self._nursery.start_soon(self._await_last_store, live)
        else:
            self._end(live, is_writer=handle.is_writer)

    async def _await_last_store(self, live: LiveFile) -> None:
        """The kernel wrote past us: the last writer's end is when no mapping is left that could store."""
        try:
            await last_store(live, self.lending)
        finally:
            self._end(live, is_writer=True)

    def _end(self, live: LiveFile, *, is_writer: bool) -> None:
        try:
            if is_writer:
                self._writer.end(live)
                if live.is_marked and not live.writers:
                    self._wake_export()
            else:
                live.readers -= 1
            if not live.readers and not live.writers:
                self._loans.closed(live)
                live.streams = ()
                self._fetcher.cancel_ahead(live)
        finally:
            self._ledger.let_go(live)

    def is_open(self, ino: int) -> bool:
        """May anybody have it open, or reads of it be answered without us?"""
        return self.lending.has(ino) or self.lending.serves(ino) or self.has_handles(ino)

    def has_handles(self, ino: int) -> bool:
        """Has anybody a handle?"""
        live = self._ledger.lives.get(ino)
        return live is not None and bool(live.readers or live.writers)

    def needs_object(self, ino: int) -> bool:
        """Has anybody it open, and not every byte of it is here?"""
        live = self._ledger.lives.get(ino)
        return live is not None and not live.is_whole and self.has_handles(ino)

    def is_writing(self, ino: int) -> bool:
        """Has anybody a handle for writing?"""
        live = self._ledger.lives.get(ino)
        return live is not None and bool(live.writers)

    def publish_writers(self) -> None:
        """The index learns what open files are by now, as at their close."""
        for live in list(self._ledger.lives.values()):
            if live.writers and not live.is_dead:
                self._ledger.publish(live)

    def is_read_past_us(self, ino: int) -> bool:
        """May it be read without a request?"""
        return self.lending.has(ino) or self.lending.is_served(ino)

    def is_written_past_us(self, ino: int) -> bool:
        """May size and times change without a request?"""
        return self.lending.has(ino) and self.is_writing(ino)

    @property
    def open_count(self) -> int:
        """Handles."""
        return len(self._handles)

    # ---- attributes ----

    async def set_size(self, ino: int, size: int) -> None:
        """truncate(2), whether the file is open or not; never fetches. EFBIG, ESTALE."""
        live = self._ledger.hold(ino)
        try:
            await self._writer.set_size(live, size)
            self._loans.serve(live)
            if not live.writers:
                self._wake_export()
        finally:
            self._ledger.let_go(live)

    def live(self, inode: Inode) -> Inode:
        """The inode with size and times as they are now."""
        live = self._ledger.lives.get(inode.ino)
        if live is not None:
            inode = self._ledger.current(live, inode)
        if self.is_read_past_us(inode.ino):
            stat = self._hot.stat(inode.ino)
            if stat is not None and stat.atime_ns > inode.atime_ns:
                inode = evolve(inode, atime_ns=stat.atime_ns)
        return inode

    def blocks(self, inode: Inode) -> int:
        """st_blocks, in 512 bytes: what is absent here counts as if it were here."""
        return self._ledger.blocks(inode)

    def touch_times(self, ino: int, *, atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        """utimens of a file that may be written or lent: the backing file first; the caller puts the inode after it."""
        if not self.is_writing(ino) and not self.is_read_past_us(ino):
            return
        live = self._ledger.hold(ino)
        try:
            if live.writers:
                self._ledger.publish(live)  # what was written before these times
            if live.backing is not None:
                inode = self._ledger.inode(ino)
                atime_ns = inode.atime_ns if atime_ns is None else atime_ns
                mtime_ns = inode.mtime_ns if mtime_ns is None else mtime_ns
                live.backing.set_times(atime_ns=atime_ns, mtime_ns=mtime_ns)
                live.seen = (live.size_bytes, mtime_ns)
                live.alterations += 1
        finally:
            self._ledger.let_go(live)

    # ---- what is here ----

    def disconnected(self) -> None:
        """The kernel connection has ended: nothing is lent any more."""
        self.lending.end()

    async def recall(self, ino: int) -> bool:
        """Is it, now, not lent to the kernel? False when the kernel has it open."""
        return await self.lending.recall(ino)

    async def warm(self, ino: int) -> bool:
        """Brings all bytes of a file, behind those who read; False when the tier has no room. FsError, StoreError."""
        live = self._ledger.hold(ino)
        try:
            is_here = await self._reader.bring_whole(live)
            if live.record is not None:
                self._ledger.set_record(live, self._ledger.ranks.wanted(live.record))
            return is_here
        finally:
            if not live.readers and not live.writers:
                self._fetcher.cancel_ahead(live)
            self._ledger.let_go(live)

    async def drop(self, ino: int, *, start: int = 0, stop: int | None = None) -> int:
        """Evicts clean bytes; 0 if the file is open for writing, dirty or pinned. Returns the bytes freed."""
        freed = self._evictor.evict(ino, start=start, stop=stop) if await self.lending.recall(ino) else 0
        await self._hot.bury()
        return freed

    def forget(self, ino: int) -> None:
        """The inode is gone for good: its backing file and rows go, spills are to be deleted. No checkpoint."""
        live = self._ledger.lives.get(ino)
        if live is not None:
            self._let_die(live)
        if residency.hot_get(self._index, ino) is not None or residency.spills(self._index, ino):
            self._ledger.forget_record(ino)
        self._ledger.remove_file(ino)

    def forgotten(self, ino: int) -> None:
        """The kernel has dropped the inode. No checkpoint."""
        self.lending.forgotten(ino)

    def replaced(self, ino: int) -> None:
        """The base changed by an import, and nobody has the file open: what is here is stale. No checkpoint."""
        if self.is_open(ino):
            raise FsError(errno.EBUSY, f"inode {ino:#x} is open: its name must get another inode")
        self.forget(ino)

    def _let_die(self, live: LiveFile) -> None:
        """Flights and reads that are under way end in nothing; the next user gets another LiveFile."""
        live.is_dead = True
        self._ledger.lives.pop(live.ino, None)
        self._fetcher.cancel_ahead(live)
        # what it is charged beyond the record, which is released by the caller
        recorded = live.record.bytes_charged if live.record is not None else 0
        self._ledger.space.charge(recorded - live.charged_bytes)
        live.record = None
        live.charged_bytes = 0
        live.spills = []
        live.present = ExtentSet() if live.size_bytes else None

    # ---- export and start ----

    @asynccontextmanager
    async def snapshot(self, ino: int) -> AsyncIterator[Snapshot]:
        """One state of the file, to be exported. FsError(EIO) when dirty bytes were lost.

        While the file's intent has an `op_id`, reads of other tasks that find its object changed wait for the
        outcome before they call it ESTALE.
        """
        live = self._ledger.hold(ino)
        try:
            snapshot = await snapshots.begin(self._ledger, self._fetcher, live)
            yield snapshot
            snapshot.end()
        finally:
            self._ledger.let_go(live)

    def recover(self) -> Recovery:
        """At start, before anything else: see recovery.py. Logs what was lost."""
        return recovery.recover(self._ledger)
