"""Open files whose reads and writes a kernel connection, played here, answers from their backing files."""

import fcntl
import os
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.kernel import Kernel, lending_to
from tests.support.tier import BLOCK, KIB, PART, World, noise, run
from tierfs.errors import FsError

LARGE = noise(8 * PART)


async def opened_large(world: World) -> tuple[Kernel, int, int]:
    """A large file of the bucket, open for reading: (kernel, inode, file handle)."""
    kernel = lending_to(world)
    ino = world.add_object(LARGE)
    return kernel, ino, await world.files.open(ino, write=False, truncate=False)


def created(world: World) -> tuple[Kernel, int, int]:
    """A new file, open for writing: (kernel, inode, file handle)."""
    kernel = lending_to(world)
    ino = world.add_new()
    return kernel, ino, world.files.created(ino)


async def bring(world: World, kernel: Kernel, ino: int, fh: int, offset: int, size: int) -> bytes:
    """A READ of the kernel: from the backing file, once the bytes are there."""
    data = kernel.read(ino, offset, size)
    if data is None:
        await world.files.bring(fh, offset, size)
        data = kernel.read(ino, offset, size)
    return await world.files.read(fh, offset, size) if data is None else data


def may_write(fd: int) -> bool:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def test_who_only_reads_a_served_file_is_no_writer_to_a_lease(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = await opened_large(world)
        assert not may_write(kernel.served[ino].fd)
        await bring(world, kernel, ino, fh, 0, PART)  # we have it open for writing now
        again = await world.files.open(ino, write=False, truncate=False)
        assert not may_write(kernel.served[ino].fd)
        written = world.add_object(b"old bytes")
        writer = await world.files.open(written, write=True, truncate=True)
        assert may_write(kernel.served[written].fd)
        for handle in (fh, again, writer):
            await world.files.release(handle)

    run(tmp_path, main)


def test_what_is_written_past_us_to_a_new_file_is_exported(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = created(world)
        assert kernel.served[ino].is_new
        assert kernel.write(ino, 0, b"by the kernel")
        assert world.files.live(world.inode(ino)).size_bytes == 13
        await world.files.release(fh)
        assert not kernel.served
        assert world.inode(ino).size_bytes == 13
        assert await world.export(ino)
        assert world.store.content(world.key(ino)) == b"by the kernel"

    run(tmp_path, main)


def test_a_write_past_us_survives_the_end_of_the_daemon(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, _ = created(world)
        assert kernel.write(ino, 0, b"acknowledged")
        after = world.crash()
        assert after.inode(ino).size_bytes == 12
        assert after.is_dirty(ino)
        after.close()

    run(tmp_path, main)


def test_an_open_file_that_is_written_past_us_is_dirty_before_its_close(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = world.add_object(b"old bytes")
        fh = await world.files.open(ino, write=True, truncate=True)
        await world.export(ino)
        assert kernel.write(ino, 0, b"new")
        assert not world.is_dirty(ino)
        await trio.sleep(1)
        assert world.is_dirty(ino)
        await world.export(ino)
        assert kernel.write(ino, 0, b"newer")
        world.files.publish_writers()
        assert world.is_dirty(ino)
        await world.files.release(fh)

    run(tmp_path, main)


@pytest.mark.parametrize("size", [BLOCK, 64 * KIB])
def test_what_a_mapping_stored_makes_no_file_longer(tmp_path: Path, size: int) -> None:
    """A page that was on its way when the file was cut would bring its old length back, with a hole before it."""

    async def main(world: World) -> None:
        ino = world.add_new()
        fh = world.files.created(ino)
        await world.files.write(fh, 0, noise(size))
        page = noise(size, seed=1)
        assert await world.files.write(fh, size - 5, page, is_writeback=True) == size
        assert await world.files.read(fh, 0, 2 * size) == noise(size)[:-5] + page[:5]
        other = await world.files.open(ino, write=True, truncate=True)
        assert await world.files.write(fh, size, page, is_writeback=True) == size
        assert await world.files.write(fh, 0, page, is_writeback=True) == size
        assert world.files.live(world.inode(ino)).size_bytes == 0
        await world.files.release(other)
        await world.files.release(fh)
        assert world.inode(ino).size_bytes == 0

    run(tmp_path, main)


def test_nothing_is_written_past_us_while_a_file_with_another_writer_is_cut(tmp_path: Path) -> None:
    """His mapping may be written back at that moment: the kernel does not wait for that at O_TRUNC."""

    async def main(world: World) -> None:
        kernel, ino, mapped = created(world)
        assert kernel.write(ino, 0, bytes(3 * BLOCK))
        kernel.may_withdraw = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.files.open, ino, write=True, truncate=True))
            await wait_all_tasks_blocked()
            assert kernel.write(ino, 2 * BLOCK, b"on its way")
            assert world.files.live(world.inode(ino)).size_bytes == 3 * BLOCK
            kernel.may_withdraw.set()
        assert kernel.withdrawn == [ino]
        assert ino in kernel.served
        assert os.fstat(kernel.served[ino].fd).st_size == 0
        await world.files.write(mapped, 2 * BLOCK, b"too late", is_writeback=True)
        assert world.files.live(world.inode(ino)).size_bytes == 0

    run(tmp_path, main)


def test_a_file_is_not_served_for_writing_beyond_its_share_of_the_tier(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = created(world)
        assert kernel.served[ino].limit_bytes == 64 * KIB
        assert not kernel.write(ino, 60 * KIB, bytes(8 * KIB))
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=256 * KIB)


def test_writers_past_us_have_a_budget_that_the_tier_has_room_for(tmp_path: Path) -> None:
    limit_bytes = 512 * KIB

    async def main(world: World) -> None:
        kernel = lending_to(world)
        written = 0
        handles = []
        for _ in range(8):
            ino = world.add_new()
            handles.append(world.files.created(ino))
            for at in range(0, 128 * KIB, BLOCK):
                written += kernel.write(ino, at, noise(BLOCK))
                if at % (32 * KIB) == 0:
                    await trio.sleep(0.1)
                assert kernel.budget_bytes <= world.space.reserved_bytes
        assert limit_bytes // 2 < written * BLOCK <= limit_bytes
        await trio.sleep(0.2)
        assert world.space.used_bytes == written * BLOCK
        for fh in handles:
            await world.files.release(fh)
        await trio.sleep(0.2)
        assert world.space.reserved_bytes == kernel.budget_bytes == 0

    run(tmp_path, main, limit_bytes=limit_bytes)


def test_absent_bytes_are_brought_and_then_read_past_us(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = await opened_large(world)
        assert kernel.read(ino, 0, BLOCK) is None
        await world.files.bring(fh, 0, BLOCK)
        assert kernel.read(ino, 0, BLOCK) == LARGE[:BLOCK]
        for at in range(0, len(LARGE), PART):
            assert await bring(world, kernel, ino, fh, at, PART) == LARGE[at : at + PART]
        assert kernel.served[ino].ranges is None, "it is whole by now"
        await world.files.release(fh)

    run(tmp_path, main)


def test_no_byte_is_evicted_while_it_may_be_read_past_us(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = await opened_large(world)
        await bring(world, kernel, ino, fh, 0, PART)
        await wait_all_tasks_blocked()  # what is read ahead has landed
        kernel.may_withdraw = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.drop, ino)
            await wait_all_tasks_blocked()
            assert kernel.read(ino, 0, BLOCK) == LARGE[:BLOCK]
            kernel.may_withdraw.set()
        assert ino not in kernel.served
        assert world.extents(ino) == []
        assert await bring(world, kernel, ino, fh, 0, BLOCK) == LARGE[:BLOCK]
        await world.files.release(fh)

    run(tmp_path, main)


def test_a_tier_that_is_smaller_than_the_file_is_read_through(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = await opened_large(world)
        for at in range(0, len(LARGE), BLOCK):
            assert await bring(world, kernel, ino, fh, at, BLOCK) == LARGE[at : at + BLOCK]
        assert kernel.withdrawn, "it lost bytes on the way"
        await world.files.release(fh)

    run(tmp_path, main, limit_bytes=3 * PART)


def test_a_file_that_spills_is_written_through_us(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = created(world)
        size = at = 0
        while size < len(LARGE):
            piece = LARGE[size : size + BLOCK]
            if not kernel.write(ino, size, piece):
                at += 1
                await world.files.write(fh, size, piece)
            size += len(piece)
            await trio.sleep(0.5)
        assert at, "the rest was ours"
        assert not world.files.lending.serves_writes(ino)
        assert world.extents(ino), "parts of it went to the bucket"
        assert await world.read_handle(fh) == LARGE
        await world.files.release(fh)
        assert await world.export(ino)
        assert world.store.content(world.key(ino)) == LARGE

    run(tmp_path, main, limit_bytes=6 * PART)


def test_a_truncated_file_shows_nothing_that_was_cut_off(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel, ino, fh = await opened_large(world)
        await bring(world, kernel, ino, fh, 0, PART)
        await world.files.set_size(ino, 2 * BLOCK)
        await world.files.set_size(ino, 4 * BLOCK)
        assert await bring(world, kernel, ino, fh, 0, PART) == LARGE[: 2 * BLOCK] + bytes(2 * BLOCK)
        await world.files.release(fh)

    run(tmp_path, main)


def test_what_is_closed_keeps_its_bytes_until_the_kernel_has_heard_of_it(tmp_path: Path) -> None:
    """The next open's reads may still be answered from what was true before."""

    async def main(world: World) -> None:
        kernel, ino, fh = await opened_large(world)
        assert await bring(world, kernel, ino, fh, 0, 2 * PART) == LARGE[: 2 * PART]
        kernel.is_deaf = True
        await world.files.release(fh)
        assert world.files.is_open(ino), "for all we know"
        with pytest.raises(FsError, match="is open"):
            world.files.replaced(ino)
        assert kernel.read(ino, PART, 100) == LARGE[PART : PART + 100]
        assert await world.files.drop(ino) > 0, "it is asked first"
        assert kernel.read(ino, 0, 100) is None
        await trio.sleep(1)
        assert not world.files.is_open(ino)

    run(tmp_path, main)


def test_a_part_that_spills_stays_here_when_the_file_is_lent_meanwhile(tmp_path: Path) -> None:
    """Who reads by the kernel's passthrough would see a hole."""

    async def main(world: World) -> None:
        kernel = lending_to(world)
        data = noise(3 * PART, seed=5)
        ino = await world.write_new(data)
        world.store.hold("put")
        fh = await world.files.open(ino, write=True, truncate=False)
        await trio.sleep(10)
        await world.files.write(fh, len(data), b"x")  # grown beyond its share: spills begin
        await wait_all_tasks_blocked()
        assert world.store.in_flight > 0
        await world.files.release(fh)
        reader = await world.files.open(ino, write=False, truncate=False)
        fd = kernel.open(ino, os.O_RDONLY)
        world.store.release("put")
        await wait_all_tasks_blocked()
        assert os.pread(fd, len(data) + 1, 0) == data + b"x"
        kernel.close(ino, fd)
        await world.files.release(reader)

    run(tmp_path, main, limit_bytes=8 * PART)


def test_what_fails_its_checksum_is_not_a_hole_for_those_who_read_it_past_us(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = world.add_object(LARGE)
        world.store.spoil_next("get", lambda body: bytes([body[0] ^ 1]) + body[1:])
        fh = await world.files.open(ino, write=False, truncate=False)
        await world.files.bring(fh, 0, 1)
        assert kernel.read(ino, 1, 100) == LARGE[1:101], "of one part nobody can tell"
        kernel.may_withdraw = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.bring, fh, 0, len(LARGE))
            await wait_all_tasks_blocked()
            assert kernel.read(ino, 1, 100) == LARGE[1:101], "while the kernel has not heard of it"
            kernel.may_withdraw.set()
        assert await bring(world, kernel, ino, fh, 0, len(LARGE)) == LARGE
        await world.files.release(fh)

    run(tmp_path, main)


def test_the_access_time_of_a_cold_file_is_what_was_set_and_not_when_it_came(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = world.add_object(LARGE)
        before_ns = world.inode(ino).atime_ns
        fh = await world.files.open(ino, write=False, truncate=False)
        assert ino in kernel.served
        assert world.files.live(world.inode(ino)).atime_ns == before_ns
        world.files.touch_times(ino, atime_ns=12345)
        world.put(evolve(world.inode(ino), atime_ns=12345))
        assert world.files.live(world.inode(ino)).atime_ns == 12345
        kernel.is_deaf = True
        await world.files.release(fh)
        world.put(evolve(world.inode(ino), atime_ns=123))
        assert world.files.live(world.inode(ino)).atime_ns == 123, "nobody reads it any more"

    run(tmp_path, main)
