"""The holder starts the next daemon: the first one dies, and the test plays the second one, too."""

import errno
import os
import socket
import struct
import sys
from pathlib import Path

import pytest
import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Rig, rig
from tierfs.fuse.takeover import Takeover
from tierfs.model import OpenHandle

HAS_RESEND, RESENT, NOTIFY_RESEND = 1 << 39, 1 << 63, 7

# the second daemon: gives its descriptors to the test and ends
PASS_ON = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect(sys.argv[1])
    socket.send_fds(link, [b"x"], [int(word) for word in os.environ["TIERFS_TAKEOVER"].split(",")])
"""


async def next_daemon(listener: socket.socket) -> tuple[Takeover, trio.socket.SocketType]:
    """What the second daemon inherits, and its packet socket."""
    link, _ = await trio.to_thread.run_sync(listener.accept)
    with link:
        _, fds, _, _ = socket.recv_fds(link, 1, 3)
    takeover = Takeover.inherited({"TIERFS_TAKEOVER": ",".join(str(fd) for fd in fds)})
    assert takeover is not None
    return takeover, trio.socket.from_stdlib_socket(takeover.packets)


async def before_its_death(made: Rig) -> tuple[int, int]:
    """A lookup and an open that were answered, then a STATFS and a MKDIR that are not: their ids."""
    await made.init(kernel_flags=HAS_RESEND | wire.INIT_EXT)
    for opcode, payload in (
        (wire.LOOKUP, wire.ENTRY.pack(7, 0, 3600, 3600, 0, 0)),
        (wire.OPEN, struct.pack("=QIi", 5, 0, 0)),
    ):
        unique = await made.ask(opcode, 7, struct.pack("=II", os.O_RDWR, 0))
        await made.asked()
        await made.answer(unique, payload)
        assert (await made.reply()).error == 0
    waiting = await made.ask(wire.STATFS), await made.ask(wire.MKDIR, argument=b"\0" * 8 + b"name\0")
    for _ in waiting:
        await made.asked()
    return waiting


def test_the_next_daemon_takes_over(program: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "link"))
            listener.listen()
            command = (sys.executable, "-c", PASS_ON, str(tmp_path / "link"))
            async with rig(program, restart=command) as made:
                statfs, mkdir = await before_its_death(made)
                made.end_python()
                assert await made.reply() == wire.Reply(mkdir, -errno.ENOTCONN, b"")  # it may have happened
                assert await made.reply() == wire.Reply(0, NOTIFY_RESEND, b"")
                takeover, python = await next_daemon(listener)
                with python, takeover.control:
                    assert takeover.state.lookups == {7: 1}
                    assert takeover.state.files == [OpenHandle(5, 7, os.O_RDWR)]
                    second = Rig(made.holder, made.kernel, python, made.calls, made.unique)
                    init = await second.asked()
                    assert init.opcode == wire.INIT
                    await second.answer(
                        init.unique, wire.INIT_OUT.pack(7, 38, 131072, 1, 12, 9, 1 << 20, 1, 256, *4 * [0])
                    )
                    second.unique = (statfs | RESENT) - 2
                    await second.ask(wire.STATFS)
                    assert (await second.asked()).unique == statfs | RESENT
                    await second.answer(statfs | RESENT, b"12345678")
                    assert await second.reply() == wire.Reply(statfs | RESENT, 0, b"12345678")
                    python.shutdown(socket.SHUT_RDWR)  # it has ended by itself: nobody comes after it
                    second.unique = statfs + 100
                    unique = await second.ask(wire.STATFS)
                    assert await second.reply() == wire.Reply(unique, -errno.ENOTCONN, b"")

    trio.run(main)
    said = capfd.readouterr().err
    assert said.count("takes over") == 1
    assert "Sanitizer" not in said
