"""The ceiling of the tier: eviction, files larger than the tier, spills, and who waits for whom."""

import errno
import itertools
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import BLOCK, KIB, PART, SETTINGS, World, noise, run
from tierfs.content.spill import StablePart, stable_parts
from tierfs.errors import FsError, StoreErrorKind
from tierfs.index import intents, ranks, residency
from tierfs.model import IntentKind, Residency

MINUTE_S = 60


def watch(world: World) -> list[int]:
    """Every value that the account takes from now on."""
    seen: list[int] = []
    charge = world.space.charge

    def noting(size_bytes: int) -> None:
        charge(size_bytes)
        seen.append(world.space.used_bytes)

    world.space.charge = noting  # type: ignore[method-assign]
    return seen


def test_what_comes_into_a_full_tier_leaves_it_first(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = [world.add_object(noise(3 * BLOCK, seed)) for seed in range(8)]
        for _ in range(3):
            for ino in inos[:6]:
                await world.read(ino)
        here = [ino for ino in inos if world.record(ino) is not None]
        assert here == [*inos[1:4], inos[5]], "of a loop that is larger than the tier most of what is here stays"
        await world.read(inos[1])
        for ino in inos[6:]:
            await world.read(ino)
        here = [ino for ino in inos if world.record(ino) is not None]
        assert here == [*inos[1:4], inos[7]], "what is read once passes through"

    run(tmp_path, main, limit_bytes=12 * BLOCK)


def test_what_comes_back_again_and_again_takes_the_place_of_what_is_not_used(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        old, new = ([world.add_object(noise(3 * BLOCK, 8 * half + n)) for n in range(6)] for half in range(2))
        for inos in (old, new):
            for _ in range(8):
                for ino in inos:
                    await world.read(ino)
        assert sum(world.record(ino) is not None for ino in new) >= 3

    run(tmp_path, main, limit_bytes=12 * BLOCK)


def test_who_asks_for_files_by_name_has_them_stay(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = [world.add_object(noise(3 * BLOCK, seed)) for seed in range(8)]
        for ino in inos[:4]:
            await world.read(ino)
        for ino in inos[4:]:
            assert await world.files.warm(ino)
        for ino in inos[:2]:
            await world.read(ino)
        assert [ino for ino in inos[4:] if world.record(ino) is not None] == inos[5:]

    run(tmp_path, main, limit_bytes=12 * BLOCK)


def test_what_files_are_worth_outlives_the_daemon(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = [world.add_object(noise(3 * BLOCK, seed)) for seed in range(6)]
        for _ in range(3):
            for ino in inos:
                await world.read(ino)
        before = ranks.settled(world.index, None, 10)
        next_life = world.crash()

        async def after(world: World) -> None:
            assert len(before) == 3
            for ino in inos:
                assert ranks.recall(world.index, ino) is not None or world.record(ino) is not None
            await world.read(world.add_object(noise(3 * BLOCK, 9)))
            await world.read(world.add_object(noise(3 * BLOCK, 10)))
            assert ranks.settled(world.index, None, 10) == before
            entered = ranks.on_probation(world.index, None, 10)[-1][0]
            assert entered >= max(rank for rank, _ in before) - 2 * 12 * BLOCK, "the clock does not begin anew"

        await next_life.running(after)
        next_life.close()

    run(tmp_path, main, limit_bytes=12 * BLOCK)


def test_by_age_the_oldest_access_is_evicted_first(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = [world.add_object(noise(3 * BLOCK, seed)) for seed in range(6)]
        for ino in inos[:4]:
            world.clock.advance_s(2 * MINUTE_S)
            await world.read(ino)
        world.clock.advance_s(2 * MINUTE_S)
        await world.read(inos[0])  # used again: not the oldest any more
        for ino in inos[4:]:
            world.clock.advance_s(2 * MINUTE_S)
            await world.read(ino)
        here = [ino for ino in inos if world.record(ino) is not None]
        assert here == [inos[0], inos[3], inos[4], inos[5]]

    run(tmp_path, main, limit_bytes=12 * BLOCK, settings=evolve(SETTINGS, evicts_by_age=True))


def test_dirty_open_and_pinned_files_are_not_dropped(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        dirty = await world.write_new(noise(BLOCK))
        writing, pinned, plain = (world.add_object(noise(3 * BLOCK, seed)) for seed in range(3))
        for ino in (writing, pinned, plain):
            await world.read(ino)
        record = world.record(pinned)
        assert record is not None
        with world.index.transaction() as txn:
            residency.hot_put(txn, pinned, type(record)(
                record.residency, record.boot_id, record.synced, record.writing, record.bytes_charged,
                record.last_use_s, pinned=True,
            ))  # fmt: skip
        fh = await world.files.open(writing, write=True, truncate=False)
        assert [await world.files.drop(ino) for ino in (dirty, writing, pinned)] == [0, 0, 0]
        assert await world.files.drop(plain) == 3 * BLOCK
        assert world.record(plain) is None
        await world.files.release(fh)
        assert await world.files.drop(writing) == 3 * BLOCK

    run(tmp_path, main)


def test_a_range_can_be_dropped(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        data = noise(4 * PART)
        ino = world.add_object(data)
        await world.read(ino)
        assert await world.files.drop(ino, start=PART, stop=3 * PART) == 2 * PART
        assert world.extents(ino) == [(0, PART), (3 * PART, 4 * PART)]
        assert await world.read(ino) == data

    run(tmp_path, main)


def test_a_file_three_times_the_tier_is_read_within_it(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        other = world.add_object(noise(10 * KIB))
        await world.read(other)
        seen = watch(world)
        data = noise(18 * PART, seed=1)
        ino = world.add_object(data)
        for _ in range(2):
            assert await world.read(ino) == data
        assert max(seen) <= 6 * PART + BLOCK  # the map of the file's pieces
        fetched = sum(stop - start for method, _, start, stop in world.store.log if method == "get")
        assert fetched < 2 * len(data) * 1.3

    run(tmp_path, main, limit_bytes=6 * PART)


def test_what_a_reader_is_reading_is_not_taken_from_it(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        data = [noise(12 * PART, seed) for seed in range(4)]
        inos = [world.add_object(each) for each in data]

        async def read(number: int) -> None:
            assert await world.read(inos[number]) == data[number]

        seen = watch(world)
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(read, number)
        assert max(seen) <= 3 * PART + 4 * BLOCK

    run(tmp_path, main, limit_bytes=3 * PART)


def test_a_tier_full_of_dirty_bytes_still_serves_cold_reads(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        await world.write_new(noise(2 * PART))
        data, small = noise(8 * PART, seed=1), noise(10_000, seed=2)
        seen = watch(world)
        ino, small_ino = world.add_object(data), world.add_object(small)
        assert await world.read(ino) == data
        assert await world.read(small_ino) == small
        assert world.store.requests["get_whole"] == 1
        assert sum(stop - start for method, _, start, stop in world.store.log if method == "get") < 1.3 * len(data)
        assert max(seen, default=0) <= 2 * PART + BLOCK
        assert world.hurried == 0

    run(tmp_path, main, limit_bytes=2 * PART + BLOCK)


def test_writers_wait_for_the_export_and_then_go_on(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        first = await world.write_new(noise(2 * PART))
        ino = world.add_new()
        fh = world.files.created(ino)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.write, fh, 0, noise(PART, seed=1))
            await wait_all_tasks_blocked()
            assert world.hurried == 1
            assert world.space.waiting_count == 1
            assert await world.export(first)
        assert world.record(first) is None
        await world.files.release(fh)
        assert await world.read(ino) == noise(PART, seed=1)

    run(tmp_path, main, limit_bytes=2 * PART + BLOCK)


def test_what_is_left_of_a_cold_file_that_was_cut_is_read_past_a_full_tier(tmp_path: Path) -> None:
    """The checksum of its object is of more bytes."""

    async def main(world: World) -> None:
        ino = world.add_object(noise(3 * BLOCK))
        await world.files.set_size(ino, BLOCK)
        await world.write_new(noise(2 * PART, seed=1))
        fh = await world.files.open(ino, write=False, truncate=False)
        assert await world.files.read(fh, 0, BLOCK) == noise(3 * BLOCK)[:BLOCK]
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=2 * PART + BLOCK // 2)


def test_no_progress_is_enospc_and_what_was_written_stays(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        first = await world.write_new(noise(2 * PART))
        ino = world.add_new()
        fh = world.files.created(ino)
        with pytest.raises(FsError) as caught:
            await world.files.write(fh, 0, noise(PART, seed=1))
        assert caught.value.errno == errno.ENOSPC
        await world.files.release(fh)
        assert await world.read(first) == noise(2 * PART)
        assert await world.read(ino) == b""

    run(tmp_path, main, limit_bytes=2 * PART + BLOCK)


def test_what_was_stored_by_a_mapping_is_kept_beyond_the_ceiling(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The program has gone on long ago: an error would reach nobody."""

    async def main(world: World) -> None:
        await world.write_new(noise(2 * PART))
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.set_size(ino, PART)
        assert await world.files.write(fh, 0, noise(PART, seed=1), is_writeback=True) == PART
        assert trio.current_time() > 0, "it waits as others do"
        assert "beyond the size of the tier" in caplog.text
        assert world.space.reserved_bytes == 0
        await world.files.release(fh)
        assert await world.read(ino) == noise(PART, seed=1)

    run(tmp_path, main, limit_bytes=2 * PART + BLOCK)


def test_a_file_three_times_the_tier_is_written_and_read_back(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        seen = watch(world)
        data = noise(24 * PART + 777, seed=4)
        ino = world.add_new()
        fh = world.files.created(ino)
        for at in range(0, len(data), 16 * KIB):
            await world.files.write(fh, at, data[at : at + 16 * KIB])
        assert max(seen) <= 8 * PART + BLOCK
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.PARTIAL
        spills = residency.spills(world.index, ino)
        assert len(spills) >= 16
        assert all(spill.start % PART == 0 and spill.stop - spill.start == PART for spill in spills)
        assert all(spill.key.startswith(f".tierfs/spill/{ino:x}-{spill.start:x}-") for spill in spills)
        assert await world.read_handle(fh) == data
        await world.files.release(fh)
        assert world.inode(ino).size_bytes == len(data)
        assert await world.read(ino) == data
        async with world.files.snapshot(ino) as snapshot:
            assert bytes(await snapshot.read(0, len(data))) == data
            ranges = snapshot.ranges()
            assert ranges[0][0] == 0
            assert all(left[1] == right[0] for left, right in itertools.pairwise(ranges))
            assert ranges[-1][1] == len(data)
            for start, stop, where in ranges:
                if where.key:
                    body = world.store.content(where.key)[where.object_start : where.object_start + stop - start]
                    assert body == data[start:stop]
            assert snapshot.unchanged()

    run(tmp_path, main, limit_bytes=8 * PART)


def deletions(world: World) -> set[str]:
    found = intents.page(world.index, 0, 1000)
    return {intent.key for intent in found if intent.kind is IntentKind.DELETE}


async def spilled_file(world: World, parts: int) -> tuple[int, int, bytes]:
    data = noise(parts * PART, seed=5)
    ino = world.add_new()
    fh = world.files.created(ino)
    for at in range(0, len(data), 16 * KIB):
        await world.files.write(fh, at, data[at : at + 16 * KIB])
    await wait_all_tasks_blocked()
    assert residency.spills(world.index, ino)
    return ino, fh, data


def test_overwriting_a_spilled_range_wins_and_the_object_goes_when_all_of_it_is_covered(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino, fh, data = await spilled_file(world, 10)
        spill = residency.spills(world.index, ino)[0]
        await world.files.write(fh, spill.start + 100, b"newer")
        data = data[: spill.start + 100] + b"newer" + data[spill.start + 105 :]
        assert spill in residency.spills(world.index, ino)
        assert await world.files.read(fh, spill.start, 16 * KIB) == data[spill.start : spill.start + 16 * KIB]
        await world.files.write(fh, spill.start, bytes(PART))
        data = data[: spill.start] + bytes(PART) + data[spill.stop :]
        assert spill.key not in {each.key for each in residency.spills(world.index, ino)}
        assert spill.key in deletions(world)
        assert await world.read_handle(fh) == data
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_a_body_past_the_tier_does_not_hide_what_was_written_since(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino, fh, data = await spilled_file(world, 10)
        spill = residency.spills(world.index, ino)[0]
        await world.files.read(fh, spill.start, 16 * KIB)  # the body stays in memory
        await world.files.write(fh, spill.start + 5000, b"newer")
        data = data[: spill.start + 5000] + b"newer" + data[spill.start + 5005 :]
        assert await world.files.read(fh, spill.start, 16 * KIB) == data[spill.start : spill.start + 16 * KIB]
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_truncation_cuts_and_drops_spills(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino, fh, data = await spilled_file(world, 10)
        first, second = residency.spills(world.index, ino)[:2]
        await world.files.set_size(ino, first.stop - 100)
        assert [(each.start, each.stop) for each in residency.spills(world.index, ino)] == [
            (first.start, first.stop - 100)
        ]
        assert second.key in deletions(world)
        await world.files.set_size(ino, first.stop + 100)
        assert await world.read_handle(fh) == data[: first.stop - 100] + bytes(200)
        await world.files.set_size(ino, 0)
        assert residency.spills(world.index, ino) == []
        assert first.key in deletions(world)
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_a_part_written_while_it_spills_stays_here(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        world.store.hold("put")
        data = noise(3 * PART, seed=5)
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, data)
        await trio.sleep(10)
        await world.files.write(fh, len(data), b"x")  # grown beyond its share: spills begin
        await wait_all_tasks_blocked()
        assert world.store.in_flight > 0
        await world.files.write(fh, 5, b"changed meanwhile")
        world.store.release("put")
        await wait_all_tasks_blocked()
        expected = data[:5] + b"changed meanwhile" + data[22:] + b"x"
        assert await world.read_handle(fh) == expected
        assert all(spill.start != 0 for spill in residency.spills(world.index, ino))
        assert any(f"{ino:x}-0-" in key for key in deletions(world))
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_a_part_cut_off_and_grown_again_while_it_spills_is_not_what_was_sent(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        data = noise(3 * PART, seed=5)
        ino = await world.write_new(data)
        world.store.hold("put")
        fh = await world.files.open(ino, write=True, truncate=False)  # of the old parts no write is known
        await trio.sleep(10)
        await world.files.write(fh, len(data), b"x")
        await wait_all_tasks_blocked()
        assert world.store.in_flight > 0
        await world.files.set_size(ino, PART)
        await world.files.set_size(ino, 3 * PART)
        world.store.release("put")
        await wait_all_tasks_blocked()
        assert await world.read_handle(fh) == data[:PART] + bytes(2 * PART)
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_a_part_written_while_it_spills_stays_here_also_when_the_file_is_closed_meanwhile(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        data = noise(3 * PART, seed=5)
        ino = await world.write_new(data)
        world.store.hold("put")
        fh = await world.files.open(ino, write=True, truncate=False)
        await trio.sleep(10)
        await world.files.write(fh, len(data), b"x")
        await wait_all_tasks_blocked()
        assert world.store.in_flight > 0
        await world.files.write(fh, 5, b"changed meanwhile")
        await world.files.release(fh)
        fh = await world.files.open(ino, write=True, truncate=False)
        world.store.release("put")
        await wait_all_tasks_blocked()
        assert await world.read_handle(fh) == data[:5] + b"changed meanwhile" + data[22:] + b"x"
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_a_store_that_refuses_spills_is_asked_again_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(world: World) -> None:
        world.store.fail_next("put", StoreErrorKind.UNAVAILABLE, times=4)
        ino, fh, data = await spilled_file(world, 20)
        assert await world.read_handle(fh) == data
        await world.files.release(fh)
        assert len(caplog.records) == 1
        assert f"{ino:x}" in caplog.text

    run(tmp_path, main, limit_bytes=8 * PART)


def test_forgetting_a_spilled_file_deletes_its_objects_later(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino, fh, _ = await spilled_file(world, 10)
        keys = {spill.key for spill in residency.spills(world.index, ino)}
        await world.files.release(fh)
        world.files.forget(ino)
        assert residency.spills(world.index, ino) == []
        assert deletions(world) >= keys
        assert world.space.used_bytes == 0

    run(tmp_path, main, limit_bytes=8 * PART)


def test_an_exported_spilled_file_is_read_from_its_object(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino, fh, data = await spilled_file(world, 10)
        await world.files.flush(fh)
        assert await world.export(ino)
        for key in [key for key in world.store.objects if key.startswith(".tierfs/spill/")]:
            del world.store.objects[key]
        assert await world.read_handle(fh) == data
        await world.files.release(fh)
        assert await world.read(ino) == data

    run(tmp_path, main, limit_bytes=8 * PART)


def test_stable_parts_are_full_old_and_not_the_last_written() -> None:
    writes = {0: (5.0, 1), 1: (9.0, 2), 2: (1.0, 3), 3: (2.0, 4)}
    present = [(10, 400), (500, 750)]
    found = stable_parts(present, writes, 100, written_before_s=5.0, spare_latest=True)
    assert found == [
        StablePart(500, 600, (0.0, 0)),
        StablePart(600, 700, (0.0, 0)),
        StablePart(200, 300, (1.0, 3)),
        StablePart(300, 400, (2.0, 4)),
    ]
    pressed = stable_parts(present, writes, 100, written_before_s=10.0, spare_latest=True)
    assert [part.start for part in pressed] == [500, 600, 200, 300]
