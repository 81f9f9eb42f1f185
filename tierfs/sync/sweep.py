"""Every listed directory compared with the bucket, now and then: polling, and the proof that no event was missed.

A difference that no event tells of within the grace time was missed; it is counted, and applied like any other.
Nothing is asked of single objects that did not change. A directory that nobody has listed is not compared: its first
use lists it.

The directories are listed one after the other, at least one LIST for each, or first flat (see traversal.py), one LIST
for each 1,000 keys of all of them: whatever takes fewer. What a flat listing leaves out is then listed by itself.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio
from attrs import define

from tierfs.clock import Clock
from tierfs.errors import FsError, StoreError
from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.model import Inode
from tierfs.sync.flat import UnorderedError
from tierfs.sync.guard import Gate, Removal
from tierfs.sync.importer import Importer
from tierfs.sync.paths import Place
from tierfs.sync.seen import Visit
from tierfs.sync.traversal import Traversal
from tierfs.sync.walk import cost_of_comparing, is_listed, walk

_KEYS_KEPT: Final = 10_000
_EXAMPLES_KEPT: Final = 10
_log: Final = logging.getLogger(__name__)


class Missed:
    """Differences that a sweep found and no event has told of yet. Sync code only; time is trio's."""

    def __init__(self, grace_s: float, *, keys_kept: int = _KEYS_KEPT) -> None:
        self.count = 0
        self.examples: list[str] = []
        self._grace_s = grace_s
        self._keys_kept = keys_kept
        self._found: OrderedDict[str, float] = OrderedDict()  # key -> when it is missed for good

    def found(self, key: str) -> None:
        """A sweep found a difference at `key` (of a directory: below it)."""
        self.settle()
        self._found.setdefault(key, trio.current_time() + self._grace_s)
        if len(self._found) > self._keys_kept:
            self._miss(next(iter(self._found)))

    def told(self, key: str) -> None:
        """An event speaks of `key`."""
        if not self._found:
            return
        self.settle()
        self._found.pop(key, None)
        for prefix in _prefixes(key):
            self._found.pop(prefix, None)

    def settle(self) -> int:
        """Counts those whose time is over; returns how many there are in all."""
        now_s = trio.current_time()
        while self._found:
            key, until_s = next(iter(self._found.items()))
            if until_s > now_s:
                break
            self._miss(key)
        return self.count

    def _miss(self, key: str) -> None:
        del self._found[key]
        self.count += 1
        if len(self.examples) < _EXAMPLES_KEPT:
            self.examples.append(key)


def _prefixes(key: str) -> Iterator[str]:
    at = key.find("/")
    while at >= 0:
        yield key[: at + 1]
        at = key.find("/", at + 1)


class Gathered(Gate):
    """What is gone, as one sweep finds it: nothing goes before its end, and too many of them together are held."""

    def __init__(self, guard: Gate) -> None:
        self._guard = guard
        self._removals: dict[Place, Removal] = {}
        self._inos: set[int] = set()
        self._entries = 0

    def would_hold(self, entries: int) -> bool:
        return self._guard.would_hold(self._entries + entries)

    async def admit(self, removals: Sequence[Removal]) -> bool:
        for removal in removals:
            if removal.place not in self._removals:
                self._removals[removal.place] = removal
                self._inos.add(removal.ino)
                self._entries += removal.entries
        if removals and self.would_hold(0):
            await self.let_go()
        return not removals

    def waits(self, ino: int) -> bool:
        """Whether the inode is among what goes at the end."""
        return ino in self._inos

    async def let_go(self) -> list[Removal]:
        """Those that may go now; the guard knows of the others, and none is waiting any more."""
        removals = list(self._removals.values())
        self._removals.clear()
        self._inos.clear()
        self._entries = 0
        return removals if await self._guard.admit(removals) else []


@define
class SweepCounts:
    """Since the start."""

    sweeps: int = 0
    directories: int = 0
    found: int = 0  # differences, told of or not
    last_ns: int = 0  # when the last whole sweep ended
    is_running: bool = False


class Sweep:
    """`run` once, in a nursery."""

    def __init__(
        self,
        *,
        index: Index,
        importer: Importer,
        clock: Clock,
        interval_s: float,
        on_found: Callable[[str], None],
        listings: int = 1,
    ) -> None:
        """`on_found` is told the key of each difference; `listings`: flat ones at one time."""
        self.counts = SweepCounts()
        self._index = index
        self._importer = importer
        self._clock = clock
        self._interval_s = interval_s
        self._on_found = on_found
        self._listings = listings

    async def run(self) -> None:
        """A sweep each `interval_s`, until it is cancelled."""
        while True:
            await trio.sleep(self._interval_s)
            try:
                await self.sweep()
            except StoreError as error:
                _log.info("the comparison with the bucket stopped, the next one starts over: %s", error)

    async def sweep(self) -> None:
        """Once. StoreError; what was compared by then is right."""
        counts = self.counts
        counts.is_running = True
        gathered = Gathered(self._importer.guard)
        visit = Visit(self._found, gathered)
        began_ns = self._clock.now_ns()
        try:
            if await self._is_cheaper_flat():
                await self._compare_flat(visit, gathered)
            await walk(self._index, lambda ino: self._compare(ino, visit, gathered, began_ns))
            for removal in await gathered.let_go():
                await self._importer.remove_gone(removal.place, removal.ino)
        finally:
            counts.is_running = False
        counts.sweeps += 1
        counts.last_ns = self._clock.now_ns()

    async def _is_cheaper_flat(self) -> bool:
        if not self._importer.lists_in_order:
            return False
        cost = await cost_of_comparing(self._index)
        return cost.flat + self._listings < cost.by_directory  # the last page of each is not full

    async def _compare_flat(self, visit: Visit, gathered: Gathered) -> None:
        def enters(inode: Inode) -> bool:
            return is_listed(inode) and not gathered.waits(inode.ino)

        traversal = Traversal(
            index=self._index, importer=self._importer, listings=self._listings, visit=visit, enters=enters
        )
        try:
            await traversal.run(await traversal.begin())
        except (FsError, UnorderedError) as error:
            _log.info("directories are compared one by one: %s", error)
        finally:
            self.counts.directories += traversal.directories

    async def _compare(self, directory: int, visit: Visit, gathered: Gathered, began_ns: int) -> bool:
        """Unless that was done since the sweep began; whether what is below is to be compared."""
        inode = inodes.get(self._index, directory)
        if inode is None or not is_listed(inode) or gathered.waits(directory):
            return False
        if not began_ns < inode.listed_ns <= self._clock.now_ns():
            self.counts.directories += 1
            try:
                await self._importer.relist(directory, visit)
            except FsError as error:
                _log.debug("directory %#x went while it was compared: %s", directory, error)
        return True

    def _found(self, key: str) -> None:
        self.counts.found += 1
        self._on_found(key)
