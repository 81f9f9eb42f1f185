"""Many tasks on one file: readers, writers, eviction, export, a slow bucket and slow threads.

Every cell of the file holds a version, repeated. A reader must see, for each cell, a version that was not older
than the last one finished before its read began, nor newer than the last one begun before it ended; and never
zeros.
"""

import random
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.support.memstore import MemoryStore
from tests.support.tier import PART, SETTINGS, UnthreadedFiles, World

CELL = 1000  # never a whole disk block
CELLS = 500


def cell(version: int) -> bytes:
    return version.to_bytes(8, "big") * (CELL // 8)


def check_cell(found: bytes, oldest: int, newest: int) -> None:
    """One version; pieces of several only where a write ran beside the read, as on any local file system."""
    words = {int.from_bytes(found[at : at + 8], "big") for at in range(0, CELL, 8)}
    assert all(oldest <= word <= newest for word in words), (oldest, newest, words)


class Race:
    """What was begun and what was finished, cell by cell."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.ino = world.add_object(b"".join(cell(1) for _ in range(CELLS)))
        self.begun = [1] * CELLS
        self.finished = [1] * CELLS
        self.done = False

    async def read(self) -> None:
        for _ in range(60):
            first = self.chance.randrange(CELLS)
            count = min(self.chance.choice([1, 3, 20, 100]), CELLS - first)
            oldest = self.finished[first : first + count]
            fh = await self.world.files.open(self.ino, write=False, truncate=False)
            data = b""
            with trio.move_on_after(self.chance.choice([0.001, 100])):
                data = await self.world.files.read(fh, first * CELL, count * CELL)
                assert len(data) == count * CELL
            newest = self.begun[first : first + count]
            await self.world.files.release(fh)
            for number in range(len(data) // CELL):
                check_cell(data[number * CELL : (number + 1) * CELL], oldest[number], newest[number])

    async def write(self) -> None:
        fh = await self.world.files.open(self.ino, write=True, truncate=False)
        for _ in range(40):
            first = self.chance.randrange(CELLS)
            count = min(self.chance.choice([1, 2, 80]), CELLS - first)
            # one writer, so versions of a cell rise one by one
            versions = [self.begun[number] + 1 for number in range(first, first + count)]
            self.begun[first : first + count] = versions
            await self.world.files.write(fh, first * CELL, b"".join(cell(version) for version in versions))
            self.finished[first : first + count] = versions
            await trio.sleep(self.chance.choice([0, 0.1, 4]))
        await self.world.files.release(fh)
        self.done = True

    async def evict(self) -> None:
        while not self.done:
            await self.world.files.drop(self.ino)
            await trio.sleep(self.chance.random())

    async def export(self) -> None:
        while not self.done:
            if self.world.is_dirty(self.ino):
                oldest = list(self.finished)
                if await self.world.export(self.ino):
                    data = self.world.store.content(self.world.key(self.ino))
                    for number in range(CELLS):
                        found = data[number * CELL : (number + 1) * CELL]
                        version = int.from_bytes(found[:8], "big")
                        assert found == cell(version)
                        assert version >= oldest[number]
            await trio.sleep(self.chance.random())


@pytest.mark.parametrize("limit_parts", [4, 100])
@pytest.mark.parametrize("seed", range(4))
def test_every_cell_is_one_version_and_never_an_old_one(tmp_path: Path, seed: int, limit_parts: int) -> None:
    async def main() -> None:
        store = MemoryStore(part_size_bytes=PART, part_min_bytes=0)
        world = World(tmp_path / "cache", store, limit_bytes=limit_parts * PART, settings=SETTINGS)
        race = Race(world, seed)
        store.delay_s = lambda: race.chance.random() * 0.05
        assert isinstance(world.hot, UnthreadedFiles)
        world.hot.delay_s = lambda: race.chance.random() * 0.002
        async with trio.open_nursery() as nursery:
            await nursery.start(world.files.run)
            async with trio.open_nursery() as tasks:
                for _ in range(4):
                    tasks.start_soon(race.read)
                for task in (race.write, race.evict, race.export):
                    tasks.start_soon(task)
            expected = b"".join(cell(version) for version in race.finished)
            assert await world.read(race.ino) == expected
            nursery.cancel_scope.cancel()
        world.check()
        world.close()

    trio.run(main, clock=MockClock(autojump_threshold=0))
