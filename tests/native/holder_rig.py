"""Both neighbours of the holder, played over socket pairs: the kernel on one side, pyfuse3 on the other."""

import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import attrs
import trio
from attrs import frozen

from tierfs.fuse.calls import Calls
from tierfs.fuse.failures import Failures
from tierfs.fuse.holder import Holder, held
from tierfs.fuse.holder_process import HolderOptions

REPOSITORY = Path(__file__).parents[2]

LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 10, 14, 15, 16, 17, 18
IOCTL = 39
FSYNC, SETXATTR, GETXATTR, FLUSH, INIT, OPENDIR, RELEASEDIR, CREATE, INTERRUPT, BATCH_FORGET = (
    20,
    21,
    22,
    25,
    26,
    27,
    29,
    35,
    36,
    42,
)
READDIRPLUS, MKDIR, FALLOCATE, LSEEK, COPY_FILE_RANGE, COPY_FILE_RANGE_64 = 44, 9, 43, 46, 47, 53

PASSTHROUGH, KILLPRIV_V2, INIT_EXT, SPLICE, ASYNC_DIO = 1 << 37, 1 << 28, 1 << 30, 7 << 7, 1 << 15

IN_HEADER = struct.Struct("=IIQQIIIHH")
OUT_HEADER = struct.Struct("=IiQ")
INIT_OUT = struct.Struct("=IIIIHHIIHHIIH22x")
ENTRY = struct.Struct("=QQQQII88x")
ATTR_OUT = struct.Struct("=QIIQ32x48x")
HOLDER_FH = 1 << 63
TASKS_MAX = 40


def build(output: Path, *flags: str) -> Path:
    """The holder with the flags of a sanitizer."""
    subprocess.run([REPOSITORY / "native/holder/build.sh", output, *flags], check=True, timeout=240)
    return output


@frozen
class Request:
    """What pyfuse3 would read."""

    opcode: int
    unique: int
    nodeid: int
    argument: bytes
    pid: int


@frozen
class Reply:
    """What the kernel would get; a notification has unique 0 and its code as error."""

    unique: int
    error: int
    payload: bytes


class CallsDouble:
    """Notes what it is asked, waits while `gate` is not set, and answers with `value` or raises `error`."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.value = 0
        self.error: Exception | None = None
        self._note, self._noted = trio.open_memory_channel[tuple[int, ...]](100)

    async def asked(self) -> tuple[int, ...]:
        """The arguments of the next request."""
        return await self._noted.receive()

    async def _answer(self, *arguments: int) -> int:
        self._note.send_nowait(arguments)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.value

    async def fallocate(self, handle: int, offset: int, length: int, mode: int) -> None:
        """`calls.Requests`."""
        await self._answer(handle, offset, length, mode)

    async def seek(self, handle: int, offset: int, whence: int) -> int:
        """`calls.Requests`."""
        return await self._answer(handle, offset, whence)

    async def copy_range(self, handle_in: int, offset_in: int, handle_out: int, offset_out: int, length: int) -> int:
        """`calls.Requests`."""
        return await self._answer(handle_in, offset_in, handle_out, offset_out, length)

    def path_of_handle(self, handle: int) -> str:
        """`calls.Requests`."""
        return f"/file-of-{handle}"

    async def bring(self, handle: int, offset: int, size: int) -> None:
        """`calls.Requests`."""
        await self._answer(handle, offset, size)


@attrs.define(eq=False)
class Rig:
    """Sends as the kernel or as pyfuse3, and receives as either. Lengths may be made wrong."""

    holder: Holder
    kernel: trio.socket.SocketType
    python: trio.socket.SocketType
    calls: CallsDouble
    unique: int = 0

    async def ask(self, opcode: int, nodeid: int = 1, argument: bytes = b"", *, pid: int = 0, unique: int = 0) -> int:
        """One request from the kernel; its unique id, the next one if it is not given."""
        if not unique:
            self.unique += 2
            unique = self.unique
        size = IN_HEADER.size + len(argument)
        header = IN_HEADER.pack(size, opcode, unique, nodeid, 0, 0, pid or os.getpid(), 0, 0)
        await self.kernel.send(header + argument)
        return unique

    async def asked(self) -> Request:
        """The next request at pyfuse3."""
        packet = await self.python.recv(1 << 21)
        size, opcode, unique, nodeid, _, _, pid, _, _ = IN_HEADER.unpack_from(packet)
        assert size == len(packet)
        return Request(opcode, unique, nodeid, packet[IN_HEADER.size :], pid)

    async def answer(self, unique: int, payload: bytes = b"", *, error: int = 0, size: int | None = None) -> None:
        """pyfuse3 answers."""
        size = OUT_HEADER.size + len(payload) if size is None else size
        await self.python.send(OUT_HEADER.pack(size, error, unique) + payload)

    async def reply(self) -> Reply:
        """The next message to the kernel."""
        packet = await self.kernel.recv(1 << 21)
        size, error, unique = OUT_HEADER.unpack_from(packet)
        assert size == len(packet)
        return Reply(unique, error, packet[OUT_HEADER.size :])

    async def reply_or_request(self) -> Reply | Request:
        """What comes first: the kernel's answer, or the request at pyfuse3."""
        found: list[Reply | Request] = []
        async with trio.open_nursery() as nursery:

            async def take(receive: Callable[[], Awaitable[Reply | Request]]) -> None:
                found.append(await receive())
                nursery.cancel_scope.cancel()

            nursery.start_soon(take, self.reply)
            nursery.start_soon(take, self.asked)
        return found[0]

    def end_python(self) -> None:
        """What the end of the daemon's process does: its driver has the same socket as pyfuse3."""
        self.python.shutdown(socket.SHUT_RDWR)

    async def served(self) -> int:
        """How many files are, once all that was said before on the control link is done."""
        return int((await self.holder.status())["served"])

    async def garble(self, packet: bytes) -> None:
        """Anything at all on the control link."""
        await self.holder._control.send(packet)

    async def init(self, kernel_flags: int = PASSTHROUGH | KILLPRIV_V2 | INIT_EXT | SPLICE) -> tuple[bytes, bytes]:
        """The start of a session; the request at pyfuse3 and the reply at the kernel."""
        flags = struct.pack("=IIIII44x", 7, 45, 131072, kernel_flags & 0xFFFF_FFFF, kernel_flags >> 32)
        unique = await self.ask(INIT, 0, flags)
        request = await self.asked()
        out = INIT_OUT.pack(7, 38, 131072, 1 | SPLICE | ASYNC_DIO, 12, 9, 1 << 20, 1, 256, 0, 0, 0, 0)
        await self.answer(unique, out)
        return request.argument, (await self.reply()).payload


Run: TypeAlias = Callable[[Callable[[Rig], Awaitable[None]]], None]
"""Runs a scenario with a holder of its own."""


@asynccontextmanager
async def rig(program: Path, latency_device: str = "", restart: Sequence[str] = ()) -> AsyncIterator[Rig]:
    """A holder between both, gone when the block ends."""
    kernel, holders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with holders, trio.fail_after(120):
        calls = CallsDouble()
        async with held(
            Path("/nonexistent"),
            HolderOptions(tasks_max=TASKS_MAX, latency_device=latency_device, restart=restart),
            calls=Calls(calls, Failures()),
            program=program,
            kernel_fd=holders.fileno(),
        ) as holder:
            holders.close()
            python = trio.socket.fromfd(holder.session_fd, socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.close(holder.session_fd)
            with trio.socket.from_stdlib_socket(kernel) as kernel_end, python:
                yield Rig(holder, kernel_end, python, calls)
