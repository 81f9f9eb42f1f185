"""A daemon dies at each of the named steps, and the next one goes on from what it finds.

One history comes to every step of `tierfs.faultpoints` but those of the kernel connection; it is played once to count
them, and then once for each time that it came to each. After the death another daemon starts over the cache as it was
at that moment. It must show what was acknowledged, with the change that was under way made or not made, and bring all
of it into the bucket; and nothing may be left behind: no finding of the index check, no backing file without a record,
no upload, no object of ours, no conflict, since nobody caused one. A mount with a new cache shows the same.
"""

import collections
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.model.ledger import Ledger
from tests.model.mount_side import MountSide
from tests.model.shared_bucket import PART_BYTES, SharedBucket
from tests.model.steps import Setup
from tests.support.clocks import jump_when_idle
from tests.support.sync_rig import Rig, in_order
from tierfs import faultpoints
from tierfs.errors import TierfsError
from tierfs.faultpoints import Point
from tierfs.index import residency
from tierfs.index.check import check
from tierfs.index.schema import Table
from tierfs.model import HIDDEN_PREFIX
from tierfs.namespace.changes import RenameMode

IS_LONG = bool(os.environ.get("TIERFS_TEST_LONG"))
# in CI the first times and the last: the others lie between the same two effects
TIMES_KEPT = 1000 if IS_LONG else 2
LIMIT_S = 1e6
MEMORY = Path("/dev/shm")
pytestmark = pytest.mark.timeout(1800 if IS_LONG else 300)
LARGE = bytes(range(200)) * 2
assert len(LARGE) > 4 * PART_BYTES
OUTSIDE = {"r/a": b"of others", "r/b": LARGE, "r/c": b"kept"}


class CutOff(Exception):
    """The end of a start."""


View = dict[str, bytes | None]
Step = tuple[Callable[[MountSide], Awaitable[None]], View]


async def replace_outside(side: MountSide) -> None:
    """Another client goes over an object that is here."""
    bucket = side._bucket
    bucket.place("r/a", b"another version")
    await side.poll()


async def commit(side: MountSide) -> None:
    """As happens a few times a second."""
    (await side.started()).rig.index.commit()


async def read_and_remove(side: MountSide) -> None:
    """Of an object of which not every byte is here, its reader has the rest from where it was put aside."""
    life = await side.started()
    await side.hold("r/b", writes=False)
    handle = life.held[-1].handle
    assert await life.fs.read(handle, 0, 3) == LARGE[:3]
    await side.evict("r/b")
    await side.remove("r/b")
    await side.sync()
    assert await life.fs.read(handle, 0, len(LARGE)) == LARGE
    life.held.clear()
    await life.fs.flush(handle)
    await life.fs.release(handle)


def history() -> list[Step]:
    """What is done, each with what is there afterwards."""
    there: View = {"r": None, **OUTSIDE}
    steps: list[Step] = []

    def then(do: Callable[[MountSide], Awaitable[None]], **changes: bytes | None) -> None:
        there.update({path.replace("_", "/"): value for path, value in changes.items()})
        steps.append((do, dict(there)))

    def gone(do: Callable[[MountSide], Awaitable[None]], *paths: str) -> None:
        for path in paths:
            del there[path]
        steps.append((do, dict(there)))

    def moved(do: Callable[[MountSide], Awaitable[None]], old: str, new: str) -> None:
        for path in [path for path in there if f"{path}/".startswith(f"{old}/")]:
            there[new + path[len(old) :]] = there.pop(path)
        steps.append((do, dict(there)))

    then(lambda side: side.view())
    then(lambda side: side.write("f", b"first", truncates=False), f=b"first")
    then(lambda side: side.write("large", LARGE, truncates=False), large=LARGE)
    then(lambda side: side.sync())
    then(lambda side: side.write("f", b"second", truncates=True), f=b"second")
    then(lambda side: side.chmod("large", 0o600))
    then(commit)
    then(lambda side: side.make_directory("d"), d=None)
    then(lambda side: side.write("d/x", b"in it", truncates=False), d_x=b"in it")
    then(lambda side: side.link("f", "d/g"), d_g=b"second")
    then(lambda side: side.sync())
    moved(lambda side: side.rename("d", "e", RenameMode.REPLACE), "d", "e")
    then(lambda side: side.sync())
    gone(read_and_remove, "r/b")
    then(replace_outside, r_a=b"another version")
    then(lambda side: side.evict("large"))
    then(lambda side: side.append("large", b"!"), large=LARGE + b"!")
    then(lambda side: side.sync())
    gone(lambda side: side.remove("large"), "large")
    then(lambda side: side.sync())
    return steps


class Crash:
    """The history, with a death at the `count`-th time that it comes to `point`."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.limiters: list[trio.CapacityLimiter] = []
        self.bucket = SharedBucket(nursery)
        for key, body in OUTSIDE.items():
            self.bucket.place(key, body)
        setup, ledger = Setup(revalidate_s=0.0, quiet_s=0.1), Ledger()
        self.side, self.fresh = (
            MountSide(name, number, directory, self.bucket, setup, ledger, self.limiters, nursery)
            for number, name in enumerate(("A", "fresh"), 1)
        )
        self.seen: collections.Counter[Point] = collections.Counter()
        self.allowed: list[View] = []

    async def play(self, point: Point | None, count: int) -> None:
        """Until the death, or to the end."""
        before: View = {"r": None, **OUTSIDE}
        for do, after in history():
            self.allowed = [before, after, *_half_written(before, after)]
            with trio.CancelScope() as scope:
                faultpoints.arm(self._killer(point, count, scope))
                try:
                    await do(self.side)
                except (TierfsError, AssertionError):
                    if not scope.cancel_called:  # else it is the dead one's, on his way to the next checkpoint
                        raise
                finally:
                    if scope.cancel_called:
                        faultpoints.arm(None)
            if scope.cancel_called:
                return
            before = after
        self.allowed = [before]

    def _killer(self, point: Point | None, count: int, scope: trio.CancelScope) -> Callable[[Point], None]:
        def come(reached: Point) -> None:
            if scope.cancel_called or not self.side.is_alive:
                return
            self.seen[reached] += 1
            if reached is point and self.seen[reached] == count:
                self.side.die()
                scope.cancel()

        return come

    async def start_and_die(self, count: int) -> None:
        """The next daemon dies when it has put so many files of the hot tier right."""

        def come(reached: Point) -> None:
            self.seen[reached] += 1
            if reached is Point.FILE_RECOVERED and self.seen[reached] == count:
                self.side.leave()
                raise CutOff

        await self.side.buried()
        faultpoints.arm(come)
        with pytest.raises(CutOff):
            await self.side.started()
        faultpoints.arm(None)

    async def check(self) -> None:
        """See the module."""
        await self.side.buried()
        found = await view(self.side)
        assert found in self.allowed
        await self.side.settle()
        await self.side.settle()
        found = await view(self.side)
        assert found in self.allowed
        assert await self.side.unsettled() == ""
        assert {path: body for path, body in found.items() if body is not None} == {
            key: self.bucket.content(key)
            for key in self.bucket.objects
            if not key.startswith(HIDDEN_PREFIX) and not key.endswith("/")
        }
        assert await view(self.fresh) == found
        assert self.bucket._uploads == {}, "an upload that nobody completes or drops"
        left = [key for key in self.bucket.objects if key.startswith((".tierfs/aside/", ".tierfs/spill/"))]
        assert left == []
        self._check_cache((await self.side.started()).rig)

    def _check_cache(self, rig: Rig) -> None:
        assert list(check(rig.index)) == []
        assert rig.index.count(Table.CONFLICTS) == 0
        assert rig.index.count(Table.ORPHANS) == 0
        backing = {ino for inos in rig.hot.inos() for ino in inos}
        assert {ino for ino in backing if residency.hot_get(rig.index, ino) is None} == set()


def _half_written(before: View, after: View) -> Iterator[View]:
    """A file that is written anew is made, or cut, first."""
    for path in {path for path in after if after[path] is not None and after[path] != before.get(path)}:
        yield {**before, path: b""}


async def view(side: MountSide) -> View:
    """Every path with its bytes, None for a directory."""
    found: View = {}

    async def walk(ino: int, path: str) -> None:
        fs = (await side.started()).fs
        handle = await fs.opendir(ino)
        names = [entry.name for entry in fs.readdir(handle, 0) if entry.name not in (b".", b"..")]
        await fs.releasedir(handle)
        for name in names:
            inode = await fs.lookup(ino, name)
            below = f"{path}/{name.decode()}".lstrip("/")
            if inode.is_dir:
                found[below] = None
                await walk(inode.ino, below)
                continue
            opened = await fs.open(inode.ino, os.O_RDONLY)
            found[below] = await fs.read(opened, 0, 1 << 20)
            await fs.release(opened)

    await walk(1, "")
    return found


def play(point: Point | None, count: int, *, restarts: int = 0) -> collections.Counter[Point]:
    """One history with its death and what comes after; how often it had come to each point.

    `restarts`: the next daemons die, too, when they have put one, two ... files right.
    """
    clock = trio.testing.MockClock()
    seen: collections.Counter[Point] = collections.Counter()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            crash = Crash(Path(directory), nursery)
            nursery.start_soon(lambda: jump_when_idle(clock, crash.limiters, cushion_s=0.0002))
            with trio.fail_after(LIMIT_S):
                await crash.play(point, count)
                faultpoints.arm(None)
                seen.update(crash.seen)
                for files in range(1, restarts + 1):
                    crash.seen.clear()
                    await crash.start_and_die(files)
                assert point is None or seen[point] >= count, f"{point} was not reached {count} times"
                await crash.check()
            nursery.cancel_scope.cancel()

    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        try:
            in_order(main, clock)
        finally:
            faultpoints.arm(None)
    return seen


@pytest.fixture(scope="module")
def reached() -> collections.Counter[Point]:
    return play(None, 0)


def test_the_history_comes_to_every_point(reached: collections.Counter[Point]) -> None:
    assert set(Point) - set(reached) == {Point.FILE_RECOVERED}


@pytest.mark.parametrize("point", [point for point in Point if point is not Point.FILE_RECOVERED])
def test_a_death_there_costs_nothing(point: Point, reached: collections.Counter[Point]) -> None:
    times = range(1, reached[point] + 1)
    for count in sorted({*times[:TIMES_KEPT], *times[-1:]}):
        play(point, count)


def test_a_start_that_dies_again_and_again_costs_nothing() -> None:
    play(Point.EXPORT_SENT, 5, restarts=2)
