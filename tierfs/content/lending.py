"""Whole files lent to the kernel: it reads, maps and writes their backing files without asking (DESIGN.md 5).

A file is lent when it is opened and every byte of it is here. From then on, until it is recalled:

- opens for reading may happen unseen, so the file counts as open, and is not evicted;
- a writer may write past us: one that changes a file in place, where the borrower can brake him, and any that joins
  readers that have it by the kernel. His end is not his `release`: a shared mapping goes on storing. Only when the
  file system grants a read lease on the backing file, nobody is left. Who makes a file, truncates it or appends to it
  comes through us: a file that outgrows its share of the tier can then spill.

A mapping for reading outlives the loan. While there may be one, blocks are not given back one by one, which would
show zeros: the backing file is dropped whole, and lives on for those that have it mapped.

Not `async` means atomic. The borrower is fuse.holder; without it, or with `limit_files` 0, nothing is ever lent.
"""

import logging
from collections import OrderedDict
from typing import Final, Protocol

import trio

from tierfs.content.live import LiveFile
from tierfs.model import Inode

_log: Final = logging.getLogger(__name__)


class Borrower(Protocol):
    """The kernel connection that takes files over. Its errors are OSErrors."""

    async def lend(self, inode: Inode, fd: int) -> None:
        """From now on opens of the inode are served from the file of `fd`, which may be closed afterwards."""
        ...

    async def recall(self, ino: int) -> bool:
        """Ends it; False when the kernel has the file open, and then nothing is changed."""
        ...

    def attributes_changed(self, ino: int) -> None:
        """Those that came with `lend` are not true any more."""
        ...

    @property
    def has_brake(self) -> bool:
        """Can it hold up those who write past us?"""
        ...

    async def brake(self, *, on: bool) -> None:
        """Holds them up, or lets them go on."""
        ...

    def abandon(self, ino: int) -> None:
        """As `recall`, of an inode that the kernel has forgotten: nobody waits for it."""
        ...


class Lending:
    """Which files are lent. One for each mount."""

    def __init__(self, limit_files: int) -> None:
        self.borrower: Borrower | None = None
        self._limit_files = limit_files
        self._lent: OrderedDict[int, bool] = OrderedDict()  # oldest use by an open that we saw first
        # recalled, and not seen without mappings since
        self._perhaps_mapped: set[int] = set()
        self._is_failing = False
        self._ended = trio.Event()

    def all(self) -> list[int]:
        """The inodes that are lent."""
        return list(self._lent)

    def has(self, ino: int) -> bool:
        """Is it lent: open, read or written by the kernel for all we know?"""
        return ino in self._lent

    def is_mapped(self, live: LiveFile) -> bool:
        """Must the blocks of its backing file stay as they are, since the kernel may have them mapped?"""
        ino = live.ino
        if ino in self._perhaps_mapped and (live.backing is None or not live.backing.has_others()):
            self._perhaps_mapped.discard(ino)
        return ino in self._lent or ino in self._perhaps_mapped

    @property
    def takes_writers(self) -> bool:
        """May writers write past us because they can be braked?"""
        return self.borrower is not None and self.borrower.has_brake

    def takes(self, live: LiveFile, *, writers: int = 0) -> bool:
        """Can this file, which is being opened, be lent, and is it not yet? `writers`: those who agree."""
        if self.borrower is None or self._limit_files == 0 or live.ino in self._lent:
            return False
        # while somebody writes through us, the kernel has it in its cached mode, and readers with him
        return live.is_whole and live.record is not None and not live.is_dead and live.writers == writers

    async def lend(self, live: LiveFile, inode: Inode) -> None:
        """Lends a file that `takes` has agreed to. Ask before the open is answered."""
        assert self.borrower is not None
        self._lent[live.ino] = True
        try:
            await self.borrower.lend(inode, live.open_backing.fd)
        except OSError as error:
            self._lent.pop(live.ino, False)
            self._note_failure(error)
            return
        self._is_failing = False
        while len(self._lent) > self._limit_files and await self._recall_oldest():
            pass

    def attributes_changed(self, ino: int) -> None:
        """While the file was being lent, so that nobody else could say so."""
        if self.borrower is not None and ino in self._lent:
            self.borrower.attributes_changed(ino)

    async def recall(self, ino: int) -> bool:
        """True when the kernel has no way to the backing file any more but mappings for reading."""
        if ino not in self._lent or self.borrower is None:
            return True
        try:
            is_back = await self.borrower.recall(ino)
        except OSError as error:
            self._note_failure(error)
            return False
        if is_back and ino in self._lent:
            del self._lent[ino]
            self._perhaps_mapped.add(ino)
        return is_back

    async def _recall_oldest(self) -> bool:
        """Those that are in use go to the end: an open that the kernel answered is newer than we know."""
        for _ in range(min(8, len(self._lent))):
            ino = next(iter(self._lent))
            if await self.recall(ino):
                return True
            if ino in self._lent:
                self._lent.move_to_end(ino)
        return False

    def forgotten(self, ino: int) -> None:
        """The kernel has dropped the inode, so nothing of it is open or mapped."""
        self._perhaps_mapped.discard(ino)
        if self._lent.pop(ino, False) and self.borrower is not None:
            self.borrower.abandon(ino)

    def dropped(self, ino: int) -> None:
        """The backing file is removed; the next one is another file."""
        self._perhaps_mapped.discard(ino)

    async def brake(self, *, on: bool) -> None:
        """Holds up those who write past us, or lets them go on."""
        if self.borrower is not None:
            try:
                await self.borrower.brake(on=on)
            except OSError as error:
                self._note_failure(error)

    async def wait(self, limit_s: float) -> None:
        """Until the connection ends, at most so long."""
        with trio.move_on_after(limit_s):
            await self._ended.wait()

    def end(self) -> None:
        """The kernel connection has ended: nothing is open any more."""
        self.borrower = None
        self._lent.clear()
        self._ended.set()

    def _note_failure(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning("hot files are served without the kernel's passthrough: %s", error)
