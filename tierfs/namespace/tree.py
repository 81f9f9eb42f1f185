"""Names, links and attributes as POSIX has them, each change one transaction with its intents.

What a change owes the bucket is recorded with it: a RECONCILE intent for an inode whose object is
missing, stale or at another key; a DELETE intent (tombstone) for an object that lost its inode; a
MOVE_TREE intent for a renamed directory. So is the `token` of its request (see index.answers). Nothing
here waits: every method is atomic between tasks.
Permissions are checked by the kernel (`default_permissions`) before a verb arrives.
"""

import errno
import stat
from collections.abc import Callable
from typing import Final

from tierfs.clock import Clock
from tierfs.errors import FsError
from tierfs.faultpoints import Point, reach
from tierfs.index import dirents, inodes, intents, links, xattrs
from tierfs.index import locations as rows
from tierfs.index.answers import ATTRIBUTE_WAS_NEW
from tierfs.index.env import Index, Txn
from tierfs.model import (
    HIDDEN_PREFIX,
    KEY_MAX_BYTES,
    NAME_MAX_BYTES,
    ROOT_INO,
    SYMLINK_MAX_BYTES,
    Base,
    Inode,
    InodeFlag,
    Intent,
    IntentKind,
    revise,
)
from tierfs.namespace import acl, unlinked
from tierfs.namespace.changes import AttrChange, NewInode, Renamed, RenameMode, TreeSettings
from tierfs.namespace.keys import name_to_part
from tierfs.namespace.locations import Locations

_LINKS_MAX: Final = 65_000  # as ext4; links of an inode are rows, so this is a ceiling, not a format limit
_HIDDEN_NAME: Final = HIDDEN_PREFIX.rstrip("/").encode()


class Tree:
    """The namespace operations. Raises FsError with the errno of the POSIX call."""

    def __init__(
        self,
        index: Index,
        locations: Locations,
        clock: Clock,
        settings: TreeSettings,
        *,
        needs_object: Callable[[int], bool] = lambda ino: False,
        quiet_s_of: intents.QuietTime = lambda reader, inode: 5.0,
    ) -> None:
        """`needs_object`: has somebody the file open of which not every byte is on the local disk?"""
        self._quiet_s_of = quiet_s_of
        self._needs_object = needs_object
        self._index = index
        self._locations = locations
        self._clock = clock
        self._settings = settings

    # ---- reading ----

    def inode(self, ino: int) -> Inode:
        """ENOENT for an inode number that the index does not have."""
        inode = inodes.get(self._index, ino)
        if inode is None:
            raise FsError(errno.ENOENT, f"no inode {ino:#x}")
        return inode

    def lookup(self, parent: int, name: bytes) -> Inode | None:
        """The inode of a name; None where there is none. ENAMETOOLONG."""
        if len(name) > NAME_MAX_BYTES:
            raise FsError(errno.ENAMETOOLONG)
        entry = dirents.get(self._index, parent, name)
        return self.inode(entry.ino) if entry is not None else None

    # ---- changes ----

    def ensure_root(self, mode: int, uid: int, gid: int) -> None:
        """Creates the root directory of a new index."""
        if inodes.get(self._index, ROOT_INO) is not None:
            return
        with self._index.transaction() as txn:
            now = self._clock.now_ns()
            root = Inode(
                ino=ROOT_INO, mode=stat.S_IFDIR | mode, uid=uid, gid=gid, size_bytes=0, nlink=2,
                atime_ns=now, mtime_ns=now, ctime_ns=now, btime_ns=now, parent=ROOT_INO, name=b"",
                flags=InodeFlag.IMPLICIT,
            )  # fmt: skip
            inodes.put(txn, root)

    def create(self, parent: int, name: bytes, new: NewInode, *, token: int = 0) -> Inode:
        """A new file, directory, symlink or special file.

        EEXIST, ENOENT (parent removed), ENAMETOOLONG (name, symlink target, or the key it would get),
        EPERM for the reserved name at the root.
        """
        if len(new.target) > SYMLINK_MAX_BYTES:
            raise FsError(errno.ENAMETOOLONG, f"a symlink target has at most {SYMLINK_MAX_BYTES} bytes")
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            directory = self._directory(txn, parent)
            self._check_new_name(txn, directory, name, is_dir=stat.S_ISDIR(new.mode))
            if dirents.get(txn, parent, name) is not None:
                raise FsError(errno.EEXIST)
            is_dir = stat.S_ISDIR(new.mode)
            mode, gid = new.mode, new.gid
            if directory.mode & stat.S_ISGID:
                gid = directory.gid
                mode |= stat.S_ISGID if is_dir else 0
            inherited: dict[bytes, bytes] = {}
            if not stat.S_ISLNK(mode):
                default = xattrs.get(txn, parent, acl.DEFAULT)
                mode, inherited = (mode & ~new.umask, inherited) if default is None else acl.inherit(default, mode)
            inode = Inode(
                ino=self._index.next_ino(), mode=mode, uid=new.uid, gid=gid, size_bytes=len(new.target),
                nlink=2 if is_dir else 1, atime_ns=now, mtime_ns=now, ctime_ns=now, btime_ns=now,
                parent=parent, name=name, rdev=new.rdev, target=new.target,
                flags=InodeFlag.ATTRS_KNOWN | (InodeFlag.LISTED if is_dir else InodeFlag.NONE),
                listed_ns=now if is_dir else 0,
            )  # fmt: skip
            for xattr, value in inherited.items():
                xattrs.put(txn, inode.ino, xattr, value)
            inode = self._mark(txn, inode, InodeFlag.META_DIRTY if is_dir else InodeFlag.DATA_DIRTY, now)
            dirents.put(txn, parent, name, inode.ino, stat.S_IFMT(mode))
            self._touch_directory(txn, directory, now, subdirs=int(is_dir))
        return inode

    def link(self, ino: int, parent: int, name: bytes, *, token: int = 0) -> Inode:
        """One more name for a file. EPERM for directories, EMLINK, EEXIST, ENOENT when unlinked."""
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            directory = self._directory(txn, parent)
            inode = self._inode(txn, ino)
            if inode.is_dir:
                raise FsError(errno.EPERM, "a directory has one name")
            if inode.nlink == 0:
                raise FsError(errno.ENOENT, "the file has no name any more")
            if inode.nlink >= _LINKS_MAX:
                raise FsError(errno.EMLINK)
            self._check_new_name(txn, directory, name, is_dir=False)
            if dirents.get(txn, parent, name) is not None:
                raise FsError(errno.EEXIST)
            links.put(txn, ino, parent, name, None)
            inode = self._mark(txn, revise(inode, nlink=inode.nlink + 1, ctime_ns=now), InodeFlag.META_DIRTY, now)
            dirents.put(txn, parent, name, ino, stat.S_IFMT(inode.mode))
            self._touch_directory(txn, directory, now)
        return inode

    def unlink(self, parent: int, name: bytes, *, token: int = 0) -> Inode:
        """Removes a name that is no directory; returns the inode as it is now. ENOENT, EISDIR."""
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            directory, inode = self._entry(txn, parent, name)
            if inode.is_dir:
                raise FsError(errno.EISDIR)
            inode = self._drop_link(txn, inode, parent, name, now)
            self._touch_directory(txn, directory, now, removed=True)
        return inode

    def rmdir(self, parent: int, name: bytes, *, token: int = 0) -> Inode:
        """Removes an empty directory (its listing must have been imported). ENOENT, ENOTDIR, ENOTEMPTY."""
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            directory, inode = self._entry(txn, parent, name)
            inode = self._drop_directory(txn, inode, now)
            self._touch_directory(txn, directory, now, subdirs=-1, removed=True)
        return inode

    def set_attributes(self, ino: int, change: AttrChange) -> Inode:
        """chmod, chown, utimens; ctime moves. An access ACL follows the mode."""
        with self._index.transaction() as txn:
            now = self._clock.now_ns()
            inode = self._inode(txn, ino)
            mode = inode.mode
            if change.permissions is not None:
                mode = stat.S_IFMT(mode) | change.permissions
                if (access := xattrs.get(txn, ino, acl.ACCESS)) is not None:
                    xattrs.put(txn, ino, acl.ACCESS, acl.encode(acl.with_mode(acl.decode(access), mode)))
            inode = revise(
                inode,
                mode=mode,
                uid=inode.uid if change.uid is None else change.uid,
                gid=inode.gid if change.gid is None else change.gid,
                atime_ns=inode.atime_ns if change.atime_ns is None else change.atime_ns,
                mtime_ns=inode.mtime_ns if change.mtime_ns is None else change.mtime_ns,
                ctime_ns=now,
            )
            return self._mark(txn, inode, InodeFlag.META_DIRTY, now)

    def note_access(self, ino: int, now_ns: int) -> None:
        """A read: moves atime in the index only. It travels with the next export of the inode."""
        with self._index.transaction() as txn:
            if (inode := inodes.get(txn, ino)) is not None:
                inodes.put(txn, revise(inode, atime_ns=now_ns))

    def set_xattr(self, ino: int, name: bytes, value: bytes, *, token: int = 0) -> Inode:
        """Sets an extended attribute; an access ACL sets the mode's permission bits too."""
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            inode = self._inode(txn, ino)
            if token and xattrs.get(txn, ino, name) is None:
                txn.token |= ATTRIBUTE_WAS_NEW
            if name == acl.ACCESS:
                mode, is_plain = acl.mode_of(acl.decode(value), inode.mode)
                inode = revise(inode, mode=mode)
                if is_plain:
                    xattrs.delete(txn, ino, name)
                else:
                    xattrs.put(txn, ino, name, value)
            else:
                if name == acl.DEFAULT and not inode.is_dir:
                    raise FsError(errno.EACCES, "only a directory has a default ACL")
                xattrs.put(txn, ino, name, value)
            return self._mark(txn, revise(inode, ctime_ns=now), InodeFlag.META_DIRTY, now)

    def remove_xattr(self, ino: int, name: bytes, *, token: int = 0) -> Inode:
        """ENODATA when it is not set."""
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            inode = self._inode(txn, ino)
            if xattrs.get(txn, ino, name) is None:
                raise FsError(errno.ENODATA)
            xattrs.delete(txn, ino, name)
            return self._mark(txn, revise(inode, ctime_ns=now), InodeFlag.META_DIRTY, now)

    def purge(self, ino: int) -> None:
        """Removes what the index holds of an unlinked inode that nobody uses any more."""
        reach(Point.UNLINK_RECORDED)
        with self._index.transaction() as txn:
            unlinked.purge(txn, ino, self._clock.now_ns())

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, mode: RenameMode, *, token: int = 0
    ) -> Renamed:
        """rename(2) and renameat2(2): one transaction whatever the size of what moves.

        ENOENT, EEXIST (NOREPLACE), ENOTEMPTY, ENOTDIR, EISDIR, EINVAL (into itself), ENAMETOOLONG.
        """
        try:
            return self._rename(parent, name, new_parent, new_name, mode, token)
        except BaseException:
            self._locations.forget_prefixes()  # some may have been cached from a state that did not come to pass
            raise

    def _rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, mode: RenameMode, token: int
    ) -> Renamed:
        with self._index.transaction(token=token) as txn:
            now = self._clock.now_ns()
            old_directory, inode = self._entry(txn, parent, name)
            new_directory = self._directory(txn, new_parent)
            target_entry = dirents.get(txn, new_parent, new_name)
            target = self._inode(txn, target_entry.ino) if target_entry is not None else None
            if mode is RenameMode.NOREPLACE and target is not None:
                raise FsError(errno.EEXIST)
            if mode is RenameMode.EXCHANGE and target is None:
                raise FsError(errno.ENOENT)
            if target is not None and target.ino == inode.ino:
                return Renamed(inode)
            self._check_move(txn, inode, parent, new_directory, new_name)
            if mode is RenameMode.EXCHANGE:
                assert target is not None
                self._check_move(txn, target, new_parent, old_directory, name)
                return self._exchange(txn, (old_directory, name, inode), (new_directory, new_name, target), now)
            if target is not None:
                target = self._replace(txn, inode, target, new_parent, new_name, now)
                inode = self._inode(txn, inode.ino)
            moved = self._move_link(txn, inode, (parent, name), (new_parent, new_name), now)
            gained = int(inode.is_dir) - int(target is not None and target.is_dir)
            if parent == new_parent:
                net = gained - int(inode.is_dir)
                self._touch_directory(txn, old_directory, now, subdirs=net, removed=True)
            else:
                self._touch_directory(txn, old_directory, now, subdirs=-int(inode.is_dir), removed=True)
                self._touch_directory(txn, new_directory, now, subdirs=gained)
        return Renamed(moved, target)

    # ---- parts of changes ----

    def _inode(self, txn: Txn, ino: int) -> Inode:
        inode = inodes.get(txn, ino)
        if inode is None:
            raise FsError(errno.ENOENT, f"no inode {ino:#x}")
        return inode

    def _directory(self, txn: Txn, ino: int) -> Inode:
        inode = self._inode(txn, ino)
        if not inode.is_dir:
            raise FsError(errno.ENOTDIR)
        if inode.parent == 0:
            raise FsError(errno.ENOENT, "the directory was removed")
        return inode

    def _entry(self, txn: Txn, parent: int, name: bytes) -> tuple[Inode, Inode]:
        directory = self._directory(txn, parent)
        entry = dirents.get(txn, parent, name)
        if entry is None:
            raise FsError(errno.ENOENT)
        return directory, self._inode(txn, entry.ino)

    def _check_new_name(self, txn: Txn, directory: Inode, name: bytes, *, is_dir: bool) -> None:
        if len(name) > NAME_MAX_BYTES:
            raise FsError(errno.ENAMETOOLONG)
        if directory.ino == ROOT_INO and name == _HIDDEN_NAME:
            raise FsError(errno.EPERM, f"{_HIDDEN_NAME.decode()} at the root is where tierfs keeps its own objects")
        prefix = self._locations.desired_prefix(txn, directory.ino)
        length = self._settings.key_prefix_bytes + len((prefix + name_to_part(name)).encode()) + int(is_dir)
        if length > KEY_MAX_BYTES:
            raise FsError(
                errno.ENAMETOOLONG, f"the object's key would have {length} bytes, {KEY_MAX_BYTES} is the most"
            )

    def _mark(self, txn: Txn, inode: Inode, flags: InodeFlag, now: int) -> Inode:
        return intents.mark_dirty(txn, inode, flags, now_ns=now, quiet_s=self._quiet_s_of(txn, inode))

    def _touch_directory(
        self, txn: Txn, directory: Inode, now: int, *, subdirs: int = 0, removed: bool = False
    ) -> None:
        """mtime, ctime and nlink of a directory whose entries changed; `directory` as it is in this transaction.

        An implicit directory stays one as long as it has files: only removing an entry, perhaps the last,
        makes it worth a marker of its own.
        """
        current = revise(directory, mtime_ns=now, ctime_ns=now, nlink=directory.nlink + subdirs)
        if InodeFlag.IMPLICIT in current.flags and not removed:
            inodes.put(txn, current)
        else:
            self._mark(txn, current, InodeFlag.META_DIRTY, now)

    def _drop_link(self, txn: Txn, inode: Inode, parent: int, name: bytes, now: int) -> Inode:
        """Takes one name from a file; its object there gets a tombstone, or serves another link."""
        dirents.delete(txn, parent, name)
        inode = revise(inode, nlink=inode.nlink - 1, ctime_ns=now)
        if (inode.parent, inode.name) != (parent, name):
            link = links.get(txn, inode.ino, parent, name)
            links.delete(txn, inode.ino, parent, name)
            if link is not None:
                self._bury(txn, inode, self._locations.actual_link_key(txn, parent, name), link.base, now)
            return self._mark(txn, inode, InodeFlag.META_DIRTY, now)
        if inode.nlink > 0:
            return self._promote_link(txn, inode, now)
        return self._unlink_last(txn, inode, now)

    def _bury(self, txn: Txn, inode: Inode, key: str, base: Base | None, now: int) -> None:
        """The object of a link that goes, or that of a write which was sent and whose answer was never seen."""
        pending = intents.of_inode(txn, inode.ino)
        op_id = pending.op_id if pending is not None and pending.key == key else ""
        if base is not None or op_id:
            unlinked.bury(txn, key, base.etag if base is not None else "", now, op_id=op_id)

    def _promote_link(self, txn: Txn, inode: Inode, now: int) -> Inode:
        """The first link goes, others stay: one of them becomes the first.

        Best one whose object has the bytes of the first one's. Where none has (their copies are still to be made),
        the first one's object stays what the inode is based on, and is moved to the name of the heir.
        """
        base, remaining = inode.base, links.all(txn, inode.ino)
        whole = (link for link in remaining if link.base is not None and (base is None or link.base.is_copy_of(base)))
        heir, is_whole = next(((link, True) for link in whole), (remaining[0], False))
        old_key = self._locations.actual_key(txn, inode) if base is not None else ""
        links.delete(txn, inode.ino, heir.parent, heir.name)
        promoted = revise(inode, parent=heir.parent, name=heir.name)
        if is_whole:
            if base is not None:
                self._bury(txn, inode, old_key, base, now)
            rows.clear_location(txn, inode.ino)
            promoted = revise(promoted, base=heir.base)
        else:
            self._bury(txn, inode, self._locations.actual_link_key(txn, heir.parent, heir.name), heir.base, now)
            if base is not None:
                self._locations.settle(txn, promoted, old_key)
        return self._mark(txn, promoted, InodeFlag.META_DIRTY, now)

    def _unlink_last(self, txn: Txn, inode: Inode, now: int) -> Inode:
        """The last name goes: the object gets a tombstone, the inode waits for its last user."""
        needs_object = inode.is_regular and self._needs_object(inode.ino)
        return unlinked.orphan(txn, self._locations, inode, now, needs_object=needs_object)

    def _drop_directory(self, txn: Txn, inode: Inode, now: int) -> Inode:
        if not inode.is_dir:
            raise FsError(errno.ENOTDIR)
        if not dirents.is_empty(txn, inode.ino):
            raise FsError(errno.ENOTEMPTY)
        dirents.delete(txn, inode.parent, inode.name)
        gone = self._unlink_last(txn, revise(inode, nlink=0, ctime_ns=now), now)
        rows.clear_override(txn, inode.ino)
        self._locations.forget_prefixes()
        return gone

    def _check_move(self, txn: Txn, inode: Inode, parent: int, new_directory: Inode, new_name: bytes) -> None:
        self._check_new_name(txn, new_directory, new_name, is_dir=inode.is_dir)
        if not inode.is_dir or parent == new_directory.ino:
            return
        ancestor = new_directory
        while ancestor.ino != ROOT_INO:
            if ancestor.ino == inode.ino:
                raise FsError(errno.EINVAL, "a directory cannot move into itself")
            ancestor = self._inode(txn, ancestor.parent)

    def _replace(self, txn: Txn, inode: Inode, target: Inode, parent: int, name: bytes, now: int) -> Inode:
        if target.is_dir:
            if not inode.is_dir:
                raise FsError(errno.EISDIR)
            return self._drop_directory(txn, target, now)
        if inode.is_dir:
            raise FsError(errno.ENOTDIR)
        return self._drop_link(txn, target, parent, name, now)

    def _exchange(
        self, txn: Txn, one: tuple[Inode, bytes, Inode], two: tuple[Inode, bytes, Inode], now: int
    ) -> Renamed:
        (directory, name, inode), (other_directory, other_name, other) = one, two
        actual = self._actual_before_move(txn, inode, directory.ino, name)
        other_actual = self._actual_before_move(txn, other, other_directory.ino, other_name)
        moved = self._place_link(txn, inode, (directory.ino, name), (other_directory.ino, other_name), actual, now)
        back = self._place_link(txn, other, (other_directory.ino, other_name), (directory.ino, name), other_actual, now)
        shift = int(other.is_dir) - int(inode.is_dir)
        if directory.ino == other_directory.ino:
            self._touch_directory(txn, self._inode(txn, directory.ino), now)
        else:
            self._touch_directory(txn, self._inode(txn, directory.ino), now, subdirs=shift, removed=True)
            self._touch_directory(txn, self._inode(txn, other_directory.ino), now, subdirs=-shift, removed=True)
        return Renamed(moved, exchanged=back)

    def _actual_before_move(self, txn: Txn, inode: Inode, parent: int, name: bytes) -> str:
        """Where the moving thing lies now: a directory's prefix, or the key of the link's object, "" without one."""
        if inode.is_dir:
            return self._locations.actual_prefix(txn, inode.ino)
        if (inode.parent, inode.name) == (parent, name):
            return self._locations.actual_key(txn, inode) if inode.base is not None else ""
        return self._locations.actual_link_key(txn, parent, name)

    def _move_link(
        self, txn: Txn, inode: Inode, source: tuple[int, bytes], target: tuple[int, bytes], now: int
    ) -> Inode:
        actual = self._actual_before_move(txn, inode, *source)
        dirents.delete(txn, *source)
        return self._place_link(txn, inode, source, target, actual, now)

    def _place_link(
        self, txn: Txn, inode: Inode, source: tuple[int, bytes], target: tuple[int, bytes], actual: str, now: int
    ) -> Inode:
        """Puts a link at its new name and notes where its object still is."""
        dirents.put(txn, *target, inode.ino, stat.S_IFMT(inode.mode))
        if (inode.parent, inode.name) != source:
            link = links.get(txn, inode.ino, *source)
            links.delete(txn, inode.ino, *source)
            links.put(txn, inode.ino, *target, None)
            if link is not None:
                self._bury(txn, inode, actual, link.base, now)
            return self._mark(txn, revise(inode, ctime_ns=now), InodeFlag.META_DIRTY, now)
        self._leave_attempt(txn, inode, now)
        marker = self._locations.actual_key(txn, inode) if inode.is_dir and inode.base is not None else ""
        moved = revise(inode, parent=target[0], name=target[1], ctime_ns=now)
        if inode.is_dir:
            inodes.put(txn, moved)  # its new prefix is found by its row
            self._override(txn, moved, actual, now)
            if marker:
                self._locations.settle(txn, moved, marker)
            if InodeFlag.IMPLICIT in inode.flags:
                return moved
        elif inode.base is not None:
            self._locations.settle(txn, moved, actual)
        return self._mark(txn, moved, InodeFlag.META_DIRTY, now)

    def _leave_attempt(self, txn: Txn, inode: Inode, now: int) -> None:
        """A write to the name that goes may have been sent: a tombstone tells who has the name next."""
        pending = intents.of_inode(txn, inode.ino)
        if pending is None or not pending.op_id:
            return
        if inode.base is None or self._locations.actual_key(txn, inode) != pending.key:
            unlinked.bury(txn, pending.key, "", now, op_id=pending.op_id)

    def _override(self, txn: Txn, directory: Inode, actual: str, now: int) -> None:
        """The children of a renamed directory stay at the old prefix until MOVE_TREE has moved them."""
        had_override = rows.override(txn, directory.ino) is not None
        self._locations.forget_prefixes()
        if self._locations.desired_prefix(txn, directory.ino) == actual:
            rows.clear_override(txn, directory.ino)
            return
        rows.set_override(txn, directory.ino, actual)
        if not had_override:
            index = self._index
            intents.put(
                txn,
                Intent(
                    seq=index.next_seq(), kind=IntentKind.MOVE_TREE, ino=directory.ino, key=actual, etag="",
                    created_ns=now, not_before_ns=now, node=index.node, epoch=index.epoch,
                ),
            )  # fmt: skip
