"""One inode brought to the bucket: compare what it is with what the bucket has, write the difference, record it.

Works in steps; each ends with the transaction that records its effect, and the next step looks at the
index anew. So whatever happened between two steps (an unlink, a rename, another write, a crash) is met as
a state, not as a special case. A write that is refused is looked at with a HEAD: our own answer that got
lost, or a disagreement for `disputes`.
"""

import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import evolve, frozen
from cachetools import LRUCache

from tierfs import native
from tierfs.clock import Clock
from tierfs.content.handles import Files, Snapshot
from tierfs.errors import StoreError
from tierfs.faultpoints import Point, reach
from tierfs.index import inodes, intents
from tierfs.index.env import Index
from tierfs.model import Base, Inode, InodeFlag, Intent
from tierfs.namespace.authority import Authority, Right
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import (
    Always,
    Buffer,
    Condition,
    ObjectInfo,
    ObjectMeta,
    ObjectStore,
    Written,
)
from tierfs.policy.merge import Version
from tierfs.sync import attributes
from tierfs.sync.aside import Aside
from tierfs.sync.bodies import Stretch, Uploader, checksum_text, read_small
from tierfs.sync.claims import Claims
from tierfs.sync.disputes import LOST_PREFIX, Disputes
from tierfs.sync.linkwriter import LinkWriter
from tierfs.sync.localonly import LocalOnly
from tierfs.sync.outcomes import BlockedError, LookAgainError, NotYetError, RefusedError, UnprovenError
from tierfs.sync.plan import Plan, Work, condition, is_root_key, plan
from tierfs.sync.records import Records, Sent

_STEPS_MAX: Final = 16
_CHAIN_MAX: Final = 64
_OP_IDS_KEPT: Final = 4096
_log: Final = logging.getLogger(__name__)


class Progress(enum.Enum):
    """What became of a write."""

    AGAIN = enum.auto()  # something else was done instead: look at the inode anew
    BEHIND = enum.auto()  # written; the inode went on changing meanwhile and stays pending
    CURRENT = enum.auto()  # written, and still so


@frozen
class Attempt:
    """One write about to be sent."""

    inode: Inode
    plan: Plan
    op_id: str
    condition: Condition
    kept: ObjectMeta | None  # what others put on the object, where it has to be sent again


class Reconciler:
    """Brings single inodes to the bucket. `reconcile` may run for many inodes at a time, for each once."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        records: Records,
        disputes: Disputes,
        claims: Claims,
        aside: Aside,
        uploader: Uploader,
        link_writer: LinkWriter,
        local: LocalOnly,
        authority: Authority,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._files = files
        self._clock = clock
        self._records = records
        self._disputes = disputes
        self._claims = claims
        self._aside = aside
        self._uploader = uploader
        self._links = link_writer
        self._local = local
        self._authority = authority
        # of writes that may still arrive late, after their attempt was given up: the key that each of them was sent to
        self._op_ids: LRUCache[str, str] = LRUCache(_OP_IDS_KEPT)

    async def reconcile(self, ino: int, *, is_aged: bool, chain: tuple[int, ...] = ()) -> None:
        """Returns when the bucket has the inode as it is, or as it was a moment ago (then its intent is still there).

        Raises BlockedError, NotYetError, StoreError, FsError; the intent stays and may be tried again.
        `chain`: the inodes of this task that wait for this one.
        """
        with self._claims.try_hold([ino]) as is_held:
            if not is_held:
                raise BlockedError(f"inode {ino:#x} is being exported")
            await self._authority.acquire(ino, Right.EXPORT)
            for _ in range(_STEPS_MAX):
                if await self._step(ino, is_aged, (*chain, ino)):
                    return
        raise NotYetError(f"inode {ino:#x} changes faster than it can be exported")

    async def _step(self, ino: int, is_aged: bool, chain: tuple[int, ...]) -> bool:
        """One look and at most one write; True when nothing is left to do for now."""
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0:
            self._records.finish(ino, inode.write_seq if inode is not None else 0)
            return True
        intent = intents.of_inode(self._index, ino)
        if intent is not None and intent.op_id:
            with self._claims.try_hold([intent.key]) as is_held:
                if not is_held:
                    raise BlockedError(f"{intent.key!r} is in use")
                await self._recover(ino, intent)
            return False
        is_local = self._local.holds(inode)
        work = plan(self._index, self._locations, inode)
        if work.work is Work.NOTHING and not is_local:
            return self._records.finish(ino, inode.write_seq)
        if intent is None:
            self._disputes.mark(ino)  # a move without an intent of its own: make it one that survives a crash
            return False
        if is_local:
            return await self._local.keep(inode, work)
        if await self._clear_way(work, ino, chain):
            return False
        progress = await self._write(inode, work, is_aged)
        reach(Point.EXPORT_RECORDED)
        if progress is not Progress.CURRENT:
            return progress is Progress.BEHIND
        try:
            await self._links.write(ino)
        except LookAgainError:
            return False
        return self._records.finish(ino, work.write_seq)

    # ---- before a write ----

    async def _recover(self, ino: int, intent: Intent) -> None:
        """An earlier attempt has sent a write and never recorded its end: did it arrive?"""
        info = await attributes.head(self._store, intent.key)
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0:
            return
        if info is None or attributes.op_id_of(info) != intent.op_id:
            self._op_ids[intent.op_id] = intent.key  # a busy server may still carry it out
            self._records.forget_attempt(ino)
            return
        _log.info("the write of %r had arrived although its answer was lost (op %s)", intent.key, intent.op_id)
        if self._records.left_behind(intent, info.etag):
            return
        link = self._links.at(ino, intent.key)
        if link is not None:
            self._records.link_written(ino, link.parent, link.name, intent.key, attributes.base_of(info))
            return
        source = self._locations.actual_key(self._index, inode) if inode.base is not None else ""
        work = Plan(Work.BODY, intent.key, source, inode.write_seq)
        # what was sent then is not known to be what the file is now: it stays dirty
        self._records.written(Sent(ino, work, inode.base, attributes.base_of(info), is_current=False))

    async def _clear_way(self, work: Plan, ino: int, chain: tuple[int, ...]) -> bool:
        """Makes the target key free for this inode; True when something was done (look again)."""
        tombstone = intents.tombstone(self._index, work.key)
        if tombstone is not None and not tombstone.etag:
            await self._disputes.identify(tombstone)
            return True
        if await self._aside.free(work.key):
            return True
        occupant = self._locations.occupant(self._index, work.key)
        if occupant is None or occupant == ino:
            return self._links.withdraw(work.key)
        if occupant in chain:
            await self._aside.put(occupant)  # a ring of renames
        elif len(chain) >= _CHAIN_MAX:
            raise NotYetError("too long a chain of renames")
        else:
            self._disputes.mark(occupant)
            await self.reconcile(occupant, is_aged=False, chain=chain)
        return True

    # ---- the write ----

    async def _write(self, inode: Inode, work: Plan, is_aged: bool) -> Progress:
        """The first link's object."""
        with self._claims.try_hold({work.key, work.source} - {""}) as is_held:
            if not is_held:
                raise BlockedError(f"{work.key!r} is in use")
            kept = None
            if work.source and (InodeFlag.FOREIGN in inode.flags or InodeFlag.ATTRS_KNOWN not in inode.flags):
                info = await attributes.head(self._store, work.source)
                if info is None or inode.base is None or info.etag != inode.base.etag:
                    await self._disputes.source_changed(inode.ino, work, info)
                    return Progress.AGAIN
                if InodeFlag.ATTRS_KNOWN not in inode.flags:
                    self._disputes.learn(inode.ino, info, await attributes.read_details(self._store, info))
                kept = info.meta
            attempt = self._begin(inode.ino, work, kept)
            if attempt is None:
                return Progress.AGAIN
            try:
                is_current = await self._send(attempt, is_aged)
            except UnprovenError:
                self._records.forget_attempt(inode.ino)
                await self._disputes.doubt(inode.ino, work)
                return Progress.AGAIN
            except RefusedError as refused:
                self._records.forget_attempt(inode.ino)
                is_ours = refused.info is not None and self._may_be_late(work.key, refused.info)
                await self._disputes.resolve(inode.ino, work, refused.info, is_ours=is_ours, ours=refused.ours)
                return Progress.AGAIN
            except StoreError as error:
                if not await self._has_source_changed(inode, work, error):
                    raise
                self._records.forget_attempt(inode.ino)
                return Progress.AGAIN
            # what others put there from now on is none of ours, though a plain copy carries our op id along
            self._op_ids.pop(attempt.op_id, None)
        return Progress.CURRENT if is_current else Progress.BEHIND

    def _may_be_late(self, key: str, info: ObjectInfo) -> bool:
        """Whether the object is a write of ours to this key that was given up and arrived all the same."""
        return self._op_ids.get(attributes.op_id_of(info)) == key

    async def _has_source_changed(self, inode: Inode, work: Plan, error: StoreError) -> bool:
        """Bytes of the base object were needed and are gone: the dispute is about that, not about the write."""
        if error.kind not in attributes.REFUSALS or inode.base is None or work.source.startswith(LOST_PREFIX):
            return False
        info = await attributes.head(self._store, work.source)
        if info is not None and info.etag == inode.base.etag:
            return False
        await self._disputes.source_changed(inode.ino, work, info)
        return True

    def _begin(self, ino: int, work: Plan, kept: ObjectMeta | None) -> Attempt | None:
        """Records that a write is about to be sent; None when the inode is no longer as planned."""
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or plan(self._index, self._locations, inode) != work:
            return None
        op_id = self._index.next_op_id()
        self._op_ids[op_id] = work.key
        self._records.begin_attempt(ino, work.key, op_id)
        reach(Point.EXPORT_BEGUN)
        there = inode.base.etag if inode.base is not None and work.source == work.key else None
        where = Always() if is_root_key(work.key) else condition(self._index, work.key, there)
        return Attempt(inode, work, op_id, where, kept)

    async def _send(self, attempt: Attempt, is_aged: bool) -> bool:
        """Sends and records; True when the bucket has the inode as it is now."""
        inode = attempt.inode
        if attempt.plan.work is Work.COPY:
            return self._records.written(await self._send_copy(attempt))
        if not inode.is_regular:
            return self._records.written(await self._send_bytes(attempt, attributes.body_of(inode)))
        async with self._files.snapshot(inode.ino) as snapshot:
            attempt = self._as_of(attempt, snapshot)
            if snapshot.is_unproven and inode.base is not None:
                raise UnprovenError
            if snapshot.size_bytes > self._store.part_size_bytes:
                sent = await self._send_large(attempt, snapshot, is_aged)
            else:
                async with self._uploader.room(snapshot.size_bytes):
                    data = await read_small(snapshot, collect=is_aged)
                    if self._is_known_content(attempt, data):
                        sent = await self._send_copy(attempt)
                    else:
                        sent = await self._send_bytes(attempt, data)
                    del data  # the room is given back with it
            is_current = self._records.written(evolve(sent, is_current=snapshot.unchanged()))
        return is_current

    def _as_of(self, attempt: Attempt, snapshot: Snapshot) -> Attempt:
        """The attempt with the inode as it was when the snapshot began."""
        inode = inodes.get(self._index, attempt.inode.ino)
        if inode is None or inode.parent == 0 or inode.write_seq != snapshot.write_seq:
            raise NotYetError("the file changed when it was to be read")
        now = plan(self._index, self._locations, inode)
        if (now.key, now.source) != (attempt.plan.key, attempt.plan.source):
            raise NotYetError("the file was renamed when it was to be read")
        return evolve(attempt, inode=self._files.live(inode), plan=evolve(now, work=Work.BODY))

    def _is_known_content(self, attempt: Attempt, data: Buffer) -> bool:
        """The base object has these very bytes already (written again, or sent before a crash)."""
        base = attempt.inode.base
        return (
            base is not None
            and base.size_bytes == len(data)
            and base.content != ""
            and base.content == checksum_text(native.crc64nvme(data))
        )

    async def _send_bytes(self, attempt: Attempt, data: Buffer) -> Sent:
        content = checksum_text(native.crc64nvme(data))
        meta = await self._meta(attempt, attempt.plan.key, content)
        written = await self._decided(
            attempt,
            Version("", len(data), content),
            lambda: self._store.put(
                attempt.plan.key, data, meta, attempt.condition, storage_class=_kept_class(attempt.inode)
            ),
        )
        return self._sent(attempt, written, len(data), content)

    async def _send_large(self, attempt: Attempt, snapshot: Snapshot, is_aged: bool) -> Sent:
        stretches = [
            Stretch(start, stop, where.key, where.object_start, where.etag) for start, stop, where in snapshot.ranges()
        ]
        content = await self._uploader.checksum(snapshot, stretches, collect=is_aged)
        try:
            return await self._send_parts(attempt, snapshot, stretches, content, is_aged)
        except NotYetError:
            if not (is_aged and content):
                raise
        return await self._send_parts(attempt, snapshot, stretches, "", is_aged)

    async def _send_parts(
        self, attempt: Attempt, snapshot: Snapshot, stretches: list[Stretch], content: str, is_aged: bool
    ) -> Sent:
        meta = await self._meta(attempt, attempt.plan.key, content)

        async def upload() -> Written:
            nonlocal content
            written, content = await self._uploader.upload(
                attempt.plan.key, meta, attempt.condition, snapshot, stretches,
                collect=is_aged, storage_class=_kept_class(attempt.inode), content=content,
            )  # fmt: skip
            return written

        ours = Version("", snapshot.size_bytes, content) if content else None
        written = await self._decided(attempt, ours, upload)
        return self._sent(attempt, written, snapshot.size_bytes, content)

    async def _send_copy(self, attempt: Attempt) -> Sent:
        """Metadata, or a move: a server-side copy of the base object with all its metadata sent again."""
        base = attempt.inode.base
        assert base is not None
        meta = await self._meta(attempt, attempt.plan.key, base.content)
        written = await self._decided(
            attempt,
            Version("", base.size_bytes, base.content),
            lambda: self._store.copy(
                attempt.plan.source, attempt.plan.key, if_match=base.etag, condition=attempt.condition, meta=meta
            ),
        )
        sent = self._sent(attempt, written, base.size_bytes, base.content)
        return evolve(sent, base=evolve(sent.base, storage_class=base.storage_class))

    def _sent(self, attempt: Attempt, written: Written, size_bytes: int, content: str) -> Sent:
        base = Base(
            etag=written.etag,
            size_bytes=size_bytes,
            last_modified_ns=written.last_modified_ns,
            version_id=written.version_id,
            storage_class=_kept_class(attempt.inode) or "STANDARD",
            content=content,
        )
        return Sent(attempt.inode.ino, attempt.plan, attempt.inode.base, base, is_current=True)

    async def _meta(self, attempt: Attempt, key: str, content: str) -> ObjectMeta:
        """The object's metadata; what does not fit goes to its own object first."""
        described = attributes.describe(
            self._index,
            attempt.inode,
            key,
            name=attempt.inode.name,
            op_id=attempt.op_id,
            content=content,
            kept=attempt.kept,
        )
        await attributes.put_overflow(self._store, described)
        return described.meta

    async def _decided(self, attempt: Attempt, ours: Version | None, send: Callable[[], Awaitable[Written]]) -> Written:
        """Sends a write; after a refusal or an unclear answer a HEAD tells whether it has happened.

        Raises RefusedError when it has not and cannot, StoreError when it may be tried again.
        """
        try:
            written = await send()
        except StoreError as error:
            if error.kind not in attributes.REFUSALS | attributes.UNCLEAR:
                raise
            info = await attributes.head(self._store, attempt.plan.key)
            if info is not None and attributes.op_id_of(info) == attempt.op_id:
                _log.info("%r was written although the answer said: %s", attempt.plan.key, error)
                return Written(info.etag, info.version_id, info.last_modified_ns)
            if error.kind in attributes.UNCLEAR:
                raise
            raise RefusedError(info, ours) from error
        reach(Point.EXPORT_SENT)
        return written


def _kept_class(inode: Inode) -> str:
    """A rewrite stays in the class of what it replaces; "" leaves it to the bucket."""
    return inode.base.storage_class if inode.base is not None and inode.base.storage_class != "STANDARD" else ""
