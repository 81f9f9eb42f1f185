"""What an export may rely on."""

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import KIB, PART, World, noise, run
from tierfs.content.snapshot import LOCAL, Where, WhereKind
from tierfs.errors import FsError
from tierfs.index import inodes

BIG = noise(5 * PART + 1234)


def test_an_unchanged_file_is_read_whole_and_its_copy_is_trusted(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(BIG)
        async with world.files.snapshot(ino) as snapshot:
            assert snapshot.size_bytes == len(BIG)
            assert snapshot.ranges() == [(0, len(BIG), LOCAL)]
            assert bytes(await snapshot.read(0, len(BIG))) == BIG
            assert bytes(await snapshot.read(PART - 3, PART + 3)) == BIG[PART - 3 : PART + 3]
            assert snapshot.unchanged()
        record = world.record(ino)
        assert record is not None
        assert record.synced

    run(tmp_path, main)


def test_a_write_after_the_beginning_is_seen_also_of_the_same_bytes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        fh = await world.files.open(ino, write=True, truncate=False)
        async with world.files.snapshot(ino) as snapshot:
            assert snapshot.unchanged()
            await world.files.write(fh, 0, b"12345")
            assert not snapshot.unchanged()
            assert world.inode(ino).write_seq > snapshot.write_seq
        await world.files.release(fh)
        record = world.record(ino)
        assert record is not None
        assert not record.synced

    run(tmp_path, main)


def test_a_write_in_progress_is_waited_for(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, bytes(200 * KIB))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.write, fh, 0, noise(200 * KIB))
            await trio.lowlevel.checkpoint()
            async with world.files.snapshot(ino) as snapshot:
                data = bytes(await snapshot.read(0, snapshot.size_bytes))
                if snapshot.unchanged():
                    assert data == noise(200 * KIB)
        async with world.files.snapshot(ino) as snapshot:
            assert bytes(await snapshot.read(0, snapshot.size_bytes)) == noise(200 * KIB)
            assert snapshot.unchanged()
        await world.files.release(fh)

    run(tmp_path, main)


def store_past_us(path: str, data: bytes) -> None:
    """What the kernel does for a mapping of the backing file; until the next tick where ctime has that grain."""
    before = Path(path).stat().st_ctime_ns
    with Path(path).open("r+b", buffering=0) as file:
        while Path(path).stat().st_ctime_ns == before:
            file.seek(0)
            file.write(data)


def test_truncation_and_a_store_past_us_are_changes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        async with world.files.snapshot(ino) as snapshot:
            await world.files.set_size(ino, 2)
            assert not snapshot.unchanged()
        async with world.files.snapshot(ino) as snapshot:
            store_past_us(world.hot.path(ino), b"xy")
            assert not snapshot.unchanged()

    run(tmp_path, main)


def test_chmod_is_a_change_of_the_inode_and_told_by_write_seq(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        async with world.files.snapshot(ino) as snapshot:
            inode = world.inode(ino)
            with world.index.transaction() as txn:
                inodes.put(txn, evolve(inode, mode=0o100600, write_seq=inode.write_seq + 1))
            assert not snapshot.unchanged()

    run(tmp_path, main)


def test_absent_ranges_come_from_the_bucket_and_are_not_kept(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, 2 * PART, b"local")
        await world.files.release(fh)
        base = world.inode(ino).base
        assert base is not None
        key = world.key(ino)
        async with world.files.snapshot(ino) as snapshot:
            assert snapshot.ranges() == [
                (0, 2 * PART, Where(WhereKind.BASE, key, base.etag, 0)),
                (2 * PART, 2 * PART + 5, LOCAL),
                (2 * PART + 5, len(BIG), Where(WhereKind.BASE, key, base.etag, 2 * PART + 5)),
            ]
            expected = BIG[: 2 * PART] + b"local" + BIG[2 * PART + 5 :]
            assert bytes(await snapshot.read(0, len(BIG))) == expected
            assert snapshot.unchanged()
        assert world.extents(ino) == [(2 * PART, 2 * PART + 5)]

    run(tmp_path, main)


def test_fetching_for_a_reader_is_no_change(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, 2 * PART, b"local")
        async with world.files.snapshot(ino) as snapshot:
            await world.read_handle(fh)
            assert snapshot.unchanged()
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_cold_and_an_empty_file(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        async with world.files.snapshot(world.add_object(BIG)) as snapshot:
            assert bytes(await snapshot.read(10, 20)) == BIG[10:20]
            assert snapshot.unchanged()
        async with world.files.snapshot(world.add_new()) as snapshot:
            assert (snapshot.size_bytes, snapshot.ranges()) == (0, [])
            assert snapshot.unchanged()

    run(tmp_path, main)


def test_forgetting_the_file_is_a_change(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(BIG)
        async with world.files.snapshot(ino) as snapshot:
            world.files.forget(ino)
            assert not snapshot.unchanged()

    run(tmp_path, main)


def test_a_long_export_keeps_waiting_writers_from_giving_up(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        first = await world.write_new(noise(2 * PART))
        ino = world.add_new()
        fh = world.files.created(ino)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.write, fh, 0, noise(PART, seed=1))
            async with world.files.snapshot(first) as snapshot:
                for _ in range(10):
                    await snapshot.read(0, PART)
                    await trio.sleep(20)
            assert await world.export(first)
        await world.files.release(fh)
        assert await world.read(ino) == noise(PART, seed=1)

    run(tmp_path, main, limit_bytes=2 * PART + 4 * KIB)


def test_a_lost_backing_file_is_eio_not_zeros(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(BIG)
        clean = world.add_object(BIG)
        await world.read(clean)
        for victim in (ino, clean):
            world.hot.disk.unlink(world.hot.path(victim))
        with pytest.raises(FsError, match="changes are lost"):
            async with world.files.snapshot(ino):
                raise AssertionError("must not begin")
        with pytest.raises(FsError, match="changes are lost"):
            await world.read(ino)
        assert await world.read(clean) == BIG
        world.files.forget(ino)
        await wait_all_tasks_blocked()

    run(tmp_path, main)
