"""Tombstones carried out: objects that lost their inode are deleted, in the version that was known here.

What lies where a rule ignores the tree stays. Three things come before a delete. A live file that belongs at the
same key is written over it instead, so that a reader of the bucket sees the old or the new version and never none. A
directory without a marker gets one before its last object goes, so that it does not vanish for others. And what an
open file still reads of the object is put aside.
"""

import logging
from typing import Final

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.faultpoints import Point, reach
from tierfs.index import dirents, inodes, intents
from tierfs.index.env import Index
from tierfs.model import Inode, Intent
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.sync import attributes
from tierfs.sync.activity import Activity
from tierfs.sync.aside import Aside
from tierfs.sync.claims import Claims
from tierfs.sync.disputes import Disputes
from tierfs.sync.localonly import LocalOnly
from tierfs.sync.outcomes import BlockedError
from tierfs.sync.paths import find_owner
from tierfs.sync.plan import target_key
from tierfs.sync.reconcile import Reconciler

_SIBLINGS_LOOKED_AT: Final = 64
_log: Final = logging.getLogger(__name__)


class Deleter:
    """Carries out DELETE intents."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        claims: Claims,
        disputes: Disputes,
        reconciler: Reconciler,
        aside: Aside,
        activity: Activity,
        local: LocalOnly,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._claims = claims
        self._disputes = disputes
        self._reconciler = reconciler
        self._aside = aside
        self._activity = activity
        self._local = local

    async def delete(self, seq: int) -> None:
        """Returns when the object is gone or turned out not to be ours. BlockedError, StoreError, FsError."""
        tombstone = intents.get(self._index, seq)
        if tombstone is None:
            return
        if self._local.leaves(tombstone):
            return
        successor = self._successor(tombstone.key)
        if successor is not None:
            raise BlockedError(f"{tombstone.key!r} will be written by inode {successor.ino:#x}")
        await self._keep_directory(tombstone.key)
        while await self._aside.free(tombstone.key):
            pass
        with self._claims.try_hold([tombstone.key]) as is_held:
            if not is_held:
                raise BlockedError(f"{tombstone.key!r} is in use")
            if not tombstone.etag:
                await self._disputes.identify(tombstone)
            tombstone = intents.get(self._index, seq)
            if tombstone is not None:
                await self._delete_version(tombstone)

    def _successor(self, key: str) -> Inode | None:
        """The live inode that is about to be written to this key."""
        owner = find_owner(self._index, key)
        if owner is None or intents.of_inode(self._index, owner.ino) is None:
            return None
        if owner.base is not None and self._locations.actual_key(self._index, owner) == key:
            return None
        return owner if target_key(self._index, self._locations, owner) == key else None

    async def _keep_directory(self, key: str) -> None:
        """The parent directory without a marker gets one, if this may be the last object below it."""
        prefix = key[: key.rstrip("/").rfind("/") + 1]
        directory = find_owner(self._index, prefix) if prefix else None
        if directory is None or directory.base is not None or self._has_other_objects(directory.ino, key):
            return
        self._disputes.mark(directory.ino)
        await self._reconciler.reconcile(directory.ino, is_aged=False)

    def _has_other_objects(self, ino: int, key: str) -> bool:
        """A look at some children: is one of them in the bucket for sure?"""
        for entry in dirents.page(self._index, ino, b"", _SIBLINGS_LOOKED_AT):
            child = inodes.get(self._index, entry.ino)
            if child is None or child.base is None:
                continue
            if (child.parent, child.name) == (ino, entry.name) and intents.of_inode(self._index, child.ino) is None:
                return self._locations.actual_key(self._index, child) != key
        return False

    async def _delete_version(self, tombstone: Intent) -> None:
        try:
            await self._store.delete(tombstone.key, if_match=tombstone.etag)
        except StoreError as error:
            if error.kind is not StoreErrorKind.PRECONDITION_FAILED:
                raise
            await self._changed(tombstone)
            return
        self._done(tombstone)

    async def _changed(self, tombstone: Intent) -> None:
        """Another version lies there: our own write that nobody recorded, or somebody else's."""
        info = await attributes.head(self._store, tombstone.key)
        if info is not None and tombstone.op_id and self._disputes.is_ours(tombstone, info):
            await self._store.delete(tombstone.key, if_match=info.etag)
            self._done(tombstone)
        elif info is None:
            self._done(tombstone)
        elif intents.get(self._index, tombstone.seq) == tombstone and self._disputes.deletes(tombstone, info):
            await self._store.delete(tombstone.key, if_match=info.etag)
            self._done(tombstone)

    def _done(self, tombstone: Intent) -> None:
        reach(Point.DELETE_SENT)
        self._activity.note(tombstone.key)
        with self._index.transaction() as txn:
            current = intents.get(txn, tombstone.seq)
            # a tombstone that was renewed meanwhile speaks of another version
            if current is not None and current.etag == tombstone.etag:
                intents.delete(txn, tombstone.seq)
