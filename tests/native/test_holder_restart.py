"""The holder starts the next daemon: the first one dies, and the test plays those after it, too."""

import errno
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Rig, rig
from tierfs.fuse.takeover import Takeover
from tierfs.model import KernelState, OpenHandle

HAS_RESEND, RESENT, NOTIFY_RESEND = 1 << 39, 1 << 63, 7
TOKEN_MARK, TOKEN_AGAIN = 1 << 31, 1 << 30
NAME = b"\0" * 8 + b"name\0"
CHANGES = {
    "symlink": (6, b"name\0target\0"),
    "mknod": (8, b"\0" * 16 + b"name\0"),
    "mkdir": (wire.MKDIR, NAME),
    "unlink": (wire.UNLINK, b"name\0"),
    "rmdir": (11, b"name\0"),
    "rename": (12, NAME + b"other\0"),
    "link": (13, NAME),
    "open to cut": (wire.OPEN, struct.pack("=II", os.O_WRONLY | os.O_TRUNC, 0)),
    "setxattr": (wire.SETXATTR, b"\0" * 8 + b"user.a\0"),
    "removexattr": (24, b"user.a\0"),
    "create": (wire.CREATE, b"\0" * 16 + b"name\0"),
    "rename2": (45, b"\0" * 16 + b"name\0other\0"),
}
NO_CHANGES = {
    "statfs": (wire.STATFS, b""),
    "lookup": (wire.LOOKUP, b"name\0"),
    "open": (wire.OPEN, struct.pack("=II", os.O_RDWR, 0)),
    "setattr": (wire.SETATTR, bytes(88)),
}

# the next daemon: gives its descriptors to the test, which says how it ends
PASS_ON = """
import os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect(sys.argv[1])
    socket.send_fds(link, [b"x"], [int(word) for word in os.environ["TIERFS_TAKEOVER"].split(",")])
    if link.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@attrs.define
class Lives:
    """A holder, and who has its links by now."""

    now: Rig
    _listener: socket.socket
    _process: socket.socket | None = None  # of the daemon of now; None: the first one is the test itself

    def die(self) -> None:
        """The daemon of now is killed."""
        if self._process is not None:
            with self._process:
                self._process.send(b"x")
        self.now.end_python()

    def end(self) -> None:
        """The daemon of now ends by itself."""
        if self._process is not None:
            self._process.close()
        self.now.end_python()

    async def next(self) -> KernelState:
        """The daemon of now dies, and the next one follows it: see there."""
        self.die()
        return await self.follow()

    async def follow(self) -> KernelState:
        """What the next daemon inherits. Its INIT is answered, and the kernel is to ask again."""
        before = self.now
        assert await before.reply() == wire.Reply(0, NOTIFY_RESEND, b"")
        self._process, _ = await trio.to_thread.run_sync(self._listener.accept)
        _, fds, _, _ = socket.recv_fds(self._process, 1, 3)
        takeover = Takeover.inherited({"TIERFS_TAKEOVER": ",".join(str(fd) for fd in fds)})
        assert takeover is not None
        before.python.close()
        takeover.control.detach()  # open until the test ends, as that of the holder's first one
        python = trio.socket.from_stdlib_socket(takeover.packets)
        self.now = Rig(before.holder, before.kernel, python, before.calls, before.unique)
        init = await self.now.asked()
        assert init.opcode == wire.INIT
        await self.now.answer(init.unique, wire.INIT_OUT.pack(7, 38, 131072, 1, 12, 9, 1 << 20, 1, 256, *4 * [0]))
        return takeover.state

    async def ask_again(self, unique: int, opcode: int, argument: bytes) -> int:
        """The kernel does so; the request's id."""
        return await self.now.ask(opcode, argument=argument, unique=unique | RESENT)


Scenario = Callable[[Lives], Awaitable[None]]


@pytest.fixture
def run(program: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Runs a scenario with a holder that starts its daemon again."""

    @asynccontextmanager
    async def lives(kernel_flags: int) -> AsyncIterator[Lives]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "link"))
            listener.listen()
            async with rig(program, restart=(sys.executable, "-c", PASS_ON, str(tmp_path / "link"))) as made:
                await made.init(kernel_flags=kernel_flags | wire.INIT_EXT)
                yield Lives(made, listener)

    def run(scenario: Scenario, *, deaths: int, kernel_flags: int = HAS_RESEND) -> None:
        async def main() -> None:
            async with lives(kernel_flags) as made:
                await scenario(made)
                made.end()
                made.now.python.close()

        trio.run(main)
        said = capfd.readouterr().err
        assert said.count("takes over") == deaths
        assert "Sanitizer" not in said

    return run


def test_the_next_daemon_takes_over(run: Callable[..., None]) -> None:
    async def scenario(lives: Lives) -> None:
        made = lives.now
        for opcode, payload in (
            (wire.LOOKUP, wire.ENTRY.pack(7, 0, 3600, 3600, 0, 0)),
            (wire.OPEN, struct.pack("=QIi", 5, 0, 0)),
        ):
            unique = await made.ask(opcode, 7, struct.pack("=II", os.O_RDWR, 0))
            await made.asked()
            await made.answer(unique, payload)
            assert (await made.reply()).error == 0
        statfs = await made.ask(wire.STATFS)
        await made.asked()
        state = await lives.next()
        assert state.lookups == {7: 1}
        assert state.files == [OpenHandle(5, 7, os.O_RDWR)]
        second = lives.now
        again = await lives.ask_again(statfs, wire.STATFS, b"")
        assert (await second.asked()).unique == again
        await second.answer(again, b"12345678")
        assert await second.reply() == wire.Reply(again, 0, b"12345678")
        lives.end()  # nobody comes after one that has ended by itself
        unique = await second.ask(wire.STATFS)
        assert await second.reply() == wire.Reply(unique, -errno.ENOTCONN, b"")

    run(scenario, deaths=1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_asked_again_has_its_token(run: Callable[..., None], change: str) -> None:
    """Over two deaths; a change that comes after them has another one."""
    opcode, argument = CHANGES[change]

    async def scenario(lives: Lives) -> None:
        unique = await lives.now.ask(opcode, argument=argument)
        token = (await lives.now.asked()).pid
        assert token & TOKEN_MARK
        assert not token & TOKEN_AGAIN
        number = token & (TOKEN_AGAIN - 1)
        for _ in range(2):
            assert (await lives.next()).tokens == {number}
            await lives.ask_again(unique, opcode, argument)
            assert (await lives.now.asked()).pid == token | TOKEN_AGAIN
        await lives.now.answer(unique | RESENT, error=-errno.EPERM)
        assert await lives.now.reply() == wire.Reply(unique | RESENT, -errno.EPERM, b"")
        await lives.now.ask(opcode, argument=argument)
        later = (await lives.now.asked()).pid
        assert later & TOKEN_MARK
        assert not later & TOKEN_AGAIN
        assert later != token
        assert (await lives.next()).tokens == {later & (TOKEN_AGAIN - 1)}

    run(scenario, deaths=3)


@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_may_be_repeated_keeps_its_pid(run: Callable[..., None], name: str) -> None:
    opcode, argument = NO_CHANGES[name]

    async def scenario(lives: Lives) -> None:
        unique = await lives.now.ask(opcode, argument=argument)
        assert (await lives.now.asked()).pid == os.getpid()
        assert not (await lives.next()).tokens
        await lives.ask_again(unique, opcode, argument)
        assert (await lives.now.asked()).pid == os.getpid()

    run(scenario, deaths=1)


def test_a_change_that_was_answered_is_not_waited_for(run: Callable[..., None]) -> None:
    """What a daemon sent reaches the kernel after its end: `index.answers` forgets what was sent."""

    async def scenario(lives: Lives) -> None:
        unique = await lives.now.ask(wire.UNLINK, argument=b"name\0")
        await lives.now.asked()
        await lives.now.answer(unique)
        lives.die()
        assert await lives.now.reply() == wire.Reply(unique, 0, b"")
        assert not (await lives.follow()).tokens

    run(scenario, deaths=1)


def test_what_was_not_read_when_the_next_daemon_died_is_still_waited_for(run: Callable[..., None]) -> None:
    async def scenario(lives: Lives) -> None:
        unique = await lives.now.ask(wire.UNLINK, argument=b"name\0")
        token = (await lives.now.asked()).pid
        number = token & (TOKEN_AGAIN - 1)
        assert (await lives.next()).tokens == {number}
        assert (await lives.next()).tokens == {number}
        await lives.ask_again(unique, wire.UNLINK, b"name\0")
        assert (await lives.now.asked()).pid == token | TOKEN_AGAIN

    run(scenario, deaths=2)


def test_a_kernel_that_does_not_ask_again_gets_an_error(run: Callable[..., None]) -> None:
    """Before Linux 6.9: for a change and for a question."""

    async def scenario(lives: Lives) -> None:
        made = lives.now
        mkdir = await made.ask(wire.MKDIR, argument=NAME)
        assert (await made.asked()).pid == os.getpid()
        statfs = await made.ask(wire.STATFS)
        await made.asked()
        lives.die()
        errors = {await made.reply(), await made.reply()}
        assert errors == {wire.Reply(unique, -errno.ENOTCONN, b"") for unique in (mkdir, statfs)}
        lives.end()
        (await trio.to_thread.run_sync(lives._listener.accept))[0].close()

    run(scenario, deaths=1, kernel_flags=0)
