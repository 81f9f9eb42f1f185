"""File I/O on the cache directory: the only module that does any, so that a recording disk can stand in for it.

Every method blocks and is plain: those that may wait for the device (read, write, sync, close of a big
unlinked file) belong in a worker thread, the others cost microseconds on a local file system. All raise
FsError with the system's errno, and nothing else. A write that fails may have written a part.
"""

import ctypes
import errno
import fcntl
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

from tierfs import native
from tierfs.errors import FsError

Buffer: TypeAlias = bytes | bytearray | memoryview

# linux/falloc.h
FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2
FALLOC_FL_ZERO_RANGE: Final = 16
_STAT_BLOCK_BYTES: Final = 512  # st_blocks counts these whatever the file system's block size is
_SCRATCH_BYTES: Final = 1 << 20
_CHECKED_BYTES: Final = 1 << 20  # read at a time for a checksum alone

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _raises_fs_error(method: Callable[_P, _R]) -> Callable[_P, _R]:
    @functools.wraps(method)
    def translated(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except OSError as error:
            raise FsError(error.errno or errno.EIO, f"cache disk: {method.__name__}: {error}") from error

    return translated


class BackingStat(NamedTuple):
    """What the file system says of a backing file."""

    size_bytes: int
    allocated_bytes: int  # with what is allocated but not written out yet, on ext4, XFS and btrfs
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


def _to_stat(result: os.stat_result) -> BackingStat:
    return BackingStat(
        result.st_size, result.st_blocks * _STAT_BLOCK_BYTES, result.st_atime_ns, result.st_mtime_ns, result.st_ctime_ns
    )


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Disk:
    """The local file system under the cache directory."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        # one buffer for all reads that do not wait: they never overlap, and a fresh one costs a memset
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))

    # ---- names ----

    @_raises_fs_error
    def make_directory(self, path: Path) -> None:
        """A directory of the owner alone, with its parents; an existing one is left as it is."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @_raises_fs_error
    def names(self, directory: Path) -> list[str]:
        return os.listdir(directory)

    @_raises_fs_error
    def open(self, path: str, *, create: bool) -> int:
        """A descriptor for reading and writing. ENOENT where there is no file and `create` is False."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        try:
            # without it every first read of a day dirties the inode of a backing file
            return os.open(path, flags | os.O_NOATIME, 0o600)
        except PermissionError:  # O_NOATIME is the owner's alone
            return os.open(path, flags, 0o600)

    @_raises_fs_error
    def open_unnamed(self, directory: Path) -> int:
        """A descriptor for reading and writing of a new file without a name. EOPNOTSUPP, EISDIR: not here."""
        return os.open(directory, os.O_RDWR | os.O_CLOEXEC | os.O_NOATIME | os.O_TMPFILE, 0o600)

    @_raises_fs_error
    def name(self, fd: int, path: str) -> bool:
        """Gives a file of `open_unnamed` its name; False when there is something of that name."""
        try:
            # the directory is not used, but without one link(2) would be called, which names the symlink
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    @_raises_fs_error
    def close(self, fd: int) -> None:
        os.close(fd)

    @_raises_fs_error
    def unlink(self, path: str) -> bool:
        """False when there was no such file."""
        try:
            os.unlink(path)  # noqa: PTH108 - a str, 2 us cheaper than Path
        except FileNotFoundError:
            return False
        return True

    @_raises_fs_error
    def publish(self, path: Path, data: Buffer) -> None:
        """A small file that is there whole or not at all, also after power loss: temp, fsync, rename, dirsync."""
        temporary = path.with_name(path.name + ".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self.pwrite(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
        _sync_directory(path.parent)

    @_raises_fs_error
    def move(self, source: Path, target: Path) -> Path | None:
        """Renames a file, never over another one: `target`, or with .1, .2 ... behind it. None: there is no source.

        It survives power loss under one of both names, and when this returns, under the new one.
        """
        if not source.exists():
            return None
        place, count = target, 0
        while place.exists():
            count += 1
            place = target.with_name(f"{target.name}.{count}")
        source.rename(place)
        _sync_directory(place.parent)
        _sync_directory(source.parent)
        return place

    @_raises_fs_error
    def free_bytes(self, path: Path) -> int:
        """What a process without privileges may still write to the file system of `path`."""
        result = os.statvfs(path)
        return result.f_bavail * result.f_frsize

    # ---- bytes ----

    @_raises_fs_error
    def try_pread(self, fd: int, offset: int, size: int) -> bytes | None:
        """All `size` bytes if the page cache holds them, None if that is not so or cannot be known."""
        if size > _SCRATCH_BYTES:
            return None
        try:
            got = os.preadv(fd, [self._scratch[:size]], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # tmpfs before 6.6, overlayfs before 5.10
                return None
            raise
        return bytes(self._scratch[:size]) if got == size else None

    @_raises_fs_error
    def pread(self, fd: int, offset: int, size: int) -> bytes:
        """Shorter than asked only at the end of the file."""
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        chunks = [data]
        got = len(data)
        while got < size and (data := os.pread(fd, size - got, offset + got)):
            chunks.append(data)
            got += len(data)
        return b"".join(chunks)

    @_raises_fs_error
    def pwrite(self, fd: int, data: Buffer, offset: int) -> None:
        """Writes all of `data`."""
        written = os.pwrite(fd, data, offset)
        if written == len(data):
            return
        rest = memoryview(data)
        while written < len(rest):
            written += os.pwrite(fd, rest[written:], offset + written)

    @_raises_fs_error
    def pwrite_crc64nvme(self, fd: int, data: Buffer, offset: int) -> int:
        """Writes all of `data` and returns its CRC-64/NVME, computed in the same pass."""
        return native.pwrite_crc64nvme(fd, data, offset)

    @_raises_fs_error
    def crc64nvme(self, fd: int, offset: int, size: int) -> tuple[int, int]:
        """(the CRC-64/NVME, the number of bytes), fewer than `size` only at the end of the file; keeps none of them."""
        crc = got = 0
        while got < size:
            data, part = native.pread_crc64nvme(fd, min(_CHECKED_BYTES, size - got), offset + got)
            if not data:
                break
            crc = native.crc64nvme_combine(crc, part, len(data))
            got += len(data)
        return crc, got

    @_raises_fs_error
    def open_again(self, fd: int, *, writable: bool) -> int:
        """Another descriptor of the same file, also of one that was unlinked; a descriptor's mode is its open's."""
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{fd}", flags | os.O_NOATIME)

    @_raises_fs_error
    def reopen(self, fd: int, *, writable: bool) -> None:
        """Changes what the descriptor may do; reads that are under way are not disturbed."""
        fresh = self.open_again(fd, writable=writable)
        try:
            os.dup2(fresh, fd, inheritable=False)
        finally:
            os.close(fresh)

    @_raises_fs_error
    def has_writers(self, fd: int) -> bool:
        """Is the file of `fd`, which is for reading only, open for writing or mapped writable by anybody?"""
        return not self._is_lease_granted(fd, fcntl.F_RDLCK)

    @_raises_fs_error
    def has_others(self, fd: int) -> bool:
        """Is the file open or mapped by another than `fd`?"""
        return not self._is_lease_granted(fd, fcntl.F_WRLCK)

    @staticmethod
    def _is_lease_granted(fd: int, kind: int) -> bool:
        """fcntl(2): the file system looks at all opens and mappings. SIGIO is ignored by the daemon."""
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)
        except BlockingIOError:
            return False
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True

    @_raises_fs_error
    def truncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    @_raises_fs_error
    def punch(self, fd: int, start: int, stop: int) -> None:
        """Gives the blocks of [start, stop) back; the size stays, the range reads as zeros.

        EOPNOTSUPP on a file system without holes (checked once, by HotFiles.prepare).
        """
        self._fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, stop)

    @_raises_fs_error
    def allocate(self, fd: int, start: int, stop: int) -> None:
        """Takes the blocks of [start, stop) that are not there yet, also beyond the end; bytes and size stay."""
        self._fallocate(fd, FALLOC_FL_KEEP_SIZE, start, stop)

    def _fallocate(self, fd: int, mode: int, start: int, stop: int) -> None:
        while self._libc.fallocate(fd, mode, start, stop - start) != 0:
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))

    @_raises_fs_error
    def seek(self, fd: int, offset: int, whence: int) -> int:
        """lseek(2) with SEEK_DATA or SEEK_HOLE. ENXIO where nothing follows."""
        return os.lseek(fd, offset, whence)

    @_raises_fs_error
    def sync(self, fd: int, *, data_only: bool) -> None:
        """fsync or fdatasync. After an error the bytes written before it may be lost: do not sync again to hide it."""
        if data_only:
            os.fdatasync(fd)
        else:
            os.fsync(fd)

    @_raises_fs_error
    def sync_file_system(self, path: Path) -> None:
        """syncfs(2): returns when everything written so far to the file system of `path` survives power loss."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._libc.syncfs(fd) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(fd)

    # ---- attributes ----

    @_raises_fs_error
    def attribute(self, path: str | Path, name: str) -> bytes | None:
        """An extended attribute; None where there is none, or no file."""
        try:
            return os.getxattr(path, name)
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.ENOENT):
                return None
            raise

    @_raises_fs_error
    def set_attribute(self, path: str, name: str, value: bytes) -> None:
        """Sets it; nothing happens where there is no file. EOPNOTSUPP on file systems without."""
        try:
            os.setxattr(path, name, value)
        except FileNotFoundError:
            return

    @_raises_fs_error
    def drop_attribute(self, file: int | str, name: str) -> None:
        """Takes it off a file, by its descriptor or path, if it is there."""
        try:
            os.removexattr(file, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOENT, errno.EOPNOTSUPP):
                raise

    @_raises_fs_error
    def stat(self, fd: int) -> BackingStat:
        return _to_stat(os.fstat(fd))

    @_raises_fs_error
    def stat_path(self, path: str) -> BackingStat | None:
        """None where there is no file."""
        try:
            return _to_stat(os.stat(path))  # noqa: PTH116 - a str, 2 us cheaper than Path
        except FileNotFoundError:
            return None

    @_raises_fs_error
    def set_times(self, fd: int, atime_ns: int, mtime_ns: int) -> None:
        os.utime(fd, ns=(atime_ns, mtime_ns))
