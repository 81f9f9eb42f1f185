"""Files that are lent without a question: what is said of them on the control link is so before the next answer."""

import errno
import os
import struct
from pathlib import Path

import pytest
import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Reply, Rig, Run
from tests.native.test_holder_wire import attributes
from tierfs.fuse.holder_wire import HOLDER_HANDLES

INO = 42
BYTES = b"whole" * 1000
VALID_S = 60.0
PACKED_AT = 16  # struct fuse_attr in the answer to GETATTR


async def stat(rig: Rig) -> bytes | None:
    """The attributes that the holder answers with; None: it asks."""
    unique = await rig.ask(wire.GETATTR, INO, bytes(16))
    came = await rig.reply_or_request()
    if isinstance(came, Reply):
        return came.payload[PACKED_AT:]
    await rig.answer(unique, error=-errno.ENOENT)
    await rig.reply()
    return None


async def open_and_read(rig: Rig) -> bytes:
    await rig.ask(wire.OPEN, INO, struct.pack("=II", os.O_RDONLY, 0))
    fh, _, _ = struct.unpack("=QIi", (await rig.reply()).payload)
    assert fh == HOLDER_HANDLES + INO
    await rig.ask(wire.READ, INO, struct.pack("=QQIIQII", fh, 0, len(BYTES), 0, 0, 0, 0))
    return (await rig.reply()).payload


async def close(rig: Rig) -> None:
    await rig.ask(wire.RELEASE, INO, struct.pack("=QIIQ", HOLDER_HANDLES + INO, os.O_RDONLY, 0, 0))
    await rig.reply()


def packed(size: int) -> bytes:
    """As `convert.packed_attributes`."""
    return attributes(INO, size)[PACKED_AT:]


async def answered(rig: Rig, opcode: int, argument: bytes, payload: bytes) -> None:
    """A request that goes through Python."""
    unique = await rig.ask(opcode, INO, argument)
    await rig.asked()
    await rig.answer(unique, payload)
    await rig.reply()


def test_what_is_lent_is_opened_and_asked_about_here_from_the_next_answer_on(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hot").write_bytes(BYTES)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with (tmp_path / "hot").open("rb") as file:
            unique = await rig.ask(wire.GETATTR, 1, bytes(16))
            await rig.asked()
            assert rig.holder.lend(INO, file.fileno(), attributes=packed(7), valid_s=VALID_S)
            await rig.answer(unique, error=-errno.ENOENT)
            await rig.reply()
        assert await stat(rig) == packed(7)
        assert await open_and_read(rig) == BYTES
        rig.holder.attributes_changed(INO)
        await answered(rig, wire.SETXATTR, struct.pack("=IIII", 1, 0, 0, 0) + b"user.a\0x", b"")
        assert await stat(rig) is None
        await close(rig)

    run(scenario)


def test_attributes_that_are_said_before_a_change_do_not_outlive_its_answer(run: Run, tmp_path: Path) -> None:
    """close(2) and utimensat(2): what was said at the RELEASE was true before the SETATTR behind it."""
    (tmp_path / "hot").write_bytes(BYTES)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with (tmp_path / "hot").open("r+b") as file:
            for _ in range(50):
                assert rig.holder.serve(INO, file.fileno(), ranges=None, limit_bytes=1 << 20)
                release = await rig.ask(wire.RELEASE, INO, struct.pack("=QIIQ", 7, os.O_WRONLY, 0, 0))
                change = await rig.ask(wire.SETATTR, INO, struct.pack("=II", 1, 0) + bytes(80))
                assert {(await rig.asked()).unique, (await rig.asked()).unique} == {release, change}
                assert rig.holder.keep(INO, attributes=packed(1), valid_s=VALID_S)
                await rig.answer(release)
                await rig.answer(change, attributes(INO, 2))
                await rig.reply()
                await rig.reply()
                assert await stat(rig) is None
                await rig.holder.revoke(INO)

    run(scenario)


def test_a_file_that_was_served_whole_is_kept_with_the_descriptor_that_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hot").write_bytes(BYTES)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with (tmp_path / "hot").open("r+b") as file:
            assert rig.holder.serve(INO, file.fileno(), ranges=None, limit_bytes=1 << 20)
        assert await rig.served() == 1
        assert rig.holder.keep(INO, attributes=packed(len(BYTES)), valid_s=VALID_S)
        assert await rig.served() == 0
        assert await stat(rig) == packed(len(BYTES))
        assert await open_and_read(rig) == BYTES
        # one that is partly here has to be asked about
        await close(rig)
        await rig.holder.revoke(INO)
        with (tmp_path / "hot").open("r+b") as file:
            assert rig.holder.serve(INO, file.fileno(), ranges=[(0, 4096)])
        assert rig.holder.keep(INO, attributes=packed(len(BYTES)), valid_s=VALID_S)
        assert await rig.served() == 0
        assert (await rig.holder.status())["registered"] == 0

    run(scenario)


def test_a_forgotten_file_is_given_up_with_its_last_release(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hot").write_bytes(BYTES)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with (tmp_path / "hot").open("rb") as file:
            assert rig.holder.lend(INO, file.fileno(), attributes=packed(7), valid_s=VALID_S)
            assert (await rig.holder.status())["registered"] == 1
            rig.holder.discard(INO)
            assert (await rig.holder.status())["registered"] == 0
            assert rig.holder.lend(INO, file.fileno(), attributes=packed(7), valid_s=VALID_S)
        assert (await rig.holder.status())["registered"] == 1
        assert await open_and_read(rig) == BYTES
        rig.holder.discard(INO)
        assert (await rig.holder.status())["registered"] == 1, "its RELEASE is still on its way"
        await close(rig)
        assert (await rig.holder.status())["registered"] == 0

    run(scenario)


def test_many_are_taken_back_with_one_message_but_for_those_that_are_open(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hot").write_bytes(BYTES)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with (tmp_path / "hot").open("rb") as file:
            for ino in (INO, INO + 1, INO + 2):
                assert rig.holder.lend(ino, file.fileno(), attributes=b"", valid_s=0)
        assert (await rig.holder.status())["registered"] == 3
        assert await open_and_read(rig) == BYTES
        others = list(range(1000, 6000))
        assert await rig.holder.revoke_idle([INO, INO + 1, INO + 2, *others]) == {INO + 1, INO + 2, *others}
        assert (await rig.holder.status())["registered"] == 1
        assert await rig.holder.revoke_idle([]) == set()
        await close(rig)
        assert await rig.holder.revoke_idle([INO]) == {INO}

    run(scenario)


def test_who_waits_for_the_last_release_is_answered_whoever_has_read_the_order(run: Run, tmp_path: Path) -> None:
    """Beside the thread of the control link, the one of the packets reads it, too."""
    (tmp_path / "hot").write_bytes(BYTES)

    async def scenario(rig: Rig) -> None:
        await rig.init()
        with (tmp_path / "hot").open("rb") as file:
            assert rig.holder.lend(INO, file.fileno(), attributes=b"", valid_s=0)
        assert (await rig.holder.status())["registered"] == 1
        assert await open_and_read(rig) == BYTES
        for _ in range(50):
            async with trio.open_nursery() as nursery:

                async def refused() -> None:
                    with pytest.raises(OSError, match="busy"):
                        await rig.holder.revoke(INO, wait_s=0.01)

                unique = await rig.ask(wire.GETATTR, 1, bytes(16))
                await rig.asked()
                nursery.start_soon(refused)
                await trio.lowlevel.checkpoint()
                await rig.answer(unique, error=-errno.ENOENT)
                await rig.reply()
        await close(rig)

    run(scenario)
