"""Reads of files that are absent, partly present, replaced or broken."""

import errno
import itertools
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import BLOCK, KIB, PART, SETTINGS, World, noise, run
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.index import inodes, intents
from tierfs.model import Base, InodeFlag, Residency

BIG = noise(5 * PART + 1234)
SMALL = noise(5000)
Kind = StoreErrorKind


def gets(world: World) -> list[tuple[int, int]]:
    return [(start, stop) for method, _, start, stop in world.store.log if method == "get"]


def test_a_small_cold_file_is_one_request_and_then_hot(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(SMALL)
        assert await world.read(ino) == SMALL
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.FULL
        assert await world.read(ino) == SMALL
        assert world.store.requests == {"get_whole": 1}

    run(tmp_path, main)


def test_twenty_openers_of_a_small_file_make_one_request(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(SMALL)
        world.store.hold("get_whole")
        results = []

        async def read() -> None:
            results.append(await world.read(ino))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(read)
            await wait_all_tasks_blocked()
            world.store.release("get_whole")
        assert results == [SMALL] * 20
        assert world.store.requests == {"get_whole": 1}

    run(tmp_path, main)


def test_an_empty_object_needs_no_request(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        assert await world.read(world.add_object(b"")) == b""
        assert not world.store.requests

    run(tmp_path, main)


def test_a_large_file_read_in_sequence_becomes_full_and_each_byte_is_fetched_once(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        assert await world.read(ino) == BIG
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.FULL
        assert world.extents(ino) == []
        assert sum(stop - start for start, stop in gets(world)) == len(BIG)
        assert len(gets(world)) < len(BIG) / (16 * KIB)
        count = len(world.store.log)
        assert await world.read(ino) == BIG
        assert len(world.store.log) == count

    run(tmp_path, main)


def test_a_small_random_read_fetches_one_block(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        offset = 3 * PART + 100
        assert await world.read(ino, offset, 50) == BIG[offset : offset + 50]
        assert gets(world) == [(3 * PART, 3 * PART + BLOCK)]
        assert world.extents(ino) == [(3 * PART, 3 * PART + BLOCK)]

    run(tmp_path, main)


def test_a_read_over_the_end_is_short(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=False, truncate=False)
        assert await world.files.read(fh, len(BIG) - 10, 100) == BIG[-10:]
        assert await world.files.read(fh, len(BIG), 100) == b""
        assert await world.files.read(fh, len(BIG) + 10, 100) == b""
        await world.files.release(fh)

    run(tmp_path, main)


def test_twenty_readers_of_one_range_share_a_flight(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        fhs = [await world.files.open(ino, write=False, truncate=False) for _ in range(20)]
        results = []

        async def read(fh: int) -> None:
            results.append(await world.files.read(fh, 2 * PART, 8 * KIB))

        async with trio.open_nursery() as nursery:
            for fh in fhs:
                nursery.start_soon(read, fh)
            await wait_all_tasks_blocked()
            assert gets(world) == [(2 * PART, 2 * PART + 8 * KIB)]
            world.store.release("get")
        assert results == [BIG[2 * PART : 2 * PART + 8 * KIB]] * 20
        for fh in fhs:
            await world.files.release(fh)

    run(tmp_path, main)


def test_overlapping_reads_fetch_no_byte_twice(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        fh = await world.files.open(ino, write=False, truncate=False)

        async def read(offset: int, size: int) -> None:
            assert await world.files.read(fh, offset, size) == BIG[offset : offset + size]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, PART + 8 * KIB, 8 * KIB)
            await wait_all_tasks_blocked()
            nursery.start_soon(read, PART, 40 * KIB)
            await wait_all_tasks_blocked()
            world.store.release("get")
        ranges = sorted(gets(world))
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_cancelled_reader_leaves_the_flight_to_the_others(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        fh = await world.files.open(ino, write=False, truncate=False)
        scope = trio.CancelScope()
        results = []

        async def give_up() -> None:
            with scope:
                await world.files.read(fh, 2 * PART, 100)

        async def stay() -> None:
            results.append(await world.files.read(fh, 2 * PART, 100))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            nursery.start_soon(stay)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            assert world.store.in_flight == 1
            world.store.release("get")
        assert scope.cancelled_caught
        assert results == [BIG[2 * PART : 2 * PART + 100]]
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_flight_that_nobody_waits_for_is_cancelled_and_the_next_reader_starts_anew(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        fh = await world.files.open(ino, write=False, truncate=False)
        with trio.move_on_after(1) as scope:
            await world.files.read(fh, 2 * PART, 100)
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert world.store.in_flight == 0
        world.store.release("get")
        assert await world.files.read(fh, 2 * PART, 100) == BIG[2 * PART : 2 * PART + 100]
        await world.files.release(fh)

    run(tmp_path, main)


def test_readahead_ends_with_the_last_close(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=False, truncate=False)
        await world.files.read(fh, 0, 4 * KIB)
        world.store.hold("get")
        await world.files.read(fh, 4 * KIB, 4 * KIB)
        await wait_all_tasks_blocked()
        assert world.store.in_flight > 0
        await world.files.release(fh)
        await wait_all_tasks_blocked()
        assert world.store.in_flight == 0

    run(tmp_path, main)


def test_a_failure_reaches_every_reader_and_is_not_remembered(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.fail_next("get", Kind.UNAVAILABLE)
        world.store.hold("get")
        fh = await world.files.open(ino, write=False, truncate=False)
        errors = []

        async def read() -> None:
            with pytest.raises(StoreError) as caught:
                await world.files.read(fh, 2 * PART, 100)
            errors.append(caught.value.kind)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read)
            await wait_all_tasks_blocked()
            world.store.release("get")
        assert errors == [Kind.UNAVAILABLE] * 5
        assert await world.files.read(fh, 2 * PART, 100) == BIG[2 * PART : 2 * PART + 100]
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_replaced_object_is_estale_and_never_mixed(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=False, truncate=False)
        first = await world.files.read(fh, 2 * PART, 100)
        world.replace_object(ino, noise(len(BIG), seed=9))
        with pytest.raises(StoreError) as caught:
            await world.files.read(fh, 4 * PART, 100)
        assert caught.value.errno == errno.ESTALE
        assert world.stale == [ino]
        # the version that was opened is still what is here
        assert await world.files.read(fh, 2 * PART, 100) == first
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_deleted_object_is_estale_too(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        del world.store.objects[world.key(ino)]
        with pytest.raises(StoreError) as caught:
            await world.read(ino)
        assert caught.value.errno == errno.ESTALE

    run(tmp_path, main)


def test_a_small_file_that_cannot_be_fetched_does_not_open(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(SMALL)
        world.store.fail_next("get_whole", Kind.ACCESS_DENIED)
        with pytest.raises(StoreError) as caught:
            await world.files.open(ino, write=False, truncate=False)
        assert caught.value.errno == errno.EACCES
        assert not world.files.is_open(ino)
        assert await world.read(ino) == SMALL

    run(tmp_path, main)


def test_an_object_that_moved_is_found_at_its_new_key(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=False, truncate=False)
        world.store.hold("get")
        results = []

        async def read() -> None:
            results.append(await world.files.read(fh, 2 * PART, 100))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            world.store.objects["moved"] = world.store.objects.pop(world.key(ino))
            world.keys[ino] = "moved"
            world.store.release("get")
        assert results == [BIG[2 * PART : 2 * PART + 100]]
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_read_during_our_own_export_waits_for_its_outcome(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, 0, b"new")
        async with world.files.snapshot(ino) as snapshot:
            data = bytes(await snapshot.read(0, snapshot.size_bytes))
        intent = intents.of_inode(world.index, ino)
        assert intent is not None
        with world.index.transaction() as txn:
            intents.put(txn, evolve(intent, op_id="5-1-1"))
        info = world.store.place(world.key(ino), data)

        async def tell_the_index() -> None:
            await trio.sleep(3)
            with world.index.transaction() as txn:
                base = Base(info.etag, len(data), info.last_modified_ns)
                inodes.put(txn, evolve(world.inode(ino), base=base))
                intents.put(txn, evolve(intent, op_id=""))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_the_index)
            assert await world.files.read(fh, 4 * PART, 100) == BIG[4 * PART : 4 * PART + 100]
        await world.files.release(fh)

    run(tmp_path, main)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_a_body_of_another_length_is_refused_and_fetched_again(tmp_path: Path, change: object) -> None:
    async def main(world: World) -> None:
        big, small = world.add_object(BIG), world.add_object(SMALL)
        world.store.spoil_next("get", change)  # type: ignore[arg-type]
        world.store.spoil_next("get_whole", change)  # type: ignore[arg-type]
        assert await world.read(small) == SMALL
        assert await world.read(big, 2 * PART, 100) == BIG[2 * PART : 2 * PART + 100]

    run(tmp_path, main)


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def test_a_corrupt_small_body_is_fetched_again_and_never_served(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(SMALL)
        world.store.spoil_next("get_whole", flip)
        assert await world.read(ino) == SMALL

    run(tmp_path, main)


def test_a_body_that_stays_corrupt_is_eio_and_is_not_kept(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(SMALL)
        world.store.spoil_next("get_whole", flip, times=2)
        with pytest.raises(StoreError) as caught:
            await world.read(ino)
        assert caught.value.kind is Kind.CORRUPT
        assert world.record(ino) is None
        assert await world.read(ino) == SMALL

    run(tmp_path, main)


def test_the_last_part_of_a_large_file_proves_its_checksum(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.spoil_next("get", flip)
        assert (await world.read(ino, 0, len(BIG))) != BIG  # the wrong byte was served before it could be known
        assert await world.read(ino) == BIG
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.FULL

    run(tmp_path, main)


def test_a_wrong_checksum_in_the_index_is_no_loop(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(SMALL)
        inode = world.inode(ino)
        assert inode.base is not None
        with world.index.transaction() as txn:
            inodes.put(txn, evolve(inode, base=evolve(inode.base, content="crc64nvme:0123456789abcdef")))
        with pytest.raises(StoreError):
            await world.read(ino)
        assert world.store.requests["get_whole"] == 2

    run(tmp_path, main)


def test_bodies_in_memory_are_bounded(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = [world.add_object(noise(10 * PART, seed)) for seed in range(6)]
        world.store.hold("get")
        fhs = [await world.files.open(ino, write=False, truncate=False) for ino in inos]

        async def read(fh: int) -> None:
            for offset in range(0, 10 * PART, 16 * KIB):
                await world.files.read(fh, offset, 16 * KIB)

        async with trio.open_nursery() as nursery:
            for fh in fhs:
                nursery.start_soon(read, fh)
            await wait_all_tasks_blocked()
            world.store.release("get")
        assert world.store.most_in_flight <= SETTINGS.fetch_memory_bytes // BLOCK
        for fh in fhs:
            await world.files.release(fh)

    run(tmp_path, main, settings=evolve(SETTINGS, fetch_memory_bytes=32 * KIB, file_fetch_memory_bytes=16 * KIB))


def test_no_byte_anywhere_is_eio(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        with world.index.transaction() as txn:
            inodes.put(txn, evolve(world.inode(ino), size_bytes=100_000, flags=InodeFlag.ATTRS_KNOWN))
        fh = await world.files.open(ino, write=False, truncate=False)
        with pytest.raises(FsError) as caught:
            await world.files.read(fh, 0, 10)
        assert caught.value.errno == errno.EIO
        await world.files.release(fh)

    run(tmp_path, main)
