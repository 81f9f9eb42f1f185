"""A path and all that is below it: found, listed, walked through, worked on by several at a time.

Walking reads the index alone. Names may come and go meanwhile: what is there all the time is met once, and a further
link once more. Checkpoints: each page of a directory, and where those have theirs that are called.
"""

import os
import stat
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from tierfs.errors import TierfsError
from tierfs.index import dirents, inodes
from tierfs.index.env import Index, Reader
from tierfs.model import ROOT_INO, Dirent, Inode
from tierfs.sync.importer import Importer
from tierfs.sync.paths import Place, text_path, walk
from tierfs.sync.tasks import Run, code_of

_PAGE_ENTRIES: Final = 256
_LISTINGS: Final = 16  # at a time

Work: TypeAlias = Callable[[Place, Inode], Awaitable[None]]


def path_of(reader: Reader, ino: int) -> str:
    """An inode as it stands in reports; "" for one that is gone."""
    inode = inodes.get(reader, ino)
    return text_path(reader, inode.parent, inode.name).strip("/") if inode is not None else ""


class Subtree:
    """What is at one path, which is lossless text from the root of the mount."""

    def __init__(self, index: Index, importer: Importer, path: str) -> None:
        self._index = index
        self._importer = importer
        self._path = os.fsencode(path)

    # ---- the path ----

    def known(self) -> Inode:
        """What the index has there. FsError(ENOENT, ENOTDIR)."""
        return walk(self._index, self._path)

    async def found(self) -> Inode:
        """The same, after the bucket was asked for names that are not known. FsError(ENOENT, ENOTDIR), StoreError."""
        ino, parts = ROOT_INO, [part for part in self._path.split(b"/") if part]
        for depth, part in enumerate(parts, start=1):
            await self._importer.ensure_listed(ino)
            if dirents.get(self._index, ino, part) is None:
                await self._importer.relist(ino)
            ino = walk(self._index, b"/".join(parts[:depth])).ino
        return self.known()

    async def listed(self, run: Run) -> Inode:
        """As `found`, with all directories below listed that never were, or not for a while; one that cannot be is a
        failure of the run."""

        async def list_one(ino: int) -> None:
            try:
                await self._importer.ensure_listed(ino)
            except TierfsError as error:
                run.found()
                run.failed(path_of(self._index, ino), code_of(error))

        top = await self.found()
        await self.list_directories(top, list_one)
        return top

    def text_of(self, place: Place) -> str:
        """A path below it as it stands in reports."""
        return text_path(self._index, place.parent, place.name).lstrip("/")

    # ---- what is below ----

    async def list_directories(self, top: Inode, visit: Callable[[int], Awaitable[None]]) -> None:
        """Calls `visit` for each directory, the upper one first, since it may bring the lower ones; some at a time."""
        waiting, busy, turn = [top.ino] if top.is_dir else [], 0, trio.Event()

        async def one(ino: int) -> None:
            nonlocal busy
            await visit(ino)
            await self._each_entry(ino, keep_directory)
            busy -= 1
            turn.set()

        async def keep_directory(_directory: int, entry: Dirent) -> None:
            if stat.S_ISDIR(entry.fmt):
                waiting.append(entry.ino)

        async with trio.open_nursery() as nursery:
            while waiting or busy:
                while waiting and busy < _LISTINGS:
                    busy += 1
                    nursery.start_soon(one, waiting.pop())
                await turn.wait()
                turn = trio.Event()

    async def each_directory(self, top: Inode, see: Callable[[int], None]) -> None:
        """Shows every directory that the index knows, `top` first."""

        async def visit(ino: int) -> None:
            see(ino)

        await self.list_directories(top, visit)

    async def each_file(self, top: Inode, see: Work) -> None:
        """Shows every regular file that the index knows."""

        async def look(directory: int, entry: Dirent) -> None:
            if stat.S_ISDIR(entry.fmt):
                stack.append(entry.ino)
            elif (inode := inodes.get(self._index, entry.ino)) is not None and inode.is_regular:
                await see(Place(directory, entry.name), inode)

        stack = [top.ino] if top.is_dir else []
        if top.is_regular:
            await see(Place(top.parent, top.name), top)
        while stack:
            await self._each_entry(stack.pop(), look)

    async def _each_entry(self, directory: int, look: Callable[[int, Dirent], Awaitable[None]]) -> None:
        after = b""
        while page := dirents.page(self._index, directory, after, _PAGE_ENTRIES):
            after = page[-1].name
            for entry in page:
                await look(directory, entry)
            await trio.lowlevel.checkpoint()

    async def work_on_files(self, top: Inode, work: Work, *, workers: int) -> None:
        """As `each_file`, by several at a time. `work` raises nothing but Cancelled."""
        send, receive = trio.open_memory_channel[tuple[Place, Inode]](0)

        async def labour() -> None:
            async for place, inode in receive:
                await work(place, inode)

        async def hand_out(place: Place, inode: Inode) -> None:
            await send.send((place, inode))

        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(labour)
            async with send:
                await self.each_file(top, hand_out)
