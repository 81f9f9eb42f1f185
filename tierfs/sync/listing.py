"""One directory's listing brought into the index, in pages and slices.

A listing of any size is applied page by page; no task waits longer than a slice of it. What the listing
was overtaken by (writes and deletes of our own, see activity.py) is left alone. Names that the index has
and the listing has not are removed at the end, unless that would be a suspicious share of the directory.

Which names were seen is kept as 8 bytes each (a hash), and only when there is something to compare: a
first listing, however large, keeps nothing.
"""

import logging
import math
from typing import Final

import trio
from attrs import evolve, frozen

from tierfs.clock import Clock
from tierfs.content.handles import Files
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.faultpoints import Point, reach
from tierfs.index import dirents, inodes, residency
from tierfs.index.env import Index, Reader
from tierfs.index.schema import Table
from tierfs.model import HIDDEN_PREFIX, ROOT_INO, Dirent, Inode, InodeFlag, revise
from tierfs.namespace.keys import needs_escape, part_to_name, unreachable_reason
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore.base import ListPage, ObjectInfo, ObjectStore
from tierfs.sync import attributes
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier, Met, Seen
from tierfs.sync.news import What
from tierfs.sync.paths import Place
from tierfs.sync.plan import BESIDE_SUFFIX
from tierfs.sync.seen import Listing, MovedError, Picture, SeenNames, Visit
from tierfs.sync.spoken_for import is_any_spoken_for, is_spoken_for, prefixes_being_left
from tierfs.sync.vanished import Vanished

_SLICE_S: Final = 0.005
_TXN_ENTRIES: Final = 256
_PROBE_OBJECTS: Final = 50
_UNREACHABLE_KEPT: Final = 10_000
_KNOWN_WAIT_S: Final = 5.0  # for the first page of a directory whose names are known
_log: Final = logging.getLogger(__name__)


@frozen
class UnreachableKey:
    """An object that no path leads to, and why."""

    key: str
    reason: str


class Lister:
    """Lists directories. One listing of a directory at a time (the importer sees to it)."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        applier: Applier,
        activity: Activity,
        notify: Notify,
        heads: trio.CapacityLimiter,
        sample: int,
        policy: str,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._files = files
        self._clock = clock
        self._applier = applier
        self._activity = activity
        self._notify = notify
        self._heads = heads
        self._sample = sample
        self.vanished = Vanished(
            index=index, store=store, locations=locations, applier=applier, activity=activity, heads=heads
        )
        self._assume = {"always": False, "never": True}.get(policy)
        self.unreachable: dict[str, str] = {}

    async def refresh(self, ino: int, visit: Visit | None = None) -> bool:
        """Brings the directory up to date; True when attributes of its entries are worth reading. StoreError."""
        while not self._applier.rules.is_local(ino):
            try:
                return await self._list(ino, visit or Visit())
            except MovedError:
                continue
        return False

    def begin(self, inode: Inode) -> Listing:
        """A listing of a part of a directory; its mark has to be ended."""
        return Listing(
            ino=inode.ino,
            prefix=self._locations.actual_prefix(self._index, inode.ino),
            began_ns=self._clock.now_ns(),
            mark=self._activity.begin(),
            is_first=InodeFlag.LISTED not in inode.flags,
            assume=self._assume,
        )

    def begin_whole(self, inode: Inode, visit: Visit, picture: Picture | None = None) -> Listing:
        """One of the whole directory, which is compared with it. `picture`: its first keys were asked for then."""
        listing = self.begin(inode)
        listing.found = visit.found
        if not dirents.is_empty(self._index, inode.ino):
            listing.seen = SeenNames()
        if picture is not None:
            self._activity.end(listing.mark)
            listing.is_flat, listing.began_ns = True, picture.began_ns
            listing.mark = self._activity.begin(picture.mark)
        return listing

    async def end_whole(self, listing: Listing, visit: Visit) -> None:
        """All pages have been taken: what the listing did not have goes, and the directory is listed. StoreError."""
        await self.vanished.sweep(listing, visit.gate)
        self._finish(listing)

    async def _list(self, ino: int, visit: Visit) -> bool:
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0:
            return False
        listing = self.begin_whole(inode, visit)
        try:
            token = ""
            while True:
                page = await self._page(listing, token)
                visit.paged()
                await self.take_page(listing, page)
                if not page.token:
                    break
                token = page.token
            await self.end_whole(listing, visit)
        finally:
            self._activity.end(listing.mark)
        return listing.assume is False and listing.added > 0

    async def _page(self, listing: Listing, token: str) -> ListPage:
        """The next page. Nobody waits for the store's whole retry budget to be told names that are known."""
        limit_s = math.inf if token or listing.is_first else _KNOWN_WAIT_S
        with trio.move_on_after(limit_s):
            page = await self._store.list(listing.prefix, delimited=True, token=token)
            self.check_place(listing)
            return page
        raise StoreError(StoreErrorKind.TIMEOUT, f"no listing within {limit_s:g} s", key=listing.prefix)

    def check_place(self, listing: Listing) -> None:
        """What is listed may be another directory's by now: the objects of this one have been moved meanwhile.

        MovedError then.
        """
        inode = inodes.get(self._index, listing.ino)
        if (
            inode is None
            or inode.parent == 0
            or self._locations.actual_prefix(self._index, listing.ino) != listing.prefix
        ):
            raise MovedError

    # ---- a page ----

    async def take_page(self, listing: Listing, page: ListPage) -> None:
        """Applies what the bucket has. MovedError when it is no longer the directory's; StoreError."""
        reach(Point.PAGE_LISTED)
        entries = self._directories(listing, page) + self._objects(listing, page)
        is_ignored = self._applier.rules.ignored_in(self._index, listing.ino)
        entries = [seen for seen in await self._with_heads(listing, entries) if not is_ignored(seen.name)]
        self.check_place(listing)
        for seen in entries:
            if seen.is_dir and not self._activity.touched_since(listing.mark, seen.key):
                self._make_room(listing, seen.name)
        if self._applier.guard.holds_any:
            for seen in entries:
                self._applier.guard.returned(Place(listing.ino, seen.name))
        changed: list[Seen] = []
        slice_began = trio.current_time()
        for start in range(0, len(entries), _TXN_ENTRIES):
            self._take_slice(listing, entries[start : start + _TXN_ENTRIES], changed)
            if trio.current_time() - slice_began > _SLICE_S:
                await trio.lowlevel.checkpoint()
                slice_began = trio.current_time()
        await self._replace(listing, changed)
        reach(Point.PAGE_APPLIED)

    def _directories(self, listing: Listing, page: ListPage) -> list[Seen]:
        entries = []
        for prefix in page.prefixes:
            if prefix == HIDDEN_PREFIX and listing.ino == ROOT_INO:
                continue
            part = prefix[len(listing.prefix) : -1]
            if reason := unreachable_reason(part):
                self._note_unreachable(prefix, reason)
                continue
            entries.append(Seen(part.encode(), prefix, None))
        return entries

    def _objects(self, listing: Listing, page: ListPage) -> list[Seen]:
        entries = []
        for info in page.objects:
            part = info.key[len(listing.prefix) :]
            if not part:
                self._take_marker(listing, info)
            elif reason := unreachable_reason(part):
                self._note_unreachable(info.key, reason)
            else:
                entries.append(Seen(part.encode(), info.key, info))
        return entries

    def _note_unreachable(self, key: str, reason: str) -> None:
        if key not in self.unreachable and len(self.unreachable) < _UNREACHABLE_KEPT:
            self.unreachable[key] = reason
            _log.info("%r cannot be shown: %s", key, reason)

    def _make_room(self, listing: Listing, name: bytes) -> None:
        """A directory takes the name that an object of the same name has: that is shown beside it from now on."""
        entry = dirents.get(self._index, listing.ino, name)
        inode = inodes.get(self._index, entry.ino) if entry is not None else None
        if inode is not None and not inode.is_dir:
            self._applier.move_beside(Place(listing.ino, name), inode)

    def _beside(self, reader: Reader, listing: Listing, seen: Seen) -> Seen:
        """The reserved name for an object whose name a directory has."""
        entry = dirents.get(reader, listing.ino, seen.name)
        if entry is None:
            return seen
        inode = inodes.get(reader, entry.ino)
        if inode is None or not inode.is_dir:
            return seen
        return evolve(seen, name=seen.name + BESIDE_SUFFIX)

    def _take_marker(self, listing: Listing, info: ObjectInfo) -> None:
        """The listed directory's own object."""
        listing.has_marker = True
        if not self._activity.touched_since(listing.mark, info.key):
            self._applier.take_marker(listing.ino, info)

    def _take_slice(self, listing: Listing, entries: list[Seen], changed: list[Seen]) -> None:
        added: list[Seen] = []
        with self._index.transaction() as txn:
            directory = inodes.get(txn, listing.ino)
            if directory is None or directory.parent == 0:
                return
            subdirs = 0
            assume = listing.assume is True
            is_plain = not is_any_spoken_for(txn)
            known = self._known(txn, listing, entries) if is_plain and not listing.is_first else {}
            for entry in entries:
                # the way of nearly all entries of a listing that is not the first
                row = known.get(entry.name)
                is_same = row is not None and _is_same(inodes.get(txn, row.ino), listing.ino, entry)
                # and of one that is
                is_new = is_plain and row is None and dirents.get(txn, listing.ino, entry.name) is None
                seen = entry if is_new or is_same or entry.is_dir else self._beside(txn, listing, entry)
                if listing.seen is not None:
                    listing.seen.add(seen.name)
                if is_same or self._activity.touched_since(listing.mark, seen.key):
                    continue
                if is_new:
                    self._applier.add(txn, directory, seen, assume=assume)
                met = Met.ADDED if is_new else self._applier.meet(txn, directory, seen, assume=assume)
                if met is Met.ADDED:
                    added.append(seen)
                    subdirs += seen.is_dir
                elif met is Met.CHANGED:
                    changed.append(seen)
            self._applier.add_subdirectories(txn, listing.ino, subdirs)
        listing.added += len(added)
        for seen in added:
            listing.found(seen.key)
            if seen.is_dir:
                listing.note_directory(seen.name)
            if seen.info is not None and seen.info.meta is not None:
                self._applier.join_links(Place(listing.ino, seen.name), seen.info)
        if not listing.is_first:
            for seen in added:
                self._notify.entry_changed(listing.ino, seen.name)
                self._applier.news.imported(What.ADDED, listing.ino, seen.name)

    def _known(self, reader: Reader, listing: Listing, entries: list[Seen]) -> dict[bytes, Dirent]:
        """What the directory has of these names, but for some where it has many names between them."""
        names = [seen.name for seen in entries]
        return dirents.between(reader, listing.ino, min(names), max(names), 2 * len(names)) if names else {}

    # ---- requests for single objects ----

    async def _with_heads(self, listing: Listing, entries: list[Seen]) -> list[Seen]:
        """Asks what has to be asked before the page can be applied: a sample, raw names, doubtful prefixes."""
        is_escaped = any(b"%" in seen.name for seen in entries)
        is_doubtful = not listing.is_flat and (
            not self._store.capabilities.live_prefixes
            or self._index.count(Table.TOMBSTONES) > 0
            or self._index.count(Table.OVERRIDES) > 0
        )
        takes_sample = listing.assume is None and not listing.leaves_sample
        if not takes_sample and not is_escaped and not is_doubtful:
            return entries
        new = await self._new(listing, entries)
        asked = [seen.key for seen in new if needs_escape(seen.name)]
        sample: list[str] = []
        if takes_sample and new:
            step = max(1, len(new) // self._sample)
            sample = [seen.key for seen in new[::step]][: self._sample]
        answers = await attributes.head_many(self._store, self._heads, {*asked, *sample})
        if sample:
            listing.assume = not any(info is not None and attributes.has_posix(info) for info in answers.values())
        gone = {key for key, info in answers.items() if info is None and not key.endswith("/")}
        if is_doubtful:
            gone |= await self._dead_prefixes([seen.key for seen in new if seen.is_dir])
        return [_named(seen, answers.get(seen.key)) for seen in entries if seen.key not in gone]

    async def _new(self, listing: Listing, entries: list[Seen]) -> list[Seen]:
        """Those that the index does not have."""
        if listing.seen is None:
            return entries
        new: list[Seen] = []
        for start in range(0, len(entries), _TXN_ENTRIES):
            some = entries[start : start + _TXN_ENTRIES]
            known = self._known(self._index, listing, some)
            new += [seen for seen in some if self._is_new(listing, seen, known.get(seen.name))]
            await trio.lowlevel.checkpoint()
        return new

    def _is_new(self, listing: Listing, seen: Seen, known: Dirent | None) -> bool:
        entry = known or dirents.get(self._index, listing.ino, seen.name)
        if entry is None or not seen.is_dir:
            return entry is None
        inode = inodes.get(self._index, entry.ino)
        return inode is None or not inode.is_dir  # a directory that would take the name of a file

    async def _dead_prefixes(self, prefixes: list[str]) -> set[str]:
        """Those that show no object but what is about to be deleted or moved by us: they are no directories."""

        being_left = prefixes_being_left(self._index)

        async def is_dead(prefix: str) -> bool:
            if prefix.startswith(being_left):
                return True
            page = await self._store.list(prefix, delimited=False, limit=_PROBE_OBJECTS)
            keys = [info.key for info in page.objects]
            return not page.token and all(is_spoken_for(self._index, self._locations, key) for key in keys)

        answers = await attributes.ask_many(self._heads, prefixes, is_dead)
        return {prefix for prefix, answer in answers.items() if answer}

    async def _replace(self, listing: Listing, changed: list[Seen]) -> None:
        """Other versions than the index knows. Where bytes are kept here a HEAD tells whether they are still right."""
        worth = {
            seen.key
            for seen in changed
            if seen.info is not None and seen.info.meta is None and self._has_bytes(listing.ino, seen.name)
        }
        answers = await attributes.head_many(self._store, self._heads, worth) if worth else {}
        for seen in changed:
            info = answers.get(seen.key, seen.info)
            if info is None or self._activity.touched_since(listing.mark, seen.key):
                continue
            listing.found(seen.key)
            entry = dirents.get(self._index, listing.ino, seen.name)
            if entry is not None:
                await self._files.recall(entry.ino)  # what nobody has open keeps its inode number
            self._applier.replace(listing.ino, evolve(seen, info=info), assume=listing.assume is True)
            await trio.lowlevel.checkpoint()

    def _has_bytes(self, ino: int, name: bytes) -> bool:
        entry = dirents.get(self._index, ino, name)
        return entry is not None and (
            residency.hot_get(self._index, entry.ino) is not None or self._files.is_open(entry.ino)
        )

    # ---- the end ----

    def owe_sample(self, ino: int) -> None:
        """Names of the directory are taken without asking for attributes: its first use does (see sampling.py)."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None:
                inodes.put(txn, revise(inode, flags=inode.flags | InodeFlag.UNSAMPLED))

    def _finish(self, listing: Listing) -> None:
        with self._index.transaction() as txn:
            inode = inodes.get(txn, listing.ino)
            if inode is None or inode.parent == 0:
                return
            inodes.put(txn, evolve(inode, flags=inode.flags | InodeFlag.LISTED, listed_ns=listing.began_ns))
        if listing.ino != ROOT_INO and not listing.has_marker:
            self._applier.lose_marker(listing.ino, listing.prefix, self._activity, listing.mark)
            if listing.is_flat and listing.is_first and self._store.capabilities.marker_metadata:
                self._applier.without_marker(listing.ino)
        if not listing.is_first and (listing.added or listing.removed):
            self.touch(listing.ino)

    def touch(self, ino: int) -> None:
        """The times of a directory in which others made or removed a name."""
        now = self._clock.now_ns()
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None:
                inodes.put(txn, evolve(inode, mtime_ns=now, ctime_ns=now))
        self._notify.inode_changed(ino, content=False)


def _is_same(inode: Inode | None, directory: int, seen: Seen) -> bool:
    """The object is the one that the index has, in every respect that a listing shows.

    For a directory without objects on their way (see spoken_for.py), whose names are where their keys say.
    """
    if inode is None or seen.info is None or inode.base is None or b"%" in seen.name:
        return False
    return (
        inode.base.etag == seen.info.etag
        and inode.base.last_modified_ns == seen.info.last_modified_ns
        and inode.base.storage_class == seen.info.storage_class
        and (inode.parent, inode.name) == (directory, seen.name)
        and not inode.is_dir
    )


def _named(seen: Seen, info: ObjectInfo | None) -> Seen:
    """With what a HEAD told: metadata, and the raw name of an escaped one."""
    if info is None:
        return seen
    return evolve(seen, info=info, name=part_to_name(seen.name.decode(), attributes.raw_name_of(info)))
