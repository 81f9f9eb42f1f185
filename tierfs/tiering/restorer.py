"""Files brought back from an archive: asked for in batches, looked after over restarts, fetched when they can be read.

Who wants a file has it entered in the index; some seconds later all that were wanted by then are asked for together.
The bucket is asked by HEAD, ever so often within the time that the class takes, until the object can be read; then
those who wait are woken, what waited in the export goes on, and the bytes are fetched. A file that was removed, or
whose object went or was replaced, is forgotten. `policy.restores` has the stages.

Shared between tasks: who waits, in sync code. Checkpoints: the requests, and `wait`.
"""

import errno
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio
from attrs import frozen

from tierfs.clock import Clock
from tierfs.errors import FsError, StoreError, StoreErrorKind, TierfsError
from tierfs.index import inodes, restores
from tierfs.index.env import Index
from tierfs.model import Inode
from tierfs.objectstore.archives import restore_state
from tierfs.objectstore.base import ObjectInfo, ObjectStore, RestoreSpeed
from tierfs.policy.classes import Speed, speed_of
from tierfs.policy.restores import Restore, Seen, Stage, asked, failed, postponed, seen
from tierfs.units import NS_PER_S, format_size

_ROWS_MAX: Final = 1_000_000
_PAGE_ROWS: Final = 256
_REQUESTS_AT_A_TIME: Final = 16
_FETCHES_AT_A_TIME: Final = 4
_IDLE_S: Final = 300.0
_GONE: Final = frozenset({StoreErrorKind.NOT_FOUND, StoreErrorKind.PRECONDITION_FAILED})
_SPEEDS: Final[Mapping[Speed, RestoreSpeed]] = {
    Speed.EXPEDITED: RestoreSpeed.EXPEDITED,
    Speed.STANDARD: RestoreSpeed.STANDARD,
    Speed.BULK: RestoreSpeed.BULK,
}
_log: Final = logging.getLogger(__name__)


@frozen
class RestoreSettings:
    """`batch_s`: how long what is wanted first waits for others. `look_s`: the longest time between two looks."""

    days: int = 7
    speed: Speed = Speed.STANDARD
    batch_s: float = 5.0
    look_s: float = 900.0


@frozen
class Progress:
    """All that are on their way. `ready_ns`: when the last of them should be readable, 0 while nobody can say."""

    files: int = 0
    size_bytes: int = 0
    failed: int = 0
    ready_ns: int = 0


class Restorer:
    """See the module. `run` once in a nursery."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        clock: Clock,
        settings: RestoreSettings,
        locate: Callable[[Inode], str],
        fetch: Callable[[int], Awaitable[bool]],
        on_stale: Callable[[int], None],
        retry_export: Callable[[int], None],
    ) -> None:
        """`locate`: the key of an inode's object. `fetch`: brings a file here, False when there is no room.
        `retry_export`: a change of the inode that waits for its object is tried now."""
        self._index = index
        self._store = store
        self._clock = clock
        self._settings = settings
        self._locate = locate
        self._fetch = fetch
        self._on_stale = on_stale
        self._retry_export = retry_export
        self._wake = trio.Event()
        self._batch_ns = 0
        self._waiting: dict[int, trio.Event] = {}
        self._fetching: set[int] = set()
        self._fetches = trio.CapacityLimiter(_FETCHES_AT_A_TIME)

    # ---- asking ----

    def want(self, inode: Inode, *, speed: Speed | None = None, days: int | None = None) -> Restore:
        """The file shall come back; one that is on its way stays as it was asked for. EAGAIN when too many are."""
        known = restores.get(self._index, inode.ino)
        assert inode.base is not None, "what is not in the bucket is not in its archive"
        if known is not None and known.stage is not Stage.FAILED and known.etag == inode.base.etag:
            return known
        if restores.count(self._index) >= _ROWS_MAX:
            raise FsError(errno.EAGAIN, f"{_ROWS_MAX} files are on their way from the archive already")
        now_ns = self._clock.now_ns()
        if self._batch_ns <= now_ns:
            self._batch_ns = now_ns + int(self._settings.batch_s * NS_PER_S)
            self._wake.set()
        wanted = Restore(
            inode.base.etag, inode.base.storage_class, inode.size_bytes, speed or self._settings.speed,
            days or self._settings.days, now_ns, self._batch_ns,
        )  # fmt: skip
        self._put(inode.ino, wanted)
        return wanted

    async def wait(self, ino: int) -> None:
        """Returns when the file can be read, or is not on its way any more. StoreError when its restore failed."""
        while (restore := restores.get(self._index, ino)) is not None and restore.stage is not Stage.READY:
            if restore.stage is Stage.FAILED:
                raise StoreError(StoreErrorKind.ARCHIVED, f"it could not be restored: {restore.message}")
            await self._waiting.setdefault(ino, trio.Event()).wait()

    def find(self, ino: int) -> Restore | None:
        """What is known of the file's restore."""
        return restores.get(self._index, ino)

    def progress(self) -> Progress:
        """Of all."""
        files = size_bytes = fails = ready_ns = after = 0
        while page := restores.page(self._index, after, _PAGE_ROWS):
            after = page[-1][0]
            for _, restore in page:
                if restore.stage is Stage.FAILED:
                    fails += 1
                    continue
                files, size_bytes = files + 1, size_bytes + restore.size_bytes
                ready_ns = max(ready_ns, restore.ready_ns)
        return Progress(files, size_bytes, fails, ready_ns)

    # ---- the engine ----

    async def run(self) -> None:
        """Looks after all of them until it is cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                next_ns = await self._round(nursery)
                pause_s = _IDLE_S if next_ns is None else max(0.0, (next_ns - self._clock.now_ns()) / NS_PER_S)
                with trio.move_on_after(min(_IDLE_S, pause_s)):
                    await self._wake.wait()

    async def _round(self, fetchers: trio.Nursery) -> int | None:
        """Does what is due; returns when something is due next."""
        slots, taken = trio.CapacityLimiter(_REQUESTS_AT_A_TIME), list[Restore]()
        after, next_ns = 0, None
        async with trio.open_nursery() as nursery:
            while page := restores.page(self._index, after, _PAGE_ROWS):
                after = page[-1][0]
                for ino, restore in page:
                    if restore.stage is Stage.READY:
                        self._start_fetch(fetchers, ino)
                    elif restore.stage is not Stage.FAILED and restore.next_ns <= self._clock.now_ns():
                        await slots.acquire_on_behalf_of(ino)
                        nursery.start_soon(self._step, ino, slots, taken)
                await trio.lowlevel.checkpoint()
        self._tell_of(taken)
        after = 0
        while page := restores.page(self._index, after, _PAGE_ROWS):
            after = page[-1][0]
            due = [each.next_ns for _, each in page if each.stage in (Stage.WANTED, Stage.ASKED)]
            next_ns = min([*due, *([next_ns] if next_ns is not None else [])], default=None)
            if any(ino not in self._fetching for ino, each in page if each.stage is Stage.READY):
                return self._clock.now_ns()
        return next_ns

    async def _step(self, ino: int, slots: trio.CapacityLimiter, taken: list[Restore]) -> None:
        try:
            restore, inode = restores.get(self._index, ino), inodes.get(self._index, ino)
            if restore is None:
                return
            if inode is None or inode.base is None or inode.base.etag != restore.etag:
                self._forget(ino)
                return
            try:
                fresh = await self._advanced(restore, self._locate(inode))
            except StoreError as error:
                fresh = self._after_error(ino, restore, error)
            except TierfsError as error:
                fresh = postponed(restore, self._clock.now_ns(), str(error))
            if fresh is None:
                self._forget(ino)
                self._on_stale(ino)
                return
            if fresh.stage is Stage.ASKED and restore.stage is Stage.WANTED:
                taken.append(fresh)
            self._settle(ino, fresh)
        finally:
            slots.release_on_behalf_of(ino)

    async def _advanced(self, restore: Restore, key: str) -> Restore | None:
        """One step on; None where there is nothing to come back. StoreError."""
        now_ns, look_s = self._clock.now_ns(), self._settings.look_s
        if restore.stage is Stage.WANTED:
            speed = _SPEEDS[speed_of(restore.storage_class, "", restore.speed)]
            try:
                await self._store.restore(key, if_match=restore.etag, days=restore.days, speed=speed)
            except StoreError as error:
                if error.kind is not StoreErrorKind.INVALID or (await self._store.head(key)).archived:
                    raise
                return seen(restore, Seen.READABLE, now_ns, look_s)  # somebody else has had it restored
            return asked(restore, now_ns, look_s)
        info = await self._store.head(key)
        if info.etag != restore.etag:
            return None
        return seen(restore, _what(info), now_ns, look_s)

    def _after_error(self, ino: int, restore: Restore, error: StoreError) -> Restore | None:
        if error.kind in _GONE:
            _log.warning(
                "%r was deleted or replaced while it was archived: nothing of it comes back",
                error.key,
                extra={"event": "TFS9004"},
            )
            return None
        if error.retryable:
            return postponed(restore, self._clock.now_ns(), str(error))
        return failed(restore, str(error))

    def _settle(self, ino: int, fresh: Restore) -> None:
        self._put(ino, fresh)
        if fresh.stage is Stage.FAILED:
            inode = inodes.get(self._index, ino)
            key = self._locate(inode) if inode is not None else ""
            _log.error("%r could not be restored: %s. tierctl restore asks for it again", key, fresh.message,
                       extra={"event": "TFS9002", "key": key})  # fmt: skip
        elif fresh.stage is Stage.READY:
            self._retry_export(ino)
        if fresh.stage in (Stage.FAILED, Stage.READY):
            self._ring(ino)

    def _tell_of(self, taken: list[Restore]) -> None:
        if taken:
            size, ready_ns = sum(each.size_bytes for each in taken), max(each.ready_ns for each in taken)
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(ready_ns / NS_PER_S))
            _log.info("asked for %d archived files, %s; readable by %s", len(taken), format_size(size), when)

    def _start_fetch(self, nursery: trio.Nursery, ino: int) -> None:
        if ino not in self._fetching:
            self._fetching.add(ino)
            nursery.start_soon(self._bring, ino)

    async def _bring(self, ino: int) -> None:
        """The bytes come here; what fails is told, and whoever reads the file fetches it then."""
        try:
            async with self._fetches:
                if not await self._fetch(ino):
                    _log.warning(
                        "a restored file (inode %d) does not fit into the hot tier: it is not fetched",
                        ino,
                        extra={"event": "TFS9005"},
                    )
        except TierfsError as error:
            _log.warning("a restored file (inode %d) was not fetched: %s", ino, error, extra={"event": "TFS9005"})
        finally:
            self._fetching.discard(ino)
        self._forget(ino)

    def _put(self, ino: int, restore: Restore) -> None:
        with self._index.transaction() as txn:
            restores.put(txn, ino, restore)

    def _forget(self, ino: int) -> None:
        with self._index.transaction() as txn:
            restores.delete(txn, ino)
        self._ring(ino)

    def _ring(self, ino: int) -> None:
        if (waiting := self._waiting.pop(ino, None)) is not None:
            waiting.set()


def _what(info: ObjectInfo) -> Seen:
    if not info.archived:
        return Seen.READABLE
    state = restore_state(info)
    return Seen.ONGOING if state is not None and state.is_ongoing else Seen.STILL_ARCHIVED
