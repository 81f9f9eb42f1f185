"""What an export leaves in the index, each outcome in one transaction. Sync code only."""

from attrs import evolve, frozen

from tierfs.clock import Clock
from tierfs.index import inodes, intents, links, residency
from tierfs.index import locations as rows
from tierfs.index.env import Index, Txn
from tierfs.index.links import Link
from tierfs.model import Base, Inode, InodeFlag, Intent
from tierfs.namespace.locations import Locations
from tierfs.sync.activity import Activity
from tierfs.sync.plan import ASIDE_PREFIX, Plan, target_key
from tierfs.units import NS_PER_S

_DIRTY = InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY


def bury(txn: Txn, key: str, etag: str, now_ns: int, *, op_id: str = "") -> None:
    """Leaves a tombstone: the object with `etag` at `key` has no inode any more. One that is there learns the ETag."""
    known = intents.tombstone(txn, key)
    if known is not None:
        intents.put(txn, evolve(known, etag=etag, op_id=op_id))
        return
    intents.add_tombstone(txn, key, etag, now_ns, op_id=op_id)


def withdraw_link(txn: Txn, inode: Inode, link: Link, key: str, now_ns: int) -> None:
    """The object of a further link has to go from `key`; it is written anew where the link is when that is settled.

    (Nothing could say that a link's object lies elsewhere than its directory's keys do.)
    """
    pending = intents.of_inode(txn, inode.ino)
    op_id = pending.op_id if pending is not None and pending.key == key else ""
    bury(txn, key, _etag(link.base), now_ns, op_id=op_id)
    links.put(txn, inode.ino, link.parent, link.name, None)
    intents.mark_dirty(txn, inode, InodeFlag.META_DIRTY, now_ns=now_ns, quiet_s=0)


@frozen
class Sent:
    """A write that succeeded: what it was planned from, and the version that it left.

    `is_current`: the bytes that were sent were still those of the file when the answer came.
    """

    ino: int
    plan: Plan
    planned_base: Base | None
    base: Base
    is_current: bool


class Records:
    """The completing transactions."""

    def __init__(self, index: Index, locations: Locations, clock: Clock, activity: Activity, *, quiet_s: float) -> None:
        self._index = index
        self._locations = locations
        self._clock = clock
        self._activity = activity
        self.quiet_s = quiet_s

    def begin_attempt(self, ino: int, key: str, op_id: str) -> None:
        """Before a write is sent: an unlink or a crash meanwhile knows that `key` may hold our object."""
        with self._index.transaction() as txn:
            intent = intents.of_inode(txn, ino)
            if intent is not None:
                intents.put(txn, evolve(intent, key=key, op_id=op_id))

    def expect(self, key: str) -> None:
        """An object is about to be written that no inode leads to yet: a tombstone, until `written` says otherwise."""
        with self._index.transaction() as txn:
            bury(txn, key, "", self._clock.now_ns())

    def forget_attempt(self, ino: int) -> None:
        """The write that was sent is known not to have happened (or to be of no interest any more)."""
        self.begin_attempt(ino, "", "")

    def left_behind(self, intent: Intent, etag: str) -> bool:
        """A write of `intent` had arrived. True when its link was gone from there before: it has a tombstone then."""
        with self._index.transaction() as txn:
            tombstone = intents.tombstone(txn, intent.key)
            if tombstone is None or tombstone.op_id != intent.op_id:
                return False
            intents.put(txn, evolve(tombstone, etag=etag))
        self.forget_attempt(intent.ino)
        return True

    def written(self, sent: Sent) -> bool:
        """The bucket has it. Returns whether the first link's object is as the inode now.

        With further links the intent stays: `finish` takes it when those are done, too. An inode that went on
        changing keeps its dirty flags; one that is gone leaves a tombstone for what was written.
        """
        plan, now = sent.plan, self._clock.now_ns()
        self._activity.note(plan.key, sent.base.etag)
        with self._index.transaction() as txn:
            inode = inodes.get(txn, sent.ino)
            intent = intents.of_inode(txn, sent.ino)
            if inode is None or not self._is_of_planned_link(txn, inode, sent):
                bury(txn, plan.key, sent.base.etag, now)
                if inode is not None and inode.parent == 0:
                    self._read_on(txn, inode, sent)
                if intent is not None:
                    intents.put(txn, evolve(intent, key="", op_id=""))
                return False
            self._replace_base(txn, inode, sent, now)
            is_current = sent.is_current and inode.write_seq == plan.write_seq
            if intent is not None:
                renewed = evolve(intent, key="", op_id="", attempts=0, last_error="")
                if not is_current:
                    wait_ns = max(intent.not_before_ns, now + int(self.quiet_s * NS_PER_S))
                    renewed = evolve(renewed, created_ns=now, not_before_ns=wait_ns)
                intents.put(txn, renewed)
            if is_current and (inode.is_dir or inode.nlink == 1):
                self._finish(txn, sent.ino, plan.write_seq)  # there is nothing else to write
        return is_current

    def _is_of_planned_link(self, txn: Txn, inode: Inode, sent: Sent) -> bool:
        """False when the inode was unlinked meanwhile, or its first link was and another one is the first now.

        A rename changes the name and leaves the base where it was; another link brings its own base.
        """
        return inode.parent != 0 and self._has_planned_base(txn, inode, sent)

    def _has_planned_base(self, txn: Txn, inode: Inode, sent: Sent) -> bool:
        if _etag(inode.base) != _etag(sent.planned_base):
            return False
        if inode.base is None:
            return True
        key = rows.location(txn, inode.ino) if inode.parent == 0 else self._locations.actual_key(txn, inode)
        return key == sent.plan.source

    def _read_on(self, txn: Txn, inode: Inode, sent: Sent) -> None:
        """Who has the unlinked inode open reads what was written: it has every byte that the base before had.

        What is aside for him has no tombstone: his last close leaves it.
        """
        if inode.base is None or not self._has_planned_base(txn, inode, sent):
            return
        inodes.put(txn, evolve(inode, base=sent.base))
        rows.set_location(txn, inode.ino, sent.plan.key)
        tombstone = intents.tombstone(txn, sent.plan.key)
        if tombstone is not None and sent.plan.key.startswith(ASIDE_PREFIX):
            intents.delete(txn, tombstone.seq)

    def lose_object(self, ino: int, key: str) -> None:
        """The object at `key` goes, and the unlinked inode has what it needs of it, or cannot have it any more."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None and rows.location(txn, ino) == key:
                rows.clear_location(txn, ino)
                inodes.put(txn, evolve(inode, base=None))

    def _replace_base(self, txn: Txn, inode: Inode, sent: Sent, now: int) -> None:
        plan = sent.plan
        superseded = intents.tombstone(txn, plan.key)
        if superseded is not None:
            intents.delete(txn, superseded.seq)
        if plan.is_move and sent.planned_base is not None:
            bury(txn, plan.source, sent.planned_base.etag, now)
        flags = inode.flags | InodeFlag.ATTRS_KNOWN  # the object has what the index has
        if inode.is_dir:
            flags &= ~InodeFlag.IMPLICIT
        if sent.is_current and inode.write_seq == plan.write_seq:
            flags &= ~InodeFlag.DATA_DIRTY
            for spill in residency.spills(txn, inode.ino):
                bury(txn, spill.key, spill.etag, now)
            residency.spills_clear(txn, inode.ino)
            if inode.nlink > 1 and not inode.is_dir:
                flags |= InodeFlag.META_DIRTY  # until the objects of the other links have the bytes, too
        settled = evolve(inode, base=sent.base, flags=flags)
        inodes.put(txn, settled)
        self._locations.settle(txn, settled, plan.key)

    def finish(self, ino: int, write_seq: int) -> bool:
        """All objects of the inode are as it was at `write_seq`: clean, if it still is. True when it is."""
        with self._index.transaction() as txn:
            return self._finish(txn, ino, write_seq)

    def _finish(self, txn: Txn, ino: int, write_seq: int) -> bool:
        inode = inodes.get(txn, ino)
        if inode is not None and (inode.write_seq != write_seq or self._has_to_move(txn, inode)):
            return False
        intent = intents.of_inode(txn, ino)
        if intent is not None:
            intents.delete(txn, intent.seq)
        if inode is not None and inode.is_dirty and inode.parent != 0:
            inodes.put(txn, evolve(inode, flags=inode.flags & ~_DIRTY))
        return True

    def _has_to_move(self, txn: Txn, inode: Inode) -> bool:
        """A directory above was renamed meanwhile, which touches no inode but its own."""
        if inode.base is None or inode.parent == 0:
            return False
        return self._locations.actual_key(txn, inode) != target_key(txn, self._locations, inode)

    def link_written(self, ino: int, parent: int, name: bytes, key: str, base: Base) -> None:
        """The object of a further link is in the bucket.

        The link may have become the first one meanwhile; when it is gone, it leaves a tombstone. So it does when its
        directory was renamed, since nothing would say where it is; it is written anew at its new key.
        """
        self._activity.note(key, base.etag)
        self.forget_attempt(ino)
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            is_first = inode is not None and (inode.parent, inode.name) == (parent, name)
            if not is_first and links.get(txn, ino, parent, name) is None:
                bury(txn, key, base.etag, self._clock.now_ns())
                return
            superseded = intents.tombstone(txn, key)
            if superseded is not None:
                intents.delete(txn, superseded.seq)
            if inode is not None and is_first:
                if inode.base is not None and self._locations.actual_key(txn, inode) != key:
                    bury(txn, self._locations.actual_key(txn, inode), inode.base.etag, self._clock.now_ns())
                promoted = evolve(inode, base=base)
                inodes.put(txn, promoted)
                self._locations.settle(txn, promoted, key)
            elif inode is not None and not self._is_link_at(txn, parent, name, key):
                withdraw_link(txn, inode, Link(parent, name, base), key, self._clock.now_ns())
            else:
                links.put(txn, ino, parent, name, base)

    def _is_link_at(self, txn: Txn, parent: int, name: bytes, key: str) -> bool:
        """Whether `key` is where the object of a link is looked for, and will be when no directory is on its way."""
        locations = self._locations
        is_moving = locations.actual_prefix(txn, parent) != locations.desired_prefix(txn, parent)
        return not is_moving and locations.link_key(txn, parent, name) == key

    def adopt(self, ino: int, base: Base, *, clean: InodeFlag = InodeFlag.NONE) -> None:
        """The object at the inode's key is what we know under another version: takes that over."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None and inode.parent != 0:
                inodes.put(txn, evolve(inode, base=base, flags=inode.flags & ~clean))


def _etag(base: Base | None) -> str:
    return base.etag if base is not None else ""
