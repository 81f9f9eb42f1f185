"""How much is below a directory, and how much of it is here: counted in the index, without a request to the store.

A million files take some seconds (3 us each); the event loop gets its turn every 5 ms meanwhile. Directories that were
never listed count with what is known of them, and are counted as such. A file with several names counts at each.

Checkpoints: between slices of a long count. Names that come and go meanwhile are met or not.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

import trio
from attrs import asdict, define

from tierfs.control.inspector import RESIDENCY_NAMES, TYPE_NAMES
from tierfs.control.protocol import Json
from tierfs.errors import FsError
from tierfs.index import dirents, inodes, intents, residency
from tierfs.index.codec import encoded_size_bytes
from tierfs.index.env import Index
from tierfs.index.schema import Table, pack_id
from tierfs.model import Dirent, Inode, InodeFlag, Residency
from tierfs.sync.paths import walk

_PAGE_ENTRIES: Final = 256
_ANSWER_ROWS: Final = 100
_CHILDREN_MAX: Final = 10_000
_SLICE_S: Final = 0.005


@define
class Sums:
    """What is at a name and below it."""

    size_bytes: int = 0
    hot_bytes: int = 0
    files: int = 0
    directories: int = 0
    unlisted: int = 0
    """Directories of them whose names were never listed."""

    def add(self, other: "Sums") -> None:
        """And what is there."""
        self.size_bytes += other.size_bytes
        self.hot_bytes += other.hot_bytes
        self.files += other.files
        self.directories += other.directories
        self.unlisted += other.unlisted


class Usage:
    """Answers `du` and `children` of one mount."""

    def __init__(self, index: Index, live: Callable[[Inode], Inode]) -> None:
        """`live`: an inode with the size that it has now, where it is open."""
        self._index = index
        self._live = live

    async def du(self, path: bytes, counted: Callable[[int], None]) -> Json:
        """{size_bytes, hot_bytes, files, directories, unlisted} of a path and, of a directory, "children": the same
        with name and type for each, largest first, the first 100, and "rest": how many are left out.

        `counted` is told of the files so far. ENOENT, ENOTDIR.
        """
        top = walk(self._index, path)
        if not top.is_dir:
            return {**asdict(self._file(top.ino)), "children": [], "rest": 0}
        counter = _Counter(self._index, self._file, counted)
        total, children = Sums(directories=1, unlisted=not _is_listed(top)), []
        for entry in dirents.above(self._index, top.ino):
            sums = await counter.count(entry)
            total.add(sums)
            children.append((sums, entry))
            if len(children) >= 2 * _CHILDREN_MAX:
                children = sorted(children, key=_largest_first)[:_CHILDREN_MAX]
        rows = [
            {"name": os.fsdecode(entry.name), "type": _type_of(entry), **asdict(sums)}
            for sums, entry in sorted(children, key=_largest_first)[:_ANSWER_ROWS]
        ]
        return {**asdict(total), "children": rows, "rest": counter.asked - len(rows)}

    def children(self, path: bytes, after: bytes) -> Json:
        """A page of a directory's names and how each stands: {"entries": [...], "next": the last name's hex, None at
        the end}. Each has name, type, size_bytes, residency, hot_bytes, pinned, synced, and of a directory listed.
        ENOENT, ENOTDIR.
        """
        top = walk(self._index, path)
        if not top.is_dir:
            raise FsError(errno.ENOTDIR)
        page = dirents.page(self._index, top.ino, after, _ANSWER_ROWS)
        rows = [row for entry in page if (row := self._described(entry)) is not None]
        return {"entries": rows, "next": page[-1].name.hex() if len(page) == _ANSWER_ROWS else None}

    def _described(self, entry: Dirent) -> Json | None:
        inode = inodes.get(self._index, entry.ino)
        if inode is None:
            return None
        inode, hot = self._live(inode), residency.hot_get(self._index, inode.ino)
        is_pending = intents.of_inode(self._index, inode.ino) is not None
        return {
            "name": os.fsdecode(entry.name),
            "type": TYPE_NAMES.get(stat.S_IFMT(inode.mode), "not known yet"),
            "size_bytes": inode.size_bytes,
            "residency": RESIDENCY_NAMES[hot.residency if hot is not None else Residency.COLD],
            "hot_bytes": hot.bytes_charged if hot is not None else 0,
            "pinned": hot is not None and hot.pinned,
            "synced": not is_pending and InodeFlag.LOCAL not in inode.flags,
            **({"listed": _is_listed(inode)} if inode.is_dir else {}),
        }

    def _file(self, ino: int) -> Sums:
        """A size as it was last published: of a file that is being written it may be behind."""
        size_bytes = encoded_size_bytes(self._index.get(Table.INODES, pack_id(ino)))
        hot = residency.hot_get(self._index, ino)
        return Sums(size_bytes, hot.bytes_charged if hot is not None else 0, files=1)


class _Counter:
    """Counts names, one after the other."""

    def __init__(self, index: Index, file: Callable[[int], Sums], counted: Callable[[int], None]) -> None:
        self._index = index
        self._file = file
        self._counted = counted
        self._slice_began_s = trio.current_time()
        self._files = 0
        self.asked = 0

    async def count(self, entry: Dirent) -> Sums:
        """A name and all below it."""
        self.asked += 1
        await self._let_others()
        if not stat.S_ISDIR(entry.fmt):
            return self._file_at(entry)
        sums, directories = Sums(), [entry.ino]
        while directories:
            await self._count_names(directories.pop(), sums, directories)
        return sums

    async def _count_names(self, ino: int, sums: Sums, directories: list[int]) -> None:
        """What is in a directory, and the directory; those in it are still to be counted."""
        inode = inodes.get(self._index, ino)
        sums.directories += 1
        sums.unlisted += inode is None or not _is_listed(inode)
        after = b""
        while page := dirents.page(self._index, ino, after, _PAGE_ENTRIES):
            after = page[-1].name
            for entry in page:
                if stat.S_ISDIR(entry.fmt):
                    directories.append(entry.ino)
                else:
                    sums.add(self._file_at(entry))
            await self._let_others()

    def _file_at(self, entry: Dirent) -> Sums:
        self._files += 1
        return self._file(entry.ino)

    async def _let_others(self) -> None:
        if trio.current_time() - self._slice_began_s > _SLICE_S:
            self._counted(self._files)
            await trio.lowlevel.checkpoint()
            self._slice_began_s = trio.current_time()


def _is_listed(inode: Inode) -> bool:
    return InodeFlag.LISTED in inode.flags


def _largest_first(child: tuple[Sums, Dirent]) -> tuple[int, int, bytes]:
    sums, entry = child
    return -sums.size_bytes, -sums.files, entry.name


def _type_of(entry: Dirent) -> str:
    return TYPE_NAMES.get(entry.fmt, "not known yet")
