"""The directories of the tree, as the index has them.

Checkpoints: each page of a directory's names.
"""

import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import trio
from attrs import frozen

from tierfs.index import dirents, inodes
from tierfs.index.env import Index
from tierfs.model import ROOT_INO, Dirent, Inode, InodeFlag
from tierfs.namespace.keys import name_to_part

_PAGE_ENTRIES: Final = 256
_PARTS_MAX: Final = 4096
_KEYS_A_LIST: Final = 1000


def is_listed(inode: Inode | None) -> bool:
    """A directory of the tree, of which the names are known."""
    return inode is not None and inode.is_dir and inode.parent != 0 and InodeFlag.LISTED in inode.flags


async def walk(index: Index, visit: Callable[[int], Awaitable[bool]]) -> None:
    """Calls `visit` with each directory, before what is below it; that tells whether to go there.

    What a visit adds below is met. Depth first; kept are the place in each directory on the way and the directories of
    one page of it, not what is below.
    """
    if not await visit(ROOT_INO):
        return
    way = [_Way(ROOT_INO)]
    while way:
        if way[-1].directories:
            ino = way[-1].directories.popleft()
            if await visit(ino):
                way.append(_Way(ino))
        elif not way[-1].read_on(index):
            way.pop()
        await trio.lowlevel.checkpoint()


class _Way:
    """How far a directory was walked."""

    def __init__(self, ino: int) -> None:
        self.directories: deque[int] = deque()
        self._ino = ino
        self._after = b""

    def read_on(self, index: Index) -> bool:
        """The next page; False when there is none."""
        page = dirents.page(index, self._ino, self._after, _PAGE_ENTRIES)
        self.directories.extend(entry.ino for entry in page if stat.S_ISDIR(entry.fmt))
        self._after = page[-1].name if page else self._after
        return bool(page)


async def _pages(index: Index, ino: int) -> AsyncIterator[list[Dirent]]:
    after = b""
    while page := dirents.page(index, ino, after, _PAGE_ENTRIES):
        after = page[-1].name
        yield page
        await trio.lowlevel.checkpoint()


async def parts_in(index: Index, ino: int) -> list[str]:
    """Key parts of the directories in a directory; of many the first one and some that are spread evenly by name."""
    parts: list[str] = []
    step = met = 0
    async for page in _pages(index, ino):
        for entry in page:
            if not stat.S_ISDIR(entry.fmt):
                continue
            if met % (1 << step) == 0:
                parts.append(name_to_part(entry.name))
            met += 1
            if len(parts) > _PARTS_MAX:
                parts, step = parts[::2], step + 1
    return parts


@frozen
class Cost:
    """What it takes to compare all listed directories with the bucket, in LISTs."""

    by_directory: int = 0  # one directory after the other
    flat: int = 0  # the root, then 1,000 keys at a time, with one LIST more to pass over each unlisted directory


async def cost_of_comparing(index: Index) -> Cost:
    """Estimated by what the index has."""
    by_directory = in_root = entries = unlisted = 0
    directories = [ROOT_INO]
    while directories:
        directory, names = directories.pop(), 0
        async for page in _pages(index, directory):
            names += len(page)
            for entry in page:
                if not stat.S_ISDIR(entry.fmt):
                    continue
                if is_listed(inodes.get(index, entry.ino)):
                    directories.append(entry.ino)
                else:
                    unlisted += 1
        by_directory += _lists(names)
        entries += names
        if directory == ROOT_INO:
            in_root = names
    return Cost(by_directory, _lists(in_root) + _lists(entries) + unlisted)


def _lists(keys: int) -> int:
    return max(1, -(-keys // _KEYS_A_LIST))
