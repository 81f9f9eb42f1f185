"""A disk under the journal that can lose power: what was not synced is dropped, torn, or happens to be there."""

import errno
import os
import random
from pathlib import Path

from attrs import define, field

from tierfs.index.journal import OsDisk

SECTOR_BYTES = 512


@define
class _File:
    path: Path
    durable: bytearray
    pending: list[tuple[int, bytes]] = field(factory=list)


class LossyDisk(OsDisk):
    """Works on real files as OsDisk does, and remembers what a power loss now would leave of them."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self.syncs = 0
        self.fail_syncs = False
        self.fail_writes = 0  # an errno: half of each write is done, then this

    def open(self, path: Path, size_bytes: int) -> int:
        fd = super().open(path, size_bytes)
        self._files[fd] = _File(path, bytearray(path.read_bytes()))
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> None:
        done = data[: len(data) // 2] if self.fail_writes else data
        super().write(fd, done, offset)
        self._files[fd].pending.append((offset, done))
        if self.fail_writes:
            raise OSError(self.fail_writes, os.strerror(self.fail_writes))

    def sync(self, fd: int) -> None:
        self.syncs += 1
        if self.fail_syncs:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        file = self._files[fd]
        count = len(file.pending)  # a write during the sync may be not in it
        super().sync(fd)
        for offset, data in file.pending[:count]:
            file.durable[offset : offset + len(data)] = data
        del file.pending[:count]

    def lose_power(self, rng: random.Random, directory: Path) -> None:
        """Writes to `directory` what could be on the platter now: each unsynced sector is there, or is not."""
        for file in self._files.values():
            image = bytearray(file.durable)
            for offset, data in file.pending:
                keep = rng.choice((0.0, 0.5, 0.9, 1.0))
                at = 0
                while at < len(data):
                    stop = min(len(data), at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES)
                    if rng.random() < keep:
                        image[offset + at : offset + stop] = data[at:stop]
                    at = stop
            (directory / file.path.name).write_bytes(image)
