"""Objects that are in the way of another write or of a delete, and are still needed: they wait under `.tierfs/aside/`.

Two need that: of a ring of renames one object, until its own key is free; and an open file without a name, of which
not every byte is on the local disk, until its last close. The copy is the server's, so neither the size of the file
nor the room in the tier matters, and however long the file stays open nobody waits for its end.
"""

from typing import Final

from attrs import evolve

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.faultpoints import Point, reach
from tierfs.index import inodes, intents, residency
from tierfs.index import locations as rows
from tierfs.index.env import Index
from tierfs.model import Inode, Residency
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import Always, ObjectStore
from tierfs.sync import attributes
from tierfs.sync.claims import Claims
from tierfs.sync.outcomes import BlockedError
from tierfs.sync.plan import ASIDE_PREFIX, Plan, Work
from tierfs.sync.records import Records, Sent

# nobody can read it, wherever it lies
_UNREADABLE: Final = attributes.REFUSALS | {StoreErrorKind.ARCHIVED}


class Aside:
    """Puts objects aside; each is recorded before it is made, so that a crash leaves none."""

    def __init__(
        self, *, index: Index, store: ObjectStore, locations: Locations, records: Records, claims: Claims
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._records = records
        self._claims = claims

    async def put(self, ino: int) -> None:
        """The object of the inode waits under .tierfs/aside/ from now on. BlockedError, StoreError."""
        inode = inodes.get(self._index, ino)
        if inode is None or inode.base is None:
            return
        source = self._locations.actual_key(self._index, inode)
        op_id = self._index.next_op_id()
        key = ASIDE_PREFIX + op_id
        with self._claims.try_hold([source, key]) as is_held:
            if not is_held:
                raise BlockedError(f"{source!r} is in use")
            self._records.expect(key)
            written = await self._store.copy(source, key, if_match=inode.base.etag, condition=Always())
            reach(Point.ASIDE_COPIED)
            base = evolve(inode.base, etag=written.etag, version_id=written.version_id, last_modified_ns=0)
            work = Plan(Work.COPY, key, source, -1)
            self._records.written(Sent(ino, work, inode.base, base, is_current=False))

    async def free(self, key: str) -> bool:
        """Whoever writes or deletes `key` asks first: does an open file without a name need the object there?

        One step: True when something was done, ask again. BlockedError, StoreError.
        """
        ino = rows.located_at(self._index, key)
        inode = inodes.get(self._index, ino) if ino is not None else None
        if inode is None or inode.parent != 0:
            return False
        if not self._is_needed(inode):
            self._records.lose_object(inode.ino, key)
            return True
        try:
            await self.put(inode.ino)
        except StoreError as error:
            if error.kind not in _UNREADABLE:
                raise
            await self._look_for(inode, key)
        return True

    def _is_needed(self, inode: Inode) -> bool:
        hot = residency.hot_get(self._index, inode.ino)
        return inode.base is not None and (hot is None or hot.residency is not Residency.FULL)

    async def _look_for(self, inode: Inode, key: str) -> None:
        """The object is another version: the last write of this very file, of which the answer was never seen?"""
        tombstone = intents.tombstone(self._index, key)
        info = await attributes.head(self._store, key)
        is_ours = info is not None and tombstone is not None and tombstone.op_id == attributes.op_id_of(info) != ""
        if info is not None and is_ours and inode.base is not None and inode.base.etag != info.etag:
            work = Plan(Work.BODY, key, key, -1)
            self._records.written(Sent(inode.ino, work, inode.base, attributes.base_of(info), is_current=False))
        else:
            self._records.lose_object(inode.ino, key)
