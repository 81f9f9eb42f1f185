"""What the operations share: the registry, errors as values, a look at a file, acting as another user."""

import contextlib
import ctypes
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

# an ordinary user, who need not exist
USER = 51234
STRANGER = 51235
GROUP = 51300

# the kernel's clock for file times may move only once in a tick
TICK_S = 0.012

_libc = ctypes.CDLL(None, use_errno=True)


@frozen
class Operation:
    """One named operation."""

    name: str
    run: Callable[[Path], object]
    is_root_only: bool


OPERATIONS: dict[str, Operation] = {}


def operation(function: Callable[[Path], object]) -> Callable[[Path], object]:
    """Registers an operation that every user can run."""
    return _register(function, is_root_only=False)


def root_operation(function: Callable[[Path], object]) -> Callable[[Path], object]:
    """Registers an operation that needs root: it makes devices or acts as other users."""
    return _register(function, is_root_only=True)


def _register(function: Callable[[Path], object], *, is_root_only: bool) -> Callable[[Path], object]:
    name = f"{function.__module__.rpartition('.')[2]}-{function.__name__}"
    assert name not in OPERATIONS
    OPERATIONS[name] = Operation(name, function, is_root_only)
    return function


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the call returns, or the name of its error."""
    try:
        return function(*args, **kwargs)
    except OSError as error:
        assert error.errno is not None
        return errno.errorcode[error.errno]


def look(path: Path | int, *, follow: bool = False) -> tuple[str, int, int, int, int]:
    """(type and permissions, links, owner, group, size); the size of a directory is its file system's affair."""
    st = os.stat(path, follow_symlinks=follow) if isinstance(path, Path) else os.stat(path)
    size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
    return stat.filemode(st.st_mode), st.st_nlink, st.st_uid, st.st_gid, size


def tree(root: Path) -> dict[str, object]:
    """Everything below `root` by its relative name: how it looks, and a file's bytes or a link's target."""
    found: dict[str, object] = {}
    for directory, subdirectories, files in os.walk(root):
        for name in subdirectories + files:
            path = Path(directory) / name
            kind = path.lstat().st_mode
            detail: object = None
            if stat.S_ISLNK(kind):
                detail = str(path.readlink())
            elif stat.S_ISREG(kind):
                detail = path.read_bytes()
            found[str(path.relative_to(root))] = (look(path), detail)
    return found


def write(path: Path, data: bytes = b"") -> Path:
    """Makes a file of 0644 and returns its path."""
    path.write_bytes(data)
    path.chmod(0o644)
    return path


@contextlib.contextmanager
def opened(path: Path | str, flags: int, mode: int = 0o644) -> Iterator[int]:
    """A descriptor that is closed in the end."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def open_close(path: Path | str, flags: int, mode: int = 0o644) -> str:
    """Opens and closes; "ok" where it works."""
    with opened(path, flags, mode):
        return "ok"


@contextlib.contextmanager
def acting_as(uid: int, gid: int = GROUP, groups: tuple[int, ...] = ()) -> Iterator[None]:
    """The body runs with the rights of another user. Only for root."""
    before_gid, before_groups = os.getegid(), os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(before_gid)
        os.setgroups(before_groups)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """The body runs with this umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def moved(path: Path, action: Callable[[], Any], *, only: str = "mc") -> str:
    """Which of a file's times `action` moves: "m" (bytes), "c" (attributes), "a" (access), of those in `only`."""
    before = os.lstat(path)
    time.sleep(TICK_S)
    action()
    after = os.lstat(path)
    times = {"m": "st_mtime_ns", "c": "st_ctime_ns", "a": "st_atime_ns"}
    return "".join(letter for letter in only if getattr(before, times[letter]) != getattr(after, times[letter]))


NOREPLACE = 1
EXCHANGE = 2


def renameat2(source: Path, target: Path, flags: int) -> None:
    """rename with flags, as renameat2(2) has them."""
    at_cwd = -100
    if _libc.renameat2(at_cwd, os.fsencode(source), at_cwd, os.fsencode(target), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class RawDirectory:
    """The C library's directory stream: entries with "." and "..", and positions to come back to."""

    class _Entry(ctypes.Structure):
        _fields_ = [
            ("ino", ctypes.c_uint64),
            ("offset", ctypes.c_int64),
            ("length", ctypes.c_uint16),
            ("kind", ctypes.c_uint8),
            ("name", ctypes.c_char * 256),
        ]

    def __init__(self, path: Path) -> None:
        _libc.opendir.restype = ctypes.c_void_p
        _libc.readdir64.restype = ctypes.POINTER(self._Entry)
        _libc.telldir.restype = ctypes.c_long
        self._stream = ctypes.c_void_p(_libc.opendir(os.fsencode(path)))
        if not self._stream:
            raise OSError(ctypes.get_errno(), "opendir")

    def __enter__(self) -> "RawDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        _libc.closedir(self._stream)

    def next(self) -> tuple[bytes, int] | None:
        """The next (name, inode number); None at the end."""
        ctypes.set_errno(0)
        entry = _libc.readdir64(self._stream)
        if entry:
            return bytes(entry.contents.name), int(entry.contents.ino)
        if ctypes.get_errno():
            raise OSError(ctypes.get_errno(), "readdir")
        return None

    def rest(self) -> list[bytes]:
        """The names from here to the end."""
        names = []
        while (entry := self.next()) is not None:
            names.append(entry[0])
        return names

    def tell(self) -> int:
        """A position for `seek`."""
        return int(_libc.telldir(self._stream))

    def seek(self, position: int) -> None:
        """Back to where `tell` was called."""
        _libc.seekdir(self._stream, ctypes.c_long(position))

    def rewind(self) -> None:
        """To the beginning, and to what the directory holds now."""
        _libc.rewinddir(self._stream)
