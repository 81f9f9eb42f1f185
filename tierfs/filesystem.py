"""The POSIX file system on inode numbers: what each verb means, with no FUSE in sight.

Promises: a verb that returns has happened (see DESIGN.md 1: it survives SIGKILL at once, power loss
after fsync or a second); a verb that raises FsError or StoreError has not. Bytes are `content`'s
business, names `namespace`'s, the bucket's `sync`'s: this module puts them together.

Checkpoints: a verb may wait for the bucket (a listing or attributes that were never read, absent bytes)
and for room in the hot tier. After such a wait nothing that was read before it is trusted. The changes
of the tree themselves are atomic.
"""

import errno
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from attrs import evolve

from tierfs.clock import Clock
from tierfs.content.copying import copy_range
from tierfs.content.handles import Files
from tierfs.errors import FsError, TierfsError
from tierfs.index import dirents, inodes, orphans, xattrs
from tierfs.index.env import Index
from tierfs.model import NAME_MAX_BYTES, ROOT_INO, Inode, InodeFlag, KernelState
from tierfs.namespace import privileges, xattr_rules
from tierfs.namespace.access import OpenFile, is_moved_by_read
from tierfs.namespace.authority import Authority, Right
from tierfs.namespace.changes import AttrChange, NewInode, Renamed, RenameMode
from tierfs.namespace.cookies import DOT_COOKIE, DOTDOT_COOKIE, OpenDirectory
from tierfs.namespace.lookups import LookupCounts
from tierfs.namespace.tree import Tree
from tierfs.namespace.verbs import ROOT, Caller, Capacity, DirEntry, Usage
from tierfs.sync.importer import Importer
from tierfs.sync.pathrules import PathRules
from tierfs.sync.paths import display_path

_log: Final = logging.getLogger(__name__)
_UNSET_MODE: Final = 0


def _new(mode: int, caller: Caller, rdev: int = 0) -> NewInode:
    return NewInode(mode, caller.uid, caller.gid, rdev=rdev, umask=caller.umask)


class FileSystem:
    """POSIX verbs. `Inode` values that it returns show size and times as they are at this moment."""

    def __init__(
        self,
        *,
        index: Index,
        tree: Tree,
        files: Files,
        importer: Importer,
        authority: Authority,
        capacity: Capacity,
        clock: Clock,
        rules: PathRules,
        wake_export: Callable[[], None],
        export_now: Callable[[int], Awaitable[None]],
        admits: Callable[[Inode, Caller], bool] = lambda inode, caller: True,
        durable_operations: bool = False,
    ) -> None:
        """`wake_export`: there is something new for the bucket. `export_now`: see `Exporter.export_now`. `admits`: may
        what a reader fetches stay in the hot tier? FsError(EAGAIN): he is not to be let in. `durable_operations`: a
        change is answered when it is on the disk."""
        self._rules = rules
        self._wake_export = wake_export
        self._export_now = export_now
        self._admits = admits
        self._index = index
        self._tree = tree
        self._files = files
        self._importer = importer
        self._authority = authority
        self._capacity = capacity
        self._clock = clock
        self._durable_operations = durable_operations
        self._lookups = LookupCounts()
        self._handles: dict[int, OpenFile] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._next_directory = 1
        self._before = KernelState()

    # ---- names ----

    async def lookup(self, parent: int, name: bytes) -> Inode:
        """The inode of a name, its attributes known. ENOENT, ENOTDIR, ENAMETOOLONG."""
        directory = self._tree.inode(parent)
        if not directory.is_dir:
            raise FsError(errno.ENOTDIR)
        if name == b".":
            return await self.getattr(parent)
        if name == b"..":
            return await self.getattr(directory.parent or ROOT_INO)
        if len(name) > NAME_MAX_BYTES:
            raise FsError(errno.ENAMETOOLONG)
        await self._importer.ensure_listed(parent)
        inode = self._tree.lookup(parent, name)
        if inode is None:
            raise FsError(errno.ENOENT)
        if InodeFlag.ATTRS_KNOWN not in inode.flags:
            inode = self._tree.inode(await self._importer.ensure_attributes(inode.ino))
        return self._files.live(inode)

    async def getattr(self, ino: int) -> Inode:
        """Attributes; waits for the bucket when they were never read."""
        return await self._with_attributes(self._tree.inode(ino))

    async def _with_attributes(self, inode: Inode) -> Inode:
        if InodeFlag.ATTRS_KNOWN not in inode.flags:
            await self._importer.ensure_attributes(inode.ino)
            inode = self._tree.inode(inode.ino)
        return self._files.live(inode)

    def blocks(self, inode: Inode) -> int:
        """st_blocks, in 512 bytes."""
        return self._files.blocks(inode)

    def is_written_past_us(self, ino: int) -> bool:
        """May size and times change without a verb?"""
        return self._files.is_written_past_us(ino)

    def is_lent(self, ino: int) -> bool:
        """May the kernel open, read and write it without a verb?"""
        return self._files.lending.has(ino)

    def path_of(self, ino: int) -> str:
        """For the log; "(unlinked)" where it has none."""
        return display_path(self._index, ino)

    def path_of_handle(self, handle: int) -> str:
        """As `path_of`, of an open file."""
        opened = self._handles.get(handle)
        return self.path_of(opened.ino) if opened is not None else "(not open)"

    def used(self, ino: int, when_ns: int) -> None:
        """A lent file was opened or read, not seen here."""
        self._files.keeping.used(ino, when_ns)
        self._take_access_time(ino)

    def disconnected(self) -> None:
        """The kernel has gone, and nothing is open any more."""
        for ino in self._files.lending.all():
            self._take_access_time(ino)
        self._files.disconnected()
        self._before = KernelState()
        self.purge_orphans()

    def _take_access_time(self, ino: int) -> None:
        """Reads of a lent file moved the access time of its backing file."""
        inode = None if self._rules.is_read_only else inodes.get(self._index, ino)
        if inode is not None and (now := self._files.live(inode)).atime_ns > inode.atime_ns:
            self._tree.note_access(ino, now.atime_ns)

    def remember(self, ino: int) -> None:
        """A reply that names `ino` goes to the kernel (its lookup count rises by one)."""
        self._lookups.acquire(ino)

    def forget(self, ino: int, count: int) -> None:
        """FORGET: the kernel drops `count` references."""
        if self._lookups.release(ino, count) == 0:
            self._files.forgotten(ino)
            self._purge_if_unused(ino)

    def _purge_if_unused(self, ino: int) -> None:
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent != 0 or self._lookups.count(ino) or self._files.has_handles(ino):
            return
        self._files.forget(ino)
        self._tree.purge(ino)
        self._wake_export()  # its object may have been kept for it

    def purge_orphans(self) -> int:
        """At start and at the end: files that were unlinked while open, when no kernel knows them any more."""
        count, after = 0, 0
        while page := orphans.page(self._index, after, 1000):
            after = page[-1]
            for ino in page:
                if ino not in self._before.lookups:
                    self._files.forget(ino)
                    self._tree.purge(ino)
                    count += 1
        return count

    def recall(self, before: KernelState) -> None:
        """At start, before `purge_orphans`: the kernel goes on with what the daemon before has given to it."""
        self._before = before
        for ino, count in before.lookups.items():
            self._lookups.acquire(ino, count)

    async def reopen(self) -> None:
        """Its handles mean again what they meant. One whose file is lost is not known: EBADF."""
        for opened in self._before.files:
            is_writer = opened.flags & os.O_ACCMODE != os.O_RDONLY
            try:
                await self._files.reopen(opened.handle, opened.ino, write=is_writer)
            except TierfsError as error:
                _log.warning("inode %#x cannot be opened again: %s", opened.ino, error, extra={"event": "TFS8005"})
                continue
            self._handles[opened.handle] = self._rules.opened(opened.ino, opened.flags)
        for opened in self._before.directories:
            self._directories[opened.handle] = directory = OpenDirectory(opened.ino)
            self._next_directory = max(self._next_directory, opened.handle + 1)
            directory.remember_all(entry.name for entry in dirents.above(self._index, opened.ino))

    async def recall_lent(self) -> None:
        """Once there is a borrower: the files that it has from the daemon before."""
        await self._files.recall_lent(self._before.lent)
        self._before = KernelState()

    # ---- changes of the tree ----

    async def create(self, parent: int, name: bytes, mode: int, caller: Caller) -> tuple[Inode, int]:
        """A new regular file, open for reading and writing: (inode, file handle)."""
        inode = await self._create(parent, name, _new(stat.S_IFREG | stat.S_IMODE(mode), caller), caller)
        handle = self._files.created(inode.ino)
        self._handles[handle] = OpenFile(inode.ino, waits_at_close=self._rules.waits_at_close(inode.ino))
        return self._files.live(inode), handle

    async def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Inode:
        """A regular file, fifo, socket or device. EPERM for other types (as mknod(2))."""
        if not any(test(mode) for test in (stat.S_ISREG, stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISCHR, stat.S_ISBLK)):
            raise FsError(errno.EPERM, "mknod of an unknown type")
        inode = await self._create(parent, name, _new(mode, caller, rdev), caller)
        if inode.is_regular:
            await self._files.release(self._files.created(inode.ino))  # the empty file is whole in the hot tier
        return self._tree.inode(inode.ino)

    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Inode:
        """A new empty directory."""
        new = _new(stat.S_IFDIR | stat.S_IMODE(mode) & ~stat.S_ISGID, caller)
        return await self._create(parent, name, new, caller)

    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Inode:
        """A symbolic link; its target is not looked at."""
        new = NewInode(stat.S_IFLNK | 0o777, caller.uid, caller.gid, target=target)
        return await self._create(parent, name, new, caller)

    async def _create(self, parent: int, name: bytes, new: NewInode, caller: Caller) -> Inode:
        self._rules.check_name(parent, name)
        await self._importer.ensure_listed(parent)
        inode = self._tree.create(parent, name, new, token=caller.token)
        await self._acknowledge()
        return inode

    async def link(self, ino: int, parent: int, name: bytes, *, token: int = 0) -> Inode:
        """A hard link. EPERM for directories, EMLINK, EEXIST, EXDEV."""
        self._rules.check_link(ino, parent, name)
        await self._with_attributes(self._tree.inode(ino))
        await self._importer.ensure_listed(parent)
        inode = self._tree.link(ino, parent, name, token=token)
        await self._acknowledge()
        return self._files.live(inode)

    async def unlink(self, parent: int, name: bytes, *, token: int = 0) -> Inode:
        """Removes a name; the file lives on while it is open. Returns which it was."""
        self._rules.check_name(parent, name)
        await self._importer.ensure_listed(parent)
        return await self._removed(self._tree.unlink(parent, name, token=token))

    async def rmdir(self, parent: int, name: bytes, *, token: int = 0) -> Inode:
        """Removes an empty directory; one that was never listed is listed first. Returns which it was."""
        self._rules.check_name(parent, name)
        await self._importer.ensure_listed(parent)
        victim = self._tree.lookup(parent, name)
        if victim is not None and victim.is_dir:
            await self._importer.ensure_listed(victim.ino)
        return await self._removed(self._tree.rmdir(parent, name, token=token))

    async def _removed(self, inode: Inode) -> Inode:
        self._purge_if_unused(inode.ino)
        await self._acknowledge()
        return inode

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, mode: RenameMode, *, token: int = 0
    ) -> Renamed:
        """rename(2), renameat2(2) with NOREPLACE or EXCHANGE."""
        places = ((parent, name), (new_parent, new_name))
        for directory, entry in places:
            self._rules.check_name(directory, entry)
            await self._importer.ensure_listed(directory)
        for directory, entry in places:
            inode = self._tree.lookup(directory, entry)
            if inode is not None:
                self._rules.check_move(inode, places)
            if inode is not None and not inode.is_dir:
                await self._with_attributes(inode)  # the move rewrites the object's metadata: it must be known
            elif inode is not None and directory == new_parent:
                await self._importer.ensure_listed(inode.ino)  # is the target empty?
        renamed = self._tree.rename(parent, name, new_parent, new_name, mode, token=token)
        if renamed.replaced is not None:
            self._purge_if_unused(renamed.replaced.ino)
        await self._acknowledge()
        return renamed

    async def _acknowledge(self) -> None:
        """A change of the tree was recorded: its export is due some time, its answer now."""
        self._wake_export()
        if self._durable_operations:
            await self._index.durable()

    # ---- attributes ----

    async def setattr(
        self, ino: int, change: AttrChange, size_bytes: int | None, *, strips_privileges: bool = False
    ) -> Inode:
        """chmod, chown, truncate, utimens in one; returns the attributes after it. EROFS, EISDIR, EINVAL.

        `strips_privileges`: setuid, setgid and capabilities go, as write(2) and chown(2) have it; not of a directory.
        """
        self._rules.check_inode(ino)
        inode = await self._with_attributes(self._tree.inode(ino))
        if size_bytes is not None:
            if not inode.is_regular:
                raise FsError(errno.EISDIR if inode.is_dir else errno.EINVAL)
            await self._authority.acquire(ino, Right.WRITE)
            await self._files.set_size(ino, size_bytes)
        if change != AttrChange():
            if inode.is_regular and (change.atime_ns is not None or change.mtime_ns is not None):
                self._files.touch_times(ino, atime_ns=change.atime_ns, mtime_ns=change.mtime_ns)
            self._tree.set_attributes(ino, change)
        if strips_privileges and not inode.is_dir:
            privileges.strip(self._index, self._tree, ino)
        await self._acknowledge()
        return self._files.live(self._tree.inode(ino))

    async def readlink(self, ino: int) -> bytes:
        """The target of a symlink. EINVAL for anything else."""
        inode = await self._with_attributes(self._tree.inode(ino))
        if not inode.is_symlink:
            raise FsError(errno.EINVAL)
        return inode.target

    async def statfs(self) -> Usage:
        """Space and inodes."""
        return self._capacity.usage()

    # ---- extended attributes ----

    async def setxattr(self, ino: int, name: bytes, value: bytes, *, token: int = 0) -> None:
        """EOPNOTSUPP, ERANGE, E2BIG: see `xattr_rules`."""
        self._rules.check_inode(ino)
        xattr_rules.check_name(name)
        xattr_rules.check_value(name, value)
        await self._with_attributes(self._tree.inode(ino))
        self._tree.set_xattr(ino, name, value, token=token)
        await self._acknowledge()

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        """ENODATA when it is not set."""
        xattr_rules.check_name(name)
        await self._with_attributes(self._tree.inode(ino))
        value = xattrs.get(self._index, ino, name)
        if value is None:
            raise FsError(errno.ENODATA)
        return value

    async def listxattr(self, ino: int, caller: Caller) -> Sequence[bytes]:
        """The names that are set and `caller` may see."""
        await self._with_attributes(self._tree.inode(ino))
        return xattr_rules.visible(xattrs.names(self._index, ino), caller)

    async def removexattr(self, ino: int, name: bytes, *, token: int = 0) -> None:
        """ENODATA when it is not set."""
        self._rules.check_inode(ino)
        xattr_rules.check_name(name)
        await self._with_attributes(self._tree.inode(ino))
        self._tree.remove_xattr(ino, name, token=token)
        await self._acknowledge()

    # ---- open files ----

    async def open(self, ino: int, flags: int, caller: Caller = ROOT, *, strips_privileges: bool = False) -> int:
        """open(2) of an existing regular file; returns a file handle. EROFS, EISDIR, ESTALE, EAGAIN.

        `strips_privileges`: if it is for writing, see `setattr`; the writes themselves may not be seen.
        """
        write = flags & os.O_ACCMODE != os.O_RDONLY
        truncate = bool(flags & os.O_TRUNC)
        if write or truncate:
            self._rules.check_inode(ino)
        inode = self._tree.inode(ino)
        if InodeFlag.ATTRS_KNOWN not in inode.flags and await self._importer.ensure_attributes(ino) != ino:
            raise FsError(errno.ESTALE)  # another version has the name: the kernel looks it up again
        if not inode.is_regular:
            raise FsError(errno.EISDIR if inode.is_dir else errno.EINVAL)
        await self._authority.acquire(ino, Right.WRITE if write else Right.CACHE)
        if write and strips_privileges:
            privileges.strip(self._index, self._tree, ino)
        write = write or truncate
        handle = await self._files.open(
            ino, write=write, truncate=truncate, in_place=not flags & (os.O_TRUNC | os.O_APPEND), token=caller.token,
            passes=not write and not self._admits(inode, caller),
        )  # fmt: skip
        self._handles[handle] = self._rules.opened(ino, flags)
        return handle

    async def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """Bytes of an open file, short only at its end. EIO, ESTALE, EACCES from the bucket."""
        data = await self._files.read(handle, offset, size_bytes)
        self._note_access(self._handles[handle])
        return data

    async def bring(self, handle: int, offset: int, size_bytes: int) -> None:
        """As `read`, without the bytes: see `Files.bring`."""
        await self._files.bring(handle, offset, size_bytes)
        if handle in self._handles:  # it may be told after its RELEASE
            self._note_access(self._handles[handle])

    async def write(self, handle: int, offset: int, data: bytes, *, is_writeback: bool = False) -> int:
        """Writes all of `data`; waits while the hot tier is full. ENOSPC, EFBIG. `is_writeback`: see `Files.write`."""
        return await self._files.write(handle, offset, data, is_writeback=is_writeback)

    async def fallocate(self, handle: int, offset: int, length: int, mode: int) -> None:
        """fallocate(2); see `Files.fallocate`. ENOSPC, EFBIG, EOPNOTSUPP."""
        await self._files.fallocate(handle, offset, length, mode)

    async def seek(self, handle: int, offset: int, whence: int) -> int:
        """lseek(2) with SEEK_DATA or SEEK_HOLE: what is absent is data. ENXIO."""
        return await self._files.seek(handle, offset, whence)

    async def copy_range(self, handle_in: int, offset_in: int, handle_out: int, offset_out: int, length: int) -> int:
        """copy_file_range(2): as many bytes as were copied, which may be fewer than asked. As `read` and `write`."""
        copied = await copy_range(self._files, handle_in, offset_in, handle_out, offset_out, length)
        self._note_access(self._handles[handle_in])
        return copied

    async def flush(self, handle: int) -> None:
        """close(2) of one descriptor. Where a rule has it so, the bucket has what was written when it returns, or it
        fails with what kept it away."""
        await self._files.flush(handle)
        if (opened := self._handles[handle]).waits_at_close:
            await self._export_now(opened.ino)

    async def fsync(self, handle: int, *, datasync: bool) -> None:
        """Returns when bytes and attributes survive power loss."""
        await self._files.fsync(handle, datasync)

    async def fsync_inode(self, ino: int, *, datasync: bool) -> None:
        """As `fsync`, through a descriptor that was opened without us."""
        await self._files.fsync_inode(ino, datasync)

    async def release(self, handle: int) -> None:
        """The last descriptor of an open file is gone."""
        opened = self._handles.pop(handle)
        if opened.is_reader and not opened.keeps_atime and self._files.is_read_past_us(opened.ino):
            self._take_access_time(opened.ino)
        await self._files.release(handle)
        self._purge_if_unused(opened.ino)

    def _note_access(self, opened: OpenFile) -> None:
        now_ns = self._clock.now_ns()
        if opened.is_look_due(now_ns) and is_moved_by_read(self._files.live(self._tree.inode(opened.ino)), now_ns):
            self._tree.note_access(opened.ino, now_ns)

    # ---- open directories ----

    async def opendir(self, ino: int) -> int:
        """Lists the directory if that was never done or is too long ago; returns a handle."""
        if not self._tree.inode(ino).is_dir:
            raise FsError(errno.ENOTDIR)
        await self._importer.ensure_listed(ino)
        handle, self._next_directory = self._next_directory, self._next_directory + 1
        self._directories[handle] = OpenDirectory(ino)
        return handle

    def readdir(self, handle: int, cookie: int) -> Iterator[DirEntry]:
        """Entries after `cookie` (0: from the start) in name order. Consume it without awaiting."""
        directory = self._directories[handle]
        inode = self._tree.inode(directory.ino)
        if cookie < DOT_COOKIE:
            yield DirEntry(b".", inode, DOT_COOKIE)
        if cookie < DOTDOT_COOKIE:
            yield DirEntry(b"..", inodes.get(self._index, inode.parent) or inode, DOTDOT_COOKIE)
        position = cookie
        for entry in dirents.above(self._index, directory.ino, directory.name_at(cookie)):
            child = inodes.get(self._index, entry.ino)
            if child is None:
                continue
            if entry.fmt == 0 and InodeFlag.ATTRS_KNOWN not in child.flags:
                child = evolve(child, mode=_UNSET_MODE)
            position = directory.remember(entry.name, position)
            yield DirEntry(entry.name, self._files.live(child), position)

    async def releasedir(self, handle: int) -> None:
        """Closes a directory."""
        directory = self._directories.pop(handle)
        self._purge_if_unused(directory.ino)

    async def fsyncdir(self, handle: int) -> None:
        """Returns when every change acknowledged so far survives power loss."""
        await self._index.durable()
