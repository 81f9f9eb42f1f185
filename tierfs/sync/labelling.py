"""Backing files learn what they are while the bucket has not seen them, so that they can be saved without the index.

Beside all other work: a pass looks at what has been pending for a while and writes the labels that are missing or no
longer right (hottier.labels), in a worker thread. What is exported within seconds, as most files are, never gets one.
Passes take at most a fiftieth of the time. A label moves the ctime of its backing file, so an upload that is just
reading it may have to begin anew; that happens once for a file, if at all.

Checkpoints: between pages of intents. A file may be removed or exported meanwhile: then a label is written in vain, and
the next pass takes it off.
"""

import errno
import logging
from typing import Final

import trio

from tierfs.clock import Clock
from tierfs.errors import FsError
from tierfs.hottier.files import HotFiles
from tierfs.hottier.labels import Label, encode_label
from tierfs.index import inodes, intents, residency
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag, Intent, IntentKind, Residency
from tierfs.sync.paths import text_path
from tierfs.units import NS_PER_S

_PAGE_INTENTS: Final = 256
_PAUSE_S: Final = 10.0
_AGE_NS: Final = 10 * NS_PER_S  # twice the quiet time that files have by default
_PAUSE_SHARE: Final = 50
_log: Final = logging.getLogger(__name__)


class Labeller:
    """See the module. `run` once in a nursery."""

    def __init__(self, *, index: Index, hot: HotFiles, clock: Clock) -> None:
        self._index = index
        self._hot = hot
        self._clock = clock
        self._labelled: set[int] = set()

    async def run(self) -> None:
        """Until it is cancelled; ends by itself where the cache's file system has no extended attributes."""
        pause_s = _PAUSE_S
        while True:
            await trio.sleep(pause_s)
            began_s = trio.current_time()
            try:
                await self.label_pending()
            except FsError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                _log.info("backing files cannot be labelled, so without the index they have no names: %s", error)
                return
            pause_s = max(_PAUSE_S, _PAUSE_SHARE * (trio.current_time() - began_s))

    async def label_pending(self) -> None:
        """One pass."""
        pending: set[int] = set()
        after = 0
        while page := intents.page(self._index, after, _PAGE_INTENTS):
            after = page[-1].seq
            labels = dict(filter(None, map(self._label_of, page)))
            pending.update(labels)
            await self._hot.in_thread(self._hot.put_labels, labels)
        settled = self._labelled - pending
        await self._hot.in_thread(self._hot.put_labels, dict.fromkeys(settled))
        self._labelled = pending

    def _label_of(self, intent: Intent) -> tuple[int, bytes] | None:
        if intent.kind is not IntentKind.RECONCILE or intent.created_ns > self._clock.now_ns() - _AGE_NS:
            return None
        inode, hot = inodes.get(self._index, intent.ino), residency.hot_get(self._index, intent.ino)
        if inode is None or hot is None or not inode.is_regular or InodeFlag.DATA_DIRTY not in inode.flags:
            return None
        return inode.ino, encode_label(self._label(inode, whole=hot.residency is Residency.FULL))

    def _label(self, inode: Inode, *, whole: bool) -> Label:
        base = inode.base
        return Label(
            index=self._index.identity,
            boot=self._index.boot_id,
            path=text_path(self._index, inode.parent, inode.name).lstrip("/"),
            mode=inode.mode,
            uid=inode.uid,
            gid=inode.gid,
            base=base.etag if base is not None else "",
            base_bytes=base.size_bytes if base is not None else 0,
            whole=whole,
        )
