"""Whole files lent to the kernel: it reads, maps and writes their backing files without asking (DESIGN.md 5).

A file is lent when it is opened, or closed by the last who had it, and every byte of it is here. From then on, until
it is recalled:

- opens for reading may happen unseen, so the file counts as open, and is not evicted;
- a writer may write past us: one that changes a file in place, where the borrower can brake him, and any that joins
  readers that have it by the kernel. His end is not his `release`: a shared mapping goes on storing. Only when the
  file system grants a read lease on the backing file, nobody is left. Who makes a file, truncates it or appends to it
  comes through us: a file that outgrows its share of the tier can then spill.

Other files that are open are *served* where the borrower can: it answers their reads and writes from the backing file,
but the kernel has them in its cached mode and we have their handles, so they can be withdrawn at any time. Of a file
of which something is absent, only what is present is read there, and reads of the rest are asked for. A file that is
whole is written there up to a limit, beyond which it would spill, and within a budget of bytes for all files.

A mapping for reading outlives the loan. While there may be one, blocks are not given back one by one, which would
show zeros: the backing file is dropped whole, and lives on for those that have it mapped.

Not `async` means atomic. The borrower is fuse.holder; without it, or with `limit_files` 0, nothing is ever lent.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import trio

from tierfs.content.live import LiveFile
from tierfs.model import Inode

_HEARD_PAUSE_S: Final = 0.05  # many closes, one question
_log: Final = logging.getLogger(__name__)


class Borrower(Protocol):
    """The kernel connection that takes files over. Its errors are OSErrors."""

    def lend(self, inode: Inode, fd: int) -> bool:
        """From now on opens of the inode are served from the file of `fd`, which may be closed afterwards, and its
        attributes are told. False: that could not be said."""
        ...

    def keep(self, inode: Inode) -> bool:
        """As `lend`, of an inode that was offered whole, and is not any more. False: that could not be said."""
        ...

    async def recall(self, inos: Sequence[int]) -> set[int]:
        """Ends it for those that the kernel has not open, and returns them; nothing is changed for the others."""
        ...

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
        """Answers reads of an open inode within `ranges` (None: all of it), and writes up to `limit_bytes`.

        Said again, it replaces what was said. `is_new`: it has no extended attributes. `hears_of_closes`: the close of
        a descriptor is ours to answer. False: it was not understood.
        """
        ...

    def present(self, ino: int, start: int, stop: int | None) -> None:
        """More of a served inode is present; `stop` None: all of it."""
        ...

    def budget(self, size_bytes: int) -> None:
        """So many bytes may be written to served inodes from now on."""
        ...

    async def withdraw(self, ino: int) -> None:
        """Ends `offer`: returns when no read or write of the backing file is under way."""
        ...

    def forsake(self, ino: int) -> bool:
        """As `withdraw`, of an inode that nobody has open any more: `heard` tells when it is so. False: not said."""
        ...

    async def heard(self) -> None:
        """Returns when all that was said before is so."""
        ...

    @property
    def has_brake(self) -> bool:
        """Can it hold up those who write past us?"""
        ...

    async def brake(self, *, on: bool) -> None:
        """Holds them up, or lets them go on."""
        ...

    def discard(self, ino: int) -> None:
        """As `recall`, of an inode that the kernel has forgotten, so that it cannot be refused."""
        ...


class Lending:
    """Which files are lent. One for each mount."""

    def __init__(self, limit_files: int) -> None:
        self.borrower: Borrower | None = None
        self.hears_of_closes: Callable[[int], bool] = lambda ino: False
        self._limit_files = limit_files
        self._lent: OrderedDict[int, int] = (
            OrderedDict()
        )  # oldest use by an open that we saw first; the how manieth loan
        self._loans_count = 0
        self._served: dict[int, bool] = {}  # by inode: is it written there, too?
        self._withdrawing: dict[int, trio.Event] = {}
        # closed by all, and whether the borrower has heard so is not known: the how manieth, None: not said yet
        self._forsaken: dict[int, int | None] = {}
        self._forsaken_count = 0
        self._has_forsaken = trio.Event()
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

    def serves(self, ino: int) -> bool:
        """May the borrower read its backing file, or write to it, at this moment?"""
        return self.is_served(ino) or ino in self._forsaken

    def is_served(self, ino: int) -> bool:
        """Does the borrower read it for those who have it open?"""
        return ino in self._served or ino in self._withdrawing

    def serves_writes(self, ino: int) -> bool:
        """May it write?"""
        return self._served.get(ino, False) or ino in self._forsaken

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

    def lend(self, live: LiveFile, inode: Inode) -> None:
        """Lends a file that `takes` has agreed to. Ask before the open is answered."""
        borrower = self.borrower
        assert borrower is not None
        self._lent_by(live.ino, lambda: borrower.lend(inode, live.open_backing.fd))

    def _lent_by(self, ino: int, say: Callable[[], bool]) -> bool:
        try:
            is_understood = say()
        except OSError as error:
            self._note_failure(error)
            return False
        if is_understood:
            self._is_failing = False
            self._note_lent(ino)
        return is_understood

    def _note_lent(self, ino: int) -> None:
        self._loans_count += 1
        self._lent[ino] = self._loans_count

    async def trim(self) -> None:
        """As many are lent as may be."""
        while len(self._lent) > self._limit_files and await self._recall_oldest():
            pass

    def keep(self, live: LiveFile, inode: Inode) -> bool:
        """Lends a whole file that was served to those who have just closed it, if it can. The borrower has it already:
        who opens it next, or asks for its attributes, needs nobody else."""
        borrower = self.borrower
        if borrower is None or live.ino not in self._served or len(self._lent) >= self._limit_files:
            return False
        if not live.is_whole or live.record is None or live.is_dead:
            return False
        is_kept = self._lent_by(live.ino, lambda: borrower.keep(inode))
        if is_kept:
            del self._served[live.ino]
        return is_kept

    def adopt(self, inos: Iterable[int]) -> None:
        """They are lent since before our start."""
        for ino in inos:
            self._note_lent(ino)

    def serve(self, live: LiveFile, *, limit_bytes: int, is_new: bool = False) -> None:
        """An open file that is not lent: all that is present may be read there, and written up to `limit_bytes`.

        Where that cannot be said, or the file is about to lose bytes, reads and writes come through us.
        """
        if self.borrower is None or self._limit_files == 0 or live.backing is None or live.is_dead:
            return
        if live.ino in self._lent or live.ino in self._withdrawing or live.is_spilling:
            return
        ranges = None if live.present is None else list(live.present)
        limit_bytes = limit_bytes if live.writers and ranges is None else 0
        try:
            with live.backing.shared(writable=limit_bytes > 0) as fd:
                is_understood = self.borrower.offer(
                    live.ino, fd, ranges=ranges, limit_bytes=limit_bytes, is_new=is_new,
                    hears_of_closes=self.hears_of_closes(live.ino),
                )  # fmt: skip
        except OSError as error:
            self._note_failure(error)
            return
        if is_understood:
            self._served[live.ino] = limit_bytes > 0

    def present(self, live: LiveFile, ranges: Sequence[tuple[int, int]]) -> None:
        """More of a file is present: whoever serves it hears of it."""
        if self.borrower is None or live.ino not in self._served:
            return
        if live.is_whole:
            self.borrower.present(live.ino, 0, None)
            return
        for start, stop in ranges:
            self.borrower.present(live.ino, start, stop)

    def budget(self, size_bytes: int) -> None:
        """How many bytes served files may take, all together, from now on."""
        if self.borrower is not None:
            self.borrower.budget(size_bytes)

    async def withdraw(self, ino: int) -> None:
        """Reads and writes of the file come through us from now on, and none is under way elsewhere."""
        while ino in self._withdrawing:
            await self._withdrawing[ino].wait()
        if not self.serves(ino) or self.borrower is None:
            return
        self._served.pop(ino, None)
        self._forsaken.pop(ino, None)
        ended = self._withdrawing[ino] = trio.Event()
        try:
            with trio.CancelScope(shield=True):  # until it is known, nobody may take bytes away
                await self.borrower.withdraw(ino)
        except OSError as error:
            # the link is gone, and with it whoever served
            _log.debug("inode %#x: %s", ino, error)
        finally:
            del self._withdrawing[ino]
            ended.set()

    def unserve(self, ino: int) -> None:
        """Nobody has it open any more.

        Requests reach the borrower on another way than what we say: until it has heard of the end, the requests of
        who opens the file next are answered from what was true before. So the bytes of then have to stay till then.
        """
        if self._served.pop(ino, None) is not None and self.borrower is not None:
            self._forsaken_count += 1
            self._forsaken[ino] = self._forsaken_count if self.borrower.forsake(ino) else None
            self._has_forsaken.set()

    async def run(self) -> None:
        """Learns what the borrower has heard; until it is cancelled."""
        while True:
            await self._has_forsaken.wait()
            self._has_forsaken = trio.Event()
            await trio.sleep(_HEARD_PAUSE_S)
            await self._settle()

    async def _settle(self) -> None:
        last = self._forsaken_count
        for ino in [ino for ino, number in self._forsaken.items() if number is None]:
            await self.withdraw(ino)
        if self.borrower is None or not self._forsaken:
            return
        try:
            await self.borrower.heard()
        except OSError as error:
            _log.debug("what was not heard will not be: %s", error)  # the link is gone, and with it whoever served
        for ino, number in list(self._forsaken.items()):
            if number is not None and number <= last:
                del self._forsaken[ino]

    async def recall(self, ino: int) -> bool:
        """True when the kernel has no way to the backing file any more but mappings for reading."""
        return ino in await self.recall_all([ino])

    async def recall_all(self, inos: Sequence[int]) -> set[int]:
        """Those of the inodes to whose backing file the kernel has no way any more but mappings for reading."""
        for ino in inos:
            await self.withdraw(ino)
        loans = {ino: self._lent[ino] for ino in inos if ino in self._lent}
        if self.borrower is None or not loans:
            return set(inos)
        try:
            came_back = await self.borrower.recall(list(loans))
        except OSError as error:
            self._note_failure(error)
            return set(inos) - loans.keys()
        for ino in came_back:
            if self._lent.get(ino) == loans[ino]:  # else it was forgotten meanwhile, and perhaps lent again
                del self._lent[ino]
                self._perhaps_mapped.add(ino)
        return {ino for ino in inos if ino not in self._lent}

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
        if self._lent.pop(ino, 0) and self.borrower is not None:
            self.borrower.discard(ino)

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
        self._served.clear()
        self._forsaken.clear()
        self._ended.set()

    def _note_failure(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning("hot files are served without the kernel's passthrough: %s", error, extra={"event": "TFS3005"})
