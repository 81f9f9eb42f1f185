"""Preallocation, zeros, holes and copies of ranges."""

import errno
import os
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import BLOCK, KIB, PART, World, noise, run
from tierfs.content.copying import copy_range
from tierfs.errors import FsError
from tierfs.hottier.disk import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from tierfs.index import residency
from tierfs.model import Residency

PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
ZERO = FALLOC_FL_ZERO_RANGE
BIG = noise(5 * PART + 1234)


def zeroed(data: bytes, start: int, stop: int) -> bytes:
    return data[:start] + bytes(min(stop, len(data)) - start) + data[stop:]


def test_preallocation_sets_the_size_and_takes_the_room(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, b"begin")
        await world.files.fallocate(fh, 0, PART, 0)
        assert world.files.live(world.inode(ino)).size_bytes == PART
        assert world.space.used_bytes == PART
        assert world.space.reserved_bytes == 0
        await world.files.fallocate(fh, 10, PART // 2, 0)  # it is there
        assert world.files.live(world.inode(ino)).size_bytes == world.space.used_bytes == PART
        await world.files.release(fh)
        assert world.is_dirty(ino)
        assert await world.read(ino) == b"begin" + bytes(PART - 5)

    run(tmp_path, main)


def test_preallocation_of_a_cold_file_fetches_nothing_and_keeps_its_bytes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.fallocate(fh, PART, 6 * PART, 0)
        assert world.extents(ino) == [(len(BIG), 7 * PART)]
        assert world.space.used_bytes < 3 * PART
        await world.files.release(fh)
        assert await world.read(ino) == BIG + bytes(7 * PART - len(BIG))

    run(tmp_path, main)


def test_preallocation_waits_for_room_and_gives_up_as_a_write_does(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        full = await world.write_new(noise(3 * PART))
        ino = world.add_new()
        fh = world.files.created(ino)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.fallocate, fh, 0, 2 * PART, 0)
            await wait_all_tasks_blocked()
            assert world.space.waiting_count == 1
            assert world.files.live(world.inode(ino)).size_bytes == 0
            assert await world.export(full)
        assert world.files.live(world.inode(ino)).size_bytes == 2 * PART
        await world.files.release(fh)
        other = world.files.created(world.add_new())
        with pytest.raises(FsError) as caught:
            await world.files.fallocate(other, 0, 3 * PART, 0)
        assert caught.value.errno == errno.ENOSPC
        assert world.space.used_bytes == 2 * PART
        await world.files.release(other)

    run(tmp_path, main, limit_bytes=4 * PART)


@pytest.mark.parametrize("mode", [PUNCH, ZERO, ZERO | FALLOC_FL_KEEP_SIZE])
@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "cold"])
def test_zeros_are_written_without_a_fetch(tmp_path: Path, mode: int, is_hot: bool) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        if is_hot:
            await world.read(ino)
        fh = await world.files.open(ino, write=True, truncate=False)
        start, stop = PART + 100, 3 * PART - 7
        await world.files.fallocate(fh, start, stop - start, mode)
        if not is_hot:
            assert world.extents(ino) == [(start, stop)]
        assert world.is_dirty(ino)
        await world.files.release(fh)
        assert world.inode(ino).size_bytes == len(BIG)
        assert await world.read(ino) == zeroed(BIG, start, stop)
        assert await world.export(ino)
        assert await world.read(ino) == zeroed(BIG, start, stop)

    run(tmp_path, main)


def test_zeros_beyond_the_end(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.fallocate(fh, len(BIG) - 10, 100, PUNCH)
        assert world.files.live(world.inode(ino)).size_bytes == len(BIG)
        await world.files.fallocate(fh, len(BIG), 100, PUNCH)
        await world.files.fallocate(fh, len(BIG) + 5, 100, ZERO | FALLOC_FL_KEEP_SIZE)
        assert world.files.live(world.inode(ino)).size_bytes == len(BIG)
        await world.files.fallocate(fh, len(BIG) - 20, 100, ZERO)
        assert world.files.live(world.inode(ino)).size_bytes == len(BIG) + 80
        await world.files.release(fh)
        assert await world.read(ino) == BIG[:-20] + bytes(100)

    run(tmp_path, main)


def test_all_of_a_cold_file_zeroed_is_full(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.fallocate(fh, 0, len(BIG), PUNCH)
        await world.files.release(fh)
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.FULL
        assert world.space.used_bytes == 0
        assert await world.read(ino) == bytes(len(BIG))

    run(tmp_path, main)


def test_zeros_survive_a_crash(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, 0, b"x")
        await world.files.fallocate(fh, 10, 2 * PART, PUNCH)
        after = world.crash()

        async def again(world: World) -> None:
            assert await world.read(ino) == zeroed(b"x" + BIG[1:], 10, 10 + 2 * PART)

        await after.running(again)
        after.close()

    run(tmp_path, main)


def test_a_hole_while_the_range_is_on_its_way_wins(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.read, fh, 0, PART)
            await trio.lowlevel.checkpoint()
            await world.files.fallocate(fh, 100, PART, PUNCH)
        assert await world.read_handle(fh) == zeroed(BIG, 100, PART + 100)
        await world.files.release(fh)
        assert residency.extents_get(world.index, ino) == world.extents(ino)

    run(tmp_path, main)


def test_other_modes_and_bad_ranges_are_refused(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"bytes")
        reader = await world.files.open(ino, write=False, truncate=False)
        writer = await world.files.open(ino, write=True, truncate=False)
        for fh, offset, length, mode, code in (
            (reader, 0, 10, 0, errno.EBADF),
            (writer, 0, 10, FALLOC_FL_KEEP_SIZE, errno.EOPNOTSUPP),
            (writer, 0, BLOCK, 8, errno.EOPNOTSUPP),  # FALLOC_FL_COLLAPSE_RANGE
            (writer, -1, 10, 0, errno.EINVAL),
            (writer, 0, 0, 0, errno.EINVAL),
            (writer, 1 << 44, 10, 0, errno.EFBIG),
        ):
            with pytest.raises(FsError) as caught:
                await world.files.fallocate(fh, offset, length, mode)
            assert caught.value.errno == code
        await world.files.release(reader)
        await world.files.release(writer)
        assert await world.read(ino) == b"bytes"

    run(tmp_path, main)


def test_what_is_absent_is_data(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        for ino in (world.add_object(BIG), world.add_object(bytes(len(BIG)))):
            fh = await world.files.open(ino, write=False, truncate=False)
            for _ in range(2):  # cold, and here
                assert await world.files.seek(fh, 100, os.SEEK_DATA) == 100
                assert await world.files.seek(fh, 100, os.SEEK_HOLE) == len(BIG)
                await world.read_handle(fh)
            for offset in (len(BIG), len(BIG) + 1, -1):
                for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                    with pytest.raises(FsError) as caught:
                        await world.files.seek(fh, offset, whence)
                    assert caught.value.errno == errno.ENXIO
            with pytest.raises(FsError) as caught:
                await world.files.seek(fh, 0, os.SEEK_CUR)
            assert caught.value.errno == errno.EINVAL
            await world.files.release(fh)

    run(tmp_path, main)


def test_holes_of_a_file_that_was_written_here(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 4 * PART, noise(100))
        await world.files.write(fh, 0, noise(PART))
        assert await world.files.seek(fh, 0, os.SEEK_HOLE) == PART
        assert await world.files.seek(fh, PART, os.SEEK_DATA) == 4 * PART
        assert await world.files.seek(fh, 4 * PART, os.SEEK_HOLE) == 4 * PART + 100
        await world.files.fallocate(fh, 4 * PART, 100, PUNCH)
        with pytest.raises(FsError) as caught:  # a block is the least that becomes a hole
            await world.files.seek(fh, 4 * PART + BLOCK, os.SEEK_DATA)
        assert caught.value.errno == errno.ENXIO
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_copy_is_bounded_and_ends_at_the_end(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        source, target = world.add_object(BIG), world.add_new()
        reader = await world.files.open(source, write=False, truncate=False)
        writer = world.files.created(target)
        assert await copy_range(world.files, reader, 10, writer, 5, 100) == 100
        assert await copy_range(world.files, reader, 0, writer, KIB, 1 << 40) == len(BIG)
        assert await copy_range(world.files, reader, len(BIG), writer, 0, 100) == 0
        with pytest.raises(FsError) as caught:
            await copy_range(world.files, reader, 0, reader, 0, 10)
        assert caught.value.errno == errno.EBADF
        await world.files.release(reader)
        await world.files.release(writer)
        assert await world.read(target) == (bytes(5) + BIG[10:110]).ljust(KIB, b"\0") + BIG

    run(tmp_path, main)
