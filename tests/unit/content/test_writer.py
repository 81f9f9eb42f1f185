"""Writes, truncation and fsync: what the index knows when, and what a reader sees."""

import errno
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import BLOCK, KIB, PART, World, noise, run
from tierfs.errors import FsError
from tierfs.hottier.disk import Disk
from tierfs.index import inodes, intents, residency
from tierfs.model import Residency

BIG = noise(5 * PART + 1234)


def test_a_new_file_is_written_read_and_marked(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        record = world.record(ino)
        assert record is not None
        assert record.writing
        assert record.residency is Residency.FULL
        assert intents.of_inode(world.index, ino) is None
        assert await world.files.write(fh, 0, b"hello") == 5
        assert world.is_dirty(ino)
        assert await world.files.write(fh, 3, b"p me") == 4
        assert await world.files.read(fh, 0, 100) == b"help me"
        assert world.files.live(world.inode(ino)).size_bytes == 7
        assert world.inode(ino).size_bytes == 0  # told at close
        await world.files.flush(fh)
        assert world.inode(ino).size_bytes == 7
        await world.files.release(fh)
        record = world.record(ino)
        assert record is not None
        assert not record.writing
        assert world.woken == 1
        assert world.files.live(world.inode(ino)) == world.inode(ino)
        assert await world.read(ino) == b"help me"

    run(tmp_path, main)


def test_times_are_those_of_the_backing_file(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        created = world.inode(ino)
        assert world.files.live(created) == created
        await world.files.write(fh, 0, b"x")
        stat = world.hot.stat(ino)
        assert stat is not None
        live = world.files.live(created)
        assert (live.mtime_ns, live.ctime_ns) == (stat.mtime_ns, stat.ctime_ns)
        await world.files.release(fh)
        assert world.inode(ino).mtime_ns == stat.mtime_ns

    run(tmp_path, main)


def test_opening_for_writing_without_writing_changes_nothing(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        hot, cold = world.add_object(noise(5000)), world.add_object(BIG)
        await world.read(hot)
        for ino in (hot, cold):
            before = world.inode(ino)
            fh = await world.files.open(ino, write=True, truncate=False)
            record = world.record(ino)
            assert record is not None
            assert record.writing
            assert world.files.live(before) == before
            await world.files.flush(fh)
            await world.files.release(fh)
            assert world.inode(ino) == before
            assert intents.of_inode(world.index, ino) is None
        assert world.record(cold) is None  # nothing of it is here

    run(tmp_path, main)


def test_a_write_into_a_cold_file_fetches_nothing_and_reads_go_around_it(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, 2 * PART + 100, b"new bytes")
        assert not world.store.requests
        assert world.extents(ino) == [(2 * PART + 100, 2 * PART + 109)]
        expected = BIG[: 2 * PART + 100] + b"new bytes" + BIG[2 * PART + 109 :]
        assert await world.files.read(fh, 2 * PART, 4 * KIB) == expected[2 * PART : 2 * PART + 4 * KIB]
        assert await world.read_handle(fh) == expected
        await world.files.release(fh)
        assert await world.read(ino) == expected

    run(tmp_path, main)


def test_a_write_beyond_the_end_of_a_cold_file_leaves_zeros_that_are_present(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, len(BIG) + 5000, b"end")
        assert world.inode(ino).size_bytes == len(BIG) + 5003
        assert await world.files.read(fh, len(BIG) - 10, 10_000) == BIG[-10:] + bytes(5000) + b"end"
        await world.files.release(fh)
        assert await world.read(ino) == BIG + bytes(5000) + b"end"

    run(tmp_path, main)


def test_a_big_write_goes_through_a_thread_and_is_whole(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(BIG, step=len(BIG))
        assert await world.read(ino) == BIG

    run(tmp_path, main)


def test_overwriting_all_of_a_cold_file_makes_it_full_without_a_fetch(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        other = noise(len(BIG), seed=3)
        fh = await world.files.open(ino, write=True, truncate=False)
        for at in range(0, len(other), 40 * KIB):
            await world.files.write(fh, at, other[at : at + 40 * KIB])
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.FULL
        live = world.files.live(world.inode(ino))
        await world.files.release(fh)
        assert world.inode(ino).mtime_ns == live.mtime_ns
        assert await world.read(ino) == other
        assert not world.store.requests

    run(tmp_path, main)


def test_a_write_while_the_range_is_on_its_way_wins(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        fh = await world.files.open(ino, write=True, truncate=False)
        results = []

        async def read() -> None:
            results.append(await world.files.read(fh, 2 * PART, 4 * KIB))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await world.files.write(fh, 2 * PART + 10, b"mine")
            world.store.release("get")
        expected = BIG[2 * PART : 2 * PART + 10] + b"mine" + BIG[2 * PART + 14 : 2 * PART + 4 * KIB]
        assert results == [expected]
        assert await world.files.read(fh, 2 * PART, 4 * KIB) == expected
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_truncation_while_the_range_is_on_its_way(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        fh = await world.files.open(ino, write=True, truncate=False)
        results = []

        async def read() -> None:
            results.append(await world.files.read(fh, 2 * PART, 4 * KIB))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await world.files.set_size(ino, 2 * PART + 100)
            await world.files.set_size(ino, 2 * PART + 200)
            world.store.release("get")
        assert results == [BIG[2 * PART : 2 * PART + 100] + bytes(100)]
        await world.files.release(fh)
        assert await world.read(ino) == BIG[: 2 * PART + 100] + bytes(100)

    run(tmp_path, main)


def test_truncating_a_cold_file_fetches_nothing(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        await world.files.set_size(ino, PART + 7)
        assert not world.store.requests
        assert world.inode(ino).size_bytes == PART + 7
        assert world.is_dirty(ino)
        assert world.woken == 1
        await world.files.set_size(ino, PART + 1000)
        assert await world.read(ino) == BIG[: PART + 7] + bytes(993)
        await world.files.set_size(ino, 0)
        assert await world.read(ino) == b""
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.FULL

    run(tmp_path, main)


def test_truncating_a_hot_file(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(BIG)
        await world.files.set_size(ino, 1000)
        await world.files.set_size(ino, 2000)
        assert await world.read(ino) == BIG[:1000] + bytes(1000)
        assert world.space.used_bytes <= 2 * BLOCK

    run(tmp_path, main)


def test_truncation_moves_the_times_also_when_the_size_stays(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        world.clock.advance_s(1e9)  # past the real time that the backing file has
        await world.files.set_size(ino, 5)
        assert world.inode(ino).mtime_ns == world.clock.now_ns()
        fh = await world.files.open(ino, write=True, truncate=False)
        assert world.files.live(world.inode(ino)).mtime_ns == world.clock.now_ns()
        await world.files.release(fh)

    run(tmp_path, main)


def test_open_with_truncate_of_a_small_cold_file_asks_nobody(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(5000))
        fh = await world.files.open(ino, write=True, truncate=True)
        assert world.inode(ino).size_bytes == 0
        await world.files.write(fh, 0, b"new")
        await world.files.release(fh)
        assert await world.read(ino) == b"new"
        assert not world.store.requests

    run(tmp_path, main)


def test_a_handle_for_reading_cannot_write_and_a_closed_one_nothing(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(noise(5000))
        fh = await world.files.open(ino, write=False, truncate=False)
        with pytest.raises(FsError) as caught:
            await world.files.write(fh, 0, b"x")
        assert caught.value.errno == errno.EBADF
        await world.files.release(fh)
        with pytest.raises(FsError) as caught:
            await world.files.read(fh, 0, 1)
        assert caught.value.errno == errno.EBADF

    run(tmp_path, main)


def test_sizes_beyond_what_a_backing_file_holds_are_efbig(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        with pytest.raises(FsError) as caught:
            await world.files.write(fh, 1 << 62, b"x")
        assert caught.value.errno == errno.EFBIG
        with pytest.raises(FsError) as caught:
            await world.files.set_size(ino, 1 << 62)
        assert caught.value.errno == errno.EFBIG
        await world.files.release(fh)

    run(tmp_path, main)


def test_each_change_after_an_export_is_a_new_one(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"one")
        assert await world.export(ino)
        assert not world.is_dirty(ino)
        seq = world.inode(ino).write_seq
        fh = await world.files.open(ino, write=True, truncate=False)
        assert not world.is_dirty(ino)
        await world.files.write(fh, 3, b" two")
        assert world.is_dirty(ino)
        assert world.inode(ino).write_seq > seq
        assert await world.export(ino)
        seq = world.inode(ino).write_seq
        await world.files.flush(fh)
        assert world.inode(ino).write_seq == seq  # a close without a change is none
        await world.files.write(fh, 7, b" three")
        assert world.inode(ino).write_seq > seq
        assert world.is_dirty(ino)
        await world.files.release(fh)
        assert world.store.content(world.key(ino)) == b"one two"

    run(tmp_path, main)


def test_fsync_makes_a_dirty_file_synced_and_its_next_change_does_not_undo_that(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, b"one")
        await world.files.fsync(fh, datasync=True)
        record = world.record(ino)
        assert record is not None
        assert record.synced
        assert world.inode(ino).size_bytes == 3
        await world.files.write(fh, 3, b"two")
        record = world.record(ino)
        assert record is not None
        assert record.synced
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_clean_synced_copy_loses_its_trust_durably_before_it_changes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"one")
        assert await world.export(ino)
        record = world.record(ino)
        assert record is not None
        assert record.synced
        calls = []
        durable = world.index.durable

        async def note() -> None:
            found = world.record(ino)
            assert found is not None
            calls.append((found.writing, found.synced))
            await durable()

        world.index.durable = note  # type: ignore[method-assign]
        fh = await world.files.open(ino, write=True, truncate=False)
        assert calls == [(True, True)]
        await world.files.write(fh, 0, b"two")
        record = world.record(ino)
        assert record is not None
        assert not record.synced
        await world.files.release(fh)
        assert await world.export(ino)
        await world.files.set_size(ino, 1)
        assert calls[1:] == [(False, False)]

    run(tmp_path, main)


def test_extents_of_a_synced_dirty_file_are_synced_before_they_count(tmp_path: Path) -> None:
    syncs: list[str] = []

    class Noting(Disk):
        def sync(self, fd: int, *, data_only: bool) -> None:
            super().sync(fd, data_only=data_only)
            syncs.append("sync")

    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.hot.disk = Noting()
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.write(fh, 0, b"x")
        assert syncs == []
        await world.files.fsync(fh, datasync=True)
        assert len(syncs) == 1
        await world.files.write(fh, PART, b"y")  # a new extent
        assert len(syncs) == 2
        await world.files.write(fh, PART, b"z")  # none
        assert len(syncs) == 2
        await world.files.read(fh, 3 * PART, 10)  # a fetched one
        assert len(syncs) == 3
        record = world.record(ino)
        assert record is not None
        assert record.synced
        await world.files.release(fh)

    run(tmp_path, main)


def test_touch_times_is_not_overtaken_by_earlier_writes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        for ino in (world.add_new(), world.add_object(BIG)):
            fh = await world.files.open(ino, write=True, truncate=False)
            await world.files.write(fh, 10, b"x")
            world.files.touch_times(ino, atime_ns=1_000, mtime_ns=2_000)
            with world.index.transaction() as txn:
                inodes.put(txn, evolve(world.inode(ino), atime_ns=1_000, mtime_ns=2_000))
            assert world.files.live(world.inode(ino)).mtime_ns == 2_000
            await world.files.release(fh)
            assert world.inode(ino).mtime_ns == 2_000
            fh = await world.files.open(ino, write=True, truncate=False)
            await world.files.write(fh, 10, b"y")
            await world.files.release(fh)
            assert world.inode(ino).mtime_ns > 2_000

    run(tmp_path, main)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    class Full(Disk):
        is_full = False

        def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
            if self.is_full:
                super().pwrite(fd, data[: len(data) // 2], offset)
                raise FsError(errno.ENOSPC)
            super().pwrite(fd, data, offset)

    async def main(world: World) -> None:
        disk = Full()
        world.hot.disk = disk
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, b"good")
        disk.is_full = True
        for data in (b"bad", noise(100 * KIB)):
            with pytest.raises(FsError) as caught:
                await world.files.write(fh, 4, data)
            assert caught.value.errno == errno.ENOSPC
        disk.is_full = False
        assert await world.files.read(fh, 0, 100) == b"good"
        await world.files.write(fh, 4, b" again")
        await world.files.release(fh)
        assert await world.read(ino) == b"good again"

    run(tmp_path, main)


def test_st_blocks_speaks_of_the_file_and_not_of_the_cache(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        cold = world.add_object(BIG)
        full_blocks = -(-len(BIG) // 512)
        assert world.files.blocks(world.inode(cold)) == full_blocks
        await world.read(cold, 0, 100)
        assert world.files.blocks(world.inode(cold)) == full_blocks
        sparse = world.add_new()
        fh = world.files.created(sparse)
        await world.files.write(fh, 10 * PART, b"x")
        await world.files.release(fh)
        assert world.files.blocks(world.inode(sparse)) * 512 < PART

    run(tmp_path, main)


def test_a_close_that_the_index_refuses_changes_nothing_in_memory_either(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"old bytes")
        writer = await world.files.open(ino, write=True, truncate=False)
        reader = await world.files.open(ino, write=False, truncate=False)
        live = world.files._of(writer).live
        world.index.freeze("by the test")
        with pytest.raises(FsError) as refused:
            await world.files.release(writer)
        assert refused.value.errno == errno.EROFS
        assert live.record == world.record(ino)
        await world.files.release(reader)
        world.crash().close()

    run(tmp_path, main)


def test_forget_removes_everything(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(BIG)
        world.files.forget(ino)
        assert world.record(ino) is None
        assert world.space.used_bytes == 0
        assert world.hot.stat(ino) is None
        assert list(residency.coldest(world.index, None, 10)) == []

    run(tmp_path, main)


def test_replaced_drops_what_is_stale(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=False, truncate=False)
        await world.files.read(fh, 0, 100)
        with pytest.raises(FsError):
            world.files.replaced(ino)
        await world.files.release(fh)
        new = noise(len(BIG), seed=9)
        info = world.store.place(world.key(ino), new)
        world.files.replaced(ino)
        inode = world.inode(ino)
        assert inode.base is not None
        with world.index.transaction() as txn:
            inodes.put(txn, evolve(inode, base=evolve(inode.base, etag=info.etag, content="")))
        assert await world.read(ino) == new

    run(tmp_path, main)
