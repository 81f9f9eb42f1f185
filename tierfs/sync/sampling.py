"""A sample of a directory that was listed by names alone: do its files have POSIX attributes?

A listing of a directory asks that of its own entries (see listing.py). One of a whole tree leaves it to the first use
of each directory, since most of them are never used. What is new by then was asked by whoever found it.
"""

import stat
from typing import Final

import trio

from tierfs.index import dirents, inodes
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag, revise
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.sync import attributes

_PAGE_ENTRIES: Final = 256


class Sampler:
    """Settles what listings have left open. One task at a time for each directory (the importer sees to it)."""

    def __init__(
        self, *, index: Index, store: ObjectStore, locations: Locations, heads: trio.CapacityLimiter, sample: int
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._heads = heads
        self._sample = sample

    async def settle(self, directory: int) -> bool:
        """Asks some files; when none has attributes, the defaults are known to be those of all. StoreError.

        Returns whether the attributes of the entries are worth reading.
        """
        unknown = await self._unknown(directory)
        step = max(1, len(unknown) // self._sample)
        chosen = [inode for ino in unknown[::step][: self._sample] if (inode := self._undecided(ino)) is not None]
        keys = {self._locations.actual_key(self._index, inode) for inode in chosen}
        answers = await attributes.head_many(self._store, self._heads, keys)
        has_none = not any(info is not None and attributes.has_posix(info) for info in answers.values())
        for start in range(0, len(unknown) if has_none else 0, _PAGE_ENTRIES):
            self._assume(unknown[start : start + _PAGE_ENTRIES])
            await trio.lowlevel.checkpoint()
        with self._index.transaction() as txn:
            inode = inodes.get(txn, directory)
            if inode is not None:
                inodes.put(txn, revise(inode, flags=inode.flags & ~InodeFlag.UNSAMPLED))
        return bool(keys) and not has_none

    async def _unknown(self, directory: int) -> list[int]:
        """The files whose attributes nobody knows."""
        found: list[int] = []
        after = b""
        while page := dirents.page(self._index, directory, after, _PAGE_ENTRIES):
            after = page[-1].name
            found += [entry.ino for entry in page if self._undecided(entry.ino) is not None]
            await trio.lowlevel.checkpoint()
        return found

    def _undecided(self, ino: int) -> Inode | None:
        """A clean file, as the bucket has it, without known attributes."""
        inode = inodes.get(self._index, ino)
        if inode is None or not inode.is_regular or inode.parent == 0 or inode.is_dirty or inode.base is None:
            return None
        return inode if InodeFlag.ATTRS_KNOWN not in inode.flags else None

    def _assume(self, files: list[int]) -> None:
        with self._index.transaction() as txn:
            for ino in files:
                inode = self._undecided(ino)
                if inode is not None:
                    inodes.put(txn, revise(inode, flags=inode.flags | InodeFlag.ATTRS_KNOWN | InodeFlag.FOREIGN))
                    dirents.put(txn, inode.parent, inode.name, ino, stat.S_IFREG)
