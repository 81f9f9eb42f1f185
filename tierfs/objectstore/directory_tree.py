"""Paths of a directory that serves as a bucket: safe to open, safe to publish into.

Promises: nothing outside the root is ever opened, made or removed, whatever is planted inside it
(every component is opened with O_NOFOLLOW relative to its parent's descriptor); a key is replaced
by rename and never half written; two processes agree on preconditions by one `flock` per key.

Threads share a `Root`; everything here is synchronous and runs in worker threads. One thread
holds at most one key lock, so the bounded number of lock files cannot deadlock.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import KEY_MAX_BYTES, NAME_MAX_BYTES

OWN: Final = ".tierfs"
LOCKS: Final = ("locks",)
META: Final = ("meta",)
TEMP: Final = ("tmp",)
UPLOADS: Final = ("uploads",)
# the children of .tierfs/ that are this store's machinery and therefore no keys
RESERVED: Final = frozenset({"locks", "meta", "tmp", "uploads"})

LOCK_FILES: Final = 1024
# a temporary file this old whose writer holds no lock on it any more belongs to a dead process
TEMP_DEAD_AGE_S: Final = 60.0
_COPY_CHUNK_BYTES: Final = 1 << 30
_DIR_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_TEMP_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_KIND_OF_ERRNO: Final = {
    errno.ENOENT: StoreErrorKind.NOT_FOUND,
    errno.EACCES: StoreErrorKind.ACCESS_DENIED,
    errno.EPERM: StoreErrorKind.ACCESS_DENIED,
    errno.EROFS: StoreErrorKind.ACCESS_DENIED,
    errno.ENAMETOOLONG: StoreErrorKind.KEY_TOO_LONG,
    errno.EFBIG: StoreErrorKind.TOO_LARGE,
    errno.ENOTDIR: StoreErrorKind.INVALID,
    errno.EISDIR: StoreErrorKind.INVALID,
    errno.ELOOP: StoreErrorKind.INVALID,
    errno.EXDEV: StoreErrorKind.INVALID,
    errno.EINVAL: StoreErrorKind.INVALID,
    # a full disk, a table of files that is full or an NFS server that is away: later it may work
    errno.ENOSPC: StoreErrorKind.UNAVAILABLE,
    errno.EDQUOT: StoreErrorKind.UNAVAILABLE,
    errno.EIO: StoreErrorKind.UNAVAILABLE,
    errno.ESTALE: StoreErrorKind.UNAVAILABLE,
    errno.EMFILE: StoreErrorKind.UNAVAILABLE,
    errno.ENFILE: StoreErrorKind.UNAVAILABLE,
    errno.ETIMEDOUT: StoreErrorKind.TIMEOUT,
}


def invalid(message: str, key: str) -> StoreError:
    """INVALID: a directory cannot do this, with the reason."""
    return StoreError(StoreErrorKind.INVALID, message, key=key)


def not_found(key: str) -> StoreError:
    """NOT_FOUND."""
    return StoreError(StoreErrorKind.NOT_FOUND, "no such object", key=key)


def changed(key: str, message: str = "the object is another version") -> StoreError:
    """PRECONDITION_FAILED."""
    return StoreError(StoreErrorKind.PRECONDITION_FAILED, message, key=key)


def store_error(error: OSError, key: str) -> StoreError:
    """The StoreError that stands for what the operating system answered."""
    kind = _KIND_OF_ERRNO.get(error.errno or 0, StoreErrorKind.PERMANENT)
    return StoreError(kind, error.strerror or str(error), key=key)


@frozen
class KeyPath:
    """A key as a path: the names of its components, and whether it is a directory marker."""

    key: str
    names: tuple[str, ...]
    is_marker: bool

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def parents(self) -> tuple[str, ...]:
        return self.names[:-1]

    def ancestors(self) -> Iterator["KeyPath"]:
        """The directories above it as marker keys, the nearest first."""
        for depth in range(len(self.names) - 1, 0, -1):
            names = self.names[:depth]
            yield KeyPath("/".join(names) + "/", names, True)


def _refusal(name: str) -> str:
    if name == "":
        return "an empty path component"
    if name in (".", ".."):
        return f"the component {name!r}"
    if "\0" in name:
        return "a NUL"
    return ""


def parse_key(key: str) -> KeyPath:
    """The path of a key. INVALID with the reason for a key that no directory can hold, KEY_TOO_LONG."""
    is_marker = key.endswith("/")
    names = tuple((key[:-1] if is_marker else key).split("/"))
    for name in names:
        if reason := _refusal(name):
            raise invalid(f"a directory cannot hold this key: it has {reason}", key)
    try:
        sizes = [len(name.encode()) for name in names]
    except UnicodeEncodeError as error:
        raise invalid("the key is not UTF-8", key.encode(errors="replace").decode()) from error
    if max(sizes) > NAME_MAX_BYTES:
        message = f"a component has {max(sizes)} bytes, a directory holds {NAME_MAX_BYTES}"
        raise StoreError(StoreErrorKind.KEY_TOO_LONG, message, key=key)
    if sum(sizes) + len(names) - 1 + is_marker > KEY_MAX_BYTES:
        raise StoreError(StoreErrorKind.KEY_TOO_LONG, f"a key has at most {KEY_MAX_BYTES} bytes", key=key)
    if names[0] == OWN and (names[1] in RESERVED if len(names) > 1 else is_marker):
        raise invalid("this part of .tierfs/ belongs to the directory store itself", key)
    return KeyPath(key, names, is_marker)


def parse_existing(key: str) -> KeyPath:
    """As `parse_key` for calls that only read or delete: a key that cannot be held is not there."""
    try:
        return parse_key(key)
    except StoreError as error:
        raise not_found(error.key) from error


class Descriptor(contextlib.AbstractContextManager[int]):
    """An open descriptor that a `with` block closes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def open_below(dir_fd: int, names: tuple[str, ...]) -> Descriptor:
    """A descriptor of the directory `names` below `dir_fd`; a symlink on the way is ENOTDIR."""
    fd = os.open(".", _DIR_FLAGS, dir_fd=dir_fd)
    for name in names:
        try:
            child = os.open(name, _DIR_FLAGS, dir_fd=fd)
        finally:
            os.close(fd)
        fd = child
    return Descriptor(fd)


def open_file(parent_fd: int, name: str) -> Descriptor:
    """A regular file for reading. FileNotFoundError for everything else, also symlinks and fifos."""
    # looked at before it is opened: opening a device can have effects, and a fifo can block
    if not stat.S_ISREG(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    fd = os.open(name, _READ_FLAGS, dir_fd=parent_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return Descriptor(fd)


def lstat(parent_fd: int, name: str) -> os.stat_result | None:
    """What is at a name, without following it; None where nothing is."""
    try:
        return os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Writes everything at the descriptor's position: one write(2) takes at most 2 GiB."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view) :]


def copy_range(source_fd: int, start: int, stop: int, target_fd: int) -> None:
    """Appends bytes [start, stop) of one file to another: a reflink where the file system has it.

    EOFError when the source ends before `stop`.
    """
    in_kernel = True
    while start < stop:
        size = min(stop - start, _COPY_CHUNK_BYTES)
        copied = 0
        if in_kernel:
            try:
                copied = os.copy_file_range(source_fd, target_fd, size, offset_src=start)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                in_kernel = False
        if not in_kernel:
            data = os.pread(source_fd, min(size, 1 << 20), start)
            write_all(target_fd, data)
            copied = len(data)
        if copied == 0:
            raise EOFError(f"the source ends at {start}, {stop} was asked for")
        start += copied


class Root:
    """The directory, opened at the first use and kept open: a mount that vanishes below the same
    path is then an error and never looks like an empty bucket.

    `use` counts, so that the descriptor lives until the last worker thread has left.
    """

    def __init__(self, path: Path, *, sync: bool) -> None:
        self.path = path
        self._sync = sync
        self._lock = threading.Lock()
        self._fd = -1
        self._users = 0
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[int]:
        fd = self._enter()
        try:
            yield fd
        finally:
            self._leave()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._close_if_unused()

    def _enter(self) -> int:
        with self._lock:
            if self._closed:
                raise StoreError(StoreErrorKind.PERMANENT, "the store is closed")
            if self._fd < 0:
                self._fd = self._open()
            elif os.fstat(self._fd).st_nlink == 0:
                raise StoreError(StoreErrorKind.NO_SUCH_BUCKET, f"{self.path} was removed")
            self._users += 1
            return self._fd

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and self._users == 0 and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        try:
            # the user named the root: a symlink to it is meant
            return os.open(self.path, _DIR_FLAGS & ~os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            kind = StoreErrorKind.NO_SUCH_BUCKET
            raise StoreError(kind, f"{self.path} is not a directory: {error.strerror}") from error
        except PermissionError as error:
            raise StoreError(StoreErrorKind.ACCESS_DENIED, f"{self.path}: {error.strerror}") from error

    def sync_fd(self, fd: int) -> None:
        """fsync, of a file or a directory, unless the store was opened without."""
        if self._sync:
            os.fsync(fd)

    def make_dir(self, dir_fd: int, name: str) -> bool:
        """Makes a directory; False where something has the name already."""
        try:
            os.mkdir(name, dir_fd=dir_fd)
        except FileExistsError:
            return False
        self.sync_fd(dir_fd)
        return True

    def make_below(self, dir_fd: int, names: tuple[str, ...]) -> Descriptor:
        """As `open_below`, making what is missing."""
        try:
            return open_below(dir_fd, names)
        except FileNotFoundError:
            for depth, name in enumerate(names):
                with open_below(dir_fd, names[:depth]) as fd:
                    self.make_dir(fd, name)
            return open_below(dir_fd, names)


@contextlib.contextmanager
def locked(locks_fd: int, key: str) -> Iterator[None]:
    """Holds the lock of a key against other threads and processes. Blocks.

    `a` and `a/` have one lock: they are one name in the directory.
    """
    name = f"{zlib.crc32(key.rstrip('/').encode()) % LOCK_FILES:03x}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=locks_fd)
    with Descriptor(fd):
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield


@frozen
class TempFile:
    """A file that nobody sees yet."""

    fd: int
    name: str


@contextlib.contextmanager
def temp_file(temp_fd: int) -> Iterator[TempFile]:
    """A new file below .tierfs/tmp; it is removed at the end if it was not renamed away.

    Its flock tells `sweep_temps` of any process that its writer lives.
    """
    name = secrets.token_hex(16)
    fd = os.open(name, _TEMP_FLAGS, 0o666, dir_fd=temp_fd)
    with Descriptor(fd):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield TempFile(fd, name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=temp_fd)


def sweep_temps(temp_fd: int, now_s: float) -> int:
    """Removes what dead writers left below .tierfs/tmp; returns how many files."""
    removed = 0
    with os.scandir(temp_fd) as entries:
        for entry in entries:
            with contextlib.suppress(OSError), open_file(temp_fd, entry.name) as fd:
                if now_s - os.fstat(fd).st_ctime < TEMP_DEAD_AGE_S:
                    continue
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.name, dir_fd=temp_fd)
                removed += 1
    return removed
