"""Pins, and the release of files that nobody has open."""

from pathlib import Path

import pytest

from tests.support.tier import BLOCK, World, noise, run
from tierfs.errors import FsError


def test_a_pin_stays_until_it_is_taken_away_and_over_a_restart(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(BLOCK))
        world.files.keeping.pin(ino)
        world.files.keeping.pin(ino)
        assert await world.files.warm(ino)
        assert await world.files.drop(ino) == 0
        again = world.crash()
        record = again.record(ino)
        assert record is not None and record.pinned
        assert again.files.keeping.unpin(ino) and not again.files.keeping.unpin(ino)
        assert await again.files.drop(ino) == BLOCK
        again.close()

    run(tmp_path, main)


def test_a_pin_of_a_file_that_is_not_here_leaves_nothing_when_it_goes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(BLOCK))
        world.files.keeping.pin(ino)
        assert world.record(ino) is not None
        assert world.files.keeping.unpin(ino) and world.record(ino) is None
        with pytest.raises(FsError):
            world.files.keeping.pin(ino + 1000)

    run(tmp_path, main)


def test_closed_clean_files_are_released_and_others_passed_over(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        dirty = await world.write_new(noise(BLOCK))
        opened, closed, pinned = (world.add_object(noise(2 * BLOCK, seed)) for seed in range(3))
        handle = await world.files.open(opened, write=False, truncate=False)
        for ino in (closed, pinned):
            await world.read(ino)
        world.files.keeping.pin(pinned)
        assert await world.files.keeping.release([dirty, opened, closed, pinned]) == (1, 2 * BLOCK)
        assert [world.record(ino) is None for ino in (dirty, opened, closed, pinned)] == [False, False, True, False]
        await world.files.release(handle)

    run(tmp_path, main)


def test_a_last_use_of_a_clock_that_was_set_back_is_replaced_by_the_next_use(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(BLOCK))
        world.clock.advance_s(86_400 * 365)
        await world.read(ino)
        world.clock.advance_s(-86_400 * 365)
        now_s = world.clock.now_ns() // 1_000_000_000
        await world.read(ino)
        record = world.record(ino)
        assert record is not None and record.last_use_s == now_s
        world.files.keeping.used(ino, (now_s + 120) * 1_000_000_000)
        record = world.record(ino)
        assert record is not None and record.last_use_s == now_s + 120

    run(tmp_path, main)


def test_a_file_is_in_use_until_it_is_closed(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(BLOCK))
        handles = [await world.files.open(ino, write=False, truncate=False, passes=passes) for passes in (False, True)]
        opened = world.record(ino)
        world.clock.advance_s(86_400 * 9)
        await world.files.release(handles[1])
        assert world.record(ino) == opened, "who passes is nobody"
        await world.files.release(handles[0])
        closed = world.record(ino)
        assert opened is not None and closed is not None
        assert closed.last_use_s - opened.last_use_s == 86_400 * 9
        assert closed.rank_bytes == opened.rank_bytes, "it is one use"

    run(tmp_path, main)
