"""Backing files: hot/<2 hex>/<ino hex>, one for each inode that has bytes in the tier.

Promises: one descriptor an inode however many openers; a file that is removed while open stays usable
through its descriptor, and the next open makes another one. The shard is the inode number's last byte, so
that files that are created together spread over the directories.

Shared by tasks: the table of open files. All methods that are not `async` are atomic; the `async` ones have
their checkpoints in worker threads, and those do not abandon a read or write that has begun.
"""

import errno
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple, Unpack

import trio

from tierfs.errors import FsError
from tierfs.hottier import labels
from tierfs.hottier.disk import BackingStat, Buffer, Disk
from tierfs.hottier.labels import Label
from tierfs.hottier.spares import Spares

_Args = TypeVarTuple("_Args")
_R = TypeVar("_R")

SHARD_COUNT: Final = 256
LOST_AND_FOUND: Final = "lost+found"
"""The directory beside the tier for bytes that may be nowhere else."""
# a write of this size into the page cache, with its checksum, takes 50 us; the hop to a worker thread and back 95
INLINE_WRITE_MAX_BYTES: Final = 128 << 10
# to free the blocks of a file this big takes the file system milliseconds
_SLOW_CLOSE_BYTES: Final = 32 << 20
_SHARD: Final = re.compile("[0-9a-f]{2}")


def _ino_of(shard: int, name: str) -> int | None:
    """The inode of a backing file, by its name; None for a name of another form, or in another one's shard."""
    try:
        ino = int(name, 16)
    except ValueError:
        return None
    return ino if f"{ino:x}" == name and ino & 0xFF == shard else None


class BackingFile:
    """The bytes of one inode. Made by HotFiles.open; each open is answered by one close."""

    def __init__(self, owner: "HotFiles", ino: int, fd: int) -> None:
        self._owner = owner
        self._disk = owner.disk
        self.ino = ino
        self.fd = fd
        self.references = 1
        self._is_writable = True

    def close(self) -> None:
        """One opener less; the last one closes the descriptor."""
        self.references -= 1
        if self.references == 0:
            self._owner._closed(self)

    def try_read(self, offset: int, size: int) -> bytes | None:
        """All `size` bytes if that takes no waiting; None if it might, or if the file ends before."""
        return self._disk.try_pread(self.fd, offset, size)

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end of the file. Waits in a worker thread if it must."""
        data = self._disk.try_pread(self.fd, offset, size)
        if data is not None:
            return data
        return await self._owner.in_thread(self._disk.pread, self.fd, offset, size)

    def write_inline(self, offset: int, data: Buffer) -> None:
        """Writes in this thread, atomically with what the caller does around it: for small data."""
        self._want_writable()
        self._disk.pwrite(self.fd, data, offset)

    async def write(self, offset: int, data: Buffer) -> None:
        """Writes all; small data at once, the rest in a worker thread."""
        self._want_writable()
        if len(data) <= INLINE_WRITE_MAX_BYTES:
            self._disk.pwrite(self.fd, data, offset)
        else:
            await self._owner.in_thread(self._disk.pwrite, self.fd, data, offset)

    async def write_checked(self, offset: int, data: Buffer) -> int:
        """As `write`; returns the CRC-64/NVME of the bytes."""
        self._want_writable()
        if len(data) <= INLINE_WRITE_MAX_BYTES:
            return self._disk.pwrite_crc64nvme(self.fd, data, offset)
        return await self._owner.in_thread(self._disk.pwrite_crc64nvme, self.fd, data, offset)

    async def checksum(self, offset: int, size: int) -> tuple[int, int]:
        """(CRC-64/NVME, bytes) of a range, in a worker thread and without its bytes."""
        return await self._owner.in_thread(self._disk.crc64nvme, self.fd, offset, size)

    async def sync(self, *, data_only: bool = True) -> None:
        """Returns when the bytes (and, without `data_only`, size and times) survive power loss."""
        await self._owner.in_thread(functools.partial(self._disk.sync, self.fd, data_only=data_only))

    def truncate(self, size_bytes: int) -> None:
        self._want_writable()
        self._disk.truncate(self.fd, size_bytes)

    def punch(self, start: int, stop: int) -> None:
        """Gives the blocks of [start, stop) back."""
        self._want_writable()
        self._disk.punch(self.fd, start, stop)

    async def zero(self, start: int, stop: int) -> None:
        """As `punch`, of any length, in a worker thread."""
        self._want_writable()
        await self._owner.in_thread(self._disk.punch, self.fd, start, stop)

    async def allocate(self, start: int, stop: int) -> None:
        """Takes the blocks of [start, stop), also beyond the end, in a worker thread; bytes and size stay."""
        self._want_writable()
        await self._owner.in_thread(self._disk.allocate, self.fd, start, stop)

    def seek(self, offset: int, whence: int) -> int:
        """Where data or a hole begins, from `offset` on. FsError(ENXIO)."""
        return self._disk.seek(self.fd, offset, whence)

    @contextmanager
    def shared(self, *, writable: bool) -> Iterator[int]:
        """A descriptor for somebody else to read, or also to write by: his copy outlives the block.

        As long as he has one that may write, he is a writer to every lease.
        """
        if writable:
            self._want_writable()
        if writable == self._is_writable:
            yield self.fd
            return
        fd = self._disk.open_again(self.fd, writable=False)
        try:
            yield fd
        finally:
            self._disk.close(fd)

    def has_other_writers(self) -> bool:
        """Has anybody but us the file open for writing, or mapped writable? Not while a write of ours is under way."""
        if self._is_writable:
            self._disk.reopen(self.fd, writable=False)
            self._is_writable = False
        return self._disk.has_writers(self.fd)

    def has_others(self) -> bool:
        """Has anybody but us the file open or mapped?"""
        return self._disk.has_others(self.fd)

    def _want_writable(self) -> None:
        if not self._is_writable:
            self._disk.reopen(self.fd, writable=True)
            self._is_writable = True

    def stat(self) -> BackingStat:
        return self._disk.stat(self.fd)

    def unlabel(self) -> None:
        """What it says of itself is no longer so: see `labels`."""
        self._disk.drop_attribute(self.fd, labels.ATTRIBUTE)

    def set_times(self, *, atime_ns: int, mtime_ns: int) -> None:
        self._disk.set_times(self.fd, atime_ns, mtime_ns)


class HotFiles:
    """The backing files of one cache directory."""

    def __init__(self, disk: Disk, root: Path, *, max_threads: int = 8) -> None:
        self.disk = disk
        self._root = root
        self._prefix = f"{root}/"
        self._open: dict[int, BackingFile] = {}
        self._dying: list[int] = []
        self._has_dying = trio.Event()
        self._limiter = trio.CapacityLimiter(max_threads)
        self.spares = Spares(disk, root, self.in_thread)

    @property
    def root(self) -> Path:
        return self._root

    def prepare(self) -> None:
        """Makes the directories and proves that holes can be punched. FsError(EOPNOTSUPP) names the cure."""
        self.disk.make_directory(self._root)
        for shard in range(SHARD_COUNT):
            self.disk.make_directory(self._root / f"{shard:02x}")
        probe = f"{self._prefix}probe"
        fd = self.disk.open(probe, create=True)
        try:
            self.disk.pwrite(fd, bytes(4096), 0)
            self.disk.punch(fd, 0, 4096)
        except FsError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            raise FsError(
                errno.EOPNOTSUPP,
                f"the file system of {self._root} cannot punch holes; put the cache on ext4, XFS, btrfs or tmpfs",
            ) from error
        finally:
            self.disk.close(fd)
            self.disk.unlink(probe)

    @staticmethod
    def place(ino: int) -> str:
        """Where a backing file is, below the tier."""
        return f"{ino & 0xFF:02x}/{ino:x}"

    def path(self, ino: int) -> str:
        return f"{self._prefix}{ino & 0xFF:02x}/{ino:x}"

    def open(self, ino: int, *, create: bool) -> BackingFile:
        """The backing file of `ino`. FsError(ENOENT) where there is none and `create` is False."""
        backing = self._open.get(ino)
        if backing is not None:
            backing.references += 1
            return backing
        path = self.path(ino)
        fd = self.spares.take(path) if create else None
        backing = BackingFile(self, ino, self.disk.open(path, create=create) if fd is None else fd)
        self._open[ino] = backing
        return backing

    def _closed(self, backing: BackingFile) -> None:
        if self._open.get(backing.ino) is backing:
            del self._open[backing.ino]
            self.disk.close(backing.fd)
        else:
            self._close_removed(backing.fd)

    def _close_removed(self, fd: int) -> None:
        if self.disk.stat(fd).allocated_bytes >= _SLOW_CLOSE_BYTES:
            self._doom(fd)
        else:
            self.disk.close(fd)

    def _doom(self, fd: int) -> None:
        self._dying.append(fd)
        self._has_dying.set()

    def stat(self, ino: int) -> BackingStat | None:
        """None where there is no backing file."""
        backing = self._open.get(ino)
        return backing.stat() if backing is not None else self.disk.stat_path(self.path(ino))

    def remove(self, ino: int) -> None:
        """Unlinks the backing file, if there is one. Who has it open keeps it; a big one is freed by `bury`."""
        path = self.path(ino)
        if self._open.pop(ino, None) is not None:
            self.disk.unlink(path)
            return
        stat = self.disk.stat_path(path)
        if stat is not None and stat.allocated_bytes >= _SLOW_CLOSE_BYTES:
            fd = self.disk.open(path, create=False)
            self.disk.unlink(path)
            self._doom(fd)
        elif stat is not None:
            self.disk.unlink(path)

    def put_labels(self, wanted: Mapping[int, bytes | None]) -> None:
        """Labels by inode, None for no label; where there is no backing file nothing happens. Blocks; EOPNOTSUPP."""
        for ino, label in wanted.items():
            path = self.path(ino)
            if label is None:
                self.disk.drop_attribute(path, labels.ATTRIBUTE)
            elif self.disk.attribute(path, labels.ATTRIBUTE) != label:
                self.disk.set_attribute(path, labels.ATTRIBUTE, label)

    def label(self, place: str | Path) -> Label | None:
        """What a file below the tier, or at a path of its own, says of itself."""
        raw = self.disk.attribute(self._root / place, labels.ATTRIBUTE)
        return labels.decode_label(raw) if raw is not None else None

    def set_aside(self, place: str) -> Path | None:
        """Moves a file out of the tier to `lost+found` beside it, where nothing touches it any more.

        Returns where it is now, None when there was none. Only while nobody has it open.
        """
        home = self._root.parent / LOST_AND_FOUND
        self.disk.make_directory(home)
        return self.disk.move(self._root / place, home / Path(place).name)

    async def bury(self) -> None:
        """Frees the blocks of big files that were removed, in a worker thread."""
        while self._dying:
            fd = self._dying.pop()
            await self.in_thread(self.disk.close, fd)

    async def bury_forever(self) -> None:
        """Does `bury` whenever there is something to free."""
        while True:
            await self._has_dying.wait()
            self._has_dying = trio.Event()
            await self.bury()

    def inos(self) -> Iterator[list[int]]:
        """The inodes that have a backing file, a list for each shard. Names of another form are passed over."""
        for shard in range(SHARD_COUNT):
            names = self.disk.names(self._root / f"{shard:02x}")
            yield [ino for name in names if (ino := _ino_of(shard, name)) is not None]

    def everything(self) -> Iterator[tuple[str, int | None]]:
        """Each file or directory below the tier, but for its shards: (path, inode); None for a name of another form."""
        for top in self.disk.names(self._root):
            shard = int(top, 16) if _SHARD.fullmatch(top) else None
            if shard is None:
                yield top, None
                continue
            for name in self.disk.names(self._root / top):
                yield f"{top}/{name}", _ino_of(shard, name)

    async def sync_all(self) -> None:
        """Returns when every backing file survives power loss as it is: before the index is closed as clean."""
        await self.in_thread(self.disk.sync_file_system, self._root)

    def free_bytes(self) -> int:
        """Free space of the cache's file system."""
        return self.disk.free_bytes(self._root)

    async def in_thread(self, function: Callable[[Unpack[_Args]], _R], *args: *_Args) -> _R:
        """A blocking call in one of `max_threads` workers; a cancelled caller still waits for its end."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)
