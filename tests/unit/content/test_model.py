"""Random operations on one file against a bytearray: whatever happens to the tier, the bytes are right.

Each seed is one history of writes, truncations, holes, reads, evictions, exports, spills, flights that are slow, and
SIGKILLs; a failure names the seed.
"""

import os
import random
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.support.memstore import MemoryStore
from tests.support.tier import BLOCK, KIB, PART, SETTINGS, World, noise
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.hottier.disk import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from tierfs.index import residency

SIZE_MAX = 8 * PART
STEPS = 60
VERBS = (
    *("write", "write", "write", "read", "read", "truncate", "zero", "allocate", "seek"),
    *("drop", "drop", "export", "export", "open", "close", "fault", "wait"),
)


class History:
    """One seed's life: the file in the tier, and the same as a bytearray."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.model = bytearray(noise(self.chance.randrange(1, SIZE_MAX), seed))
        self.ino = world.add_object(bytes(self.model))
        self.fh: int | None = None
        self.trace: list[str] = []
        self.is_exporting = False

    async def step(self) -> None:
        name = self.chance.choice(VERBS)
        self.trace.append(name)
        await getattr(self, f"do_{name}")()

    def _range(self) -> tuple[int, int]:
        start = self.chance.randrange(0, len(self.model) + 1)
        size = self.chance.choice([1, 100, 4 * KIB, 40 * KIB, 100 * KIB])
        return start, size

    async def _handle(self) -> int:
        if self.fh is None:
            self.fh = await self.world.files.open(self.ino, write=True, truncate=False)
        return self.fh

    async def do_open(self) -> None:
        await self._handle()

    async def do_close(self) -> None:
        if self.fh is not None:
            await self.world.files.flush(self.fh)
            await self.world.files.release(self.fh)
            self.fh = None
            assert self.world.inode(self.ino).size_bytes == len(self.model)

    async def do_write(self) -> None:
        start, size = self._range()
        start = min(start + self.chance.choice([0, 0, 0, 5000]), SIZE_MAX - 1)
        data = self.chance.randbytes(min(size, SIZE_MAX - start))
        await self.world.files.write(await self._handle(), start, data)
        if start > len(self.model):
            self.model.extend(bytes(start - len(self.model)))
        self.model[start : start + len(data)] = data

    async def do_read(self) -> None:
        start, size = self._range()
        if self.fh is not None and self.chance.random() < 0.5:
            found = await self.world.files.read(self.fh, start, size)
        else:
            found = await self.world.read(self.ino, start, size)
        assert found == self.model[start : start + size], (self.trace, start, size)

    async def do_truncate(self) -> None:
        size = self.chance.choice([0, self.chance.randrange(0, SIZE_MAX), len(self.model), len(self.model) // 2])
        await self.world.files.set_size(self.ino, size)
        self.model = self.model[:size] + bytes(max(0, size - len(self.model)))

    async def do_zero(self) -> None:
        start, size = self._range()
        await self.world.files.fallocate(await self._handle(), start, size, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
        stop = min(start + size, len(self.model))
        self.model[start:stop] = bytes(stop - start)

    async def do_allocate(self) -> None:
        start, size = self._range()
        size = min(size, SIZE_MAX - start)
        if size > 0:
            await self.world.files.fallocate(await self._handle(), start, size, 0)
            self.model.extend(bytes(max(0, start + size - len(self.model))))

    async def do_seek(self) -> None:
        fh, (start, _) = await self._handle(), self._range()
        with suppress(FsError):  # the end
            data = await self.world.files.seek(fh, start, os.SEEK_DATA)
            assert not any(self.model[start:data]), self.trace
            hole = await self.world.files.seek(fh, start, os.SEEK_HOLE)
            assert start <= hole <= len(self.model), self.trace

    async def do_drop(self) -> None:
        start, size = self._range()
        if self.chance.random() < 0.3:
            await self.world.files.drop(self.ino)
        else:
            await self.world.files.drop(self.ino, start=start, stop=start + size)

    async def do_export(self) -> None:
        if self.is_exporting or not self.world.is_dirty(self.ino):
            return
        self.is_exporting = True
        try:
            await self._export()
        except StoreError as error:
            assert error.kind is StoreErrorKind.CORRUPT, error  # two faults in a row; an exporter would try again
        finally:
            self.is_exporting = False

    async def _export(self) -> None:
        self.world.store.clear_faults()  # the exporter would try again
        if await self.world.export(self.ino):
            assert self.world.store.content(self.world.key(self.ino)) == self.model, self.trace

    async def do_fault(self) -> None:
        self.world.store.clear_faults()
        kind = self.chance.choice(["short", "put"])
        if kind == "short":
            self.world.store.spoil_next("get", lambda data: data[:-1])
        else:
            self.world.store.fail_next("put", StoreErrorKind.UNCLEAR)

    async def do_wait(self) -> None:
        await trio.sleep(self.chance.choice([0.1, 3, 60]))
        self.world.clock.advance_s(100)

    def check(self) -> None:
        live = self.world.files.live(self.world.inode(self.ino))
        assert live.size_bytes == len(self.model), self.trace
        assert self.world.space.used_bytes <= self.world.limit_bytes + 2 * BLOCK
        record = self.world.record(self.ino)
        for start, stop in self.world.extents(self.ino):
            assert record is not None
            assert 0 <= start < stop <= len(self.model)
        for spill in residency.spills(self.world.index, self.ino):
            assert spill.stop <= len(self.model)


async def live_through(history: History, lives: int) -> None:
    for life in range(lives):
        async with trio.open_nursery() as nursery:
            await nursery.start(history.world.files.run)
            # a writer that waits for room is heard by the exporter
            history.world.on_hurry = partial(nursery.start_soon, history.do_export)
            for _ in range(STEPS):
                await history.step()
                history.check()
            if life == lives - 1:
                await history.do_close()
                assert await history.world.read(history.ino) == history.model, history.trace
                await history.do_export()
            nursery.cancel_scope.cancel()
        if life < lives - 1:
            history.trace.append("SIGKILL")
            old = history.world
            history.world, history.fh = old.crash(), None
            old.close()
    history.world.check()


@pytest.mark.parametrize("limit_parts", [5, 100])
@pytest.mark.parametrize("seed", range(8))
def test_the_bytes_are_right_whatever_happens(tmp_path: Path, seed: int, limit_parts: int) -> None:
    async def main() -> None:
        store = MemoryStore(part_size_bytes=PART, part_min_bytes=0)
        world = World(tmp_path / "cache", store, limit_bytes=limit_parts * PART, settings=SETTINGS)
        history = History(world, seed)
        await live_through(history, lives=3)
        history.world.close()

    trio.run(main, clock=MockClock(autojump_threshold=0))
