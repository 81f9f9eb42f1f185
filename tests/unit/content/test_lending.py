"""Files lent to a kernel that is played here: it opens, writes and maps backing files without asking."""

import errno
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.kernel import lending_to
from tests.support.tier import BLOCK, KIB, SETTINGS, World, noise, run
from tierfs.index import intents
from tierfs.model import Residency

DATA = noise(10 * KIB)


async def hot_file(world: World) -> int:
    """A small clean file, here as a whole and lent since it was read."""
    ino = world.add_object(DATA)
    assert await world.read(ino) == DATA
    return ino


def test_what_is_read_whole_is_lent_and_counts_as_open(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        assert list(kernel.fds) == [ino]
        assert world.files.is_open(ino)
        assert await world.files.recall(ino)
        assert not kernel.fds
        assert not world.files.is_open(ino)

    run(tmp_path, main)


def test_a_partly_present_file_is_not_lent(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = world.add_object(noise(2 << 20))
        fh = await world.files.open(ino, write=False, truncate=False)
        await world.files.read(fh, 0, BLOCK)
        await world.files.release(fh)
        record = world.record(ino)
        assert record is not None
        assert record.residency is Residency.PARTIAL
        assert not kernel.fds

    run(tmp_path, main)


def test_without_a_kernel_that_takes_files_all_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        kernel.refusal = errno.ENOMEM
        for _ in range(2):
            ino = await hot_file(world)
            assert not world.files.has_handles(ino)
        assert len(caplog.records) == 1  # told once

    run(tmp_path, main)


def test_a_lent_file_is_not_evicted_while_the_kernel_has_it_open(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        fd = kernel.open(ino, os.O_RDONLY)
        assert await world.files.drop(ino) == 0
        kernel.close(ino, fd)
        assert await world.files.drop(ino) > 0
        assert await world.read(ino) == DATA

    run(tmp_path, main)


def test_a_mapping_that_outlives_the_loan_keeps_its_bytes(tmp_path: Path) -> None:
    """Blocks are not punched below it: the backing file goes as a whole."""

    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        fd = kernel.open(ino, os.O_RDONLY)
        mapping = mmap.mmap(fd, len(DATA), prot=mmap.PROT_READ)
        kernel.close(ino, fd)
        reader = await world.files.open(ino, write=False, truncate=False)
        await world.files.recall(ino)
        assert await world.files.drop(ino, start=0, stop=2 * BLOCK) == 0
        assert await world.files.drop(ino) > 0
        assert mapping[:] == DATA
        await world.files.release(reader)
        assert await world.read(ino) == DATA
        mapping.close()

    run(tmp_path, main)


def test_a_writer_gets_a_closed_file_back_for_itself(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        fh = await world.files.open(ino, write=True, truncate=False)
        assert not kernel.fds
        await world.files.write(fh, 0, b"new")
        assert await world.read(ino) == b"new" + DATA[3:]
        assert not kernel.fds, "a reader beside a writer who comes through us"
        await world.files.release(fh)
        assert not world.files.is_writing(ino)

    run(tmp_path, main)


def test_a_writer_beside_readers_of_the_kernel_writes_past_us_and_ends_with_his_mapping(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        reader = kernel.open(ino, os.O_RDONLY)
        fh = await world.files.open(ino, write=True, truncate=False)
        assert world.files.is_written_past_us(ino)
        writer = kernel.open(ino, os.O_RDWR)
        mapping = mmap.mmap(writer, len(DATA))
        os.pwrite(writer, b"first", 0)
        assert not world.is_dirty(ino)
        kernel.close(ino, writer)
        await world.files.release(fh)
        assert world.is_dirty(ino)
        await trio.sleep(60)
        assert world.files.is_writing(ino), "the mapping may store at any time"
        mapping[10:14] = b"last"
        mapping.close()
        await trio.sleep(5)
        assert not world.files.is_writing(ino)
        kernel.close(ino, reader)
        assert await world.read(ino) == b"first" + DATA[5:10] + b"last" + DATA[14:]
        record = world.record(ino)
        assert record is not None
        assert not record.writing
        assert intents.of_inode(world.index, ino) is not None

    run(tmp_path, main)


def test_the_end_of_the_connection_ends_the_wait_for_mappings(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        reader = kernel.open(ino, os.O_RDONLY)
        fh = await world.files.open(ino, write=True, truncate=False)
        writer = kernel.open(ino, os.O_RDWR)
        mapping = mmap.mmap(writer, len(DATA))
        await world.files.release(fh)
        await trio.sleep(10)
        world.files.disconnected()
        await wait_all_tasks_blocked()
        assert not world.files.is_writing(ino)
        mapping.close()
        for fd in reader, writer:
            kernel.close(ino, fd)

    run(tmp_path, main)


def test_what_the_kernel_forgot_is_given_up_without_asking(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        world.files.forgotten(ino)
        assert kernel.discarded == [ino]
        assert not world.files.is_open(ino)

    run(tmp_path, main)


def test_the_number_of_lent_files_has_a_limit(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        first, second = await hot_file(world), await hot_file(world)
        fd = kernel.open(first, os.O_RDONLY)
        third = await hot_file(world)
        assert list(kernel.fds) == [first, third], "the oldest that nobody has open goes"
        kernel.close(first, fd)
        fourth = await hot_file(world)
        assert list(kernel.fds) == [first, fourth], "who was found in use counts as new"
        assert second not in kernel.fds

    run(tmp_path, main, settings=evolve(SETTINGS, lent_files_max=2))


def test_the_access_time_is_the_backing_files(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = await hot_file(world)
        assert world.files.live(world.inode(ino)) == world.inode(ino)
        os.utime(kernel.fds[ino], ns=(7 << 60, world.inode(ino).mtime_ns))
        assert world.files.live(world.inode(ino)).atime_ns == 7 << 60
        world.files.touch_times(ino, atime_ns=5)
        assert world.files.live(world.inode(ino)) == world.inode(ino)

    run(tmp_path, main)


def test_a_writer_in_place_writes_past_us_where_he_can_be_braked(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        kernel.has_brake = True
        ino = await hot_file(world)
        fh = await world.files.open(ino, write=True, truncate=False, in_place=True)
        assert world.files.is_written_past_us(ino)
        writer = kernel.open(ino, os.O_RDWR)
        os.pwrite(writer, b"past", 0)
        kernel.close(ino, writer)
        await world.files.release(fh)
        await trio.sleep(1)
        assert world.is_dirty(ino)
        assert not world.files.is_writing(ino)
        appender = await world.files.open(ino, write=True, truncate=False)
        assert not kernel.fds, "he may write without end"
        await world.files.release(appender)
        assert await world.read(ino) == b"past" + DATA[4:]

    run(tmp_path, main)


def test_a_file_beyond_its_share_of_the_tier_is_written_through_us(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        kernel.has_brake = True
        ino = await hot_file(world)
        fh = await world.files.open(ino, write=True, truncate=False, in_place=True)
        assert not kernel.fds
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=3 * len(DATA))


def test_writers_past_us_are_braked_until_there_is_room(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        kernel.has_brake = True
        ino = await hot_file(world)
        pinned = await world.write_new(noise(200 * KIB))  # dirty: it cannot be evicted
        fh = await world.files.open(ino, write=True, truncate=False, in_place=True)
        writer = kernel.open(ino, os.O_RDWR)
        os.pwrite(writer, noise(100 * KIB), 0)
        await trio.sleep(2)
        assert kernel.braked == [True]
        world.files.forget(pinned)
        await trio.sleep(2)
        assert kernel.braked == [True, False]
        kernel.close(ino, writer)
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=256 * KIB)


def test_the_brake_does_not_hold_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        kernel.has_brake = True
        ino = await hot_file(world)
        fh = await world.files.open(ino, write=True, truncate=False, in_place=True)
        writer = kernel.open(ino, os.O_RDWR)
        os.pwrite(writer, noise(300 * KIB), 0)
        await trio.sleep(60)
        assert kernel.braked == [True, False]
        assert "go on although" in caplog.text
        kernel.close(ino, writer)
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=256 * KIB)


def test_a_file_that_everybody_has_closed_is_lent_as_it_is(tmp_path: Path) -> None:
    """Who opens it next, or asks for its attributes, needs nobody here."""

    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = world.add_new()
        fh = world.files.created(ino)
        assert kernel.write(ino, 0, DATA)
        await world.files.release(fh)
        assert list(kernel.fds) == [ino] and not kernel.served
        [told] = kernel.kept
        assert told == world.inode(ino) and told.size_bytes == len(DATA)
        assert os.fstat(kernel.fds[ino]).st_mtime_ns == told.mtime_ns
        assert world.files.is_open(ino) and not world.files.has_handles(ino)
        assert await world.export(ino) and world.store.content(world.key(ino)) == DATA

    run(tmp_path, main)


def test_what_is_closed_is_not_kept_where_it_cannot_be(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        first = await world.write_new(DATA)
        assert list(kernel.fds) == [first]
        await world.write_new(DATA)
        assert list(kernel.fds) == [first], "there is a limit, and nobody has asked for the second"
        assert await world.files.recall(first)
        fh = world.files.created(world.add_new())
        await world.files.release(fh)
        assert not kernel.fds, "an empty file is read without anybody"
        assert not kernel.served

    run(tmp_path, main, settings=evolve(SETTINGS, lent_files_max=1))


def test_what_is_lent_again_while_it_is_recalled_is_not_back(tmp_path: Path) -> None:
    """The kernel forgot the inode and found it again before the answer came."""

    async def main(world: World) -> None:
        kernel = lending_to(world)
        first, second = await hot_file(world), await hot_file(world)
        recall = kernel.recall

        async def recall_slowly(inos: Sequence[int]) -> set[int]:
            came_back = await recall(inos)
            kernel.fds[first] = os.open(os.devnull, os.O_RDONLY)  # for `discard`, which closes it
            world.files.forgotten(first)
            assert await world.read(first) == DATA
            return came_back

        kernel.recall = recall_slowly  # type: ignore[method-assign]
        assert await world.files.lending.recall_all([first, second]) == {second}
        assert list(kernel.fds) == [first] and world.files.lending.has(first)

    run(tmp_path, main)
