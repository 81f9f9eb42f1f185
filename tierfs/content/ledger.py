"""The one place where memory, backing file and index learn together what of a file is present.

Every method is a plain function: no checkpoint can fall between its parts. Order within each, for a SIGKILL
in between: bytes before the index row that speaks of them, rows before the bytes that they no longer speak
of. So a crash leaves bytes that nobody knows (a leak, swept at the next start), never rows without bytes.
"""

import errno
import logging
from collections.abc import Sequence
from typing import Final

from attrs import evolve

from tierfs.clock import Clock
from tierfs.content.archive import Archive
from tierfs.content.checks import RangeChecks
from tierfs.content.lending import Lending
from tierfs.content.live import LiveFile, cold
from tierfs.content.placing import PlacementRules
from tierfs.content.ranks import Ranks
from tierfs.content.settings import ContentSettings
from tierfs.errors import FsError
from tierfs.faultpoints import Point, reach
from tierfs.hottier.disk import BackingStat
from tierfs.hottier.extents import ExtentSet
from tierfs.hottier.files import BackingFile, HotFiles
from tierfs.hottier.space import Space
from tierfs.index import inodes, intents, residency, sums
from tierfs.index.env import Index, Txn
from tierfs.model import HotRecord, Inode, InodeFlag, Residency, Spill, Sum
from tierfs.units import NS_PER_S

_BLOCK_BYTES: Final = 512
_DISK_BLOCK_BYTES: Final = 4096  # of every file system that the cache is put on, or a divisor of it
_log: Final = logging.getLogger(__name__)


class Ledger:
    """What is present of every file, and the files that are in use."""

    def __init__(
        self,
        index: Index,
        hot: HotFiles,
        space: Space,
        clock: Clock,
        settings: ContentSettings,
        quiet_s_of: intents.QuietTime,
        rules: PlacementRules,
    ) -> None:
        self.rules = rules
        self.quiet_s_of = quiet_s_of
        self.index = index
        self.hot = hot
        self.space = space
        self.clock = clock
        self.settings = settings
        self.ranks = Ranks(index, space, clock, by_age=settings.evicts_by_age)
        self.lending = Lending(settings.lent_files_max)
        self.archive = Archive()
        self.lives: dict[int, LiveFile] = {}

    # ---- files in use ----

    def inode(self, ino: int) -> Inode:
        """Raises FsError(ESTALE) for an inode that is gone."""
        inode = inodes.get(self.index, ino)
        if inode is None:
            raise FsError(errno.ESTALE, f"inode {ino:#x} is gone")
        return inode

    def hold(self, ino: int) -> LiveFile:
        """The live file, for one user more. FsError(ESTALE), FsError(EIO) when dirty bytes were lost."""
        live = self.lives.get(ino)
        if live is None:
            live = self.lives[ino] = self._load(self.inode(ino))
        live.references += 1
        return live

    def let_go(self, live: LiveFile) -> None:
        """One user less; the last one closes the backing file."""
        live.references -= 1
        if live.references:
            return
        if self.lives.get(live.ino) is live:
            del self.lives[live.ino]
            if live.record is not None:
                self._settle_record(live, live.record)
        if live.backing is not None:
            live.backing.close()
            live.backing = None

    def _settle_record(self, live: LiveFile, record: HotRecord) -> None:
        inode = inodes.get(self.index, live.ino)
        is_idle = live.present is not None and not live.present and not self.spills(live)
        if inode is not None and is_idle and is_clean(inode) and not record.pinned:
            self.drop(live)
        elif record.bytes_charged != live.charged_bytes:
            self.set_record(live, evolve(record, bytes_charged=live.charged_bytes))

    def _load(self, inode: Inode) -> LiveFile:
        record = residency.hot_get(self.index, inode.ino)
        if record is None:
            return cold(inode)
        backing = self._open_backing(inode)
        if backing is None:
            return cold(inode)
        present = None
        if record.residency is Residency.PARTIAL and inode.size_bytes:
            present = ExtentSet(residency.extents_get(self.index, inode.ino))
        spills = residency.spills(self.index, inode.ino)
        if spills and (present is None or is_clean(inode)):  # exported, and a crash came before they were dropped
            with self.index.transaction() as txn:
                self.release_spills(txn, inode.ino, spills)
            spills = []
        return LiveFile(inode.ino, inode.size_bytes, record=record, backing=backing, present=present, spills=spills)

    def _open_backing(self, inode: Inode) -> BackingFile | None:
        """The backing file that a record speaks of; a clean copy that is not what it should be is dropped."""
        try:
            backing = self.hot.open(inode.ino, create=False)
        except FsError as error:
            if error.errno != errno.ENOENT:
                raise
            if InodeFlag.DATA_DIRTY in inode.flags:
                what = f"the backing file of {inode.ino:#x} is missing: its changes are lost"
                raise FsError(errno.EIO, f"{what}. Write the file anew or remove it") from error
            self.forget_record(inode.ino)
            return None
        if backing.stat().size_bytes == inode.size_bytes:
            return backing
        if InodeFlag.DATA_DIRTY in inode.flags:
            # a truncation whose row was written and whose system call was not
            backing.truncate(inode.size_bytes)
            return backing
        backing.close()
        self.forget_record(inode.ino)
        self.remove_file(inode.ino)
        return None

    def forget_record(self, ino: int, *, remembers: bool = False) -> None:
        """The index no longer says that anything of the file is here; its charge goes, too.

        `remembers`: but what its uses were worth.
        """
        record = residency.hot_get(self.index, ino)
        with self.index.transaction() as txn:
            residency.hot_delete(txn, ino, remembers=remembers)
            residency.extents_clear(txn, ino)
            self.release_spills(txn, ino, residency.spills(txn, ino))
        if record is not None:
            self.space.release(record.bytes_charged)

    def remove_file(self, ino: int) -> None:
        """Unlinks the backing file, which is not lent. Who has it mapped keeps what it was."""
        reach(Point.EVICT_RECORDED)
        self.hot.remove(ino)
        self.lending.dropped(ino)

    # ---- records ----

    def now_s(self) -> int:
        return self.clock.now_ns() // NS_PER_S

    def set_record(self, live: LiveFile, record: HotRecord) -> None:
        """Puts the record."""
        with self.index.transaction() as txn:
            residency.hot_put(txn, live.ino, record)
        live.record = record

    def note_made(self, token: int) -> None:
        """What the request with this token asked for is done, rows and bytes; see index.answers."""
        if token:
            with self.index.transaction(token=token):
                pass

    def touch(self, live: LiveFile) -> None:
        """The file is used now. Written to the index only in steps."""
        if live.record is not None:
            clock_bytes = self.ranks.clock_bytes
            used = self._used(live.ino, live.record, live.size_bytes, self.now_s(), clock_bytes)
            if used is not live.record:
                self.set_record(live, used)

    def note_close(self, live: LiveFile) -> None:
        """The file was in use until now, however long ago it was opened; that is one use, and makes it no dearer."""
        record, now_s = live.record, self.now_s()
        if record is not None and now_s - record.last_use_s >= self.settings.last_use_step_s:
            self.set_record(live, evolve(record, last_use_s=now_s))

    def note_use(self, ino: int, record: HotRecord, when_ns: int) -> None:
        """As `touch`, of a file that is not in use here, some time after the use."""
        clock_bytes = self.ranks.clock_at(when_ns)
        used = self._used(ino, record, record.bytes_charged, when_ns // NS_PER_S, clock_bytes)
        if used is not record:
            with self.index.transaction() as txn:
                residency.hot_put(txn, ino, used)

    def _used(self, ino: int, record: HotRecord, size_bytes: int, when_s: int, clock_bytes: int) -> HotRecord:
        """The record after a use; itself where that is not worth a write to the index."""
        used, step_s = self.ranks.used(ino, record, size_bytes, clock_bytes), self.settings.last_use_step_s
        # a time beyond now is of a clock that was set back since, and says nothing any more
        before_s = record.last_use_s if record.last_use_s <= self.now_s() + step_s else 0
        if used is record and when_s - before_s < step_s:
            return record
        return evolve(used, last_use_s=max(when_s, before_s))

    def is_unproven(self, record: HotRecord) -> bool:
        """Written before a power loss and never synced: which of its bytes survived is not known."""
        return record.boot_id != self.index.boot_id and not record.synced

    def recharge(self, live: LiveFile) -> BackingStat:
        """Charges what the blocks of the backing file really take by now."""
        stat = live.open_backing.stat()
        if stat.allocated_bytes != live.charged_bytes:
            self.space.charge(stat.allocated_bytes - live.charged_bytes)
            live.charged_bytes = stat.allocated_bytes
        return stat

    def blocks(self, inode: Inode) -> int:
        """st_blocks, in 512 bytes: what is absent here counts as if it were here."""
        full_blocks = -(-inode.size_bytes // _BLOCK_BYTES)
        record = residency.hot_get(self.index, inode.ino) if InodeFlag.DATA_DIRTY in inode.flags else None
        if record is None or record.residency is not Residency.FULL:
            return full_blocks
        stat = self.hot.stat(inode.ino)
        return full_blocks if stat is None else stat.allocated_bytes // _BLOCK_BYTES

    # ---- what is present ----

    def materialize(self, live: LiveFile, *, writing: bool = False) -> BackingFile:
        """A cold file gets a backing file of its size with nothing in it. Others keep theirs."""
        if live.record is not None:
            return live.open_backing
        backing = self.hot.open(live.ino, create=True)
        try:
            if backing.stat().size_bytes:
                backing.truncate(0)  # what a crash may have left
                backing.unlabel()
            if live.size_bytes:
                backing.truncate(live.size_bytes)
                inode = self.inode(live.ino)
                backing.set_times(atime_ns=inode.atime_ns, mtime_ns=inode.mtime_ns)  # it was not read yet
            kind = Residency.PARTIAL if live.size_bytes else Residency.FULL
            record = self.ranks.entering(
                live.ino,
                HotRecord(
                    kind, self.index.boot_id, synced=False, writing=writing, bytes_charged=0, last_use_s=self.now_s()
                ),
                live.size_bytes,
            )
            with self.index.transaction() as txn:
                residency.hot_put(txn, live.ino, record)
                self.ranks.keep_clock(txn)
        except BaseException:
            backing.close()
            raise
        live.backing, live.record = backing, record
        live.present = ExtentSet() if live.size_bytes else None
        live.charged_bytes = 0
        live.alterations += 1
        return backing

    def add_present(
        self,
        live: LiveFile,
        ranges: list[tuple[int, int]],
        *,
        is_synced: bool = False,
        inode: Inode | None = None,
        checksums: Sequence[Sum] = (),
    ) -> None:
        """The bytes of `ranges` are in the backing file now (and on the disk, if `is_synced`).

        With `inode` its row is put in the same transaction. The last missing byte makes the file FULL.
        """
        record, present = live.record, live.present
        assert record is not None and present is not None
        size_bytes = inode.size_bytes if inode is not None else live.size_bytes
        added = sum(stop - start for wide in ranges for start, stop in present.missing(*wide))
        is_whole = present.total_bytes + added >= size_bytes
        self.recharge(live)
        record = evolve(
            record,
            residency=Residency.FULL if is_whole else Residency.PARTIAL,
            boot_id=record.boot_id if self.is_unproven(record) else self.index.boot_id,
            synced=record.synced and is_synced,
            bytes_charged=live.charged_bytes,
        )
        covered = [] if is_whole else [spill for spill in self.spills(live) if _is_covered(present, ranges, spill)]
        gone = self.spills(live) if is_whole else covered
        with self.index.transaction() as txn:
            if is_whole:
                residency.extents_clear(txn, live.ino)
            else:
                for start, stop in ranges:
                    residency.extents_add(txn, live.ino, start, stop)
            residency.hot_put(txn, live.ino, record)
            self.ranks.keep_clock(txn)
            self.release_spills(txn, live.ino, gone)
            for found in checksums:
                sums.add(txn, live.ino, found)
            if inode is not None:
                inodes.put(txn, inode)
        live.record = record
        live.spills = [spill for spill in live.spills if spill not in gone]
        if is_whole:
            live.present = None
            self._sync_backing_times(live)
        else:
            for start, stop in ranges:
                present.add(start, stop)

    def _sync_backing_times(self, live: LiveFile) -> None:
        """From now on size and mtime of a file with a writer are those of the backing file (see `refresh`)."""
        if live.writers:
            inode = self.current(live, self.inode(live.ino), look=False)
            live.open_backing.set_times(atime_ns=inode.atime_ns, mtime_ns=inode.mtime_ns)
            live.seen = (live.size_bytes, inode.mtime_ns)
            live.alterations += 1

    def remove_present(self, live: LiveFile, ranges: list[tuple[int, int]], *, spill: Spill | None = None) -> int:
        """Gives the blocks of `ranges` back; with `spill`, their bytes are there from now on. Returns bytes freed.

        The caller has seen that the bytes are in the bucket, and that nobody reads or writes them here.
        """
        record = live.record
        assert record is not None
        assert not self.lending.has(live.ino) and not self.lending.serves(live.ino), "others would read a hole"
        if live.present is None and live.writers:
            self.refresh(live)
        present = ExtentSet(live.local_ranges())
        with self.index.transaction() as txn:
            if live.present is None:
                # size and times of a FULL file with a writer are the backing file's, of a PARTIAL one the index's
                if live.has_news:
                    inodes.put(txn, self.current(live, self.inode(live.ino), look=False))
                residency.extents_clear(txn, live.ino)
                residency.extents_add(txn, live.ino, 0, live.size_bytes)
            for start, stop in ranges:
                residency.extents_remove(txn, live.ino, start, stop)
                sums.remove(txn, live.ino, start, stop)
            if spill is not None:
                residency.spill_put(txn, live.ino, spill)
            partial = evolve(record, residency=Residency.PARTIAL)
            residency.hot_put(txn, live.ino, partial)
        live.record = partial
        for start, stop in ranges:
            present.remove(start, stop)
        live.present = present
        if spill is not None:
            live.spills = sorted([*self.spills(live), spill], key=lambda each: each.start)
        before = live.charged_bytes
        live.open_backing.unlabel()  # a hole of it is no longer zeros of the file
        live.alterations += 1
        for start, stop in ranges:
            if live.checks is not None:
                live.checks.discard(start, stop)
            self._punch(live, present, start, stop)
        self.recharge(live)
        return before - live.charged_bytes

    @staticmethod
    def _punch(live: LiveFile, present: ExtentSet, start: int, stop: int) -> None:
        """Frees every block of which nothing is present: also those that earlier ranges left at their edges.

        No fetch is landing in them: whoever comes here holds `mutate`, or has seen that nobody does.
        """
        first = start // _DISK_BLOCK_BYTES * _DISK_BLOCK_BYTES
        last = -(-stop // _DISK_BLOCK_BYTES) * _DISK_BLOCK_BYTES
        if present.within(first, start):
            first += _DISK_BLOCK_BYTES
        if present.within(stop, last):
            last -= _DISK_BLOCK_BYTES
        if first < last:
            live.open_backing.punch(first, last)

    def drop(self, live: LiveFile) -> int:
        """Nothing of the file is here any more. Returns bytes freed. The caller has seen that nobody uses them."""
        with self.index.transaction() as txn:
            residency.hot_delete(txn, live.ino, remembers=True)
            residency.extents_clear(txn, live.ino)
            self.release_spills(txn, live.ino, self.spills(live))
        freed = live.charged_bytes
        self.remove_file(live.ino)
        self.space.release(freed)
        if live.backing is not None:
            live.backing.close()
        live.backing = live.record = None
        live.charged_bytes = 0
        live.spills = []
        live.present = ExtentSet() if live.size_bytes else None
        live.checks = RangeChecks()
        live.alterations += 1
        return freed

    def spills(self, live: LiveFile) -> list[Spill]:
        """The file's spills as the index has them: a finished export releases them there."""
        if live.spills:
            live.spills = residency.spills(self.index, live.ino)
        return live.spills

    def release_spills(self, txn: Txn, ino: int, spills: list[Spill]) -> None:
        """The spills' bytes are elsewhere by now: their objects are to be deleted, by an intent."""
        now_ns = self.clock.now_ns()
        for spill in spills:
            residency.spill_delete(txn, ino, spill.start)
            intents.add_tombstone(txn, spill.key, spill.etag, now_ns)

    # ---- size and times of files that are written ----

    def adopt(self, live: LiveFile, stat: BackingStat) -> None:
        """The content changed: size and times are what the backing file says."""
        live.size_bytes = stat.size_bytes
        live.mtime_ns = stat.mtime_ns
        live.ctime_ns = stat.ctime_ns
        live.seen = (stat.size_bytes, stat.mtime_ns)
        live.has_news = True

    def refresh(self, live: LiveFile) -> None:
        """Looks whether a FULL file with a writer was changed past us (through the kernel, on its backing file)."""
        if live.writers and live.present is None and live.backing is not None:
            stat = live.backing.stat()
            if (stat.size_bytes, stat.mtime_ns) != live.seen:
                live.content_version += 1
                live.checks = None
                self.adopt(live, stat)

    def current(self, live: LiveFile, inode: Inode, *, look: bool = True) -> Inode:
        """The inode with size and times of this moment."""
        if look:
            self.refresh(live)
        if not live.has_news:
            return inode
        return evolve(
            inode,
            size_bytes=live.size_bytes,
            mtime_ns=live.mtime_ns,
            ctime_ns=max(inode.ctime_ns, live.ctime_ns),
        )

    def publish(self, live: LiveFile, *, is_last: bool = False) -> None:
        """Size and times go to the index; what was changed past us is marked dirty.

        `is_last`: and the file is no longer `writing`.
        """
        inode = inodes.get(self.index, live.ino)
        if inode is None:
            return
        inode, record = self.current(live, inode), live.record
        if is_last and record is not None:
            self.recharge(live)
            record = evolve(record, writing=False, bytes_charged=live.charged_bytes)
        if live.content_version != live.marked_version:
            self.mark(live, inode, record)
            return
        if live.has_news or is_last:
            with self.index.transaction() as txn:
                if live.has_news:
                    inodes.put(txn, inode)
                if is_last and record is not None:
                    residency.hot_put(txn, live.ino, record)
            live.record = record
            live.has_news = False

    def mark(self, live: LiveFile, inode: Inode | None = None, record: HotRecord | None = None) -> None:
        """The content differs from the base object from now on: flags, write_seq and the intent.

        What is given of `inode` and `record` is put in the same transaction.
        """
        inode = inode or self.current(live, self.inode(live.ino))
        record = record or live.record
        assert record is not None
        with self.index.transaction() as txn:
            quiet_s = self.quiet_s_of(txn, inode)
            intents.mark_dirty(txn, inode, InodeFlag.DATA_DIRTY, now_ns=self.clock.now_ns(), quiet_s=quiet_s)
            if InodeFlag.DATA_DIRTY not in inode.flags and (record.synced or self.is_unproven(record)):
                record = evolve(record, synced=False, boot_id=self.index.boot_id)
            if record is not live.record:
                residency.hot_put(txn, live.ino, record)
        live.record = record
        live.has_news = False
        live.is_marked = True
        live.marked_version = live.content_version
        live.checks = None


def is_clean(inode: Inode) -> bool:
    """All its bytes are in the bucket."""
    return InodeFlag.DATA_DIRTY not in inode.flags and (inode.base is not None or inode.size_bytes == 0)


def _is_covered(present: ExtentSet, ranges: list[tuple[int, int]], spill: Spill) -> bool:
    """Does every byte of the spill have a newer one here, once `ranges` are present?"""
    gaps = ExtentSet(present.missing(spill.start, spill.stop))
    for start, stop in ranges:
        gaps.remove(start, stop)
    return not gaps
