"""A kernel connection that takes files over, played in memory: it opens, reads and writes backing files by itself."""

import os
from collections.abc import Sequence

import trio
from attrs import define

from tests.support.tier import World
from tierfs.hottier.extents import ExtentSet
from tierfs.model import Inode


@define
class Served:
    """What was offered of an open file."""

    fd: int
    ranges: Sequence[tuple[int, int]] | None
    limit_bytes: int
    is_new: bool


class Kernel:
    """A `lending.Borrower`: keeps descriptors of what is lent or served, and what "programs" have open of it."""

    def __init__(self) -> None:
        self.fds: dict[int, int] = {}
        self.opened: dict[int, list[int]] = {}
        self.discarded: list[int] = []
        self.kept: list[Inode] = []
        self.refusal = 0
        self.has_brake = False
        self.braked: list[bool] = []
        self.served: dict[int, Served] = {}
        self.budget_bytes = 0
        self.withdrawn: list[int] = []
        self.may_withdraw = trio.Event()
        self.may_withdraw.set()
        self.is_deaf = False  # what is forsaken is heard when that is asked
        self.unheard: list[int] = []

    def lend(self, inode: Inode, fd: int) -> bool:
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal))
        self.fds[inode.ino] = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        return True

    def keep(self, inode: Inode) -> bool:
        self.lend(inode, self.served[inode.ino].fd)
        os.close(self.served.pop(inode.ino).fd)
        self.kept.append(inode)
        return True

    async def recall(self, inos: Sequence[int]) -> set[int]:
        await trio.lowlevel.checkpoint()
        idle = {ino for ino in inos if not self.opened.get(ino)}
        for ino in idle & self.fds.keys():
            os.close(self.fds.pop(ino))
        return idle

    def offer(
        self,
        ino: int,
        fd: int,
        *,
        ranges: Sequence[tuple[int, int]] | None,
        limit_bytes: int,
        is_new: bool,
        hears_of_closes: bool,
    ) -> bool:
        if ino in self.served:
            os.close(self.served.pop(ino).fd)
        self.served[ino] = Served(os.dup(fd), ranges, limit_bytes, is_new)  # as SCM_RIGHTS passes it
        return True

    def present(self, ino: int, start: int, stop: int | None) -> None:
        served = self.served[ino]
        served.ranges = None if stop is None or served.ranges is None else [*served.ranges, (start, stop)]

    def budget(self, size_bytes: int) -> None:
        self.budget_bytes = size_bytes

    async def withdraw(self, ino: int) -> None:
        await self.may_withdraw.wait()
        await self.heard()
        self._withdrawn(ino)

    def forsake(self, ino: int) -> bool:
        if self.is_deaf:
            self.unheard.append(ino)
        else:
            self._withdrawn(ino)
        return True

    async def heard(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.unheard:
            self._withdrawn(self.unheard.pop(0))

    def _withdrawn(self, ino: int) -> None:
        self.withdrawn.append(ino)
        if ino in self.served:
            os.close(self.served.pop(ino).fd)

    def read(self, ino: int, offset: int, size: int) -> bytes | None:
        """A READ that needs nobody; None: it has to be brought, or answered by others."""
        served = self.served.get(ino)
        if served is None:
            return None
        stop = min(offset + size, os.fstat(served.fd).st_size)
        if served.ranges is not None and not ExtentSet(served.ranges).covers(offset, stop):
            return None
        return os.pread(served.fd, size, offset)

    def write(self, ino: int, offset: int, data: bytes) -> bool:
        """A WRITE that needs nobody; False: others have to answer it."""
        served = self.served.get(ino)
        if served is None or offset + len(data) > served.limit_bytes or len(data) > self.budget_bytes:
            return False
        self.budget_bytes -= len(data)
        os.pwrite(served.fd, data, offset)
        return True

    async def brake(self, *, on: bool) -> None:
        self.braked.append(on)
        await trio.lowlevel.checkpoint()

    def discard(self, ino: int) -> None:
        self.discarded.append(ino)
        os.close(self.fds.pop(ino))

    def open(self, ino: int, flags: int) -> int:
        fd = os.open(f"/proc/self/fd/{self.fds[ino]}", flags)
        self.opened.setdefault(ino, []).append(fd)
        return fd

    def close(self, ino: int, fd: int) -> None:
        self.opened[ino].remove(fd)
        os.close(fd)


def lending_to(world: World) -> Kernel:
    """From now on the world's files go to the kernel that is returned."""
    kernel = Kernel()
    world.files.lending.borrower = kernel
    return kernel
