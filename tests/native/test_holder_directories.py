"""What the holder answers of directories that Python told of, and when it does not."""

import errno
import struct

import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Reply, Rig, Run

DIRECTORY = 40
HOLD_S = 50.0
NEGATIVE_S = 5
CREATE_IN = struct.pack("=IIII", 0, 0o644, 0, 0)
CODE = 1 << 16
NOTHING, ATTRIBUTES, NAMES, STILL = range(4)


async def tell(rig: Rig, kind: int, payload: bytes = b"", *, ino: int = DIRECTORY, hold_s: float = HOLD_S) -> None:
    """A packet of `fuse.directories`."""
    told = struct.pack("=IIQQQ", kind, 0, ino, int(hold_s * 1e9), NEGATIVE_S * 10**9)
    await rig.python.send(struct.pack("=IiQ", 16 + len(told) + len(payload), CODE, 0) + told + payload)


def attributes(size: int) -> bytes:
    return struct.pack("=QQ", DIRECTORY, size) + bytes(72)


def names(*each: bytes) -> bytes:
    return b"".join(bytes([len(name)]) + name for name in each)


async def is_asked(rig: Rig, opcode: int, argument: bytes = b"", *, ino: int = DIRECTORY) -> bool:
    """Does the request come to Python? It is answered with ENOENT there, and here with what was told."""
    unique = await rig.ask(opcode, ino, argument)
    found: list[bool] = []
    async with trio.open_nursery() as nursery:

        async def by_python() -> None:
            assert (await rig.asked()).unique == unique
            await rig.answer(unique, error=-errno.ENOENT)
            found.append(True)

        nursery.start_soon(by_python)
        reply = await rig.reply()
        nursery.cancel_scope.cancel()
    assert reply.unique == unique
    return bool(found)


async def arrived(rig: Rig) -> None:
    """All that Python said before is known: answers take the same link."""
    unique = await rig.ask(wire.STATFS)
    assert (await rig.asked()).unique == unique
    await rig.answer(unique)
    assert (await rig.reply()).unique == unique


def test_a_name_that_is_not_among_those_told_is_not_looked_up_in_python(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        await tell(rig, NAMES, names(b"a", b"b" * 255))
        await arrived(rig)
        unique = await rig.ask(wire.LOOKUP, DIRECTORY, b"new\0")
        assert await rig.reply() == Reply(unique, 0, wire.ENTRY.pack(0, 0, NEGATIVE_S, 0, 0, 0))
        assert not await is_asked(rig, wire.LOOKUP, b"c" * 255 + b"\0")
        for asked in (b"a\0", b"b" * 255 + b"\0", b".\0", b"..\0", b"\0", b"endless"):
            assert await is_asked(rig, wire.LOOKUP, asked), asked
        assert await is_asked(rig, wire.LOOKUP, b"new\0", ino=DIRECTORY + 1)
        await tell(rig, NOTHING)
        await arrived(rig)
        assert await is_asked(rig, wire.LOOKUP, b"new\0")

    run(scenario)


def test_a_name_is_known_from_the_moment_that_it_may_be_made(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        await tell(rig, NAMES)
        await arrived(rig)
        making = await rig.ask(wire.CREATE, DIRECTORY, CREATE_IN + b"new\0")
        assert (await rig.asked()).unique == making
        assert await is_asked(rig, wire.LOOKUP, b"new\0")
        await tell(rig, NAMES)  # as it was before the request was carried out
        await arrived(rig)
        assert await is_asked(rig, wire.LOOKUP, b"new\0")
        await rig.answer(making, error=-errno.EEXIST)
        assert (await rig.reply()).unique == making
        await tell(rig, NAMES)
        await arrived(rig)
        assert not await is_asked(rig, wire.LOOKUP, b"new\0")

    run(scenario)


def test_names_hold_for_as_long_as_they_were_told_to(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        await tell(rig, NAMES, hold_s=0)
        await arrived(rig)
        assert await is_asked(rig, wire.LOOKUP, b"new\0")
        await tell(rig, STILL)
        await arrived(rig)
        assert not await is_asked(rig, wire.LOOKUP, b"new\0")

    run(scenario)


def test_attributes_are_those_that_the_last_answer_left(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        await tell(rig, ATTRIBUTES, attributes(7))
        await arrived(rig)
        unique = await rig.ask(wire.GETATTR, DIRECTORY, bytes(16))
        reply = await rig.reply()
        assert reply.unique == unique
        assert wire.ATTR_OUT.unpack_from(reply.payload)[0] == HOLD_S - 1  # whole seconds of what is left
        assert reply.payload[16:] == attributes(7)
        unlinking = await rig.ask(wire.UNLINK, DIRECTORY, b"a\0")
        await rig.asked()
        await tell(rig, ATTRIBUTES, attributes(6))
        await rig.answer(unlinking)
        await rig.reply()
        unique = await rig.ask(wire.GETATTR, DIRECTORY, bytes(16))
        assert (await rig.reply()).payload[16:] == attributes(6)
        changing = await rig.ask(wire.SETATTR, DIRECTORY, bytes(88))
        await rig.asked()
        await rig.answer(changing, error=-errno.EPERM)
        await rig.reply()
        assert await is_asked(rig, wire.GETATTR, bytes(16))

    run(scenario)


def test_what_is_malformed_is_counted_and_says_nothing(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.init()
        for kind, payload in ((9, b""), (ATTRIBUTES, bytes(87)), (NAMES, b"\x05four"), (NAMES, b"\0"), (STILL, b"x")):
            await tell(rig, kind, payload)
        await rig.python.send(struct.pack("=IiQ", 20, CODE, 0) + bytes(4))
        await arrived(rig)
        status = await rig.holder.status()
        assert (status["malformed"], status["told_names"], status["told_attributes"]) == (6, 0, 0)

    run(scenario)
