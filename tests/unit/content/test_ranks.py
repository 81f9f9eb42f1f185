"""When a use counts, and what an index of an older tierfs gets."""

from pathlib import Path

from tests.support.tier import BLOCK, World, noise, run
from tierfs.index import ranks, residency
from tierfs.index.env import Table
from tierfs.model import HotRecord
from tierfs.units import NS_PER_S

FILE_BYTES = 2 * BLOCK


async def read_others(world: World, count: int) -> None:
    for seed in range(count):
        await world.read(world.add_object(noise(FILE_BYTES, 100 + seed)))


def record(world: World, ino: int) -> HotRecord:
    found = world.record(ino)
    assert found is not None
    return found


def test_a_use_counts_again_once_others_have_come_in(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(FILE_BYTES))
        await world.read(ino)
        first = record(world, ino)
        await world.read(ino)
        assert record(world, ino) == first
        await read_others(world, 4)
        await world.read(ino)
        assert record(world, ino).rank_bytes > first.rank_bytes
        assert record(world, ino).used_at_bytes == 5 * FILE_BYTES

    run(tmp_path, main, limit_bytes=100 * BLOCK)


def test_a_use_that_is_told_late_counts_where_it_was(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(FILE_BYTES))
        await world.read(ino)
        first, used_ns = record(world, ino), world.clock.now_ns()
        world.clock.advance_s(1)
        await read_others(world, 4)
        world.files.keeping.used(ino, used_ns)
        assert record(world, ino) == first, "it is the use that is known"
        world.files.keeping.used(ino, world.clock.now_ns())
        assert record(world, ino) == first, "less than a tick after the others have begun"
        world.clock.advance_s(1)
        await read_others(world, 1)
        world.files.keeping.used(ino, world.clock.now_ns())
        assert record(world, ino).rank_bytes > first.rank_bytes
        assert record(world, ino).last_use_s == world.clock.now_ns() // NS_PER_S

    run(tmp_path, main, limit_bytes=100 * BLOCK)


def test_what_is_fetched_ahead_is_not_used_by_coming_in(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(FILE_BYTES))
        await world.read(ino)
        rank_bytes = record(world, ino).rank_bytes
        world.files.ranks.expect(ino)
        await read_others(world, 4)
        await world.read(ino)
        assert record(world, ino).rank_bytes == rank_bytes
        assert record(world, ino).used_at_bytes == 5 * FILE_BYTES
        await read_others(world, 4)
        await world.read(ino)
        assert record(world, ino).rank_bytes > rank_bytes

    run(tmp_path, main, limit_bytes=100 * BLOCK)


def test_what_is_fetched_ahead_waits_for_its_use(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        settled = [world.add_object(noise(FILE_BYTES, seed)) for seed in range(5)]
        for ino in settled:
            await world.read(ino)
        await read_others(world, 1)
        ahead = world.add_object(noise(FILE_BYTES, 50))
        await world.files.warm(ahead)
        with world.index.transaction() as txn:
            hot = record(world, ahead)
            residency.hot_put(
                txn, ahead, HotRecord(hot.residency, hot.boot_id, hot.synced, False, hot.bytes_charged, 0,
                                      on_probation=True),
            )  # fmt: skip
        world.files.ranks.expect(ahead)
        await read_others(world, 3)
        assert world.record(ahead) is not None

    run(tmp_path, main, limit_bytes=10 * BLOCK)


def test_files_from_before_there_were_ranks_can_leave(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = [world.add_object(noise(FILE_BYTES, seed)) for seed in range(4)]
        for ino in inos:
            await world.read(ino)
        with world.index.transaction() as txn:
            for ino in inos:
                hot = record(world, ino)
                txn.delete(Table.RANKS, ranks.key_of(ino, hot) or b"")
                old = HotRecord(hot.residency, hot.boot_id, hot.synced, hot.writing, hot.bytes_charged, hot.last_use_s)
                residency.hot_put(txn, ino, old)
                txn.delete(Table.RANKS, ranks.key_of(ino, old) or b"")
        next_life = world.crash()

        async def after(world: World) -> None:
            assert ranks.settled(world.index, None, 10) == [(0, ino) for ino in inos]
            await read_others(world, 1)
            assert world.record(inos[0]) is None

        await next_life.running(after)
        next_life.close()

    run(tmp_path, main, limit_bytes=8 * BLOCK)


def test_room_that_was_made_ahead_of_need_is_no_room(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        await read_others(world, 50)
        await world.space.shrink(20 * BLOCK)
        await world.space.shrink(2 * BLOCK)
        inos = [world.add_object(noise(FILE_BYTES, seed)) for seed in range(10)]
        for ino in inos:
            await world.read(ino)
        assert all(record(world, ino).on_probation for ino in inos)

    run(tmp_path, main, limit_bytes=100 * BLOCK)
