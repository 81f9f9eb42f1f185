"""The bucket is not as the index thought: what to do is `policy.merge.decide`, how to do it is here.

Every outcome keeps what was never seen on the other side. It is recorded in one transaction; whoever
called looks at the inode anew afterwards.
"""

import logging
import stat
from typing import Final

from attrs import evolve

from tierfs.clock import Clock
from tierfs.content.handles import Files
from tierfs.index import conflicts, dirents, inodes, intents, links, residency
from tierfs.index import locations as rows
from tierfs.index.conflicts import Conflict
from tierfs.index.env import Index, Txn
from tierfs.model import HIDDEN_PREFIX, Inode, InodeFlag, Intent
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore.base import ObjectInfo, ObjectStore
from tierfs.policy.merge import ConflictRules, Decision, Local, Policy, Version, conflict_name, decide
from tierfs.policy.resolution import Kind
from tierfs.sync import attributes
from tierfs.sync.apply import Applier, Seen
from tierfs.sync.guard import Removal
from tierfs.sync.outcomes import NotYetError
from tierfs.sync.paths import Place, display_path, find_place, text_path
from tierfs.sync.plan import ASIDE_PREFIX, Plan, Work, target_key
from tierfs.sync.records import bury

LOST_PREFIX: Final = HIDDEN_PREFIX + "lost/"
_NAME_ATTEMPTS_MAX: Final = 1000
_LOSING: Final = {
    Decision.REMOVE: "it is gone there, and here too now",
    Decision.IMPORT: "the bucket's version is taken",
    Decision.OVERWRITE: "the local version goes over the bucket's",
}
_log: Final = logging.getLogger(__name__)


class Disputes:
    """Carries out decisions on objects that are not as expected."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        applier: Applier,
        notify: Notify,
        rules: ConflictRules,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._files = files
        self._clock = clock
        self._applier = applier
        self._notify = notify
        self._rules = rules

    def mark(self, ino: int) -> None:
        """The inode's object has to be looked at now; gives it an intent if it has none."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None and inode.parent != 0 and intents.of_inode(txn, ino) is None:
                intents.mark_dirty(txn, inode, InodeFlag.META_DIRTY, now_ns=self._clock.now_ns(), quiet_s=0)

    def learn(self, ino: int, info: ObjectInfo, details: attributes.Details) -> None:
        """Attributes that had never been read."""
        self._applier.absorb(ino, info, details)

    # ---- tombstones ----

    async def identify(self, tombstone: Intent) -> None:
        """What lies at the key of a tombstone that names no version?

        A write of ours: the tombstone gets its ETag. Anything else is not ours to delete: no tombstone any more.
        """
        info = await attributes.head(self._store, tombstone.key)
        with self._index.transaction() as txn:
            current = intents.get(txn, tombstone.seq)
            if current != tombstone:
                return
            if info is not None and self.is_ours(tombstone, info):
                intents.put(txn, evolve(tombstone, etag=info.etag))
            else:
                intents.delete(txn, tombstone.seq)

    def is_ours(self, tombstone: Intent, info: ObjectInfo) -> bool:
        """Whether the object is the write of ours that the tombstone speaks of."""
        if tombstone.key.startswith(ASIDE_PREFIX):
            return True
        op_id = attributes.op_id_of(info)
        if tombstone.op_id:
            return op_id == tombstone.op_id
        return op_id.startswith(f"{self._index.node:x}-")

    def deletes(self, tombstone: Intent, info: ObjectInfo) -> bool:
        """Deleted here, changed there: whether the deletion goes over the version that is there now.

        If not, that version gets its name back.
        """
        # without a version of ours: a deletion has no time that could be newer
        decision = decide(
            Version(tombstone.etag, 0), Local.DELETED, attributes.seen_version(info), policy=self._rules.policy
        )
        if decision is Decision.RESURRECT:
            self._resurrect(tombstone, info)
            return False
        _log.warning(
            "%r was deleted here and changed in the bucket: it is deleted there, too (policy %s)",
            tombstone.key, self._rules.policy.value, extra={"event": "TFS4006"},
        )  # fmt: skip
        return True

    def _resurrect(self, tombstone: Intent, info: ObjectInfo) -> None:
        place = find_place(self._index, tombstone.key)
        with self._index.transaction() as txn:
            intents.delete(txn, tombstone.seq)
            if place is not None:
                path, parent = text_path(txn, place.parent, place.name), place.parent
            else:
                path, parent = "/" + tombstone.key, 0
            self._record(txn, Conflict(self._clock.now_ns(), Kind.DELETED_HERE, path, path, "", parent))
        _log.warning(
            "%r was deleted here and changed in the bucket: the bucket's version is kept and comes back",
            tombstone.key,
            extra={"event": "TFS4007"},
        )
        directory = inodes.get(self._index, place.parent) if place is not None else None
        if place is None or directory is None or InodeFlag.LISTED not in directory.flags:
            return  # its directory is listed when it is used
        with self._index.transaction() as txn:
            self._applier.meet(txn, directory, Seen(place.name, tombstone.key, info), assume=False)
        self._notify.entry_changed(place.parent, place.name)

    # ---- refused writes ----

    async def source_changed(self, ino: int, work: Plan, info: ObjectInfo | None) -> None:
        """The base object, wherever it lies, is another version now (`info`; None: it is gone)."""
        inode = self._still(ino, work)
        if inode is None:
            return
        if inode.is_dir:
            self._take_marker(inode, work.source, info)
            return
        local = Local.CONTENT if InodeFlag.DATA_DIRTY in inode.flags else Local.ATTRIBUTES
        self._carry_out(inode, evolve(work, key=work.source), info, local, None)

    async def resolve(
        self, ino: int, work: Plan, info: ObjectInfo | None, *, is_ours: bool, ours: Version | None
    ) -> None:
        """A write to `work.key` was refused; `info` is what lies there.

        `is_ours`: it is an earlier attempt's late arrival. `ours`: the bytes that were to be written.
        """
        inode = self._still(ino, work)
        if inode is None:
            return
        if work.is_move and work.work is Work.COPY:
            there = await attributes.head(self._store, work.source)
            if there is None or inode.base is None or there.etag != inode.base.etag:
                await self.source_changed(ino, work, there)
                return
            inode = self._still(ino, work)
            if inode is None:
                return
        if info is None and (work.is_move or inode.base is None):
            self._forget_tombstone(work.key)  # what it would delete, or we would write over, is gone
        elif inode.is_dir:
            self._take_marker(inode, work.key, info)
        elif is_ours and info is not None:
            self._take_over(inode, work, info, InodeFlag.NONE)
        elif work.is_move or inode.base is None:
            # the name is claimed by two different things: our bytes are not those that lie there
            self._carry_out(evolve(inode, base=None), work, info, Local.CONTENT, ours)
        else:
            local = Local.CONTENT if InodeFlag.DATA_DIRTY in inode.flags else Local.ATTRIBUTES
            self._carry_out(inode, work, info, local, ours)

    async def doubt(self, ino: int, work: Plan) -> None:
        """The local bytes are of unproven integrity: they become a conflict copy beside the bucket's version."""
        info = await attributes.head(self._store, work.source)
        inode = self._still(ino, work)
        if inode is None:
            return
        if info is None:
            self._write_anew(inode)
        else:
            self._keep_both(ino, Place(inode.parent, inode.name), work.source, info)

    def _still(self, ino: int, work: Plan) -> Inode | None:
        """The inode, unless it changed so that the dispute is about nothing."""
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0:
            return None
        source = self._locations.actual_key(self._index, inode) if inode.base is not None else ""
        return inode if source == work.source else None

    def _record(self, txn: Txn, conflict: Conflict) -> None:
        conflicts.add(txn, conflict)
        self._applier.news.conflict(conflict.path, conflict.loser)

    def _forget_tombstone(self, key: str) -> None:
        with self._index.transaction() as txn:
            tombstone = intents.tombstone(txn, key)
            if tombstone is not None:
                intents.delete(txn, tombstone.seq)

    def _take_marker(self, inode: Inode, key: str, info: ObjectInfo | None) -> None:
        """A directory's marker has no bytes to lose: ours is written over whatever is there."""
        with self._index.transaction() as txn:
            if inode.base is not None and self._locations.actual_key(txn, inode) != key:
                bury(txn, self._locations.actual_key(txn, inode), inode.base.etag, self._clock.now_ns())
            tombstone = intents.tombstone(txn, key)
            if tombstone is not None:
                intents.delete(txn, tombstone.seq)
            rows.clear_location(txn, inode.ino)
            changed = evolve(inode, base=None)
            if info is not None:
                flags = attributes.with_foreign(inode.flags, info)
                changed = evolve(inode, base=attributes.base_of(info), flags=flags)
            inodes.put(txn, changed)
            if info is not None:
                self._locations.settle(txn, changed, key)
        if info is not None and InodeFlag.ATTRS_KNOWN not in inode.flags:
            self._applier.absorb(inode.ino, info)  # never read, so what is here of them is a guess

    def _take_over(
        self, inode: Inode, work: Plan, info: ObjectInfo, clean: InodeFlag, *, dirty: InodeFlag = InodeFlag.NONE
    ) -> None:
        """What lies at the key is ours, the same as ours, or to be replaced: it is the base of the next write."""
        with self._index.transaction() as txn:
            current = inodes.get(txn, inode.ino)
            if current is None:
                return
            if work.is_move and current.base is not None:
                bury(txn, work.source, current.base.etag, self._clock.now_ns())
            tombstone = intents.tombstone(txn, work.key)
            if tombstone is not None:
                intents.delete(txn, tombstone.seq)
            flags = attributes.with_foreign(current.flags & ~clean, info) | InodeFlag.META_DIRTY | dirty
            changed = evolve(current, base=attributes.base_of(info), flags=flags)
            inodes.put(txn, changed)
            self._locations.settle(txn, changed, work.key)

    # ---- carrying out ----

    def _carry_out(self, inode: Inode, work: Plan, info: ObjectInfo | None, local: Local, ours: Version | None) -> None:
        """`info` is what lies at `work.key`; `inode.base` None: what lies there was never ours."""
        place = Place(inode.parent, inode.name)
        is_home = work.key == target_key(self._index, self._locations, inode)
        decision = self._decide(inode, local, info, ours, is_contest=is_home and not work.is_move)
        if decision is Decision.REMOVE and not self._may_go(place, inode.ino):
            raise NotYetError("the bucket has it no more: it is kept until somebody decides")
        if local is Local.CONTENT and decision in _LOSING:
            _log.warning(
                "%s changed here and in the bucket: %s (policy %s)",
                display_path(self._index, inode.ino), _LOSING[decision], self._rules.policy.value,
                extra={"event": "TFS4009"},
            )  # fmt: skip
        if decision is Decision.REMOVE:
            self._applier.remove_name(place)
        elif decision is Decision.EXPORT:
            self._write_anew(inode)
        elif info is not None and decision is Decision.ADOPT:
            with self._index.transaction() as txn:
                flags = attributes.with_foreign(inode.flags, info)
                inodes.put(txn, evolve(inode, base=attributes.base_of(info), flags=flags))
        elif info is not None and decision is Decision.IMPORT:
            self._forget_tombstone(work.key)
            self._applier.give_up(inode, info)
        elif info is not None and decision is Decision.SETTLE:
            self._take_over(inode, work, info, InodeFlag.DATA_DIRTY)
        elif info is not None and decision is Decision.OVERWRITE:
            self._take_over(inode, work, info, InodeFlag.NONE, dirty=InodeFlag.DATA_DIRTY)
        elif info is not None and decision is Decision.MERGE:
            self._applier.take_content(inode, info)
        elif decision is Decision.KEEP_BOTH and not is_home:
            self._write_anew(inode)  # renamed here and changed under the old name there: both have a name
        elif info is not None and decision is Decision.KEEP_BOTH:
            self._keep_both(inode.ino, Place(inode.parent, inode.name), work.key, info)

    def _may_go(self, place: Place, ino: int) -> bool:
        guard = self._applier.guard
        return not guard.is_held(place, ino) and guard.admit_one(Removal(place, ino))

    def _decide(
        self, inode: Inode, local: Local, info: ObjectInfo | None, ours: Version | None, *, is_contest: bool
    ) -> Decision:
        """`is_contest`: two versions of one file want its name. A rename on one side loses nothing on the other,
        whatever the policy."""
        fmt = stat.S_IFMT(inode.mode) if InodeFlag.ATTRS_KNOWN in inode.flags else 0
        mine = ours or Version("", inode.size_bytes)
        return decide(
            attributes.version_of(inode.base, fmt),
            local,
            attributes.seen_version(info) if info is not None else None,
            ours=evolve(mine, fmt=fmt, modified_ns=self._files.live(inode).mtime_ns),
            policy=self._rules.policy if is_contest else Policy.KEEP_BOTH,
            is_whole=residency.is_whole(self._index, inode),
        )

    def _write_anew(self, inode: Inode) -> None:
        """Changed here, deleted there: our bytes go up as a new object, if all of them are here."""
        if not residency.is_whole(self._index, inode):
            self._lose_base(inode)
            return
        with self._index.transaction() as txn:
            rows.clear_location(txn, inode.ino)
            inodes.put(txn, evolve(inode, base=None, flags=inode.flags | InodeFlag.DATA_DIRTY))

    def _lose_base(self, inode: Inode) -> None:
        """Parts of the file were only in a version that the bucket no longer has: what is here stays readable.

        The rest fails with the store's error, and so does the export, until somebody decides.
        """
        path = display_path(self._index, inode.ino)
        with self._index.transaction() as txn:
            inodes.put(txn, inode)
            self._locations.settle(txn, inode, f"{LOST_PREFIX}{inode.ino:x}")
            where = text_path(txn, inode.parent, inode.name)
            self._record(txn, Conflict(self._clock.now_ns(), Kind.BASE_LOST, where, "", where, inode.parent))
        _log.error(
            "%s was changed here, and the version in the bucket that holds its other bytes was replaced or deleted: "
            "only the changed ranges are left",
            path,
            extra={"event": "TFS4008"},
        )

    def _keep_both(self, ino: int, place: Place, key: str, info: ObjectInfo) -> None:
        """The bucket's version gets the name; ours goes on beside it under the conflict name, in the bucket too."""
        now = self._clock.now_ns()
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            directory = inodes.get(txn, place.parent)
            if inode is None or directory is None:
                return
            is_whole = residency.is_whole(txn, inode)
            had_base_here = inode.base is not None and self._locations.actual_key(txn, inode) == key
            source = self._locations.actual_key(txn, inode) if inode.base is not None else ""
            kept_name = self._free_name(txn, place, now)
            dirents.delete(txn, place.parent, place.name)
            dirents.put(txn, place.parent, kept_name, ino, stat.S_IFMT(inode.mode))
            tombstone = intents.tombstone(txn, key)
            if tombstone is not None:
                intents.delete(txn, tombstone.seq)
            if (inode.parent, inode.name) == (place.parent, place.name):
                inode = evolve(inode, name=kept_name)
                if had_base_here and is_whole:
                    rows.clear_location(txn, ino)
                    inode = evolve(inode, base=None, flags=inode.flags | InodeFlag.DATA_DIRTY)
                elif had_base_here:
                    self._locations.settle(txn, inode, f"{LOST_PREFIX}{ino:x}")
                elif inode.base is not None:
                    self._locations.settle(txn, inode, source)
            else:
                links.delete(txn, ino, place.parent, place.name)
                links.put(txn, ino, place.parent, kept_name, None)
            intents.mark_dirty(txn, inode, InodeFlag.META_DIRTY, now_ns=now, quiet_s=0)
            self._applier.add(txn, directory, Seen(place.name, key, info), assume=False)
            path, kept_path = (text_path(txn, place.parent, name) for name in (place.name, kept_name))
            kind = Kind.BASE_LOST if had_base_here and not is_whole else Kind.BOTH_CHANGED
            self._record(txn, Conflict(now, kind, path, path, kept_path, place.parent))
        _log.warning(
            "%r changed here and in the bucket: the local version is kept as %r%s",
            path, kept_path, ", with gaps" if kind is Kind.BASE_LOST else "", extra={"event": "TFS4005"},
        )  # fmt: skip
        self._notify.entry_changed(place.parent, place.name)
        self._notify.entry_changed(place.parent, kept_name)

    def link_conflict(self, ino: int, link: Place, key: str, info: ObjectInfo) -> None:
        """A further link's name holds another object in the bucket: that keeps the name."""
        self._keep_both(ino, link, key, info)

    def note_taken(self, place: Place, copy: bytes) -> None:
        """An object came to the key that a file at `place` was leaving, and is shown beside it as `copy`."""
        with self._index.transaction() as txn:
            path, copy_path = (text_path(txn, place.parent, name) for name in (place.name, copy))
            conflict = Conflict(self._clock.now_ns(), Kind.NAME_TAKEN, path, path, copy_path, place.parent)
            self._record(txn, conflict)
        _log.warning(
            "an object came to where %r was renamed from: it is shown as %r",
            path,
            copy_path,
            extra={"event": "TFS4010"},
        )

    def _free_name(self, txn: Txn, place: Place, now: int) -> bytes:
        for attempt in range(_NAME_ATTEMPTS_MAX):
            name = conflict_name(place.name, self._rules.host, now, attempt=attempt)
            if dirents.get(txn, place.parent, name) is None:
                return name
        raise RuntimeError(f"no free name for a conflict copy of {place.name!r}")
