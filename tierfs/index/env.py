"""The index: LMDB's open transaction, the journal before it, and when each becomes durable. See the package."""

import contextlib
import errno
import itertools
import os
import secrets
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import attrs
import trio

from tierfs.clock import Clock
from tierfs.errors import ConfigError, FsError, IndexDamageError
from tierfs.faultpoints import Point, reach
from tierfs.index.answers import ANSWERS_KEY, Answers
from tierfs.index.journal import (
    Changes,
    Journal,
    JournalDisk,
    JournalFull,
    Origin,
    OsDisk,
    count_changes,
    encode_changes,
    merge_changes,
    no_changes,
)
from tierfs.index.lmdbenv import EnvFailure, Environment
from tierfs.index.lock import lock_directory
from tierfs.index.options import NODE_MAX, IndexSettings, IndexState, tell
from tierfs.index.schema import Reader, Table
from tierfs.index.state import STATE_KEY, StateRow, read_boot_id
from tierfs.index.totals import Totals
from tierfs.index.txn import Txn
from tierfs.units import MIB, NS_PER_S

__all__ = ["Index", "IndexSettings", "IndexState", "Reader", "Table", "Txn"]

_INO_BATCH: Final = 1 << 20
_FIRST_INO: Final = 16  # counter part; 1 is the root, the others are kept for later
_SEQ_EPOCH_SHIFT: Final = 40
_STALL_RETRY_NS: Final = 2 * NS_PER_S
_COMMIT_SHARE: Final = 20  # a commit blocks the event loop: at most a twentieth of the time


class Index(Reader):
    """See the package. Made by `open`; event-loop thread only.

    `state` and `reason` say how it is; `on_state` is called at each change of them (default: the log).
    """

    def __init__(self, directory: Path, clock: Clock, settings: IndexSettings, disk: JournalDisk, lock_fd: int) -> None:
        self.directory = directory
        self.clock = clock
        self.settings = settings
        self.state = IndexState.HEALTHY
        self.reason = ""
        self.on_state: Callable[[IndexState, str], None] = tell
        self.was_unclean_boot = False
        self.node = 0
        self.identity = 0  # random, of this index and no other
        self.epoch = 0
        self.boot_id = 0
        self._lock_fd = lock_fd
        self._env = Environment(directory / "lmdb", settings.map_size_bytes)
        self.totals = Totals(self._env)
        self.answers = Answers()
        segment_bytes, segment_count = settings.journal_segment_bytes, settings.journal_segments
        self._journal = Journal(directory / "journal", disk, segment_bytes=segment_bytes, segment_count=segment_count)
        self._row = StateRow(0, 0, 0, 0, 0, True, False, 0, 0)  # as last committed
        self._next_ino = 0
        self._next_seq = 0
        self._next_op = itertools.count(1)
        self._txn: Txn | None = None
        self._uncommitted = 0  # changes
        self._changed = trio.Event()
        self._commit_duration_s = 0.0
        self._is_recovered = False
        self._stalled_ns = 0
        self._commit_errno = errno.EIO
        self._syncing: trio.Event | None = None
        self._sync_limiter = trio.CapacityLimiter(1)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        clock: Clock,
        settings: IndexSettings,
        boot_id: int | None = None,
        disk: JournalDisk | None = None,
        unanswered: AbstractSet[int] = frozenset(),
    ) -> "Index":
        """Opens or makes the index in `directory` (made 0700) and replays its journal. `unanswered`: see Answers.

        Raises CacheBusyError (another process has it), IndexDamageError (damaged, or of a newer version),
        FsError with the disk's errno (no room for the journal, not writable).
        """
        try:
            for path in (directory, directory / "journal", directory / "lmdb"):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.chmod(0o700)
            lock_fd = lock_directory(directory)
        except OSError as error:
            raise FsError(error.errno or errno.EIO, f"cannot use {directory}: {error.strerror}") from error
        index = cls(directory, clock, settings, disk or OsDisk(), lock_fd)
        try:
            index._start(read_boot_id() if boot_id is None else boot_id, unanswered)
        except BaseException:
            index._release()
            raise
        return index

    def _start(self, boot_id: int, unanswered: AbstractSet[int]) -> None:
        self._env.open()
        row = self._load_row()
        replayed = row
        try:
            self.totals.load(row.applied_lsn)
            self.answers.load(self._env.get(Table.SETTINGS, ANSWERS_KEY), unanswered)
            for record in self._journal.replay(row.index_id, row.epoch, row.applied_lsn):
                self.totals.apply(record.changes)
                self.answers.replayed(record.token)
                replayed = attrs.evolve(replayed, applied_lsn=record.lsn)
                self._uncommitted += count_changes(record.changes)
                if self._uncommitted >= self.settings.max_uncommitted_changes:
                    self._write_row(replayed)
            self.node, self.identity = row.node, row.index_id
            self.epoch = row.epoch + 1
            self.boot_id = boot_id
            crashed = row.epoch > 0 and not row.is_clean and row.boot_id != boot_id
            self.was_unclean_boot = row.is_unrecovered or crashed
            self._next_ino = row.ino_bound
            self._next_seq = self.epoch << _SEQ_EPOCH_SHIFT
            bound = row.ino_bound + _INO_BATCH
            # from here on the journal's old records are void: the new epoch is durable before anything is appended
            self._write_row(
                attrs.evolve(
                    replayed,
                    epoch=self.epoch,
                    boot_id=boot_id,
                    is_clean=False,
                    is_unrecovered=self.was_unclean_boot,
                    ino_bound=bound,
                )
            )
        except EnvFailure as failure:
            raise FsError(failure.errno, f"cannot replay the journal in {self.directory}: {failure}") from failure
        self._journal.start(
            Origin(row.index_id, self.node, self.epoch),
            next_lsn=replayed.applied_lsn + 1,
            now_ns=self.clock.now_ns(),
        )

    def _load_row(self) -> StateRow:
        stored = self._env.get(Table.SETTINGS, STATE_KEY)
        if stored is not None:
            row = StateRow.decode(stored)
            if self.settings.node not in (0, row.node):
                raise ConfigError(f"the index was made as node {row.node}, the settings say {self.settings.node}")
            return row
        return StateRow.new(self.settings.node or 1 + secrets.randbelow(NODE_MAX), _FIRST_INO, self.clock.now_ns())

    # --- reading

    def get(self, table: Table, key: bytes) -> bytes | None:
        """See Reader."""
        try:
            return self._env.get(table, key)
        except EnvFailure as error:
            raise self._unreadable(error) from error

    def scan(self, table: Table, start: bytes, stop: bytes, *, limit: int) -> list[tuple[bytes, bytes]]:
        """See Reader."""
        try:
            return self._env.scan(table, start, stop, limit)
        except EnvFailure as error:
            raise self._unreadable(error) from error

    def last_before(self, table: Table, key: bytes, floor: bytes) -> tuple[bytes, bytes] | None:
        """See Reader."""
        try:
            return self._env.last_before(table, key, floor)
        except EnvFailure as error:
            raise self._unreadable(error) from error

    def count(self, table: Table) -> int:
        """See Reader."""
        try:
            return self._env.count(table)
        except EnvFailure as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> IndexDamageError:
        if self.state is IndexState.CLOSED:
            return IndexDamageError("the index is closed", errno=errno.ESHUTDOWN)
        self.freeze(f"the index cannot be read: {error}")
        return IndexDamageError(self.reason)

    @property
    def entries(self) -> int:
        """Inodes."""
        return self.count(Table.INODES)

    @property
    def size_on_disk_bytes(self) -> int:
        """LMDB's file and the journal, as allocated."""
        data = self._env.data_path.stat().st_blocks * 512
        return data + self.settings.journal_segment_bytes * self.settings.journal_segments

    @property
    def uncommitted_changes(self) -> int:
        """Rows that only the journal has made safe."""
        return self._uncommitted

    # --- numbers that are never given out twice, whatever crashes

    def next_ino(self) -> int:
        """A new inode number: the node in the 16 high bits, then a counter whose bound LMDB has committed.

        Raises FsError where a new bound cannot be committed.
        """
        number = self._next_ino
        if number >= self._row.ino_bound:
            self.commit()
        self._next_ino = number + 1
        return self.node << 48 | number

    def next_seq(self) -> int:
        """The number of a new intent; rises over restarts."""
        self._next_seq += 1
        return self._next_seq

    def next_op_id(self) -> str:
        """ "<node>-<epoch>-<counter>" in hex, written as tierfs-op to the bucket."""
        return f"{self.node:x}-{self.epoch:x}-{next(self._next_op):x}"

    # --- mutations

    def transaction(self, *, token: int = 0, job: int = 0) -> Txn:
        """Begins the one mutation of this moment; see Txn. Sync code only, never across an await.

        Raises FsError: EROFS when read-only, ENOSPC when the journal is full and LMDB cannot commit.
        """
        if self._txn is not None:
            raise RuntimeError("a transaction is open already")
        if self.state is not IndexState.HEALTHY:
            self._refuse_or_wait()
        self._txn = txn = Txn(self, token, job)
        return txn

    def _refuse_or_wait(self) -> None:
        if self.state is not IndexState.STALLED:
            raise FsError(errno.EROFS, f"the index is {self.state.value}: {self.reason}")
        has_room = self._journal.room_bytes >= min(MIB, self._journal.max_payload_bytes // 2)
        is_crowded = self._uncommitted >= 4 * self.settings.max_uncommitted_changes
        if (is_crowded or not has_room) and not (self._may_retry() and self._try_commit()):
            raise FsError(self._commit_errno, f"the journal is full and the index cannot commit: {self.reason}")

    def _leave(self, txn: Txn, is_normal: bool) -> None:
        self._txn = None
        if not is_normal:
            return
        changes = txn.changes()
        if not any(changes) and not txn.token:
            return
        payload = encode_changes(changes)
        lsn = self._append(payload, txn.token, txn.job)
        reach(Point.JOURNAL_WRITTEN)
        try:
            self.totals.apply(changes)
        except EnvFailure as failure:
            try:
                self._journal.retract(lsn, len(payload))  # the caller gets an error: no replay may find the record
            finally:
                self._rebuild(failure)
            raise FsError(failure.errno, f"the index cannot take the change: {failure}") from failure
        if txn.token:
            self.answers.made(txn.token)
        self._note_changes(count_changes(changes))

    def _note_changes(self, count: int) -> None:
        if not self._uncommitted:
            self._changed.set()
        self._uncommitted += count
        if self._uncommitted >= self.settings.max_uncommitted_changes and self._may_retry():
            self._try_commit()

    def _append(self, payload: bytes, token: int, job: int) -> int:
        op = next(self._next_op)
        try:
            try:
                return self._journal.append(payload, op=op, token=token, job=job)
            except JournalFull:
                self.commit()
                return self._journal.append(payload, op=op, token=token, job=job)
        except FsError:
            if self._journal.failure:
                self._journal_failed()
            raise

    # --- commit and durability

    def commit(self) -> None:
        """Commits to LMDB, durably, now. Raises FsError; nothing acknowledged is lost then."""
        if not self._try_commit():
            raise FsError(self._commit_errno, self.reason)

    def _try_commit(self, *, is_clean: bool = False) -> bool:
        if not self._env.is_open:
            return False
        bound = self._row.ino_bound
        if bound - self._next_ino < _INO_BATCH // 2:
            bound = self._next_ino + _INO_BATCH
        lsn = self._journal.appended_lsn
        began = time.monotonic()
        try:
            self._write_row(
                attrs.evolve(
                    self._row,
                    applied_lsn=lsn,
                    ino_bound=bound,
                    is_clean=is_clean,
                    is_unrecovered=self._row.is_unrecovered and not self._is_recovered,
                )
            )
        except EnvFailure as failure:
            self._rebuild(failure)
            return False
        self._commit_duration_s = time.monotonic() - began
        self._journal.recycle(lsn)
        if self.state is IndexState.STALLED:
            self._set_state(IndexState.HEALTHY, "")
        return True

    def _write_row(self, row: StateRow) -> None:
        changes = no_changes()
        changes[Table.SETTINGS] = {STATE_KEY: row.encode(), **self.totals.rows(row.applied_lsn), **self.answers.rows()}
        self._env.apply(changes)
        reach(Point.INDEX_COMMITTING)
        self._env.commit()
        reach(Point.INDEX_COMMITTED)
        self._row = row
        self._uncommitted = 0
        if self._changed.is_set():
            self._changed = trio.Event()
        self._env.begin()

    def _rebuild(self, failure: EnvFailure) -> None:
        """LMDB lost the open transaction: begins another from what is committed and applies the journal again.

        Repeating a commit is sound where repeating a journal fdatasync is not: the new transaction
        writes every page again before it syncs. The environment is opened anew, since LMDB refuses all
        work after a failed write of its meta page.
        """
        self._stalled_ns = self.clock.now_ns()
        self._commit_errno = failure.errno
        self._uncommitted = 0
        try:
            self._env.close()
            self._env.open()
            changes = self._replay_own()
            self.totals.load(self._row.applied_lsn)
            self.totals.apply(changes)
            self._uncommitted = count_changes(changes)
        except (EnvFailure, FsError, IndexDamageError) as error:
            self._env.close()
            self.freeze(f"the index cannot be brought back after {failure}: {error}; a restart replays the journal")
            return
        if self._uncommitted:
            self._changed.set()
        if self.state is not IndexState.READ_ONLY:
            self._set_state(IndexState.STALLED, f"the index cannot commit in {self.directory}: {failure}")

    def _replay_own(self) -> Changes:
        """What the journal has beyond LMDB, each row once: what came and went again takes no pages."""
        self._row = StateRow.decode(self._env.get(Table.SETTINGS, STATE_KEY) or b"")
        appended = self._journal.appended_lsn
        changes = no_changes()
        lsn = self._row.applied_lsn
        for record in self._journal.replay(self._row.index_id, self.epoch, lsn):
            if record.lsn > appended:  # written, and refused to its caller
                break
            merge_changes(changes, record.changes)
            lsn = record.lsn
        if lsn != appended:
            raise IndexDamageError(f"the journal ends at {lsn}, not at {appended}")
        return changes

    def _may_retry(self) -> bool:
        """A failed commit costs a replay of the journal: not at every mutation."""
        if self.state is not IndexState.STALLED:
            return True
        return not 0 <= self.clock.now_ns() - self._stalled_ns < _STALL_RETRY_NS

    async def durable(self) -> None:
        """Returns when all that was acknowledged before the call survives power loss.

        Callers that wait at the same time share an fdatasync. May be cancelled and repeated. Raises
        FsError(EIO) when it cannot be known; the index is read-only from then on.
        """
        target = self._journal.appended_lsn
        if self._journal.synced_lsn >= target:
            await trio.lowlevel.checkpoint()
        while self._journal.synced_lsn < target:
            if self._journal.failure:
                raise FsError(errno.EIO, self._journal.failure)
            if self._syncing is not None:
                await self._syncing.wait()
                continue
            self._syncing = done = trio.Event()
            try:
                # cannot be abandoned: a cancelled caller still waits for the thread and wakes the others
                lsn = await trio.to_thread.run_sync(self._journal.sync, limiter=self._sync_limiter)
                self._journal.mark_durable(lsn)
            except FsError:
                self._journal_failed()
            finally:
                self._syncing = None
                done.set()

    def _journal_failed(self) -> None:
        """All that was acknowledged is in LMDB's open transaction: one commit may still save it."""
        self.freeze(self._journal.failure)
        self._try_commit()

    async def run(self) -> None:
        """Commits a few times a second while there is something to commit; runs until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._commit_often)
            nursery.start_soon(self._sync_often)

    async def _commit_often(self) -> None:
        while True:
            await self._changed.wait()
            pause_s = max(self.settings.commit_interval_s, _COMMIT_SHARE * self._commit_duration_s)
            if self.state is not IndexState.HEALTHY:
                pause_s = max(pause_s, _STALL_RETRY_NS / NS_PER_S)
            await trio.sleep(pause_s)
            if self._uncommitted:
                self._try_commit()

    async def _sync_often(self) -> None:
        """Bounds what a power loss can take where commits are slow or fail."""
        while True:
            await self._changed.wait()
            await trio.sleep(self.settings.durability_interval_s)
            if not self._journal.failure:
                with contextlib.suppress(FsError):  # it has made the index read-only, which is how it is told
                    await self.durable()

    # --- states and the end

    def mark_recovered(self) -> None:
        """The hot tier is right again after an unclean boot: the next opening need not look any more.

        Until then `was_unclean_boot` stays true over starts that fail half-way and over clean closes.
        """
        self._is_recovered = True

    def freeze(self, reason: str) -> None:
        """No mutation any more until a restart: whoever finds damage calls this."""
        if self.state in (IndexState.HEALTHY, IndexState.STALLED):
            self._set_state(IndexState.READ_ONLY, reason)

    def _set_state(self, state: IndexState, reason: str) -> None:
        if (state, reason) == (self.state, self.reason):
            return
        self.state = state
        self.reason = reason
        self.on_state(state, reason)

    def close(self) -> None:
        """Commits, marks the index clean, gives everything back. Repeatable.

        Raises FsError when the commit failed; the journal then has it for the next `open`.
        """
        if self.state is IndexState.CLOSED:
            return
        is_committed = self._try_commit(is_clean=self.state is not IndexState.READ_ONLY)
        reason = self.reason
        try:
            if not is_committed:
                self._journal.sync()
        finally:
            self._set_state(IndexState.CLOSED, "")
            self._release()
        if not is_committed:
            raise FsError(self._commit_errno, f"closed without a commit: {reason}")

    def _release(self) -> None:
        self._env.close()
        self._journal.close()
        os.close(self._lock_fd)
