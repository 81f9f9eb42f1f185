"""One range of the bucket's keys listed without a delimiter, each key brought into its directory as a listing does it.

A page has the keys of a part of the tree in order, so those of a directory come together, and what is below it is
among them. Each directory that the keys lead into gets a listing of its own (see listing.py), which is fed with what
the pages have of it and ends when the keys have left the directory: then what they did not have goes, and the
directory is listed.

A page is applied in one turn of each directory (see turns.py), not the whole range: nobody waits for more than that.
So a directory that was somebody else's turn since is left alone from then on; so are one that lies elsewhere by now
and, at its end, one of which the range has only a part. All of these stay listed as they were before: who has a range
listed looks after them.

Checkpoints: each page, each directory of it, and what listing.py has.
"""

import errno
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import define, evolve, field

from tierfs.clock import Clock
from tierfs.errors import FsError
from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.model import HIDDEN_PREFIX, ROOT_INO, Inode
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ListPage, ObjectInfo, ObjectStore
from tierfs.sync.activity import Activity
from tierfs.sync.keyrange import KeyRange, behind
from tierfs.sync.listing import Lister
from tierfs.sync.paths import find_entry
from tierfs.sync.seen import Listing, MovedError, Picture, Visit
from tierfs.sync.spoken_for import is_any_spoken_for, is_spoken_for
from tierfs.sync.turns import Turns

_ROOT_PREFIX: Final = ""


class UnorderedError(Exception):
    """The server's keys are not in the order of their bytes: a range of them is not what it should be."""


@define
class _Part:
    """What one page has of a directory; the part of the one above comes before it."""

    prefix: str
    above: "_Part | None"
    objects: list[ObjectInfo] = field(factory=list)
    below: list["_Part"] = field(factory=list)
    is_alive: bool = False  # in it or below it is an object that is not about to be moved or deleted by us

    @property
    def name(self) -> str:
        """Of the directory, as a part of a key."""
        above = self.above.prefix if self.above is not None else _ROOT_PREFIX
        return self.prefix[len(above) : -1]


@define
class _Entered:
    """A directory that the keys lead into; `listing` None: nothing of it, or below it, is taken."""

    listing: Listing | None
    turns: int = 0  # since when turns of others count
    is_left_alone: bool = False


class FlatListing:
    """See the module. `position` is the key up to which everything is applied. `close` at the end."""

    def __init__(
        self,
        keys: KeyRange,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        clock: Clock,
        lister: Lister,
        activity: Activity,
        turns: Turns,
        visit: Visit,
        enters: Callable[[Inode], bool],
    ) -> None:
        """`enters`: whether anything of a directory, or below it, is wanted."""
        self.keys = keys
        self.position = keys.after
        self.directories = 0  # that were listed
        self._index = index
        self._store = store
        self._locations = locations
        self._clock = clock
        self._lister = lister
        self._activity = activity
        self._turns = turns
        self._visit = visit
        self._enters = enters
        self._token = ""
        self._entered: dict[str, _Entered] = {}

    async def next_page(self) -> bool:
        """One LIST; whether there is more. StoreError, UnorderedError; what was applied by then is right."""
        picture = Picture(self._clock.now_ns(), self._activity.begin(), self._turns.ended.begin())
        try:
            page = await self._store.list("", delimited=False, token=self._token, start_after=self.position)
            self._visit.paged()
            infos = self._within(page)
            for part in self._parts(infos):
                await self._take(part, picture)
        finally:
            self._end(picture.mark, picture.turns)
        is_last = not page.token or len(infos) < len(page.objects)
        last = infos[-1].key if infos else self.position
        for prefix in [prefix for prefix in self._entered if is_last or not last.startswith(prefix)][::-1]:
            await self._leave(prefix)
        self._go_on(last, page.token)
        return not is_last

    def close(self) -> None:
        """Directories that were not left stay as they were listed before."""
        while self._entered:
            _prefix, entered = self._entered.popitem()
            self._forget(entered)

    def whole_directory(self) -> tuple[int, str] | None:
        """The outermost directory at the position that is whole in the range: number and prefix.

        Not the innermost one, whose own files the keys are at; None where there is no other.
        """
        on_the_way = sorted((prefix for prefix in self._entered if self.position.startswith(prefix)), key=len)
        for prefix in on_the_way[:-1]:
            entered = self._entered[prefix]
            if entered.listing is not None and not entered.is_left_alone and self.keys.covers(prefix):
                return entered.listing.ino, prefix
        return None

    def end_before(self, prefix: str) -> None:
        """The range ends before this directory, which is behind the position: the rest is somebody else's."""
        self.keys = evolve(self.keys, until=prefix)

    def _end(self, mark: int, turns: int) -> None:
        self._activity.end(mark)
        self._turns.ended.end(turns)

    def _go_on(self, last: str, token: str) -> None:
        """Behind the page; behind all of a directory that is not entered."""
        shut = [prefix for prefix, entered in self._entered.items() if entered.listing is None]
        beyond = behind(min(shut, key=len)) if shut else ""
        is_skipped = beyond > last
        self._token, self.position = ("", beyond) if is_skipped else (token, last)

    # ---- a page ----

    def _within(self, page: ListPage) -> list[ObjectInfo]:
        """The page's objects before the end of the range."""
        last, until = self.position, self.keys.until
        for at, info in enumerate(page.objects):
            if info.key <= last:
                raise UnorderedError(f"{info.key!r} was listed behind {last!r}")
            last = info.key
            if until and last >= until:
                return list(page.objects[:at])
        return list(page.objects)

    def _parts(self, infos: list[ObjectInfo]) -> list[_Part]:
        """By directory, each one behind the one above it."""
        parts: dict[str, _Part] = {}
        part: _Part | None = None
        is_plain = not is_any_spoken_for(self._index)
        for info in infos:
            prefix = info.key[: info.key.rfind("/") + 1]
            if part is None or prefix != part.prefix:
                part = self._part(parts, prefix)
            part.objects.append(info)
            at: _Part | None = part
            if not part.is_alive and (is_plain or not is_spoken_for(self._index, self._locations, info.key)):
                while at is not None and not at.is_alive:
                    at.is_alive = True
                    at = at.above
        return list(parts.values())

    def _part(self, parts: dict[str, _Part], prefix: str) -> _Part:
        missing = []
        while prefix not in parts:
            missing.append(prefix)
            if prefix == _ROOT_PREFIX:
                break
            prefix = prefix[: prefix.rfind("/", 0, -1) + 1]
        above = parts.get(prefix)
        for prefix in reversed(missing):
            parts[prefix] = part = _Part(prefix, above)
            if above is not None and prefix not in self._entered:
                above.below.append(part)
            above = part
        assert above is not None, "the root is a part of every page"
        return above

    async def _take(self, part: _Part, picture: Picture) -> None:
        """Brings what the page has of one directory into it."""
        entered = self._entered.get(part.prefix) or self._enter(part, picture)
        if entered is None or entered.listing is None or entered.is_left_alone:
            return
        listing = entered.listing
        prefixes = [below.prefix for below in part.below if below.is_alive or self._knows(listing.ino, below)]
        page = ListPage(part.objects, prefixes)
        await self._in_turn(entered, listing, lambda: self._lister.take_page(listing, page))

    def _knows(self, directory: int, part: _Part) -> bool:
        return find_entry(self._index, directory, part.name) is not None

    async def _in_turn(self, entered: _Entered, listing: Listing, work: Callable[[], Awaitable[None]]) -> bool:
        """Does the work, unless somebody else had a turn or the objects lie elsewhere by now; whether it did."""
        async with self._turns.of(listing.ino, is_noted=False):
            if not self._turns.ended.noted_since(entered.turns, listing.ino):
                try:
                    self._lister.check_place(listing)
                    await work()
                    return True
                except MovedError:
                    pass
                except FsError as error:
                    if error.errno != errno.ESTALE:
                        raise
        entered.is_left_alone = True
        return False

    # ---- directories ----

    def _enter(self, part: _Part, picture: Picture) -> _Entered | None:
        """The directory of a part; None: there is none as far as this page goes."""
        inode = inodes.get(self._index, ROOT_INO)
        if part.above is not None:
            above = self._entered.get(part.above.prefix)
            if above is None:
                return None
            if above.listing is not None and not part.is_alive and not self._knows(above.listing.ino, part):
                return None  # all that this page has of it is about to go: the next page may have more
            inode = self._directory(above.listing, part)
        if inode is None or not self._enters(inode):
            entered = self._entered[part.prefix] = _Entered(None)
            return entered
        listing = self._lister.begin_whole(inode, self._visit, picture)
        if listing.leaves_sample:
            self._lister.owe_sample(inode.ino)
        entered = self._entered[part.prefix] = _Entered(listing, self._turns.ended.begin(picture.turns))
        return entered

    def _directory(self, above: Listing | None, part: _Part) -> Inode | None:
        """The directory of the tree that has its objects below a part's prefix."""
        if above is None or part.prefix == HIDDEN_PREFIX:
            return None
        entry = find_entry(self._index, above.ino, part.name)
        inode = inodes.get(self._index, entry.ino) if entry is not None else None
        if inode is None or not inode.is_dir or inode.parent == 0:
            return None
        return inode if self._locations.actual_prefix(self._index, inode.ino) == part.prefix else None

    async def _leave(self, prefix: str) -> None:
        """All keys of a directory have come."""
        entered = self._entered[prefix]
        listing = entered.listing
        if listing is not None and not entered.is_left_alone and self.keys.covers(prefix):
            is_done = await self._in_turn(entered, listing, lambda: self._lister.end_whole(listing, self._visit))
            self.directories += is_done
        del self._entered[prefix]
        self._forget(entered)

    def _forget(self, entered: _Entered) -> None:
        if entered.listing is not None:
            self._end(entered.listing.mark, entered.turns)
