"""Values of the file system as pyfuse3 wants them."""

import os
import stat
import struct
from typing import Final

import pyfuse3
from attrs import evolve, frozen

from tierfs.model import Inode, InodeFlag
from tierfs.namespace.changes import AttrChange, RenameMode
from tierfs.namespace.verbs import Caller, Usage
from tierfs.policy.identity import Ownership
from tierfs.units import NS_PER_S

_BLOCK_BYTES: Final = 4096
_UINT64: Final = (1 << 64) - 1
_ATTRIBUTES: Final = struct.Struct("=6Q10I")
_WRITEBACK_FH: Final = 1 << 62  # native/holder/forward.h
_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700
# as in native/holder/tokens.h; its TOKEN_MARK is the sign of the pid
_TOKEN_AGAIN: Final = 1 << 30


@frozen
class Timeouts:
    """How long the kernel may believe what it was told, in seconds."""

    entry_s: float
    attr_s: float
    negative_s: float


def caller(ctx: pyfuse3.RequestContext) -> Caller:
    """Who sent a request."""
    return Caller(uid=ctx.uid, gid=ctx.gid, token=token(ctx), umask=ctx.umask, pid=max(0, ctx.pid))


def maker(ctx: pyfuse3.RequestContext, ownership: Ownership) -> Caller:
    """The same, as the owner of what the request makes."""
    uid, gid = ownership.of(ctx.uid, ctx.gid)
    return evolve(caller(ctx), uid=uid, gid=gid)


def token(ctx: pyfuse3.RequestContext) -> int:
    """What the holder put in the place of the pid of a request that must not be carried out twice, else 0."""
    return ctx.pid & (_TOKEN_AGAIN - 1) if ctx.pid < 0 else 0


def is_asked_again(ctx: pyfuse3.RequestContext) -> bool:
    """Was such a request given to a daemon that has died?"""
    return ctx.pid < 0 and bool(ctx.pid & _TOKEN_AGAIN)


def entry(inode: Inode, blocks: int, timeouts: Timeouts) -> pyfuse3.EntryAttributes:
    """An inode's attributes; until they are known it is the mounting user's own and not cached."""
    attributes = pyfuse3.EntryAttributes()
    known = InodeFlag.ATTRS_KNOWN in inode.flags
    mode, uid, gid = inode.mode, inode.uid, inode.gid
    if not known and mode:
        private = _PRIVATE_DIRECTORY if inode.is_dir else _PRIVATE_FILE
        mode, uid, gid = stat.S_IFMT(mode) | private, os.getuid(), os.getgid()
    attributes.st_ino = pyfuse3.InodeT(inode.ino)
    attributes.generation = 0
    attributes.entry_timeout = timeouts.entry_s if known else 0
    attributes.attr_timeout = timeouts.attr_s if known else 0
    attributes.st_mode = pyfuse3.ModeT(mode)
    attributes.st_nlink = inode.nlink
    attributes.st_uid = uid
    attributes.st_gid = gid
    attributes.st_rdev = inode.rdev
    attributes.st_size = inode.size_bytes
    attributes.st_blksize = _BLOCK_BYTES
    attributes.st_blocks = blocks
    attributes.st_atime_ns = inode.atime_ns
    attributes.st_mtime_ns = inode.mtime_ns
    attributes.st_ctime_ns = inode.ctime_ns
    return attributes


def no_entry(timeouts: Timeouts) -> pyfuse3.EntryAttributes:
    """The answer to a lookup that found nothing, which the kernel may remember."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(0)
    attributes.entry_timeout = timeouts.negative_s
    return attributes


def written_handle(fh: int) -> tuple[int, bool]:
    """(the handle of a WRITE, does the kernel write back what a program stored by a mapping?)"""
    return fh & ~_WRITEBACK_FH, bool(fh & _WRITEBACK_FH)


def needs_no_bytes(flags: int) -> bool:
    """Does an open(2) with these flags go without what is in the file?"""
    return flags & os.O_ACCMODE == os.O_WRONLY or bool(flags & os.O_TRUNC)


def attr_change(attributes: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> tuple[AttrChange, int | None]:
    """(the attributes to change, the new size or None)."""
    change = AttrChange(
        permissions=stat.S_IMODE(attributes.st_mode) if fields.update_mode else None,
        uid=attributes.st_uid if fields.update_uid else None,
        gid=attributes.st_gid if fields.update_gid else None,
        atime_ns=attributes.st_atime_ns if fields.update_atime else None,
        mtime_ns=attributes.st_mtime_ns if fields.update_mtime else None,
    )
    return change, attributes.st_size if fields.update_size else None


def is_chown(change: AttrChange) -> bool:
    """Does the file get another owner or group?"""
    return change.uid is not None or change.gid is not None


def rename_mode(flags: int) -> RenameMode | None:
    """renameat2's flags; None for what tierfs does not have (RENAME_WHITEOUT)."""
    known = {
        0: RenameMode.REPLACE,
        int(pyfuse3.RENAME_NOREPLACE): RenameMode.NOREPLACE,
        int(pyfuse3.RENAME_EXCHANGE): RenameMode.EXCHANGE,
    }
    return known.get(flags)


def statvfs(usage: Usage, name_max: int) -> pyfuse3.StatvfsData:
    """Space as statfs(2) reports it."""
    data = pyfuse3.StatvfsData()
    data.f_bsize = data.f_frsize = _BLOCK_BYTES
    data.f_blocks = usage.total_bytes // _BLOCK_BYTES
    data.f_bfree = data.f_bavail = usage.free_bytes // _BLOCK_BYTES
    data.f_files = usage.total_inodes
    data.f_ffree = data.f_favail = usage.free_inodes
    data.f_namemax = name_max
    return data


def packed_attributes(entry: pyfuse3.EntryAttributes) -> bytes:
    """As struct fuse_attr of the kernel's uapi/linux/fuse.h."""
    (atime, atime_ns), (mtime, mtime_ns), (ctime, ctime_ns) = (
        divmod(time_ns, NS_PER_S) for time_ns in (entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns)
    )
    return _ATTRIBUTES.pack(
        *(entry.st_ino, entry.st_size, entry.st_blocks, atime & _UINT64, mtime & _UINT64, ctime & _UINT64),
        *(atime_ns, mtime_ns, ctime_ns),
        *(entry.st_mode, entry.st_nlink, entry.st_uid, entry.st_gid, entry.st_rdev, entry.st_blksize, 0),
    )
