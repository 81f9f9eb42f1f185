"""Single keys of a directory looked at, because somebody said that they changed: a listing of a few names.

What is found goes the way of a listed page, with its rules (activity, dirty names, names that two things claim);
what is not found goes as a vanished name does. An implicit directory goes with the last object below it.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import trio
from attrs import evolve

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import dirents, inodes, intents, links
from tierfs.index import locations as rows
from tierfs.index.env import Index, Reader
from tierfs.model import ROOT_INO, Base, Inode, InodeFlag, revise
from tierfs.namespace.keys import part_to_names
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore.base import ListPage, ObjectInfo, ObjectStore
from tierfs.sync import attributes
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier
from tierfs.sync.listing import Lister
from tierfs.sync.paths import Place, find_entry
from tierfs.sync.plan import BESIDE_SUFFIX
from tierfs.sync.seen import Listing, MovedError
from tierfs.sync.spoken_for import is_spoken_for

_PROBE_OBJECTS: Final = 50
_ANSWER_WAIT_S: Final = 5.0


def directory_above(reader: Reader, key: str) -> Inode:
    """The deepest directory of the tree that `key` lies in; for the marker of a directory that itself.

    By the tree as it is: keys that a rename has yet to move away are not found by it (see `is_moving`).
    """
    directory = inodes.get(reader, ROOT_INO)
    assert directory is not None, "the root is made before anything else"
    for part in key.split("/")[:-1]:
        entry = find_entry(reader, directory.ino, part)
        child = inodes.get(reader, entry.ino) if entry is not None else None
        if child is None or not child.is_dir:
            break
        directory = child
    return directory


def is_moving(reader: Reader, key: str) -> int | None:
    """The renamed directory whose objects still lie at and around `key`, if any."""
    return next((ino for ino, prefix in rows.overrides(reader) if key.startswith(prefix)), None)


def base_at(reader: Reader, locations: Locations, key: str) -> tuple[Base | None, bool]:
    """What the index has of the object at `key`, and whether it would have something: the directory was listed."""
    directory = directory_above(reader, key)
    prefix = locations.actual_prefix(reader, directory.ino)
    if key == prefix:
        return directory.base, True
    for name, inode in _files_of(reader, directory.ino, key[len(prefix) :]):
        if (inode.parent, inode.name) != (directory.ino, name):
            link = links.get(reader, inode.ino, directory.ino, name)
            base = link.base if link is not None else None
        else:
            base = inode.base if inode.base is not None and locations.actual_key(reader, inode) == key else None
        if base is not None:
            return base, True
    return None, InodeFlag.LISTED in directory.flags


def _files_of(reader: Reader, directory: int, part: str) -> Iterator[tuple[bytes, Inode]]:
    """What can have its object at the key part: by its name, or shown beside a directory of that name."""
    for name in (*part_to_names(part), part.encode() + BESIDE_SUFFIX):
        entry = dirents.get(reader, directory, name)
        inode = inodes.get(reader, entry.ino) if entry is not None else None
        if inode is not None and not inode.is_dir:
            yield name, inode


def doubt_listing(index: Index, ino: int) -> None:
    """What the index has of the directory may be wrong: its next use lists it."""
    with index.transaction() as txn:
        inode = inodes.get(txn, ino)
        if inode is not None and inode.is_dir:
            inodes.put(txn, revise(inode, listed_ns=0))


class Looker:
    """Looks at keys. One look or listing of a directory at a time (the importer sees to it)."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        lister: Lister,
        applier: Applier,
        activity: Activity,
        notify: Notify,
        heads: trio.CapacityLimiter,
        takes_attributes: bool,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._lister = lister
        self._applier = applier
        self._activity = activity
        self._notify = notify
        self._heads = heads
        self._takes_attributes = takes_attributes

    async def look(self, ino: int, keys: Collection[str]) -> bool:
        """Brings the names of a directory that have their objects at `keys` up to date; False when it is gone.

        One HEAD for each key. Of a directory that nobody has listed only its own attributes are of interest. Where
        the keys turn out to be none of the directory's, it is doubted and listed when it is used next. StoreError.
        """
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0:
            return False
        if self._applier.rules.ignores(self._index, inode):
            return True
        listing = self._lister.begin(inode)
        try:
            if not all(key.startswith(listing.prefix) for key in keys):
                doubt_listing(self._index, ino)
            wanted = {key for key in keys if key.startswith(listing.prefix) and _is_shown(listing, key)}
            answers = await self._ask(wanted)
            await self._take_found(listing, [info for info in answers.values() if info is not None])
            await self._take_missing(listing, [key for key, info in answers.items() if info is None])
            if listing.added or listing.removed:
                self._lister.touch(ino)
        except MovedError:
            doubt_listing(self._index, ino)
        finally:
            self._activity.end(listing.mark)
        return True

    async def _ask(self, keys: Collection[str]) -> Mapping[str, ObjectInfo | None]:
        """Who uses the directory meanwhile waits for the answers, so they may not take the whole retry budget."""
        with trio.move_on_after(_ANSWER_WAIT_S):
            return await attributes.head_many(self._store, self._heads, keys)
        raise StoreError(StoreErrorKind.TIMEOUT, f"no answer within {_ANSWER_WAIT_S:g} s")

    async def _take_found(self, listing: Listing, infos: list[ObjectInfo]) -> None:
        before = self._rows(listing, infos)
        objects: list[ObjectInfo] = []
        prefixes: set[str] = set()
        for info in infos:
            name, slash, _below = info.key[len(listing.prefix) :].partition("/")
            if slash:
                prefixes.add(listing.prefix + name + "/")
            else:
                objects.append(info if self._takes_attributes else evolve(info, meta=None))
        if listing.assume is None:
            listing.assume = False  # what a HEAD found needs no sample
        await self._lister.take_page(listing, ListPage(objects, sorted(prefixes)))
        for info in objects:
            found = self._row(listing, info)
            if found is not None:
                self._applier.absorb(found.ino, info)
        for inode in before.values():
            now = inodes.get(self._index, inode.ino)
            if now is not None and now != inode:
                self._notify.inode_changed(inode.ino, content=False)

    def _rows(self, listing: Listing, infos: list[ObjectInfo]) -> Mapping[str, Inode]:
        rows_of = {info.key: self._row(listing, info) for info in infos}
        return {key: inode for key, inode in rows_of.items() if inode is not None}

    def _row(self, listing: Listing, info: ObjectInfo) -> Inode | None:
        """The inode whose object this is."""
        part = info.key[len(listing.prefix) :]
        if not part:
            return inodes.get(self._index, listing.ino)
        for _name, inode in _files_of(self._index, listing.ino, part):
            if inode.base is not None and self._locations.actual_key(self._index, inode) == info.key:
                return inode
        return None

    async def _take_missing(self, listing: Listing, keys: list[str]) -> None:
        for key in keys:
            part = key[len(listing.prefix) :]
            if not part:
                self._applier.lose_marker(listing.ino, key, self._activity, listing.mark)
            elif "/" not in part:
                for name in (*part_to_names(part), part.encode() + BESIDE_SUFFIX):
                    await self._lister.vanished.take_absence(listing, name, key)

    # ---- names whose removal was put off ----

    async def remove_gone(self, place: Place, ino: int) -> bool:
        """Removes a name, and what is below it, if the bucket has nothing of it now either; whether it did. StoreError.

        The guard is not asked. What is dirty stays, and so does what was touched meanwhile.
        """
        directory = inodes.get(self._index, place.parent)
        if directory is None or not self._leads_to(place, ino):
            return False
        listing = self._lister.begin(directory)
        try:
            is_gone = await self.is_gone(place, ino)
            if not is_gone or not self._leads_to(place, ino):
                return False
            if not self._lister.vanished.is_vanished(listing, ino, place.name):
                return False
            await self._lister.vanished.remove(listing, ino, place.name)
            if listing.removed:
                self._lister.touch(place.parent)
            return listing.removed > 0
        finally:
            self._activity.end(listing.mark)

    async def is_gone(self, place: Place, ino: int) -> bool:
        """Whether the bucket has neither the object of a name nor, of a directory, anything below it. StoreError."""
        inode = inodes.get(self._index, ino)
        if inode is None:
            return False
        key = self._lister.vanished.key_of(inode, place)
        if await attributes.head(self._store, key) is not None:
            return False
        return not inode.is_dir or await self._has_nothing_below(self._locations.actual_prefix(self._index, ino))

    def _leads_to(self, place: Place, ino: int) -> bool:
        entry = dirents.get(self._index, place.parent, place.name)
        return entry is not None and entry.ino == ino

    async def _has_nothing_below(self, prefix: str) -> bool:
        """No object, but for those that are about to be deleted or moved by us."""
        page = await self._store.list(prefix, delimited=False, limit=_PROBE_OBJECTS)
        keys = [info.key for info in page.objects]
        return not page.token and all(is_spoken_for(self._index, self._locations, key) for key in keys)

    # ---- implicit directories ----

    def may_be_gone(self, ino: int) -> bool:
        """An implicit directory in which the index knows nothing."""
        inode = inodes.get(self._index, ino)
        return (
            inode is not None
            and inode.parent != 0
            and ino != ROOT_INO
            and inode.base is None
            and not inode.is_dirty
            and intents.of_inode(self._index, ino) is None
            and dirents.is_empty(self._index, ino)
        )

    async def prune(self, ino: int) -> int | None:
        """Removes an implicit directory below whose prefix nothing is left; returns its parent then. StoreError."""
        inode = inodes.get(self._index, ino)
        if inode is None or not self.may_be_gone(ino):
            return None
        prefix = self._locations.actual_prefix(self._index, ino)
        mark = self._activity.begin()
        try:
            is_empty = await self._has_nothing_below(prefix)
            is_touched = self._activity.touched_since(mark, prefix)
        finally:
            self._activity.end(mark)
        if not is_empty or is_touched or not self.may_be_gone(ino) or inodes.get(self._index, ino) != inode:
            return None
        if not self._applier.remove_name(Place(inode.parent, inode.name)):
            return None
        self._lister.touch(inode.parent)
        if dirents.get(self._index, inode.parent, inode.name + BESIDE_SUFFIX) is not None:
            await self.look(inode.parent, {prefix.removesuffix("/")})  # the object may have its own name again
        return inode.parent


def _is_shown(listing: Listing, key: str) -> bool:
    """Whether the index shows anything that depends on the key."""
    return not listing.is_first or key == listing.prefix
