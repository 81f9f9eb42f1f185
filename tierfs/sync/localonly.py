"""What a rule ignores stays here: an inode of such a path is never written to the bucket, nor deleted there.

In place of an export its intent goes, and InodeFlag.LOCAL says that nothing is missing: nobody waits for it, and its
bytes, which stay dirty, are never evicted. What the index knew of the bucket there before (a base, at a key that is
ignored, too) stays what absent bytes are read from. A file that was renamed to such a path has its object elsewhere
still: that goes, once all bytes are here and would outlast a power loss.

Where a rule is taken away, a later start gives the inodes that are no longer ignored an intent (`review`).

Checkpoints: `keep` where it asks for bytes and for their sync, `leave_tree` and `review` between pages; `leaves` has
none. What any of them meets afterwards is read from the index anew.
"""

import errno
import json
import logging
from collections.abc import Callable
from typing import Final

import trio

from tierfs.clock import Clock
from tierfs.content.handles import Files
from tierfs.content.snapshot import WhereKind
from tierfs.errors import FsError
from tierfs.index import dirents, inodes, intents, links, settings
from tierfs.index import locations as rows
from tierfs.index.env import Index, Txn
from tierfs.model import Base, Inode, InodeFlag, Intent, revise
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.prefixes import Mode, Rules
from tierfs.sync import attributes
from tierfs.sync.claims import Claims
from tierfs.sync.disputes import Disputes
from tierfs.sync.outcomes import BlockedError
from tierfs.sync.pathrules import PathRules
from tierfs.sync.paths import display_path, find_place
from tierfs.sync.plan import Plan
from tierfs.sync.records import bury

_ROW: Final = "ignored"
_PAGE: Final = 256
_log: Final = logging.getLogger(__name__)


class LocalOnly:
    """See the module. Made by the exporter."""

    def __init__(
        self,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        *,
        disputes: Disputes,
        claims: Claims,
        rules: PathRules,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._files = files
        self._clock = clock
        self._disputes = disputes
        self._claims = claims
        self._rules = rules

    def holds(self, inode: Inode) -> bool:
        """Is the inode one of those that stay here?"""
        return inode.parent != 0 and self._rules.ignores(self._index, inode)

    # ---- in place of exports ----

    async def keep(self, inode: Inode, work: Plan) -> bool:
        """In place of a write: the inode has no intent afterwards. False: look at it anew.

        `work`: what would be written. BlockedError, StoreError; FsError, ENOSPC where the hot tier has no room for
        bytes that only the bucket has.
        """
        if inode.base is None or self._rules.ignores_key(self._index, work.source):
            return self._rest(inode.ino)
        with self._claims.try_hold([work.source]) as is_held:
            if not is_held:
                raise BlockedError(f"{work.source!r} is in use")
            if inode.is_regular and not await self._bring(inode, work):
                return False
            self._detach(inode, work.source)
        return False

    def _rest(self, ino: int) -> bool:
        with self._index.transaction() as txn:
            inode, intent = inodes.get(txn, ino), intents.of_inode(txn, ino)
            if inode is None or intent is None or not self.holds(inode):
                return False
            intents.delete(txn, intent.seq)
            inodes.put(txn, revise(inode, flags=inode.flags | InodeFlag.LOCAL))
        return True

    async def _bring(self, inode: Inode, work: Plan) -> bool:
        """All bytes of the file are here, are the truth from now on, and survive power loss; False: look at it anew."""
        if not await self._claim_bytes(inode):
            info = await attributes.head(self._store, work.source)
            if info is None or inode.base is None or info.etag != inode.base.etag:
                await self._disputes.source_changed(inode.ino, work, info)
                return False
            if not await self._files.warm(inode.ino) or not await self._claim_bytes(inode):
                path = display_path(self._index, inode.ino)
                raise FsError(errno.ENOSPC, f"{path} has to be kept here, and the hot tier has no room for it")
        await self._index.durable()
        return True

    async def _claim_bytes(self, inode: Inode) -> bool:
        """Marks them dirty, so that they cannot be evicted; False where some are only in the base object."""
        async with self._files.snapshot(inode.ino) as snapshot:  # which syncs them
            if any(where.kind is WhereKind.BASE for _, _, where in snapshot.ranges()):
                return False
            with self._index.transaction() as txn:
                current = inodes.get(txn, inode.ino)
                if current is not None and current.parent != 0 and current.base == inode.base:
                    inodes.put(txn, revise(current, flags=current.flags | InodeFlag.DATA_DIRTY))
        return True

    def _detach(self, inode: Inode, key: str) -> None:
        """The object at the key is no longer the inode's, and goes, unless something happened meanwhile."""
        dirty = InodeFlag.DATA_DIRTY if inode.is_regular else InodeFlag.META_DIRTY
        with self._index.transaction() as txn:
            current = inodes.get(txn, inode.ino)
            if current is None or current.base != inode.base or not self.holds(current):
                return
            if self._locations.actual_key(txn, current) != key:
                return
            self._bury(txn, key, current.base)
            for link in links.all(txn, inode.ino) if not inode.is_dir else ():
                self._bury(txn, self._locations.actual_link_key(txn, link.parent, link.name), link.base)
                links.put(txn, inode.ino, link.parent, link.name, None)
            rows.clear_location(txn, inode.ino)
            inodes.put(txn, revise(current, base=None, flags=current.flags | dirty))

    def _bury(self, txn: Txn, key: str, base: Base | None) -> None:
        if base is not None and not self._rules.ignores_key(txn, key):
            bury(txn, key, base.etag, self._clock.now_ns())

    def leaves(self, tombstone: Intent) -> bool:
        """In place of a delete: the object stays in the bucket, if it lies where the tree is ignored."""
        if not self._rules.ignores_key(self._index, tombstone.key):
            return False
        with self._index.transaction() as txn:
            intents.delete(txn, tombstone.seq)
        return True

    async def leave_tree(self, top: int) -> None:
        """In place of the move of a renamed directory's objects: each inode that has one is told where it stays."""
        while (prefix := rows.override(self._index, top)) is not None:
            waiting = [top]
            while waiting:
                directory, after = waiting.pop(), b""
                while page := dirents.page(self._index, directory, after, _PAGE):
                    after = page[-1].name
                    with self._index.transaction() as txn:
                        waiting += [entry.ino for entry in page if self._leave_object(txn, directory, entry.name)]
                    await trio.lowlevel.checkpoint()
            if rows.override(self._index, top) == prefix:
                with self._index.transaction() as txn:
                    rows.clear_override(txn, top)
                self._locations.forget_prefixes()

    def passes_over(self, top: int, prefix: str, key: str) -> bool:
        """Whether the object at a key stays there, although the directory `top` takes all else away from `prefix`."""
        if not self._rules.ignores_key(self._index, key):
            return False
        place = find_place(self._index, key.removeprefix(prefix), top=top)
        if place is not None:
            with self._index.transaction() as txn:
                self._leave_object(txn, place.parent, place.name)
        return True

    def _leave_object(self, txn: Txn, directory: int, name: bytes) -> bool:
        """Whether it is a directory whose objects are found by that of the one above."""
        entry = dirents.get(txn, directory, name)
        inode = inodes.get(txn, entry.ino) if entry is not None else None
        if inode is None:
            return False
        if (inode.parent, inode.name) != (directory, name):
            links.put(txn, inode.ino, directory, name, None)
        elif inode.base is not None and rows.location(txn, inode.ino) is None:
            rows.set_location(txn, inode.ino, self._locations.actual_key(txn, inode))
            inodes.put(txn, revise(inode, flags=inode.flags | InodeFlag.LOCAL))
        return inode.is_dir and rows.override(txn, inode.ino) is None

    # ---- when the rules have changed ----

    async def review(self, wake: Callable[[], None]) -> None:
        """What is no longer ignored since an earlier start is exported, and what was left out of listings comes in.

        `wake`: the exporter, as there are new intents.
        """
        known, current = settings.get(self._index, _ROW), _digest(self._rules.rules)
        if known == current or (known is None and not self._rules.rules.ignores_some):
            return
        after, count = 0, 0
        try:
            while known is not None and (page := inodes.page(self._index, after, _PAGE)):
                after = page[-1].ino
                with self._index.transaction() as txn:
                    count += sum(self._review_one(txn, inode) for inode in page)
                await trio.lowlevel.checkpoint()
            with self._index.transaction() as txn:
                settings.put(txn, _ROW, current)
        except FsError as refusal:
            _log.warning("the index does not take what the rules let go: %s; the next mount tries it again", refusal,
                         extra={"event": "TFS6003"})  # fmt: skip
        if count:
            _log.info("%d files and directories are no longer kept out of the bucket", count)
            wake()

    def _review_one(self, txn: Txn, inode: Inode) -> bool:
        if inode.is_dir and inode.listed_ns:
            inode = revise(inode, listed_ns=0)
            inodes.put(txn, inode)
        if InodeFlag.LOCAL not in inode.flags or self.holds(inode):
            return False
        if inode.parent != 0:
            intents.mark_dirty(txn, inode, InodeFlag.META_DIRTY, now_ns=self._clock.now_ns(), quiet_s=0)
        return inode.parent != 0


def _digest(rules: Rules) -> bytes:
    """What has to be the same for the same paths to be ignored."""
    return json.dumps([("/".join(rule.pattern), rule.mode is Mode.IGNORE) for rule in rules.rules]).encode()
