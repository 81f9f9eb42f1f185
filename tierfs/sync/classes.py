"""An object moved to another storage class, by a copy onto itself: same bytes, same metadata, another class.

Promises: only of a file that rests is the object moved: clean, closed, not pinned, not held. The copy is conditional on
the version that is known. It leaves a new version (LastModified always, the ETag of a multipart object, too), which
becomes the base as with any write of ours: before the copy the inode has an intent with the op id, so that after a
crash or a lost answer the exporter finds out what happened, readers whose version went wait for the new one, and
listings and events of it are no news. Nothing that is in the hot tier is touched.

An object without `tierfs-op` is left as others made it, without one: then only the index of this mount can tell the
copy of a multipart object from a new version.

Checkpoints: the requests. Claims are those of the exporter; what it holds is not moved now.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import evolve

from tierfs.clock import Clock
from tierfs.content.handles import Files
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import held, inodes, intents, residency
from tierfs.index.env import Index
from tierfs.model import Base, Inode, InodeFlag, revise
from tierfs.namespace.authority import Authority, Right
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import Capabilities, IfMatch, ObjectInfo, ObjectMeta, ObjectStore
from tierfs.policy.classes import Abilities, refusal
from tierfs.policy.tasks import FileError
from tierfs.sync import attributes
from tierfs.sync.claims import Claims
from tierfs.sync.plan import Plan, Work
from tierfs.sync.records import Records, Sent

_OP_KEY: Final = "tierfs-op"
_log: Final = logging.getLogger(__name__)


def abilities_of(capabilities: Capabilities) -> Abilities:
    """What the ladder asks of a store."""
    return Abilities(capabilities.storage_classes, capabilities.class_changes, capabilities.restores)


class ClassChanger:
    """Moves single objects; any number of tasks may."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        claims: Claims,
        records: Records,
        authority: Authority,
        ensure_attributes: Callable[[int], Awaitable[int]],
        on_stale: Callable[[int], None],
    ) -> None:
        """`claims` and `records`: the exporter's. `on_stale`: an object was found changed or gone."""
        self._index = index
        self._store = store
        self._locations = locations
        self._files = files
        self._clock = clock
        self._claims = claims
        self._records = records
        self._authority = authority
        self._ensure_attributes = ensure_attributes
        self._on_stale = on_stale

    async def change(self, ino: int, storage_class: str) -> FileError | None:
        """None: it is in the class now. Else why it is left as it is, for now.

        StoreError when it cannot be: ARCHIVED, UNSUPPORTED with the reason, and what the store says of the copy.
        """
        ino = await self._ensure_attributes(ino)
        with self._claims.try_hold([ino]) as is_held:
            if not is_held or not await self._files.recall(ino):
                return FileError.IN_USE
            await self._authority.acquire(ino, Right.EXPORT)
            inode = inodes.get(self._index, ino)
            if inode is None or (why := self._why_left(inode)):
                return why if inode is not None else FileError.OBJECT_MISSING
            assert inode.base is not None, "what is not in the bucket is not uploaded"
            key = self._locations.actual_key(self._index, inode)
            with self._claims.try_hold([key]) as is_free:
                return await self._move(inode, inode.base, key, storage_class) if is_free else FileError.IN_USE

    def _why_left(self, inode: Inode) -> FileError | None:
        """Why it is no file to be moved now."""
        hot = residency.hot_get(self._index, inode.ino)
        if not inode.is_regular or inode.parent == 0:
            return FileError.OBJECT_MISSING
        if inode.base is None or inode.is_dirty or intents.of_inode(self._index, inode.ino) is not None:
            return FileError.NOT_UPLOADED
        if self._files.has_handles(inode.ino):
            return FileError.IN_USE
        if hot is not None and hot.pinned:
            return FileError.PINNED
        if held.covers(self._index, inode.parent, inode.name, inode.ino):
            return FileError.HELD
        return FileError.HARD_LINKS if inode.nlink > 1 else None

    async def _move(self, inode: Inode, base: Base, key: str, storage_class: str) -> FileError | None:
        info = await attributes.head(self._store, key)
        if info is None or info.etag != base.etag:
            self._on_stale(inode.ino)
            return FileError.OBJECT_MISSING if info is None else FileError.OBJECT_CHANGED
        if info.storage_class == storage_class:
            self._note_class(inode.ino, base, storage_class)
            return None
        reason = refusal(
            info.storage_class, storage_class, abilities_of(self._store.capabilities), is_archived=info.archived
        )
        if reason:
            kind = StoreErrorKind.ARCHIVED if info.archived else StoreErrorKind.UNSUPPORTED
            raise StoreError(kind, reason, key=key)
        now = inodes.get(self._index, inode.ino)
        if now != inode or self._why_left(inode) is not None:
            return FileError.IN_USE
        return await self._copy(inode, base, info, storage_class)

    def _note_class(self, ino: int, base: Base, storage_class: str) -> None:
        """Somebody else has moved it there."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None and inode.base == base:
                inodes.put(txn, revise(inode, base=revise(base, storage_class=storage_class)))

    async def _copy(self, inode: Inode, base: Base, info: ObjectInfo, storage_class: str) -> FileError | None:
        key, op_id = info.key, self._index.next_op_id()
        with self._index.transaction() as txn:
            marked = intents.mark_dirty(txn, inode, InodeFlag.NONE, now_ns=self._clock.now_ns(), quiet_s=0)
        self._records.begin_attempt(inode.ino, key, op_id)
        try:
            written = await self._store.copy(
                key, key, if_match=base.etag, condition=IfMatch(base.etag), meta=_with_op(info.meta, op_id),
                storage_class=storage_class,
            )  # fmt: skip
        except StoreError as error:
            if error.kind in attributes.UNCLEAR:
                raise  # the exporter finds out, by the intent
            self._records.forget_attempt(inode.ino)
            self._records.finish(inode.ino, marked.write_seq)
            if error.kind not in attributes.REFUSALS:
                raise
            self._on_stale(inode.ino)
            return FileError.OBJECT_CHANGED
        fresh = Base(
            written.etag, base.size_bytes, written.last_modified_ns, written.version_id, storage_class, base.content
        )
        work = Plan(Work.COPY, key, key, marked.write_seq)
        self._records.written(Sent(inode.ino, work, base, fresh, is_current=True))
        _log.info("%r is in %s, from %s", key, storage_class, info.storage_class)
        return None


def _with_op(meta: ObjectMeta | None, op_id: str) -> ObjectMeta | None:
    """The metadata as of our write; None, which keeps all of it, where nothing says that tierfs wrote the object."""
    if meta is None or _OP_KEY not in meta.user:
        return None
    return evolve(meta, user={**meta.user, _OP_KEY: op_id})
