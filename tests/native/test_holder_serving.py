"""Files that are open through pyfuse3 while the holder reads and writes them, and requests longer than a packet."""

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Reply, Request, Rig, Run
from tierfs.errors import FsError
from tierfs.fuse.convert import written_handle

INO = 5
FH = 7
KIB = 1 << 10
WRITE_CACHE = 1  # FUSE_WRITE_CACHE of uapi/linux/fuse.h
CAPABILITY = struct.pack("=II", 20, 0) + b"security.capability\0"


def transfer(offset: int, size: int, data: bytes = b"", *, flags: int = 0) -> bytes:
    """The argument of READ or WRITE."""
    return struct.pack("=QQIIQII", FH, offset, size, flags, 0, 0, 0) + data


@contextmanager
def backing(tmp_path: Path, data: bytes) -> Iterator[int]:
    path = tmp_path / "backing"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


async def read(rig: Rig, offset: int, size: int) -> Reply:
    unique = await rig.ask(wire.READ, INO, transfer(offset, size))
    reply = await rig.reply()
    assert reply.unique == unique
    return reply


async def write(rig: Rig, offset: int, data: bytes, *, flags: int = 0) -> int:
    """Asks; returns the id."""
    return await rig.ask(wire.WRITE, INO, transfer(offset, len(data), data, flags=flags))


def test_what_is_present_is_read_here_and_the_rest_is_brought(run: Run, tmp_path: Path) -> None:
    data = os.urandom(64 * KIB)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with backing(tmp_path, data) as fd:
            assert rig.holder.serve(INO, fd, ranges=[(0, 4096), (8192, 12288)])
        assert await rig.served() == 1
        assert (await read(rig, 100, 1000)).payload == data[100:1100]
        assert await rig.calls.asked() == (FH, 100, 1000), "the first read of a part is told"
        unique = await rig.ask(wire.READ, INO, transfer(2048, 4096))
        assert await rig.calls.asked() == (FH, 2048, 4096)
        assert (await read(rig, 9000, 100)).payload == data[9000:9100], "nobody waits behind who waits"
        rig.holder.present(INO, 4096, 8192)
        rig.calls.gate.set()
        assert await rig.reply() == Reply(unique, 0, data[2048:6144])
        rig.holder.present(INO, 0, None)
        assert (await read(rig, 60 * KIB, 64 * KIB)).payload == data[60 * KIB :], "up to the end of the file"
        assert (await read(rig, 1 << 40, 10)).payload == b""
        told = await rig.holder.status()
        assert (told["served_reads"], told["served_read_bytes"]) == (5, 1000 + 100 + 4096 + 4 * KIB)

    run(scenario)


def test_a_read_that_cannot_be_brought_gets_its_error(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        rig.calls.gate.set()
        rig.calls.error = FsError(errno.ESTALE)
        with backing(tmp_path, bytes(8192)) as fd:
            rig.holder.serve(INO, fd, ranges=[])
        assert await rig.served() == 1
        assert (await read(rig, 0, 4096)).error == -errno.ESTALE

    run(scenario)


def test_what_the_tier_has_no_room_for_is_answered_by_pyfuse3(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        rig.calls.gate.set()
        with backing(tmp_path, bytes(8192)) as fd:
            rig.holder.serve(INO, fd, ranges=[])
        assert await rig.served() == 1
        unique = await rig.ask(wire.READ, INO, transfer(0, 4096))
        request = await rig.asked()
        assert (request.opcode, request.unique, request.argument) == (wire.READ, unique, transfer(0, 4096))
        await rig.answer(unique, b"past the tier")
        assert await rig.reply() == Reply(unique, 0, b"past the tier")

    run(scenario)


def test_an_interrupt_ends_a_read_that_waits_for_its_bytes(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        gone = await trio.run_process(["sh", "-c", "echo $$"], capture_stdout=True)
        with backing(tmp_path, bytes(8192)) as fd:
            rig.holder.serve(INO, fd, ranges=[])
        assert await rig.served() == 1
        unique = await rig.ask(wire.READ, INO, transfer(0, 4096), pid=int(gone.stdout))
        await rig.calls.asked()
        await rig.ask(wire.INTERRUPT, argument=struct.pack("=Q", unique))
        assert await rig.reply() == Reply(unique, -errno.EINTR, b"")
        rig.holder.present(INO, 0, None)
        rig.calls.gate.set()
        assert (await read(rig, 0, 10)).payload == bytes(10)
        assert (await rig.holder.status())["swallowed"] == 1

    run(scenario)


def test_writes_are_taken_within_their_limit_and_budget(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        with backing(tmp_path, b"") as fd:
            rig.holder.serve(INO, fd, ranges=None, limit_bytes=10_000)
            assert await rig.served() == 1

            async def is_ours(offset: int, data: bytes) -> bool:
                unique = await write(rig, offset, data)
                answer = await rig.reply_or_request()
                if isinstance(answer, Request):
                    assert answer.argument == transfer(offset, len(data), data)
                    await rig.answer(unique, struct.pack("=II", len(data), 0))
                    assert (await rig.reply()).error == 0
                    return False
                assert answer == Reply(unique, 0, struct.pack("=II", len(data), 0))
                assert os.pread(fd, len(data), offset) == data
                return True

            assert not await is_ours(0, b"no budget yet")
            rig.holder.budget(9000)
            assert await rig.served() == 1  # its answer says that the budget came: a write has a link of its own
            assert await is_ours(0, b"x" * 4096)
            assert not await is_ours(8000, b"y" * 2001), "beyond the limit"
            assert await is_ours(6000, b"z" * 4000)
            assert not await is_ours(0, b"x" * 905), "904 are left"
            assert await is_ours(0, b"x" * 904)
            assert (await read(rig, 3000, 2000)).payload == b"x" * 1096 + bytes(904)
            unique = await rig.ask(wire.FLUSH, INO, struct.pack("=QIIQ", FH, 0, 0, 0))
            assert await rig.reply() == Reply(unique, 0, b""), "size and times are looked at when it is released"

    run(scenario)


def test_what_the_kernel_writes_back_makes_no_file_longer(run: Run, tmp_path: Path) -> None:
    """The page was on its way when an O_TRUNC cut the file."""

    async def scenario(rig: Rig) -> None:
        await rig.init()
        rig.holder.budget(1 << 20)
        with backing(tmp_path, b"six by") as fd:
            rig.holder.serve(INO, fd, ranges=None, limit_bytes=1 << 20)
            assert await rig.served() == 1
            for offset, left in ((4096, b"six by"), (6, b"six by"), (4, b"six pa")):
                unique = await write(rig, offset, b"page", flags=WRITE_CACHE)
                assert await rig.reply() == Reply(unique, 0, struct.pack("=II", 4, 0))
                assert os.pread(fd, 8192, 0) == left

    run(scenario)


def test_python_is_told_what_the_kernel_writes_back(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        unique = await rig.ask(wire.WRITE, INO, transfer(0, 4, b"page", flags=WRITE_CACHE))
        request = await rig.asked()
        assert written_handle(struct.unpack_from("=Q", request.argument)[0]) == (FH, True)
        await rig.answer(unique, struct.pack("=II", 4, 0))
        assert (await rig.reply()).error == 0
        await rig.ask(wire.WRITE, INO, transfer(0, 4, b"data"))
        request = await rig.asked()
        assert written_handle(struct.unpack_from("=Q", request.argument)[0]) == (FH, False)

    run(scenario)


def test_a_file_of_which_something_is_absent_is_never_written_here(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        rig.holder.budget(1 << 20)
        with backing(tmp_path, bytes(8192)) as fd:
            rig.holder.serve(INO, fd, ranges=[(0, 4096)], limit_bytes=1 << 20)
            assert await rig.served() == 0
            for ranges in ([(4096, 0)], [(0, 10), (10, 20)], [(10, 20), (0, 5)]):
                rig.holder.serve(INO, fd, ranges=ranges)
                assert await rig.served() == 0, ranges

    run(scenario)


def test_a_withdrawn_file_is_left_alone(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        rig.holder.budget(1 << 20)
        with backing(tmp_path, b"before") as fd:
            rig.holder.serve(INO, fd, ranges=None, limit_bytes=1 << 20)
            await rig.holder.withdraw(INO)
            await rig.holder.withdraw(INO)
            for opcode, argument in ((wire.READ, transfer(0, 6)), (wire.WRITE, transfer(0, 5, b"after"))):
                unique = await rig.ask(opcode, INO, argument)
                assert (await rig.asked()).unique == unique
            assert os.pread(fd, 10, 0) == b"before"

    run(scenario)


def test_a_new_file_has_no_capabilities_until_somebody_sets_an_attribute(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        with backing(tmp_path, b"") as fd:
            rig.holder.serve(INO, fd, ranges=None, limit_bytes=1, no_capabilities=True)
        assert await rig.served() == 1
        unique = await rig.ask(wire.GETXATTR, INO, CAPABILITY)
        assert await rig.reply() == Reply(unique, -errno.ENODATA, b"")
        await rig.ask(wire.SETXATTR, INO, bytes(40))
        await rig.asked()
        unique = await rig.ask(wire.GETXATTR, INO, CAPABILITY)
        assert (await rig.asked()).unique == unique

    run(scenario)


def test_a_close_is_answered_here_unless_python_has_to_hear_of_it(run: Run, tmp_path: Path) -> None:
    flush = struct.pack("=QIIQ", FH, 0, 0, 0)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with backing(tmp_path, b"") as fd:
            rig.holder.serve(INO, fd, ranges=None, limit_bytes=1)
            assert await rig.served() == 1
            unique = await rig.ask(wire.FLUSH, INO, flush)
            assert await rig.reply() == Reply(unique, 0, b"")
            rig.holder.serve(INO, fd, ranges=None, limit_bytes=1, forwards_flush=True)
            assert await rig.served() == 1
            unique = await rig.ask(wire.FLUSH, INO, flush)
            assert (await rig.asked()).unique == unique
            await rig.answer(unique, error=-errno.EIO)
            assert await rig.reply() == Reply(unique, -errno.EIO, b"")

    run(scenario)


def test_a_long_read_goes_to_pyfuse3_in_pieces(run: Run) -> None:
    data = os.urandom(200 * KIB)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        for length in (200 * KIB, 130 * KIB, 64 * KIB):  # the last two: the file ends there
            unique = await rig.ask(wire.READ, INO, transfer(1000, 200 * KIB))
            at = 0
            while at < length:
                request = await rig.asked()
                size = min(64 * KIB, 200 * KIB - at)
                assert (request.nodeid, request.argument) == (INO, transfer(1000 + at, size))
                await rig.answer(request.unique, data[at : min(length, at + size)])
                at += size
            if length == 64 * KIB:
                await rig.answer((await rig.asked()).unique, b"")
            assert await rig.reply() == Reply(unique, 0, data[:length])

    run(scenario)


def test_a_long_write_goes_to_pyfuse3_in_pieces(run: Run) -> None:
    data = os.urandom(100 * KIB)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        for answers, written in (((64, 36), 100), ((64, 30), 94), ((10,), 10)):
            unique = await write(rig, 0, data)
            for at, size in zip((0, 64), answers, strict=False):
                request = await rig.asked()
                piece = data[at * KIB : (at + 64) * KIB]
                assert request.argument == transfer(at * KIB, len(piece), piece)
                await rig.answer(request.unique, struct.pack("=II", size * KIB, 0))
            assert await rig.reply() == Reply(unique, 0, struct.pack("=II", written * KIB, 0))

    run(scenario)


def test_an_error_of_a_piece_is_the_end_of_the_request(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        unique = await rig.ask(wire.READ, INO, transfer(0, 200 * KIB))
        await rig.answer((await rig.asked()).unique, error=-errno.EIO)
        assert await rig.reply() == Reply(unique, -errno.EIO, b"")
        unique = await rig.ask(wire.READ, INO, transfer(0, 200 * KIB))
        await rig.answer((await rig.asked()).unique, bytes(64 * KIB))
        await rig.answer((await rig.asked()).unique, error=-errno.ESTALE)
        assert await rig.reply() == Reply(unique, -errno.ESTALE, b""), "a short read would be the end of the file"
        unique = await write(rig, 0, bytes(100 * KIB))
        await rig.answer((await rig.asked()).unique, struct.pack("=II", 99 * KIB, 0))
        assert (await rig.reply()).error == -errno.EIO, "more than was asked for"
        unique = await rig.ask(wire.READ, INO, transfer(0, 200 * KIB))
        await rig.answer((await rig.asked()).unique, b"short", size=999)
        assert await rig.reply() == Reply(unique, -errno.EIO, b"")
        assert (await rig.holder.status())["waiting"] == 0

    run(scenario)


def test_the_end_of_pyfuse3_ends_what_waits_in_pieces_or_for_bytes(run: Run, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        with backing(tmp_path, bytes(8192)) as fd:
            rig.holder.serve(INO, fd, ranges=[])
        assert await rig.served() == 1
        waiting = [
            await rig.ask(wire.READ, INO, transfer(0, 4096)),
            await rig.ask(wire.READ, INO + 1, transfer(0, 200 * KIB)),
            await rig.ask(wire.WRITE, INO + 1, transfer(0, 100 * KIB, bytes(100 * KIB))),
        ]
        await rig.calls.asked()
        await rig.asked()
        await rig.asked()
        rig.end_python()
        replies = [await rig.reply() for _ in waiting]
        assert {reply.error for reply in replies} == {-errno.ENOTCONN}
        assert sorted(reply.unique for reply in replies) == waiting

    run(scenario)
