"""What is there after SIGKILL (the same boot) and after power loss (another boot)."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.tier import PART, World, noise, run
from tierfs.errors import FsError
from tierfs.hottier.disk import Disk
from tierfs.index import inodes, intents, residency
from tierfs.model import InodeFlag, Residency

BIG = noise(5 * PART + 1234)


def overwrite(path: str, data: bytes) -> None:
    """As the kernel writes to a backing file: we are not asked."""
    with Path(path).open("r+b") as file:
        file.write(data)


async def reborn(world: World, check: Callable[[World], Awaitable[None]], *, new_boot: bool = False) -> None:
    """Kills this life and runs `check` in the next one."""
    following = world.crash(new_boot=new_boot)
    try:
        await following.running(check)
    finally:
        following.close()


def test_what_was_written_before_sigkill_is_there_without_a_close(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino, other = world.add_new(), world.add_new()
        fh = world.files.created(ino)
        world.files.created(other)
        await world.files.write(fh, 0, BIG)
        assert world.inode(ino).size_bytes == 0

        async def check(after: World) -> None:
            assert after.recovery.files == 2
            assert after.recovery.adopted == 1
            assert after.is_dirty(ino)
            assert await after.read(ino) == BIG
            record = after.record(ino)
            assert record is not None
            assert not record.writing
            assert after.inode(other).size_bytes == 0
            assert not after.is_dirty(other)

        await reborn(world, check)

    run(tmp_path, main)


def test_a_store_past_us_is_found_by_size_and_mtime(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        assert await world.export(ino)
        await world.files.open(ino, write=True, truncate=False)
        assert not world.is_dirty(ino)
        overwrite(world.hot.path(ino), b"abcde")

        async def check(after: World) -> None:
            assert after.is_dirty(ino)
            assert await after.read(ino) == b"abcde"

        await reborn(world, check)

    run(tmp_path, main)


def test_an_open_for_writing_that_changed_nothing_is_clean_after_sigkill(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        assert await world.export(ino)
        await world.files.open(ino, write=True, truncate=False)

        async def check(after: World) -> None:
            assert not after.is_dirty(ino)
            assert after.recovery.adopted == 0
            assert await after.read(ino) == b"12345"

        await reborn(world, check)

    run(tmp_path, main)


def test_writes_into_a_partly_present_file_survive_sigkill(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        fh = await world.files.open(ino, write=True, truncate=False)
        await world.files.read(fh, 4 * PART, 100)
        await world.files.write(fh, 2 * PART + 5, b"local")
        await world.files.write(fh, len(BIG) + 100, b"end")
        expected = BIG[: 2 * PART + 5] + b"local" + BIG[2 * PART + 10 :] + bytes(100) + b"end"

        async def check(after: World) -> None:
            assert after.is_dirty(ino)
            assert await after.read(ino) == expected

        await reborn(world, check)

    run(tmp_path, main)


def test_spills_survive_sigkill(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        data = noise(12 * PART, seed=2)
        ino = world.add_new()
        fh = world.files.created(ino)
        for at in range(0, len(data), PART // 4):
            await world.files.write(fh, at, data[at : at + PART // 4])

        async def check(after: World) -> None:
            assert residency.spills(after.index, ino)
            assert after.space.used_bytes <= 8 * PART
            assert await after.read(ino) == data

        await reborn(world, check)

    run(tmp_path, main, limit_bytes=8 * PART)


class Dying(Disk):
    """The process may die before it truncates."""

    is_dead = False

    def truncate(self, fd: int, size_bytes: int) -> None:
        if self.is_dead:
            raise FsError(5)
        super().truncate(fd, size_bytes)


def test_a_truncation_cut_off_between_row_and_file_is_finished_by_the_next_use(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        world.hot.disk = disk = Dying()
        full, partial = await world.write_new(BIG), world.add_object(BIG)
        await world.read(partial, 0, 100)
        disk.is_dead = True
        for ino in (full, partial):
            with pytest.raises(FsError):
                await world.files.set_size(ino, 1000)

        async def check(after: World) -> None:
            assert await after.read(full) == BIG[:1000]
            assert await after.read(partial) == BIG[:1000]
            await after.files.set_size(full, 2000)
            assert await after.read(full) == BIG[:1000] + bytes(1000)

        await reborn(world, check)

    run(tmp_path, main)


def test_a_truncation_counts_as_made_when_the_bytes_are_gone(tmp_path: Path) -> None:
    """A file with a writer gets its size from the backing file: the one that was cut off is to be asked for again."""

    async def main(world: World) -> None:
        world.hot.disk = disk = Dying()
        ino = await world.write_new(BIG)
        disk.is_dead = True
        with pytest.raises(FsError):
            await world.files.open(ino, write=True, truncate=True, token=5)
        assert not world.index.answers.was_made(5)
        disk.is_dead = False
        fh = await world.files.open(ino, write=True, truncate=True, token=5)
        assert world.index.answers.was_made(5)
        await world.files.release(fh)

    run(tmp_path, main)


def test_leaked_backing_files_are_removed(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kept = await world.write_new(b"12345")
        world.hot.open(0x77, create=True).close()

        async def check(after: World) -> None:
            assert after.recovery.leaked == 1
            assert after.hot.stat(0x77) is None
            assert after.hot.stat(kept) is not None

        await reborn(world, check)

    run(tmp_path, main)


def test_power_loss_drops_clean_copies_that_were_never_synced(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        fetched = world.add_object(BIG)
        await world.read(fetched)
        synced = await world.write_new(BIG)
        assert await world.export(synced)
        writing = await world.write_new(BIG)
        assert await world.export(writing)
        await world.files.open(writing, write=True, truncate=False)

        async def check(after: World) -> None:
            assert after.index.was_unclean_boot
            assert after.recovery.dropped == 2
            assert after.record(fetched) is None
            assert after.record(writing) is None
            assert after.record(synced) is not None
            assert await after.read(fetched) == BIG
            assert await after.read(writing) == BIG

        await reborn(world, check, new_boot=True)

    run(tmp_path, main)


def test_after_power_loss_a_file_never_synced_is_unproven_until_it_is_emptied(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        doubtful = await world.write_new(noise(5000))
        synced = world.add_new()
        fh = world.files.created(synced)
        await world.files.write(fh, 0, b"synced")
        await world.files.fsync(fh, datasync=False)

        async def check(after: World) -> None:
            assert after.recovery.unproven == 1
            async with after.files.snapshot(synced) as snapshot:
                assert not snapshot.is_unproven
            async with after.files.snapshot(doubtful) as snapshot:
                assert snapshot.is_unproven
            fh = await after.files.open(doubtful, write=True, truncate=False)
            await after.files.write(fh, 0, b"more")
            await after.files.fsync(fh, datasync=False)
            async with after.files.snapshot(doubtful) as snapshot:
                assert snapshot.is_unproven  # the rest of it is as doubtful as before
            await after.files.set_size(doubtful, 0)
            async with after.files.snapshot(doubtful) as snapshot:
                assert not snapshot.is_unproven
            await after.files.release(fh)

        await reborn(world, check, new_boot=True)

    run(tmp_path, main)


def test_what_power_loss_left_of_a_file_is_its_size(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(noise(5000))
        os.truncate(world.hot.path(ino), 100)  # the blocks were never written out
        following = world.crash(new_boot=True)

        async def check(after: World) -> None:
            assert after.inode(ino).size_bytes == 100
            assert after.is_dirty(ino)

        await following.running(check)
        following.close()

    run(tmp_path, main)


def test_after_an_orderly_reboot_everything_is_trusted(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        fetched = world.add_object(BIG)
        await world.read(fetched)
        dirty = await world.write_new(BIG)
        world.index.close()
        following = world.crash(new_boot=True)

        async def check(after: World) -> None:
            assert not after.index.was_unclean_boot
            async with after.files.snapshot(dirty) as snapshot:
                assert not snapshot.is_unproven
            count = len(after.store.log)
            assert await after.read(fetched) == BIG
            assert await after.read(dirty) == BIG
            assert len(after.store.log) == count

        await following.running(check)
        following.close()

    run(tmp_path, main)


def test_lost_dirty_bytes_are_told_and_not_shown_as_something_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, b"precious")
        world.hot.disk.unlink(world.hot.path(ino))
        following = world.crash()
        assert following.recovery.lost == 1
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert intents.of_inode(following.index, ino) is not None
        with pytest.raises(FsError):
            await following.files.open(ino, write=False, truncate=False)
        following.files.forget(ino)
        following.check()
        following.close()
        world.files.forget(ino)

    run(tmp_path, main)


def test_a_record_without_an_inode_goes(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = await world.write_new(b"12345")
        with world.index.transaction() as txn:
            inodes.delete(txn, ino)

        async def check(after: World) -> None:
            assert after.record(ino) is None
            assert after.hot.stat(ino) is None

        await reborn(world, check)
        world.files.forget(ino)

    run(tmp_path, main)


def test_evicted_ranges_are_not_found_again_as_zeros(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        await world.read(ino)
        await world.files.drop(ino, start=PART, stop=2 * PART)

        async def check(after: World) -> None:
            record = after.record(ino)
            assert record is not None
            assert record.residency is Residency.PARTIAL
            assert InodeFlag.DATA_DIRTY not in after.inode(ino).flags
            assert await after.read(ino) == BIG

        await reborn(world, check)

    run(tmp_path, main)
