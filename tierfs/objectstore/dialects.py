"""POSIX attributes in object metadata: reads what every known writer puts there, writes tierfs's own form.

Pure functions; the forms and their traps are the tables of bucket-format.md. `read` takes each attribute
from the first family that has it: `file-*` (FSx for Lustre, S3 Files, DataSync, Storage Gateway, tierfs),
`mode/uid/gid/mtime` (s3fs, rclone, geesefs), `goog-reserved-*` and `gcsfuse_*`, `permissions/owner/group`
(s3sync). What cannot be parsed counts as absent: a stranger's `file-owner: ubuntu` is no error.

`write` keeps what others put on the object. Where theirs and ours together reach 2,048 bytes, theirs
stays and the rest of ours goes into a document under `.tierfs/attrs/`:

| field of the document | meaning |
|---|---|
| version | 1 |
| crc32   | 8 hex digits over `key`, a newline, and `user` dumped with sorted keys and without spaces |
| key     | the key of the object; another one means a collision of hashes |
| user    | the entries that are missing on the object, in the same form; entries on the object come first |
"""

import base64
import binascii
import hashlib
import json
import stat
import zlib
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

from attrs import evolve, field, frozen

from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore import dialect_values as values
from tierfs.objectstore.base import ObjectInfo, ObjectMeta

USER_META_LIMIT_BYTES: Final = 2048  # the sum stays below it
DIRECTORY_TYPE: Final = "application/x-directory"
USER_AGENT: Final = "tierfs"
XATTR_PREFIX: Final = "tierfs-xattr-"
S3FS_XATTR: Final = "xattr"
OVERFLOW_PREFIX: Final = HIDDEN_PREFIX + "attrs/"
RCLONE_LINK_SUFFIX: Final = ".rclonelink"
_OVERFLOW_MARK: Final = "tierfs-attrs"
_DOCUMENT_VERSION: Final = 1

# rewritten with every write of ours, whoever wrote them first
_FILE_KEYS: Final = frozenset(
    {
        "file-permissions",
        "file-owner",
        "file-group",
        "file-mtime",
        "file-atime",
        "file-btime",
        "file-rdev",
        "user-agent",
    }
)
# they say that an object is a symlink; no file that takes its place may carry them on
_LINK_TARGETS: Final = ("--symlink-target", "gcsfuse_symlink_target")
_LINK_MARK: Final = "goog-reserved-file-is-symlink"
# checksums of the body in others' hands: wrong as soon as tierfs writes another body
_BODY_KEYS: Final = frozenset({"md5chksum"})
_DEFAULT_TYPES: Final = frozenset({"", "binary/octet-stream", "application/octet-stream"})
_KNOWN_POSIX: Final = ("perms", "uid", "gid", "mtime_ns", "atime_ns", "btime_ns")


@frozen
class PosixView:
    """What an object's metadata says of it as a file. None and empty values: it says nothing."""

    fmt: int | None = None  # S_IFMT bits
    perms: int | None = None  # S_IMODE bits
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None
    btime_ns: int | None = None
    rdev: int = 0
    target: bytes = b""  # of a symlink whose writer keeps it in the metadata; else the body is the target
    link_id: str = ""  # only when it was written for this key
    xattrs: dict[bytes, bytes] = field(factory=dict)
    raw_name: bytes | None = None  # believe it only if it escapes to the key (namespace.keys)
    op_id: str = ""
    content: str = ""
    foreign: ObjectMeta = field(factory=ObjectMeta)  # what a rewrite has to keep
    overflow_key: str = ""  # where the rest of ours is; read it and call `read` again with it

    @property
    def has_posix(self) -> bool:
        """Any POSIX attribute, of any writer."""
        return any(getattr(self, name) is not None for name in _KNOWN_POSIX) or self.fmt not in (None, stat.S_IFDIR)

    @property
    def has_foreign(self) -> bool:
        """Anything that another writer put there and S3 does not put there by itself."""
        headers = evolve(self.foreign, user={}, content_type="")
        own_types = _DEFAULT_TYPES | ({DIRECTORY_TYPE} if self.fmt == stat.S_IFDIR else set())
        return bool(self.foreign.user) or self.foreign.content_type not in own_types or headers != ObjectMeta()


@frozen
class Packed:
    """Metadata to send with an object. A document that is not empty has to be in the bucket before it."""

    meta: ObjectMeta
    overflow_key: str = ""
    overflow: bytes = b""


# -- reading


def read(info: ObjectInfo, overflow: bytes = b"") -> PosixView:
    """What HEAD or GET says of an object; `overflow` is the document at `overflow_key`, once it was read.

    A listed object (no metadata) only shows whether it is a directory. Never raises.
    """
    meta = info.meta or ObjectMeta()
    user = {**_document_entries(overflow, info.key), **meta.user} if overflow else meta.user
    mode = _mode(user)
    fmt = _fmt(info, user, mode)
    is_device = fmt in (stat.S_IFCHR, stat.S_IFBLK)
    view = PosixView(
        fmt=fmt,
        perms=None if mode is None else stat.S_IMODE(mode),
        uid=_first(values.number(user.get(name)) for name in ("file-owner", "uid", "goog-reserved-posix-uid", "owner")),
        gid=_first(values.number(user.get(name)) for name in ("file-group", "gid", "goog-reserved-posix-gid", "group")),
        mtime_ns=_time(user, "mtime", "goog-reserved-file-mtime", "gcsfuse_mtime"),
        atime_ns=_time(user, "atime", "goog-reserved-file-atime"),
        btime_ns=_time(user, "btime"),
        rdev=(_rdev(user) or 0) if is_device else 0,
        target=_target(info, user) if fmt == stat.S_IFLNK else b"",
        link_id=_link_id(user.get("tierfs-inode", ""), info.key),
        xattrs=_xattrs(user),
        raw_name=_base64(user["tierfs-name"]) if "tierfs-name" in user else None,
        op_id=user.get("tierfs-op", ""),
        content=user.get("tierfs-content", ""),
        foreign=_foreign(meta),
        overflow_key=_overflow_key(info.key) if not overflow and _has_overflow(meta.user) else "",
    )
    # somebody who knows files wrote it, and had nothing special to say of its type
    return evolve(view, fmt=stat.S_IFREG) if fmt is None and view.has_posix else view


def _first(candidates: Iterable[int | None]) -> int | None:
    return next((candidate for candidate in candidates if candidate is not None), None)


def _mode(user: Mapping[str, str]) -> int | None:
    return _first(
        (
            values.octal_mode(user.get("file-permissions")),
            values.mixed_mode(user.get("mode")),
            values.octal_mode(user.get("goog-reserved-posix-mode")),
            values.decimal_mode(user.get("permissions")),
        )
    )


def _time(user: Mapping[str, str], name: str, *others: str) -> int | None:
    """`file-<name>` in its own form, then `<name>` and other keys in seconds or as a date."""
    return _first(
        (values.file_time_ns(user.get(f"file-{name}")), *(values.time_ns(user.get(k)) for k in (name, *others)))
    )


def _fmt(info: ObjectInfo, user: Mapping[str, str], mode: int | None) -> int | None:
    """The slash decides what is a directory: FSx itself puts a file's mode on a directory's key."""
    if info.key.endswith("/"):
        return stat.S_IFDIR
    for candidate in (mode, values.mixed_mode(user.get("mode"))):
        if candidate is not None and stat.S_IFMT(candidate):
            fmt = stat.S_IFMT(candidate)
            return stat.S_IFREG if fmt == stat.S_IFDIR else fmt
    if any(name in user for name in _LINK_TARGETS) or user.get(_LINK_MARK, "").lower() == "true":
        return stat.S_IFLNK
    if info.key.endswith(RCLONE_LINK_SUFFIX) and "mtime" in user:
        return stat.S_IFLNK
    return None


def _target(info: ObjectInfo, user: Mapping[str, str]) -> bytes:
    """From the metadata only where there is no body: a body was written later, over a target that was kept."""
    if info.size_bytes:
        return b""
    if "--symlink-target" in user:
        return values.percent_decoded(user["--symlink-target"])  # geesefs escapes what is not printable
    return user.get("gcsfuse_symlink_target", "").encode()


def _rdev(user: Mapping[str, str]) -> int | None:
    if "file-rdev" in user:
        return values.number(user["file-rdev"])
    if values.is_octal_mode(user.get("mode", "")):
        return values.hexadecimal(user.get("rdev"))  # rclone
    return values.number(user.get("rdev"))  # geesefs


def _key_hash(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def _link_id(value: str, key: str) -> str:
    """The id, if the hash beside it fits the key: a plain S3 copy carries it to a key that is no link."""
    link_id, _, digest = value.rpartition(":")
    return link_id if digest == _key_hash(key) else ""


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _xattrs(user: Mapping[str, str]) -> dict[bytes, bytes]:
    found = _s3fs_xattrs(user.get(S3FS_XATTR, ""))
    for name, text in user.items():
        if not name.startswith(XATTR_PREFIX):
            continue
        try:
            xattr = bytes.fromhex(name.removeprefix(XATTR_PREFIX))
        except ValueError:
            continue
        # "=" stands for an empty value: some servers drop headers without one
        value = b"" if text == "=" else _base64(text)
        if xattr and value is not None:
            found[xattr] = value
    return found


def _s3fs_xattrs(text: str) -> dict[bytes, bytes]:
    """`{"user.name":"<base64>"}`, URL-encoded."""
    try:
        table = json.loads(unquote(text)) if text else {}
    except ValueError:
        return {}
    if not isinstance(table, dict):
        return {}
    decoded = {name.encode(errors="replace"): _base64(v) for name, v in table.items() if name and isinstance(v, str)}
    return {name: value for name, value in decoded.items() if value is not None}


def _is_ours(name: str) -> bool:
    return name in _FILE_KEYS or name.startswith("tierfs-")


def _foreign(meta: ObjectMeta) -> ObjectMeta:
    return evolve(meta, user={name: value for name, value in meta.user.items() if not _is_ours(name)})


# -- writing


def write(view: PosixView, key: str, *, kept: ObjectMeta | None = None) -> Packed:
    """The metadata of an object at `key`. `kept` is what is on the object now: others' part of it stays.

    Content-Type is `application/x-directory` for a directory without another one. Entries of others that
    contradict the file that is written now (a symlink's mark, a checksum of another body) do not stay.
    """
    old = kept or ObjectMeta()
    theirs = _theirs_to_keep(view, old)
    ours = _own_entries(view, key)
    if theirs.pop(S3FS_XATTR, ""):
        text, plain = _as_s3fs_xattrs(view.xattrs)
        if _size_bytes({**theirs, **ours, S3FS_XATTR: text, **_xattr_entries(plain)}) < USER_META_LIMIT_BYTES:
            theirs |= {S3FS_XATTR: text} if text else {}
            ours |= _xattr_entries(plain)
        else:
            ours |= _xattr_entries(view.xattrs)
    else:
        ours |= _xattr_entries(view.xattrs)
    content_type = old.content_type
    if view.fmt == stat.S_IFDIR and content_type in _DEFAULT_TYPES:
        content_type = DIRECTORY_TYPE
    meta = evolve(old, user={**theirs, **ours}, content_type=content_type)
    if _size_bytes(meta.user) < USER_META_LIMIT_BYTES:
        return Packed(meta)
    fitting, rest = _split(ours, USER_META_LIMIT_BYTES - 1 - _size_bytes(theirs))
    return Packed(evolve(meta, user={**theirs, **fitting}), _overflow_key(key), _document(key, rest))


def _theirs_to_keep(view: PosixView, old: ObjectMeta) -> dict[str, str]:
    theirs = dict(_foreign(old).user)
    if view.fmt != stat.S_IFLNK:
        for name in (*_LINK_TARGETS, _LINK_MARK):
            theirs.pop(name, None)
    if view.content and view.content != old.user.get("tierfs-content"):
        for name in _BODY_KEYS:
            theirs.pop(name, None)
    return theirs


def _own_entries(view: PosixView, key: str) -> dict[str, str]:
    """Our entries but for xattrs, the ones that are missed most first."""
    entries: dict[str, str] = {}
    if view.op_id:
        entries["tierfs-op"] = view.op_id
    if view.perms is not None:
        entries["file-permissions"] = f"0{(view.fmt or stat.S_IFREG) | view.perms:06o}"
    for name, number in (("file-owner", view.uid), ("file-group", view.gid)):
        if number is not None:
            entries[name] = str(number)
    for name, time_ns in (("file-mtime", view.mtime_ns), ("file-atime", view.atime_ns), ("file-btime", view.btime_ns)):
        if time_ns is not None:
            entries[name] = f"{time_ns}ns"
    if view.rdev:
        entries["file-rdev"] = str(view.rdev)
    entries["user-agent"] = USER_AGENT
    if view.raw_name is not None:
        entries["tierfs-name"] = base64.b64encode(view.raw_name).decode()
    if view.content:
        entries["tierfs-content"] = view.content
    if view.link_id:
        entries["tierfs-inode"] = f"{view.link_id}:{_key_hash(key)}"
    return entries


def _xattr_entries(xattrs: Mapping[bytes, bytes]) -> dict[str, str]:
    return {XATTR_PREFIX + name.hex(): base64.b64encode(xattrs[name]).decode() or "=" for name in sorted(xattrs)}


def _as_s3fs_xattrs(xattrs: Mapping[bytes, bytes]) -> tuple[str, dict[bytes, bytes]]:
    """In the form of s3fs, whose users look for them there; and those whose names it cannot hold."""
    table: dict[str, str] = {}
    rest: dict[bytes, bytes] = {}
    for name in sorted(xattrs):
        try:
            table[name.decode()] = base64.b64encode(xattrs[name]).decode()
        except UnicodeDecodeError:
            rest[name] = xattrs[name]
    return quote(json.dumps(table, separators=(",", ":")), safe="") if table else "", rest


def _size_bytes(user: Mapping[str, str]) -> int:
    """As S3 counts."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in user.items())


# -- what does not fit


def _split(ours: dict[str, str], room_bytes: int) -> tuple[dict[str, str], dict[str, str]]:
    """What fits into the room together with the mark that there is more; and the rest."""
    fitting: dict[str, str] = {}
    mark = {_OVERFLOW_MARK: "1"}
    room_bytes -= _size_bytes(mark)
    if room_bytes >= 0:
        fitting = mark
        for name, value in ours.items():
            size_bytes = _size_bytes({name: value})
            if size_bytes <= room_bytes:
                fitting[name] = value
                room_bytes -= size_bytes
    return fitting, {name: value for name, value in ours.items() if name not in fitting}


def _has_overflow(user: Mapping[str, str]) -> bool:
    """The mark; or metadata of others that leave no room even for it."""
    is_full = _size_bytes(user) + _size_bytes({_OVERFLOW_MARK: "1"}) >= USER_META_LIMIT_BYTES
    return _OVERFLOW_MARK in user or (is_full and "file-permissions" not in user)


def _overflow_key(key: str) -> str:
    return OVERFLOW_PREFIX + hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _checksum(key: str, user: Mapping[str, str]) -> str:
    text = f"{key}\n{json.dumps(user, sort_keys=True, separators=(',', ':'))}"
    return f"{zlib.crc32(text.encode()):08x}"


def _document(key: str, user: Mapping[str, str]) -> bytes:
    document = {"version": _DOCUMENT_VERSION, "crc32": _checksum(key, user), "key": key, "user": dict(user)}
    return json.dumps(document, separators=(",", ":")).encode()


def _document_entries(data: bytes, key: str) -> dict[str, str]:
    """The entries of an overflow document; none when it is damaged or another key's."""
    try:
        document = json.loads(data)
        user = document["user"]
        if document["version"] != _DOCUMENT_VERSION or document["key"] != key:
            return {}
        if document["crc32"] != _checksum(key, user):
            return {}
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: value for name, value in user.items() if _is_ours(name) and isinstance(value, str)}
