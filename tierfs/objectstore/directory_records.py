"""What an object has beside its bytes, kept with the file: metadata, headers, tags, class.

A record is one extended attribute, `user.tierfs.object`. Where the file system has none, or the
record does not fit, it is a file below .tierfs/meta/ whose name binds it to one version of one
file (key hash, inode and mtime), so that bytes and record are switched by the same rename.

The format, JSON in UTF-8 (version 1):

| field   | meaning |
|---|---|
| version | 1; a record of another version is not read |
| crc32   | 8 hex digits over `record`, dumped with sorted keys and without spaces |
| record  | the object with the fields below; fields that are not known are kept on a copy |

| field of `record` | meaning |
|---|---|
| user    | user metadata, string to string |
| headers | `content_type`, `cache_control`, `content_encoding`, `content_disposition`, `content_language`, `expires` |
| class   | storage class, a label only |
| tags    | tags that another tool put there, string to string |
| implicit | true: a directory without a marker, made for what is below it and removed with the last of it |
| stamp_ns | directory: LastModified and version of the marker (its own mtime moves with each entry) |
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from tierfs.objectstore.base import ObjectInfo, ObjectMeta, StorageClass
from tierfs.objectstore.directory_tree import META, OWN, KeyPath, Root, open_below, open_file, write_all

log = logging.getLogger(__name__)

XATTR: Final = "user.tierfs.object"
VERSION: Final = 1
_HEADERS: Final = (
    "content_type",
    "cache_control",
    "content_encoding",
    "content_disposition",
    "content_language",
    "expires",
)
# ENOTSUP: no xattrs here; ENOSPC and E2BIG: no room in the inode's xattr block
_NO_ROOM: Final = frozenset({errno.ENOTSUP, errno.ENOSPC, errno.E2BIG, errno.ENOSYS, errno.ERANGE})
_RECORD_MAX_BYTES: Final = 65_536
_BY_DESCRIPTOR: Final = "/proc/self/fd"


@frozen
class Record:
    """One object's record."""

    meta: ObjectMeta = field(factory=ObjectMeta)
    storage_class: str = StorageClass.STANDARD
    implicit: bool = False
    stamp_ns: int = 0
    # as they stand in the JSON: tags, and fields of tools that we do not know
    others: dict[str, Any] = field(factory=dict)


_NO_RECORD: Final = Record()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _checksum(record: object) -> str:
    return f"{zlib.crc32(_canonical(record)):08x}"


def encode(record: Record) -> bytes:
    """The record in the format above; the same record gives the same bytes."""
    fields: dict[str, Any] = dict(record.others)
    headers = {name: getattr(record.meta, name) for name in _HEADERS if getattr(record.meta, name)}
    if record.meta.user:
        fields["user"] = dict(record.meta.user)
    if headers:
        fields["headers"] = headers
    if record.storage_class != StorageClass.STANDARD:
        fields["class"] = str(record.storage_class)
    if record.implicit:
        fields["implicit"] = True
    if record.stamp_ns:
        fields["stamp_ns"] = record.stamp_ns
    return _canonical({"version": VERSION, "crc32": _checksum(fields), "record": fields})


def _strings(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError("not a table of strings")
    return value


def decode(data: bytes) -> Record:
    """The record in the format above. ValueError when the data is no record of this version."""
    outer = json.loads(data)
    if not isinstance(outer, dict) or outer.get("version") != VERSION:
        raise ValueError("not a record of version 1")
    fields = outer.get("record")
    if not isinstance(fields, dict) or outer.get("crc32") != _checksum(fields):
        raise ValueError("the checksum does not fit")
    rest = dict(fields)
    headers = _strings(rest.pop("headers", {}))
    known = {name: headers[name] for name in _HEADERS if name in headers}
    return Record(
        meta=ObjectMeta(user=_strings(rest.pop("user", {})), **known),
        storage_class=str(rest.pop("class", StorageClass.STANDARD)),
        implicit=bool(rest.pop("implicit", False)),
        stamp_ns=int(rest.pop("stamp_ns", 0)),
        others=rest,
    )


def etag(status: os.stat_result, record: Record, *, is_dir: bool) -> str:
    """The version of an object: of a file as the kernel counts it, of a marker its own stamp."""
    if is_dir:
        # the times of a directory move with its entries, the marker's version must not
        identity = f"d {status.st_ino} {record.stamp_ns}"
    else:
        identity = f"f {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()


def info(key: str, status: os.stat_result, record: Record, *, with_meta: bool) -> ObjectInfo:
    """An object as the store shows it; without metadata for listings."""
    is_dir = key.endswith("/")
    return ObjectInfo(
        key=key,
        size_bytes=0 if is_dir else status.st_size,
        etag=etag(status, record, is_dir=is_dir),
        last_modified_ns=(record.stamp_ns or status.st_mtime_ns) if is_dir else status.st_mtime_ns,
        storage_class=record.storage_class,
        meta=record.meta if with_meta else None,
    )


class Records:
    """Loads and stores records of open files and directories.

    `use_xattrs` False keeps all of them below .tierfs/meta/ (also what happens by itself where
    the file system has no extended attributes).
    """

    def __init__(self, root: Root, *, use_xattrs: bool = True) -> None:
        self._root = root
        self._use_xattrs = use_xattrs

    def load(self, root_fd: int, path: KeyPath, fd: int, status: os.stat_result) -> Record:
        """The record of an open file; an empty one where there is none, or none that can be read."""
        return self._decoded(self._read_xattr(fd) or self._read_file(root_fd, path, status), path.key)

    def can_load_by_name(self, root_fd: int) -> bool:
        """Whether all records are xattrs, and files have names by their directory's descriptor."""
        if not self._use_xattrs or not Path(_BY_DESCRIPTOR).is_dir():
            return False
        try:
            with open_below(root_fd, (OWN, *META)):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return True

    def load_by_name(self, dir_fd: int, name: str, key: str) -> Record:
        """As `load` for a file that is not open, where `can_load_by_name`; an empty one if it may not be read."""
        try:
            data = os.getxattr(f"{_BY_DESCRIPTOR}/{dir_fd}/{name}", XATTR, follow_symlinks=False)
        except OSError:
            return _NO_RECORD  # none; no xattrs here; gone since; forbidden: a listing goes on
        return self._decoded(data, key)

    @staticmethod
    def _decoded(data: bytes | None, key: str) -> Record:
        if not data:
            return _NO_RECORD
        try:
            return decode(data)
        except ValueError as error:
            # the bytes are good and others may rely on them: the object only lost its metadata
            log.warning("the metadata of %r cannot be read and is left out: %s", key, error, extra={"event": "TFS2003"})
            return _NO_RECORD

    def store(self, root_fd: int, path: KeyPath, fd: int, status: os.stat_result, record: Record) -> None:
        """Puts the record of a file that nobody sees yet, or of a directory.

        `status` has the inode and mtime that the file will have when it is seen.
        """
        data = encode(record)
        if self._write_xattr(fd, data):
            self._forget_file(root_fd, path, status)
        else:
            self._write_file(root_fd, path, status, data)
            with contextlib.suppress(OSError):  # of a directory: the older one would come first
                os.removexattr(fd, XATTR)

    def replace(self, root_fd: int, path: KeyPath, fd: int, record: Record) -> bool:
        """Switches the record of a visible file at once; False when that cannot be done in place."""
        return self._read_file(root_fd, path, os.fstat(fd)) is None and self._write_xattr(fd, encode(record))

    def forget(self, root_fd: int, path: KeyPath, status: os.stat_result) -> None:
        """The file with this status is gone: so is its record below .tierfs/meta/."""
        self._forget_file(root_fd, path, status)

    def _read_xattr(self, fd: int) -> bytes | None:
        if not self._use_xattrs:
            return None
        try:
            return os.getxattr(fd, XATTR)
        except OSError as error:
            if error.errno in (errno.ENODATA, *_NO_ROOM):
                return None
            raise

    def _write_xattr(self, fd: int, data: bytes) -> bool:
        if not self._use_xattrs:
            return False
        try:
            os.setxattr(fd, XATTR, data)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return False
        return True

    @staticmethod
    def _file_name(path: KeyPath, status: os.stat_result) -> tuple[str, str]:
        digest = hashlib.blake2b(path.key.encode(), digest_size=16).hexdigest()
        version = "dir" if path.is_marker else f"{status.st_mtime_ns:x}"
        return digest[:2], f"{digest[2:]}-{status.st_ino:x}-{version}"

    def _read_file(self, root_fd: int, path: KeyPath, status: os.stat_result) -> bytes | None:
        shard, name = self._file_name(path, status)
        try:
            with open_below(root_fd, (OWN, *META, shard)) as shard_fd, open_file(shard_fd, name) as fd:
                return os.read(fd, _RECORD_MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write_file(self, root_fd: int, path: KeyPath, status: os.stat_result, data: bytes) -> None:
        shard, name = self._file_name(path, status)
        with self._root.make_below(root_fd, (OWN, *META, shard)) as shard_fd:
            temp = f"{name}.{os.getpid():x}-{os.urandom(4).hex()}"
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=shard_fd)
            try:
                write_all(fd, data)
                self._root.sync_fd(fd)
                os.rename(temp, name, src_dir_fd=shard_fd, dst_dir_fd=shard_fd)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temp, dir_fd=shard_fd)
                raise
            finally:
                os.close(fd)
            self._root.sync_fd(shard_fd)

    def _forget_file(self, root_fd: int, path: KeyPath, status: os.stat_result) -> None:
        shard, name = self._file_name(path, status)
        with contextlib.suppress(FileNotFoundError), open_below(root_fd, (OWN, *META, shard)) as shard_fd:
            os.unlink(name, dir_fd=shard_fd)


def with_meta(record: Record, meta: ObjectMeta | None, storage_class: str) -> Record:
    """The record of a copy: metadata and class replaced where they are given."""
    return evolve(
        record,
        meta=record.meta if meta is None else meta,
        storage_class=storage_class or record.storage_class,
    )
