"""The door before archived files: who opens one whose bytes are not here is sent away, made to wait, or refused.

| `archive.open` | the program | the file |
|---|---|---|
| `queue` | gets EAGAIN | is restored: a later open succeeds |
| `block` | waits, at most `open_timeout_s`, then EAGAIN; a signal ends the wait | is restored |
| `fail` | gets EIO | stays archived until somebody asks for it (`tierctl restore`) |

Whether an object of an archive's class can be read (it may have been restored) is asked by HEAD, unless a restore that
was looked at lately says it. Of Intelligent-Tiering only a GET tells that an object is archived: then the read fails,
and what the policy says is done for the next open. Checkpoints: the HEAD, and the wait.
"""

import enum
import errno
import time
from collections.abc import Callable
from typing import Final

import trio
from attrs import frozen

from tierfs.clock import Clock
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import Inode
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.classes import is_archive
from tierfs.policy.restores import Restore, Stage
from tierfs.tiering.restorer import Restorer
from tierfs.units import NS_PER_S

_NOT_HERE: Final = frozenset({StoreErrorKind.NOT_FOUND, StoreErrorKind.ACCESS_DENIED})


class OpenPolicy(enum.StrEnum):
    """See the module."""

    QUEUE = "queue"
    BLOCK = "block"
    FAIL = "fail"


@frozen
class OpenSettings:
    """See the module."""

    policy: OpenPolicy = OpenPolicy.QUEUE
    timeout_s: float = 600.0


class Door:
    """A `content.archive.Keeper`."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        restorer: Restorer,
        clock: Clock,
        settings: OpenSettings,
        locate: Callable[[Inode], str],
    ) -> None:
        self._store = store
        self._restorer = restorer
        self._clock = clock
        self._settings = settings
        self._locate = locate

    async def admit(self, inode: Inode) -> None:
        """See Keeper."""
        if inode.base is None or not is_archive(inode.base.storage_class) or not await self._is_archived(inode):
            return
        if self._settings.policy is OpenPolicy.FAIL:
            raise self._refusal(inode, "it is archived; tierctl restore asks for it", number=errno.EIO)
        restore = self._restorer.want(inode)
        if self._settings.policy is OpenPolicy.BLOCK:
            with trio.move_on_after(self._settings.timeout_s):
                await self._restorer.wait(inode.ino)
                return
        raise self._refusal(inode, f"it is archived, and {self._when(restore)}")

    def met(self, inode: Inode) -> None:
        """See Keeper."""
        if inode.base is not None and self._settings.policy is not OpenPolicy.FAIL:
            self._restorer.want(inode)

    async def _is_archived(self, inode: Inode) -> bool:
        assert inode.base is not None
        known = self._restorer.find(inode.ino)
        if known is not None and known.etag == inode.base.etag:
            if known.stage is Stage.READY:
                return False
            if known.stage is Stage.ASKED and known.next_ns > self._clock.now_ns():
                return True
        try:
            info = await self._store.head(self._locate(inode))
        except StoreError as error:
            if error.kind in _NOT_HERE:
                return False  # who fetches it has the words for that
            raise
        return info.archived and info.etag == inode.base.etag

    def _refusal(self, inode: Inode, message: str, *, number: int = errno.EAGAIN) -> StoreError:
        error = StoreError(StoreErrorKind.ARCHIVED, message, key=self._locate(inode))
        error.errno = number
        return error

    def _when(self, restore: Restore) -> str:
        if restore.stage is Stage.FAILED or not restore.ready_ns:
            return "a restore of it is asked for"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(restore.ready_ns / NS_PER_S))
        return f"on its way back: readable by {when}"
