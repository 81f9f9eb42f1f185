"""Between inodes and the metadata of objects. How the metadata is spelled is `objectstore.dialects`' business.

Also the few requests that several modules make in the same way, and what their refusals mean.
"""

import stat
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar

import trio
from attrs import evolve, frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import xattrs
from tierfs.index.env import Reader, Txn
from tierfs.model import SYMLINK_MAX_BYTES, Base, Inode, InodeFlag
from tierfs.namespace.keys import needs_escape
from tierfs.objectstore import dialects
from tierfs.objectstore.base import Always, ObjectInfo, ObjectMeta, ObjectStore
from tierfs.policy.merge import Version
from tierfs.sync import hardlinks

REFUSALS: Final = frozenset({StoreErrorKind.PRECONDITION_FAILED, StoreErrorKind.NOT_FOUND})
"""The bucket is not as the write assumed."""
UNCLEAR: Final = frozenset({StoreErrorKind.UNCLEAR, StoreErrorKind.TIMEOUT, StoreErrorKind.UNAVAILABLE})
"""The write may have happened."""


_Answer = TypeVar("_Answer")
_DOCUMENT_MAX_BYTES: Final = 4 << 20


@frozen
class Defaults:
    """What entries have whose objects say nothing."""

    uid: int
    gid: int
    file_mode: int = 0o600
    dir_mode: int = 0o700


@frozen
class Described:
    """Metadata to send with an object; `overflow` (if any) belongs under `overflow_key` before it."""

    meta: ObjectMeta
    overflow_key: str = ""
    overflow: bytes = b""


# ---- out ----


def describe(
    reader: Reader, inode: Inode, key: str, *, name: bytes, op_id: str, content: str, kept: ObjectMeta | None
) -> Described:
    """The metadata of the inode's object at `key`: attributes, xattrs, ids, and what others put there (`kept`)."""
    view = dialects.PosixView(
        fmt=stat.S_IFMT(inode.mode),
        perms=stat.S_IMODE(inode.mode),
        uid=inode.uid,
        gid=inode.gid,
        atime_ns=inode.atime_ns,
        mtime_ns=inode.mtime_ns,
        btime_ns=inode.btime_ns,
        rdev=inode.rdev,
        link_id=hardlinks.id_of(reader, inode),
        xattrs=xattrs.all(reader, inode.ino),
        raw_name=name if needs_escape(name) else None,
        op_id=op_id,
        content=content,
    )
    packed = dialects.write(view, key, kept=kept)
    return Described(packed.meta, packed.overflow_key, packed.overflow)


async def put_overflow(store: ObjectStore, described: Described) -> None:
    """Writes what did not fit into the metadata to its own object."""
    if described.overflow:
        await store.put(described.overflow_key, described.overflow, ObjectMeta(), Always())


def body_of(inode: Inode) -> bytes:
    """The body of what is no regular file: a symlink's target, nothing for the others."""
    return inode.target if inode.is_symlink else b""


# ---- in ----


def base_of(info: ObjectInfo) -> Base:
    """The version that a HEAD, GET or LIST shows."""
    return Base(
        info.etag,
        info.size_bytes,
        info.last_modified_ns,
        info.version_id,
        info.storage_class or "STANDARD",
        content_of(info) if info.meta is not None else "",
    )


def version_of(base: Base | None, fmt: int = 0) -> Version | None:
    """The base as the decision table sees it; `fmt`: the S_IFMT part of its mode, 0 where that is not known."""
    return None if base is None else Version(base.etag, base.size_bytes, base.content, fmt)


def seen_version(info: ObjectInfo) -> Version:
    """What a HEAD, GET or LIST shows as the decision table sees it."""
    if info.meta is None:
        return Version(info.etag, info.size_bytes, modified_ns=info.last_modified_ns)
    view = dialects.read(info)
    modified_ns = info.last_modified_ns if view.mtime_ns is None else view.mtime_ns
    fmt = 0 if view.overflow_key else view.fmt or stat.S_IFREG
    return Version(info.etag, info.size_bytes, content_of(info), fmt, modified_ns)


def op_id_of(info: ObjectInfo) -> str:
    """Whose write it was; "" when it was none of tierfs."""
    return info.meta.user.get("tierfs-op", "") if info.meta is not None else ""


def content_of(info: ObjectInfo) -> str:
    """The checksum of the body, "" where it is not known.

    The server's own is of the bytes that it has; the one in the metadata may have come along with another body.
    """
    if info.content:
        return info.content
    return info.meta.user.get("tierfs-content", "") if info.meta is not None else ""


def link_id_of(info: ObjectInfo) -> str:
    """The id of a hard link; "" for other files, and for a plain copy of one."""
    return dialects.read(info).link_id


def raw_name_of(info: ObjectInfo) -> bytes | None:
    """The file name that an escaped key stands for, where the object says it."""
    return dialects.read(info).raw_name


def with_foreign(flags: InodeFlag, info: ObjectInfo) -> InodeFlag:
    """The flags of an inode whose base is this version: does a rewrite have to keep something of others?"""
    if info.meta is None or dialects.read(info).has_foreign:
        return flags | InodeFlag.FOREIGN
    return flags & ~InodeFlag.FOREIGN


def has_posix(info: ObjectInfo) -> bool:
    """Whether the object has any POSIX attribute of any dialect."""
    return dialects.read(info).has_posix


def is_incomplete(info: ObjectInfo) -> bool:
    """Part of what the object says is elsewhere: a symlink's target in its body, attributes in a document."""
    view = dialects.read(info)
    return bool(view.overflow_key) or (view.fmt == stat.S_IFLNK and not view.target)


@frozen
class Details:
    """All that an object says, wherever it says it; `target` b"" for what is no symlink."""

    view: dialects.PosixView
    target: bytes = b""


async def read_details(store: ObjectStore, info: ObjectInfo) -> Details:
    """Reads what the metadata only refer to. A body too long to be a target is not read. StoreError."""
    view = dialects.read(info)
    if view.overflow_key:
        view = dialects.read(info, await _document(store, view.overflow_key))
    target = view.target
    if view.fmt == stat.S_IFLNK and not target and 0 < info.size_bytes <= SYMLINK_MAX_BYTES:
        body = await store.get_whole(info.key, if_match=info.etag, limit_bytes=SYMLINK_MAX_BYTES)
        target = bytes(body.data)
    return Details(view, target)


async def _document(store: ObjectStore, key: str) -> bytes:
    """The overflow document; b"" where there is none (then the object has only what is on it)."""
    try:
        return bytes((await store.get_whole(key, if_match="", limit_bytes=_DOCUMENT_MAX_BYTES)).data)
    except StoreError as error:
        if error.kind in (StoreErrorKind.NOT_FOUND, StoreErrorKind.TOO_LARGE):
            return b""
        raise


def absorb(txn: Txn, inode: Inode, info: ObjectInfo, details: Details) -> Inode:
    """The inode with what its object says; xattrs go to their rows.

    Attributes that the object does not have stay as the index has them. What is dirty here stays, unless
    it was never known what it changes.
    """
    view, target = details.view, details.target
    base = inode.base
    if base is not None:
        base = evolve(base, last_modified_ns=info.last_modified_ns, content=base.content or content_of(info))
    if base is not None and info.storage_class:
        base = evolve(base, storage_class=info.storage_class)
    flags = inode.flags & ~InodeFlag.FOREIGN
    if view.has_foreign:
        flags |= InodeFlag.FOREIGN
    fresh = evolve(inode, base=base, flags=flags | InodeFlag.ATTRS_KNOWN)
    if InodeFlag.META_DIRTY in inode.flags and InodeFlag.ATTRS_KNOWN in inode.flags:
        return fresh
    # a directory stays one: the key of the root's object has no slash to say so
    fmt = stat.S_IFDIR if inode.is_dir else view.fmt or stat.S_IFMT(inode.mode)
    if fmt == stat.S_IFLNK and not target:
        fmt = stat.S_IFREG  # no target, no symlink: shown as the bytes that it is
    mtime_ns = info.last_modified_ns if view.mtime_ns is None else view.mtime_ns
    fresh = evolve(
        fresh,
        mode=fmt | (stat.S_IMODE(inode.mode) if view.perms is None else view.perms),
        uid=inode.uid if view.uid is None else view.uid,
        gid=inode.gid if view.gid is None else view.gid,
        mtime_ns=mtime_ns,
        ctime_ns=max(inode.ctime_ns, info.last_modified_ns),
        atime_ns=mtime_ns if view.atime_ns is None else view.atime_ns,
        btime_ns=inode.btime_ns if view.btime_ns is None else view.btime_ns,
        rdev=view.rdev,
        target=target if fmt == stat.S_IFLNK else b"",
    )
    _replace_xattrs(txn, inode.ino, view.xattrs)
    return fresh


def _replace_xattrs(txn: Txn, ino: int, wanted: dict[bytes, bytes]) -> None:
    for name in xattrs.names(txn, ino):
        if name not in wanted:
            xattrs.delete(txn, ino, name)
    for name, value in wanted.items():
        xattrs.put(txn, ino, name, value)


# ---- requests ----


async def head(store: ObjectStore, key: str) -> ObjectInfo | None:
    """HEAD; None where there is no object. StoreError."""
    try:
        return await store.head(key)
    except StoreError as error:
        if error.kind is StoreErrorKind.NOT_FOUND:
            return None
        raise


async def ask_many(
    limiter: trio.CapacityLimiter, keys: Collection[str], ask: Callable[[str], Awaitable[_Answer]]
) -> dict[str, _Answer]:
    """One request for each key, in parallel. A key that may not be read is left out. StoreError."""
    answers: dict[str, _Answer] = {}
    failures: list[StoreError] = []

    async def ask_one(key: str) -> None:
        try:
            async with limiter:
                answers[key] = await ask(key)
        except StoreError as error:
            if error.kind is not StoreErrorKind.ACCESS_DENIED:
                failures.append(error)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(ask_one, key)
    if failures:
        raise failures[0]
    return answers


async def head_many(
    store: ObjectStore, limiter: trio.CapacityLimiter, keys: Collection[str]
) -> dict[str, ObjectInfo | None]:
    """HEADs in parallel; None where there is no object. A key that may not be read is left out. StoreError."""
    return await ask_many(limiter, keys, lambda key: head(store, key))
