"""All of the bucket listed flat: ranges of its keys side by side, cut anew when one is longer than the others.

The root is listed by its names first, and the ranges begin at its directories. A range that goes on for long while
others are at their end is cut at the directories of the outermost one that it is in. What a flat listing leaves out
(see flat.py) stays as it was listed before: who needs every directory walks the tree afterwards.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio
from attrs import evolve

from tierfs.errors import TierfsError
from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.model import ROOT_INO, Inode
from tierfs.sync.flat import FlatListing, UnorderedError
from tierfs.sync.importer import Importer
from tierfs.sync.keyrange import KeyRange, before, spread
from tierfs.sync.seen import Visit
from tierfs.sync.walk import parts_in

_PAGES_BEFORE_A_CUT: Final = 8


class Traversal:
    """`run` once. `left` is what is not listed yet, also after an error."""

    def __init__(
        self,
        *,
        index: Index,
        importer: Importer,
        listings: int,
        visit: Visit,
        enters: Callable[[Inode], bool],
        pace: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        """`listings` at one time; `pace` is waited for before each page, `progressed` told of each that is applied."""
        self.directories = 0
        self._index = index
        self._importer = importer
        self._listings = listings
        self._visit = visit
        self._enters = enters
        self._pace = pace
        self._progressed = progressed
        self._waiting: deque[KeyRange] = deque()
        self._at_work: list[FlatListing] = []
        self._idle = trio.lowlevel.ParkingLot()
        self._failure: TierfsError | UnorderedError | None = None

    @property
    def left(self) -> list[KeyRange]:
        """What is not listed yet."""
        return [*(evolve(listing.keys, after=listing.position) for listing in self._at_work), *self._waiting]

    async def begin(self) -> list[KeyRange]:
        """Lists the root; returns the ranges that all below it is in, none where it has no directory. StoreError."""
        await self._pace()
        await self._importer.relist(ROOT_INO, self._visit)
        prefixes = await self._prefixes_in(ROOT_INO, "")
        return KeyRange(before(prefixes[0])).cut(spread(prefixes, self._listings)) if prefixes else []

    async def run(self, ranges: Iterable[KeyRange]) -> None:
        """Lists these ranges. StoreError, FsError of the index; UnorderedError from a server that has no order."""
        self._waiting.extend(ranges)
        async with trio.open_nursery() as nursery:
            for _ in range(self._listings):
                nursery.start_soon(self._work, nursery.cancel_scope)
        if self._failure is not None:
            raise self._failure

    async def _work(self, scope: trio.CancelScope) -> None:
        try:
            while self._waiting or self._at_work:
                if self._waiting:
                    await self._list(self._waiting.popleft())
                else:
                    await self._idle.park()
        except (TierfsError, UnorderedError) as error:
            self._failure = self._failure or error
            scope.cancel()
        finally:
            self._idle.unpark_all()

    async def _list(self, keys: KeyRange) -> None:
        listing = self._importer.flat(keys, self._visit, self._enters)
        self._at_work.append(listing)
        is_done, pages = False, 0
        try:
            while not is_done:
                await self._pace()
                is_done = not await listing.next_page()
                pages += 1
                if not is_done and pages >= _PAGES_BEFORE_A_CUT and self._wants_work():
                    await self._cut(listing)
                    pages = 0
                self._progressed()
        finally:
            listing.close()
            self._at_work.remove(listing)
            self.directories += listing.directories
            if not is_done:
                self._waiting.appendleft(evolve(listing.keys, after=listing.position))
        self._progressed()
        self._idle.unpark_all()

    def _wants_work(self) -> bool:
        return bool(self._idle) and not self._waiting

    async def _cut(self, listing: FlatListing) -> None:
        """Leaves the rest of the outermost directory that it is in to those that are idle."""
        outermost = listing.whole_directory()
        if outermost is None:
            return
        ino, prefix = outermost
        await self._pace()
        await self._importer.relist(ino, self._visit)
        rest = evolve(listing.keys, after=listing.position)
        prefixes = [found for found in await self._prefixes_in(ino, prefix) if found > listing.position]
        own, *others = rest.cut(spread(prefixes, len(self._idle) + 1))
        if others:
            listing.end_before(own.until)
            self._waiting.extend(others)
            self._idle.unpark_all()

    async def _prefixes_in(self, ino: int, prefix: str) -> list[str]:
        """The key prefixes of a directory's directories, or of some that are spread among them; in order."""
        parts = await parts_in(self._index, ino)
        inode = inodes.get(self._index, ino)
        return sorted(f"{prefix}{part}/" for part in parts) if inode is not None and inode.parent else []
