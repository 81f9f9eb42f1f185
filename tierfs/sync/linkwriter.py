"""Hard links go out: the objects of the second and further names, as server-side copies of the first one's."""

from attrs import evolve

from tierfs.clock import Clock
from tierfs.errors import StoreError
from tierfs.index import inodes, intents, links
from tierfs.index.env import Index
from tierfs.index.links import Link
from tierfs.model import Inode, InodeFlag
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import Condition, ObjectInfo, ObjectMeta, ObjectStore
from tierfs.sync import attributes
from tierfs.sync.claims import Claims
from tierfs.sync.disputes import Disputes
from tierfs.sync.outcomes import BlockedError, LookAgainError
from tierfs.sync.paths import Place
from tierfs.sync.plan import condition
from tierfs.sync.records import Records, withdraw_link


class LinkWriter:
    """Writes what `links` holds of an inode whose first object is as the inode is."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        records: Records,
        disputes: Disputes,
        claims: Claims,
        clock: Clock,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._records = records
        self._disputes = disputes
        self._claims = claims
        self._clock = clock

    async def write(self, ino: int) -> None:
        """Returns when every further name has an object like the first one's.

        BlockedError, LookAgainError, StoreError: some have; all are written again the next time.
        """
        kept: ObjectMeta | None = None
        for number, link in enumerate(links.all(self._index, ino)):
            inode = inodes.get(self._index, ino)
            if inode is None or inode.parent == 0 or inode.base is None:
                return
            if number == 0 and InodeFlag.FOREIGN in inode.flags:
                info = await attributes.head(self._store, self._locations.actual_key(self._index, inode))
                kept = info.meta if info is not None else None
            current = links.get(self._index, ino, link.parent, link.name)
            if current is not None:
                await self._write_one(inode, current, kept)

    def at(self, ino: int, key: str) -> Link | None:
        """The further link of the inode whose object is looked for at `key`."""
        for link in links.all(self._index, ino):
            if self._locations.actual_link_key(self._index, link.parent, link.name) == key:
                return link
        return None

    def withdraw(self, key: str) -> bool:
        """Who is about to write to `key` asks first: a link whose directory is being moved gives its object up.

        True when something was done: the key has a tombstone now.
        """
        found = self._locations.link_occupant(self._index, key)
        if found is None or found[1].base is None:
            return False
        inode, link = found
        with self._index.transaction() as txn:
            withdraw_link(txn, inode, link, key, self._clock.now_ns())
        return True

    async def _write_one(self, inode: Inode, link: Link, kept: ObjectMeta | None) -> None:
        if self._locations.actual_prefix(self._index, link.parent) != self._locations.desired_prefix(
            self._index, link.parent
        ):
            raise BlockedError("the directory of a hard link is being moved")
        key = self._locations.link_key(self._index, link.parent, link.name)
        tombstone = intents.tombstone(self._index, key)
        if tombstone is not None and not tombstone.etag:
            await self._disputes.identify(tombstone)
            raise LookAgainError
        occupant = self._locations.occupant(self._index, key)
        if occupant is not None and occupant != inode.ino:
            self._disputes.mark(occupant)
            raise BlockedError(f"inode {occupant:#x} has to leave {key!r} first")
        if self.withdraw(key):
            raise LookAgainError
        source = self._locations.actual_key(self._index, inode)
        with self._claims.try_hold([key, source]) as is_held:
            if not is_held:
                raise BlockedError(f"{key!r} or {source!r} is in use")
            where = condition(self._index, key, link.base.etag if link.base is not None else None)
            await self._copy(inode, link, source, key, where, kept)

    async def _copy(
        self, inode: Inode, link: Link, source: str, key: str, where: Condition, kept: ObjectMeta | None
    ) -> None:
        base = inode.base
        assert base is not None
        op_id = self._index.next_op_id()
        described = attributes.describe(
            self._index, inode, key, name=link.name, op_id=op_id, content=base.content, kept=kept
        )
        await attributes.put_overflow(self._store, described)
        self._records.begin_attempt(inode.ino, key, op_id)
        try:
            written = await self._store.copy(source, key, if_match=base.etag, condition=where, meta=described.meta)
            fresh = evolve(
                base, etag=written.etag, version_id=written.version_id, last_modified_ns=written.last_modified_ns
            )
        except StoreError as error:
            if error.kind not in attributes.REFUSALS | attributes.UNCLEAR:
                raise
            info = await attributes.head(self._store, key)
            if info is None or attributes.op_id_of(info) != op_id:
                if error.kind in attributes.UNCLEAR:
                    raise
                self._records.forget_attempt(inode.ino)
                await self._refused(inode, link, source, key, info)
                raise LookAgainError from error
            fresh = attributes.base_of(info)
        self._records.link_written(inode.ino, link.parent, link.name, key, fresh)

    async def _refused(self, inode: Inode, link: Link, source: str, key: str, info: ObjectInfo | None) -> None:
        """Whatever is done here, the inode is looked at anew afterwards."""
        there = await attributes.head(self._store, source)
        base = inode.base
        if there is None or base is None or there.etag != base.etag:
            return  # the first object has changed: its own next write finds that out
        is_same = info is not None and (
            info.etag == base.etag or (base.content != "" and attributes.content_of(info) == base.content)
        )
        with self._index.transaction() as txn:
            if links.get(txn, inode.ino, link.parent, link.name) is None:
                return
            if info is None or is_same:
                tombstone = intents.tombstone(txn, key)
                if tombstone is not None:
                    intents.delete(txn, tombstone.seq)
                adopted = attributes.base_of(info) if info is not None else None
                links.put(txn, inode.ino, link.parent, link.name, adopted)
                return
        if info is not None:
            self._disputes.link_conflict(inode.ino, Place(link.parent, link.name), key, info)
