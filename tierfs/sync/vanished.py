"""Names that the bucket has no more: found, counted, and taken away where the guard lets them go.

A listing alone takes nothing away: a HEAD has to say so, too. What is dirty here, what lies elsewhere and what was
touched by us since the listing began stays in any case.
"""

import stat
from typing import Final

import trio
from attrs import evolve

from tierfs.index import dirents, inodes, intents
from tierfs.index import locations as rows
from tierfs.index.env import Index
from tierfs.model import Dirent, Inode
from tierfs.namespace.keys import name_to_part
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.sync import attributes
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier
from tierfs.sync.guard import Gate, Removal
from tierfs.sync.paths import Place
from tierfs.sync.seen import Listing

_SWEEP_PAGE: Final = 256
_COMPARED_NAMES: Final = 50


class Vanished:
    """Takes away what is gone. One listing of a directory at a time (the importer sees to it)."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        applier: Applier,
        activity: Activity,
        heads: trio.CapacityLimiter,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._applier = applier
        self._guard = applier.guard
        self._activity = activity
        self._heads = heads

    async def sweep(self, listing: Listing, gate: Gate | None = None) -> None:
        """Removes the names that the listing did not have, where the gate (the guard) lets them go. StoreError."""
        if listing.seen is None:
            return
        gate = gate or self._guard
        self._guard.tidy(listing.ino)
        removals = [
            Removal(Place(listing.ino, name), ino, await self._entries(ino))
            for name, ino in await self._confirmed(listing, await self._missing(listing))
        ]
        for removal in removals:
            inode = inodes.get(self._index, removal.ino)
            if inode is not None:
                listing.found(self.key_of(inode, removal.place))
        if gate.would_hold(sum(removal.entries for removal in removals)):
            removals = [await self._with_new_place(listing, removal) for removal in removals]
        if not await gate.admit(removals):
            return
        for removal in removals:
            name = removal.place.name
            found = dirents.get(self._index, listing.ino, name)
            if found is not None and self.is_vanished(listing, found.ino, name):
                await self.remove(listing, found.ino, name)

    async def take_absence(self, listing: Listing, name: bytes, key: str) -> None:
        """There is no object at `key`: the name goes, if it leads to that one and the guard lets it."""
        place = Place(listing.ino, name)
        entry = dirents.get(self._index, listing.ino, name)
        inode = inodes.get(self._index, entry.ino) if entry is not None else None
        if inode is None or inode.is_dir or self.key_of(inode, place) != key:
            return
        if not self.is_vanished(listing, inode.ino, name) or self._guard.is_held(place, inode.ino):
            return
        listing.found(key)
        if self._guard.admit_one(Removal(place, inode.ino)):
            await self.remove(listing, inode.ino, name)

    async def _missing(self, listing: Listing) -> list[tuple[bytes, int]]:
        """Names and inodes that the index has and the listing has not."""
        missing: list[tuple[bytes, int]] = []
        assert listing.seen is not None
        after = b""
        while page := dirents.page(self._index, listing.ino, after, _SWEEP_PAGE):
            after = page[-1].name
            missing += [
                (entry.name, entry.ino)
                for entry in page
                if entry.name not in listing.seen
                and self.is_vanished(listing, entry.ino, entry.name)
                and not self._guard.is_held(Place(listing.ino, entry.name), entry.ino)
            ]
            await trio.lowlevel.checkpoint()
        return missing

    async def _confirmed(self, listing: Listing, missing: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Those that a HEAD does not find either.

        Some servers leave directories without objects out of a listing (SeaweedFS), and what is gone is rare enough
        to be asked for.
        """
        keys: dict[tuple[bytes, int], str] = {}
        for name, ino in missing:
            inode = inodes.get(self._index, ino)
            if inode is not None:
                keys[name, ino] = self.key_of(inode, Place(listing.ino, name))
        answers = await attributes.head_many(self._store, self._heads, keys.values()) if keys else {}
        return [
            (name, ino)
            for (name, ino), key in keys.items()
            if key in answers and answers[key] is None and self.is_vanished(listing, ino, name)
        ]

    async def _entries(self, ino: int) -> int:
        """How many files and directories the index knows at and below an inode."""
        entries, stack = 1, [ino]
        while stack:
            directory, after = stack.pop(), b""
            while page := dirents.page(self._index, directory, after, _SWEEP_PAGE):
                after = page[-1].name
                entries += len(page)
                stack += [entry.ino for entry in page if stat.S_ISDIR(entry.fmt)]
                await trio.lowlevel.checkpoint()
        return entries

    async def _with_new_place(self, listing: Listing, removal: Removal) -> Removal:
        """With the name of a directory beside it that is new and has its files: somebody renamed it."""
        known = {
            entry.name: inode
            for entry in dirents.page(self._index, removal.ino, b"", _COMPARED_NAMES)
            if (inode := inodes.get(self._index, entry.ino)) is not None and inode.is_regular and not inode.is_dirty
        }
        for name in listing.new_directories if known else ():
            entry = dirents.get(self._index, listing.ino, name)
            if entry is None:
                continue
            prefix = self._locations.actual_prefix(self._index, entry.ino)
            page = await self._store.list(prefix, delimited=True)
            there = {info.key[len(prefix) :]: info.size_bytes for info in page.objects}
            if all(there.get(name_to_part(own)) == inode.size_bytes for own, inode in known.items()):
                return evolve(removal, moved_to=name.decode(errors="surrogateescape"))
        return removal

    def is_vanished(self, listing: Listing, ino: int, name: bytes) -> bool:
        """The bucket is known to have had it under this prefix, and nothing happened to it here since."""
        inode = inodes.get(self._index, ino)
        if inode is None or self._is_on_its_way(inode):
            return False
        key = self.key_of(inode, Place(listing.ino, name))
        if not key.startswith(listing.prefix) or "/" in key[len(listing.prefix) :].rstrip("/"):
            return False  # it lies elsewhere, so this listing says nothing of it
        return not self._activity.touched_since(listing.mark, key)

    def _is_on_its_way(self, inode: Inode) -> bool:
        """The bucket has to hear of it yet, or never will; of a renamed directory, the objects that it lives by are to
        be moved."""
        return (
            inode.is_dirty
            or intents.of_inode(self._index, inode.ino) is not None
            or rows.override(self._index, inode.ino) is not None
            or self._applier.rules.ignores(self._index, inode)
        )

    def key_of(self, inode: Inode, place: Place) -> str:
        """Where the object of an inode's link lies."""
        if (inode.parent, inode.name) == (place.parent, place.name):
            return self._locations.actual_key(self._index, inode)
        return self._locations.actual_prefix(self._index, place.parent) + name_to_part(place.name)

    async def remove(self, listing: Listing, ino: int, name: bytes) -> None:
        """Removes a name; of a directory first what is below it, except what has to go to the bucket yet
        or went there since the listing began."""
        stack = [(listing.ino, ino, name)]
        while stack:
            parent, ino, name = stack[-1]
            await trio.lowlevel.checkpoint()
            below = self._clean_child(listing, ino)
            if below is not None:
                stack.append((ino, below.ino, below.name))
                continue
            stack.pop()
            if not self._applier.remove_name(Place(parent, name)):
                return  # something dirty is below: the directory and those above it stay
            listing.removed += 1

    def _clean_child(self, listing: Listing, ino: int) -> Dirent | None:
        """An entry of a vanished directory that may go."""
        inode = inodes.get(self._index, ino)
        if inode is None or not inode.is_dir:
            return None
        for entry in dirents.page(self._index, ino, b"", _SWEEP_PAGE):
            child = inodes.get(self._index, entry.ino)
            if child is None or self._is_on_its_way(child):
                continue
            if not self._activity.touched_since(listing.mark, self.key_of(child, Place(ino, entry.name))):
                return entry
        return None
