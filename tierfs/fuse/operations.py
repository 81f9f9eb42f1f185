"""pyfuse3's request handlers: translate, call, translate back.

Every handler runs under `_answer`, which turns whatever a verb raises into an errno: an exception
that reached pyfuse3 would end the mount (DESIGN.md 5). What must not be carried out twice runs under
`_once`: when the kernel asks again for what a daemon that died has committed, it gets the answer.
"""

import errno
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import monotonic_ns
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

import pyfuse3
from attrs import evolve
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, FlagT, InodeT, ModeT, RequestContext

from tierfs.errors import FsError, TierfsError
from tierfs.filesystem import FileSystem
from tierfs.fuse import convert
from tierfs.fuse.directories import Directories
from tierfs.fuse.failures import Failures
from tierfs.fuse.observer import INTERRUPTED, Observer
from tierfs.index.answers import Answers
from tierfs.model import NAME_MAX_BYTES, Inode
from tierfs.policy.identity import Ownership

_P = ParamSpec("_P")
_R = TypeVar("_R")
_SIZES: Final[Mapping[str, Callable[[Any], int]]] = {"read": len, "write": int}
"""From the answer to the bytes that were read or written."""


def _no_bytes(_answer: object) -> int:
    return 0


def _answer(
    handler: Callable[Concatenate["Operations", _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate["Operations", _P], Coroutine[Any, Any, _R]]:
    signature = inspect.signature(handler)
    verb = handler.__name__
    size_of = _SIZES.get(verb, _no_bytes)

    @functools.wraps(handler)
    async def answer(self: "Operations", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        def about() -> Mapping[str, Any]:
            return signature.bind(self, *args, **kwargs).arguments

        began_ns, watched = monotonic_ns(), self._observer.begin(about, self._known_path)
        failure, size_bytes = INTERRUPTED, 0
        try:
            result = await handler(self, *args, **kwargs)
            failure, size_bytes = "", size_of(result)
            return result
        except Exception as error:
            code = self._failures.errno_of(error, verb, lambda: self._path_in(about()))
            failure = errno.errorcode.get(code, str(code))
            raise pyfuse3.FUSEError(code) from None
        finally:
            self._observer.end(watched, verb, began_ns, failure, size_bytes)

    return answer


def _once(
    handler: Callable[Concatenate["Operations", _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate["Operations", _P], Coroutine[Any, Any, _R]]:
    """For handlers of requests with a token (native/holder/tokens.h); the context is their last argument."""
    answered = _answer(handler)

    @functools.wraps(handler)
    async def once(self: "Operations", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return await answered(self, *args, **kwargs)
        finally:
            # pyfuse3 sends the answer before another task runs
            self._answers.sent(convert.token(cast(RequestContext, args[-1])))

    return once


class HolderView(Protocol):
    """What requests have to know of the holder in front of us."""

    @property
    def takes_files(self) -> bool:
        """Is there one?"""
        ...

    def inode_of(self, fh: int) -> int | None:
        """The inode of a file handle that it gave out, None for one of ours."""
        ...

    def attributes_changed(self, ino: int) -> None:
        """Those of a lent file are others, by a request that does not tell which file it is about."""
        ...


EVERYBODYS_OWN: Final = Ownership()


class Operations(pyfuse3.Operations):
    """One mounted file system."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = True

    def __init__(
        self,
        fs: FileSystem,
        timeouts: convert.Timeouts,
        holder: HolderView,
        failures: Failures,
        answers: Answers,
        directories: Directories,
        observer: Observer | None = None,
        ownership: Ownership = EVERYBODYS_OWN,
    ) -> None:
        super().__init__()
        self._ownership = ownership
        self._observer = observer or Observer()
        self._fs = fs
        self._timeouts = timeouts
        self._changing = evolve(timeouts, attr_s=0)
        self._holder = holder
        self._failures = failures
        self._answers = answers
        self._directories = directories

    def attributes(self, inode: Inode) -> EntryAttributes:
        """As the kernel is told."""
        timeouts = self._changing if self._fs.is_written_past_us(inode.ino) else self._timeouts
        return convert.entry(inode, self._fs.blocks(inode), timeouts)

    def _path_in(self, arguments: Mapping[str, Any]) -> str:
        """What a request is about, by its arguments; the handle of a directory does not tell."""
        match arguments:
            case {"inode": ino}:
                return self._fs.path_of(ino)
            case {"fh": fh}:
                ino = self._holder.inode_of(fh)
                return self._fs.path_of(ino) if ino is not None else self._fs.path_of_handle(fh)
            case {"parent_inode": parent, "name": name} | {"parent_inode_old": parent, "name_old": name}:
                return f"{self._fs.path_of(parent).rstrip('/')}/{name.decode(errors='backslashreplace')}"
        return ""

    def _known_path(self, arguments: Mapping[str, Any]) -> str:
        """The same for those who watch: "" where the index does not tell."""
        try:
            return self._path_in(arguments)
        except TierfsError:
            return ""

    def _strips(self, ctx: RequestContext) -> bool:
        """With HANDLE_KILLPRIV_V2, which the holder asks for, the kernel leaves setuid and setgid to us."""
        return self._holder.takes_files and ctx.uid != 0

    def _was_made(self, ctx: RequestContext) -> bool:
        """Has a daemon before carried out this request, and died before it answered?"""
        return convert.is_asked_again(ctx) and self._answers.was_made(convert.token(ctx))

    async def _made(self, ctx: RequestContext, parent: int, name: bytes) -> Inode | None:
        """What this request has made before; None: nothing, or it is gone again, as for a listing of the bucket."""
        if not self._was_made(ctx):
            return None
        try:
            return await self._fs.lookup(parent, name)
        except FsError as error:
            if error.errno != errno.ENOENT:
                raise
            return None

    def _entry(self, inode: Inode) -> EntryAttributes:
        """Attributes in a reply that makes the kernel know the inode."""
        attributes = self.attributes(inode)
        self._fs.remember(inode.ino)
        return attributes

    def _changed(self, *directories: int) -> None:
        """Their names are others. Said as the last thing before the answer."""
        for ino in dict.fromkeys(directories):
            self._directories.changed(ino, self.attributes)

    def _renamed(self, *inodes: Inode | None) -> None:
        """Names of them were made, moved or removed."""
        for inode in inodes:
            if inode is not None:
                self._directories.doubted(inode.ino)
                if self._fs.is_lent(inode.ino):
                    self._holder.attributes_changed(inode.ino)

    @_answer
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._entry(await self._fs.lookup(parent_inode, name))
        except FsError as error:
            if error.errno == errno.ENOENT:
                self._directories.missed(parent_inode)
                if self._timeouts.negative_s > 0:
                    return convert.no_entry(self._timeouts)
            raise

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for ino, count in inode_list:
            try:
                self._fs.forget(ino, count)
            except Exception as error:  # nobody waits for an answer; what is left of the file goes at the next start
                self._failures.errno_of(error, "forget", lambda: "")

    @_answer
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        return self.attributes(await self._fs.getattr(inode))

    @_answer
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        change, size_bytes = convert.attr_change(attr, fields)
        strips = self._holder.takes_files and (ctx.uid != 0 if size_bytes is not None else convert.is_chown(change))
        return self.attributes(await self._fs.setattr(inode, change, size_bytes, strips_privileges=strips))

    @_answer
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(await self._fs.readlink(inode))

    @_once
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._made(ctx, parent_inode, name)
        inode = made or await self._fs.mknod(parent_inode, name, mode, rdev, convert.maker(ctx, self._ownership))
        self._changed(parent_inode)
        return self._entry(inode)

    @_once
    async def mkdir(self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext) -> EntryAttributes:
        made = await self._made(ctx, parent_inode, name)
        inode = made or await self._fs.mkdir(parent_inode, name, mode, convert.maker(ctx, self._ownership))
        self._changed(parent_inode)
        if made is None:
            self._directories.made(inode.ino)
        return self._entry(inode)

    @_once
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        if not self._was_made(ctx):
            self._renamed(await self._fs.unlink(parent_inode, name, token=convert.token(ctx)))
        self._changed(parent_inode)

    @_once
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        if not self._was_made(ctx):
            self._renamed(await self._fs.rmdir(parent_inode, name, token=convert.token(ctx)))
        self._changed(parent_inode)

    @_once
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._made(ctx, parent_inode, name)
        inode = made or await self._fs.symlink(parent_inode, name, target, convert.maker(ctx, self._ownership))
        self._changed(parent_inode)
        return self._entry(inode)

    @_once
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        mode = convert.rename_mode(flags)
        if mode is None:
            raise FsError(errno.EINVAL)
        if not self._was_made(ctx):
            token = convert.token(ctx)
            renamed = await self._fs.rename(parent_inode_old, name_old, parent_inode_new, name_new, mode, token=token)
            self._renamed(renamed.moved, renamed.replaced, renamed.exchanged)
        self._changed(parent_inode_old, parent_inode_new)

    @_once
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._made(ctx, new_parent_inode, new_name)
        linked = made or await self._fs.link(inode, new_parent_inode, new_name, token=convert.token(ctx))
        self._renamed(linked)
        self._changed(new_parent_inode)
        return self._entry(linked)

    @_once
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        left = flags & ~os.O_TRUNC if self._was_made(ctx) else flags
        handle = await self._fs.open(inode, left, convert.caller(ctx), strips_privileges=self._strips(ctx))
        self._observer.opened(handle, ctx.uid, ctx.pid)
        self._observer.accesses.opened(inode, writes=convert.needs_no_bytes(flags))
        # the daemon owns the namespace and invalidates what an import changes: pages stay valid
        return FileInfo(fh=FileHandleT(handle), keep_cache=True, direct_io=self._goes_direct(inode, flags))

    def _goes_direct(self, inode: InodeT, flags: int) -> bool:
        """Who only writes, to the holder, has no use for pages: each would be made twice, in the cache's file, too."""
        is_writer = flags & os.O_ACCMODE == os.O_WRONLY
        return is_writer and self._holder.takes_files and not self._fs.is_lent(inode)

    @_once
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        made = await self._made(ctx, parent_inode, name)
        if made is not None:
            inode, handle = made, await self._fs.open(made.ino, os.O_RDWR)
        else:
            inode, handle = await self._fs.create(parent_inode, name, mode, convert.maker(ctx, self._ownership))
        self._observer.opened(handle, ctx.uid, ctx.pid)
        self._observer.accesses.opened(inode.ino, writes=True)
        info = FileInfo(fh=FileHandleT(handle), keep_cache=True, direct_io=self._goes_direct(InodeT(inode.ino), flags))
        self._changed(parent_inode)
        return info, self._entry(inode)

    @_answer
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        return await self._fs.read(fh, off, size)

    @_answer
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        handle, is_writeback = convert.written_handle(fh)
        return await self._fs.write(handle, off, buf, is_writeback=is_writeback)

    @_answer
    async def flush(self, fh: FileHandleT) -> None:
        await self._fs.flush(fh)

    @_answer
    async def release(self, fh: FileHandleT) -> None:
        self._observer.released(fh)
        await self._fs.release(fh)

    @_answer
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        inode = self._holder.inode_of(fh)
        if inode is None:
            await self._fs.fsync(fh, datasync=datasync)
        else:
            await self._fs.fsync_inode(inode, datasync=datasync)

    @_answer
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        return FileHandleT(await self._fs.opendir(inode))

    @_answer
    async def readdir(self, directory: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for item in self._fs.readdir(directory, start_id):
            if not pyfuse3.readdir_reply(token, item.name, self.attributes(item.inode), item.cookie):
                return
            if item.name not in (b".", b".."):
                self._fs.remember(item.inode.ino)

    @_answer
    async def releasedir(self, directory: FileHandleT) -> None:
        await self._fs.releasedir(directory)

    @_answer
    async def fsyncdir(self, directory: FileHandleT, datasync: bool) -> None:
        await self._fs.fsyncdir(directory)

    @_answer
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        return convert.statvfs(await self._fs.statfs(), NAME_MAX_BYTES)

    @_once
    async def setxattr(self, inode: InodeT, name: pyfuse3.XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        if not self._was_made(ctx):
            await self._fs.setxattr(inode, name, value, token=convert.token(ctx))

    @_answer
    async def getxattr(self, inode: InodeT, name: pyfuse3.XAttrNameT, ctx: RequestContext) -> bytes:
        # pyfuse3 asks, for a setxattr with XATTR_CREATE or XATTR_REPLACE, what was there before it
        if self._was_made(ctx) and self._answers.attribute_was_new(convert.token(ctx)):
            raise FsError(errno.ENODATA)
        return await self._fs.getxattr(inode, name)

    @_answer
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[pyfuse3.XAttrNameT]:
        return [pyfuse3.XAttrNameT(name) for name in await self._fs.listxattr(inode, convert.caller(ctx))]

    @_once
    async def removexattr(self, inode: InodeT, name: pyfuse3.XAttrNameT, ctx: RequestContext) -> None:
        if not self._was_made(ctx):
            await self._fs.removexattr(inode, name, token=convert.token(ctx))
