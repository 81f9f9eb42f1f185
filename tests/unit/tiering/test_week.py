"""A week of use of a mount, by the clock of a test: files age, sink, are read, and rise."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio
import trio.testing

from tests.support.sync_rig import Rig, run_rig
from tests.unit.sync.test_classes import changer_of, storage_class
from tierfs import config
from tierfs.filesystem import FileSystem
from tierfs.index import residency
from tierfs.model import ROOT_INO, Residency
from tierfs.namespace.changes import AttrChange
from tierfs.namespace.verbs import ROOT
from tierfs.tiering.demotion import Demotions
from tierfs.tiering.mover import Budgets, Mover

DAY_S: Final = 86_400
SETTINGS: Final = config.load_text(
    "week.toml",
    b"""
    [[tiering.rules]]
    name = "labels"
    path = "datasets/labels"
    pin = true
    [[tiering.rules]]
    name = "raw"
    path = "raw"
    cache = false
    [[tiering.rules]]
    name = "old results"
    path = "results"
    min_age_s = "5d"
    hot_at_most_s = "0s"
    demote_to = "STANDARD_IA"
    [[tiering.rules]]
    name = "scratch"
    path = "scratch"
    hot_at_most_s = "3d"
    [[tiering.rules]]
    name = "shards"
    path = "datasets"
    hot_at_most_s = "4d"
    """,
)
FILES: Final = ("datasets/labels", "datasets/shard", "raw/video", "results/log", "scratch/tmp")
HOT, COLD, SUNK = ("hot", "STANDARD"), ("cold", "STANDARD"), ("cold", "STANDARD_IA")
RISEN: Final = ("hot", "STANDARD_IA")
# at noon of the days when something is another than the day before
EXPECTED: Final[Mapping[int, tuple[tuple[str, str], ...]]] = {
    0: (HOT, HOT, COLD, HOT, HOT),
    3: (HOT, HOT, COLD, HOT, COLD),  # scratch was used three days ago
    5: (HOT, HOT, COLD, SUNK, COLD),  # results have not been read for five days
    6: (HOT, COLD, COLD, RISEN, COLD),  # the shard was read on the second day; the log this morning
}


class Week:
    """A mount with rules; what its background tasks would do is done each quarter of a day."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.fs: FileSystem = rig.file_system()
        self.engine = rig.tiering.engine(rig.files)
        mover = Mover(index=rig.index, changer=changer_of(rig), clock=rig.clock, budgets=Budgets())
        self.demotions = Demotions(index=rig.index, placements=rig.tiering.placements, move=mover.move)
        self._began_s = trio.current_time()

    async def ino(self, path: str) -> int:
        ino = ROOT_INO
        for name in path.split("/"):
            ino = (await self.fs.lookup(ino, name.encode())).ino
        return ino

    async def read(self, path: str) -> None:
        handle = await self.fs.open(await self.ino(path), os.O_RDONLY, ROOT)
        assert await self.fs.read(handle, 0, 1 << 20) == path.encode() * 1000
        await self.fs.release(handle)

    async def last_used_now(self, path: str) -> None:
        """As a program writes it: it is changed now, and uploaded."""
        now_ns = self.rig.clock.now_ns()
        await self.fs.setattr(await self.ino(path), AttrChange(atime_ns=now_ns, mtime_ns=now_ns), None)

    async def until(self, day: float) -> None:
        while (left_s := self._began_s + day * DAY_S - trio.current_time()) > 0:
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, trio.testing.MockClock)
            clock.jump(min(left_s, DAY_S / 4))  # past all that wakes up every second
            await self.rig.idle()
            await self.engine.make_room()
            await self.engine.sweep()
            await self.demotions.sweep()

    def state(self) -> tuple[tuple[str, str], ...]:
        found = []
        for path in FILES:
            record = residency.hot_get(self.rig.index, self.rig.at(path).ino)
            is_hot = record is not None and record.residency is Residency.FULL
            found.append(("hot" if is_hot else "cold", storage_class(self.rig, path)))
        return tuple(found)


def test_files_age_sink_are_read_and_rise(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for path in FILES:
            rig.put_remote(path, path.encode() * 1000)
        week = Week(rig)
        for path in FILES:
            await week.last_used_now(path)
        await rig.sync()
        for path in FILES:
            await week.read(path)
        expected = EXPECTED[0]
        for day in range(8):
            await week.until(day)
            if day == 2:
                await week.read("datasets/shard")
            if day == 6:
                await week.read("results/log")
            await week.until(day + 0.5)
            expected = EXPECTED.get(day, expected)
            assert week.state() == expected, f"day {day}"
        assert week.engine.released_files == 3
        assert rig.is_settled

    run_rig(tmp_path, main, tiering=SETTINGS, reads_ahead=False)


def test_a_clock_that_is_set_sinks_nothing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("results/log", b"results/log" * 1000)
        week = Week(rig)
        await week.last_used_now("results/log")
        await rig.sync()
        await week.read("results/log")
        now_ns = rig.clock.now_ns
        for years in (10, -10):
            rig.clock.now_ns = lambda years=years: now_ns() + years * 365 * DAY_S * 10**9  # type: ignore[method-assign]
            assert await week.engine.sweep() == await week.demotions.sweep() == 0

    run_rig(tmp_path, main, tiering=SETTINGS, reads_ahead=False)
