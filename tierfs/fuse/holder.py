"""Starts the native holder (native/holder/) and speaks with it over the control link.

The holder owns the kernel connection; pyfuse3 gets one end of a packet socket as its mountpoint (`session_path`).
Whatever the holder cannot do is an OSError here; nothing in this module raises store or file system errors.

Tasks share a `Holder`: every call gets its own answer by tag, in any order. Each `async` method is one checkpoint,
the answer; cancelling a call leaves the holder to finish it, and its answer is dropped. `entry_changed` and
`inode_changed` never wait.
"""

import errno
import json
import logging
import math
import os
import random
import socket
import struct
import subprocess
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import attrs
import outcome
import trio
from attrs import frozen

import tierfs
from tierfs.fuse import holder_wire as wire
from tierfs.fuse.calls import Calls
from tierfs.fuse.holder_process import HolderOptions, HolderProcess
from tierfs.fuse.takeover import Takeover

log = logging.getLogger(__name__)

_PACKET_MAX_BYTES: Final = 65_536
_SOCKET_BUFFER_BYTES: Final = 4 << 20
_NOTIFICATIONS_MAX: Final = 65_536
_UINT64: Final = (1 << 64) - 1


@frozen
class Use:
    """Opens and bytes that the holder answered of a registered file since the last drain; bytes read by passthrough are
    not seen."""

    ino: int
    opens: int
    bytes_read: int
    last_use_ns: int


@frozen
class _Answer:
    a: int
    payload: bytes


def executable() -> Path | None:
    """The installed program, or None where the native part was not built."""
    path = Path(tierfs.__file__).with_name("tierfs-holder")
    return path if os.access(path, os.X_OK) else None


def _os_error(status: int, what: str) -> OSError:
    return OSError(-status, f"{what}: {os.strerror(-status)}")


@attrs.define(eq=False)
class Holder:
    """A running holder. Made by `held`."""

    session_fd: int
    """The daemon's end of the packet socket; pyfuse3 closes it with its session. Without one, close it."""
    pid: int
    ended: trio.Event
    """The kernel has ended the session, or the holder has gone."""
    dropped: int = 0
    """Notifications that were not sent: the kernel believes the old state until its timeout."""
    _control: trio.socket.SocketType = attrs.field(kw_only=True)
    _direct: socket.socket = attrs.field(kw_only=True)
    _carried: Calls | None = attrs.field(default=None, kw_only=True)
    _refused: Counter[int] = attrs.field(factory=Counter, init=False)  # by errno; each is logged once
    _backlog: deque[bytes] = attrs.field(factory=deque, init=False)
    _wakeup: trio.Event = attrs.field(factory=trio.Event, init=False)
    _tag: int = attrs.field(default=0, init=False)
    _calls: dict[int, tuple[trio.Event, list[outcome.Outcome[_Answer]]]] = attrs.field(factory=dict, init=False)

    @property
    def session_path(self) -> str:
        """What pyfuse3.init takes as its mountpoint."""
        return f"/dev/fd/{self.session_fd}"

    async def status(self) -> dict[str, Any]:
        """Counters and the mode; see `answer_status` in control.c."""
        fields: dict[str, Any] = json.loads((await self._call(wire.Kind.STATUS)).payload)
        return fields

    async def register(
        self,
        ino: int,
        fd: int,
        *,
        writable: bool = False,
        no_capabilities: bool = False,
    ) -> None:
        """From now on an OPEN of `ino` for reading is answered from the backing file, by passthrough where it can be.

        `fd` may be closed after the call. The next OPEN or CREATE that the daemon answers, for writing only if
        `writable`, becomes passthrough too, if the inode is not open otherwise: register before answering it.
        FileExistsError: it is registered already.
        """
        flags = (wire.Hot.WRITABLE if writable else 0) | (wire.Hot.NO_CAPABILITIES if no_capabilities else 0)
        await self._call(wire.Kind.REGISTER, ino, int(flags), fds=(fd,))

    def lend(self, ino: int, fd: int, *, attributes: bytes, valid_s: float) -> bool:
        """As `register` with `writable`, and waits for nothing: what is answered after it finds it so.

        `attributes` (`convert.packed_attributes`) are its answers to stat for `valid_s`, until a request changes them.
        False: the link is full, and nothing was changed. What the holder cannot do is only slower: it asks.
        """
        return self._send_now(wire.lent(wire.Kind.REGISTER, ino, attributes, valid_s), fd)

    def keep(self, ino: int, *, attributes: bytes, valid_s: float) -> bool:
        """As `lend`, of an inode that is served whole, from the file that the holder has; and it is withdrawn."""
        return self._send_now(wire.lent(wire.Kind.KEEP, ino, attributes, valid_s))

    def attributes_changed(self, ino: int) -> None:
        """Those of a lent inode are asked for again. When the link is full, they are old for as long as they were said
        to be valid."""
        self._send_now(wire.REQUEST.pack(wire.Kind.CHANGED, 0, ino, 0, 0))

    def discard(self, ino: int) -> None:
        """As `revoke`, of an inode that the kernel has forgotten, at once or with a release that is still to come."""
        self._send_now(wire.REQUEST.pack(wire.Kind.DISCARD, 0, ino, 0, 0))

    async def revoke(self, ino: int, *, wait_s: float = 0.0, no_writers: bool = False) -> None:
        """The backing file is not used any more when this returns; until it does, it may be.

        With `wait_s`, new opens go to the daemon and the call waits for the last release. With `no_writers` it also
        waits until no writer and no writable mapping of the backing file is left; the daemon itself must not have it
        open for writing. OSError: EBUSY, it is open; EAGAIN, it is written or mapped; ENOENT, not registered.
        Mappings for reading may outlive it: remove or replace the backing file, but do not punch or overwrite it.
        """
        flags = (wire.Revoke.WAIT if wait_s > 0 else 0) | (wire.Revoke.NO_WRITERS if no_writers else 0)
        await self._call(wire.Kind.REVOKE, ino, int(flags), math.ceil(wait_s * 1000))

    async def revoke_idle(self, inos: Sequence[int]) -> set[int]:
        """As `revoke`, of those that are not open; returns them, and those that are not registered."""
        gone: set[int] = set()
        for at in range(0, len(inos), wire.INOS_MAX):
            asked = inos[at : at + wire.INOS_MAX]
            busy = (await self._call(wire.Kind.REVOKE_IDLE, payload=struct.pack(f"={len(asked)}Q", *asked))).payload
            gone |= set(asked).difference(struct.unpack(f"={len(busy) // 8}Q", busy))
        return gone

    def serve(
        self,
        ino: int,
        fd: int,
        *,
        ranges: Sequence[tuple[int, int]] | None,
        limit_bytes: int = 0,
        no_capabilities: bool = False,
        forwards_flush: bool = False,
    ) -> bool:
        """READs of an inode that is open through the daemon are answered from the backing file, and WRITEs up to an
        offset of `limit_bytes`, within the `budget` of all. `fd` may be closed after the call.

        `ranges`: what is present, in order; a READ of anything else waits for `Requests.bring`. None: all, and only
        then may there be writes. What was said before is replaced. False: the link is full, and nothing was changed.
        """
        flags = (wire.Served.WRITABLE if limit_bytes else 0) | (wire.Served.NO_CAPABILITIES if no_capabilities else 0)
        flags |= (wire.Served.WHOLE if ranges is None else 0) | (wire.Served.FORWARD_FLUSH if forwards_flush else 0)
        listed = b"".join(wire.RANGE.pack(*each) for each in ranges or ())
        packet = wire.REQUEST.pack(wire.Kind.SERVE, 0, ino, int(flags), limit_bytes) + listed
        return len(packet) <= _PACKET_MAX_BYTES and self._send_now(packet, fd)

    def present(self, ino: int, start: int, stop: int | None) -> None:
        """More of a served file is present; `stop` None: it is whole. When the link is full it is not said: such
        bytes are asked for."""
        self._send_now(wire.REQUEST.pack(wire.Kind.PRESENT, 0, ino, start, _UINT64 if stop is None else stop))

    def budget(self, size_bytes: int) -> None:
        """So much may be written to served files, all together, from now on."""
        self._send_now(wire.REQUEST.pack(wire.Kind.BUDGET, 0, 0, size_bytes, 0))

    async def withdraw(self, ino: int) -> None:
        """The inode is not served any more, and nobody reads or writes its backing file for a READ or WRITE. One call
        at a time for an inode."""
        await self._call(wire.Kind.WITHDRAW, ino)

    def forsake(self, ino: int) -> bool:
        """As `withdraw`, and waits for nothing. False: the link is full, and it was not said."""
        return self._send_now(wire.REQUEST.pack(wire.Kind.WITHDRAW, 0, ino, 0, 0))

    def _send_now(self, packet: bytes, fd: int | None = None) -> bool:
        """Only at once, so that the order of what is said is the order of what happened."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", fd))] if fd is not None else []
        try:
            self._direct.sendmsg([packet], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    async def drain(self) -> list[Use]:
        """The uses since the last call."""
        uses: list[Use] = []
        more = True
        while more:
            answer = await self._call(wire.Kind.DRAIN)
            uses += [Use(*fields) for fields in wire.USE.iter_unpack(answer.payload)]
            more = answer.a != 0
        return uses

    def entry_changed(self, parent: int, name: bytes) -> None:
        """`namespace.notify.Notify`."""
        self._notify(wire.Kind.INVAL_ENTRY, parent, 0, 0, name)

    def inode_changed(self, ino: int, *, content: bool) -> None:
        """`namespace.notify.Notify`."""
        # as in libfuse: a negative offset leaves the pages alone
        self._notify(wire.Kind.INVAL_INODE, ino, 0 if content else _UINT64, 0)

    async def invalidate_inode(self, ino: int, *, content: bool) -> None:
        """As `inode_changed`, and waits for the kernel. FileNotFoundError: it does not know the inode."""
        await self._call(wire.Kind.INVAL_INODE, ino, 0 if content else _UINT64, 0)

    async def invalidate_entry(self, parent: int, name: bytes) -> None:
        """As `entry_changed`, and waits for the kernel. Never from a task that has a request to answer."""
        await self._call(wire.Kind.INVAL_ENTRY, parent, payload=name)

    async def brake(self, *, on: bool) -> None:
        """While on, programs that write by passthrough wait: the daemon cannot see them, and there is no room.

        Readers of a file that were opened beside a writer wait too, mappings do not, nor does this process; whoever
        waits can be killed, except for truncate, fsync and second writers behind a first one. It goes off when the
        daemon or the holder ends. OSError: it does not work here; PermissionError without the privilege, EINVAL before
        Linux 6.14, EOPNOTSUPP on such a file system; `status()["brake_state"]` has the same (0: no file tried yet).
        """
        await self._call(wire.Kind.BRAKE, 0, int(on))

    async def unmount(self, *, lazily: bool = False) -> None:
        """Requests must still be answered meanwhile. OSError(EBUSY): in use."""
        try:
            await self._call(wire.Kind.UNMOUNT, 0, int(lazily))
        except OSError as error:
            # the end of the session may overtake the answer
            if error.errno != errno.ENOTCONN:
                raise

    def _adopt(self, takeover: Takeover) -> None:
        """What the daemon before has registered. An answer to it may still come: the tags are others."""
        self._tag = random.getrandbits(32)

    async def _leave(self, timeout_s: float) -> None:
        """The end that follows is meant: no other daemon is to be started."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + timeout_s), suppress(OSError):
            await self._call(wire.Kind.LEAVE)

    def _next_tag(self) -> int:
        self._tag = self._tag % 0xFFFF_FFFF + 1
        return self._tag

    def _notify(self, kind: wire.Kind, ino: int, a: int, b: int, payload: bytes = b"") -> None:
        packet = wire.REQUEST.pack(kind, self._next_tag(), ino, a, b) + payload
        if not self._backlog:
            try:
                self._direct.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                pass
            except OSError:
                self.dropped += 1
                return
        if len(self._backlog) < _NOTIFICATIONS_MAX:
            self._backlog.append(packet)
            self._wakeup.set()
        else:
            self.dropped += 1

    async def _call(
        self, kind: wire.Kind, ino: int = 0, a: int = 0, b: int = 0, payload: bytes = b"", fds: Sequence[int] = ()
    ) -> _Answer:
        tag = self._next_tag()
        packet = wire.REQUEST.pack(kind, tag, ino, a, b) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"={len(fds)}i", *fds))] if fds else []
        done = trio.Event()
        result: list[outcome.Outcome[_Answer]] = []
        self._calls[tag] = (done, result)
        try:
            if self.ended.is_set() and kind is not wire.Kind.STATUS:
                raise _os_error(-errno.ENOTCONN, f"holder: {kind.name}")
            await self._control.sendmsg([packet], rights)
            await done.wait()
        finally:
            del self._calls[tag]
        return result[0].unwrap()

    def _take(self, packet: bytes) -> None:
        kind, tag, status, _, a, _ = wire.ANSWER.unpack_from(packet)
        if kind == wire.Kind.ENDED:
            self.ended.set()
        elif tag in self._calls:
            done, result = self._calls[tag]
            answer = _Answer(a, packet[wire.ANSWER.size :])
            result.append(outcome.Value(answer) if status == 0 else outcome.Error(_os_error(status, "holder")))
            done.set()
        elif status not in (0, -errno.ENOENT):  # of a notification; ENOENT: the kernel has nothing to forget
            if not self._refused[-status]:
                log.warning("the kernel keeps cache entries: %s", os.strerror(-status), extra={"event": "TFS8003"})
            self._refused[-status] += 1

    async def _flush(self) -> None:
        """Sends the notifications that the link did not take at once, in order."""
        while True:
            await self._wakeup.wait()
            while self._backlog:
                try:
                    await self._control.send(self._backlog[0])
                except OSError:
                    self.dropped += 1
                self._backlog.popleft()
            self._wakeup = trio.Event()

    async def _reply(self, packet: bytes) -> None:
        """Answers one request that pyfuse3 does not know, or whose bytes do not go through it."""
        _, _, opcode, _, unique, _ = wire.ANSWER.unpack_from(packet)
        code, value = errno.ENOSYS, 0  # after which the kernel does not ask again
        if self._carried is not None:
            code, value = await self._carried.answer(opcode, packet[wire.ANSWER.size :], is_told=not unique)
        if not unique:  # it was only told
            return
        with suppress(OSError):  # the end of the link is the kernel's answer, too
            await self._control.send(wire.REQUEST.pack(wire.Kind.REPLY, 0, unique, code, value))

    async def _run(self, nursery: trio.Nursery) -> None:
        """Until the holder closes the link."""
        try:
            while packet := await self._control.recv(_PACKET_MAX_BYTES):
                if wire.ANSWER.unpack_from(packet)[0] == wire.Kind.REQUEST:
                    nursery.start_soon(self._reply, packet)
                else:
                    self._take(packet)
        except OSError as error:
            log.debug("the link to the holder broke: %s", error)
        self.ended.set()
        for done, result in self._calls.values():
            result.append(outcome.Error(_os_error(-errno.ENOTCONN, "holder")))
            done.set()


@attrs.define(eq=False)
class _Started:
    process: HolderProcess
    packets: socket.socket
    control: socket.socket

    @classmethod
    def new(cls, program: Path, arguments: Sequence[str], options: HolderOptions, fds: Sequence[int]) -> Self:
        packets, holder_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control, holder_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with holder_packets, holder_control:
            # an answer must fit; SO_SNDBUFFORCE (32) is not capped by the system, and not for root in a container
            packets.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
            with suppress(PermissionError):
                packets.setsockopt(socket.SOL_SOCKET, 32, _SOCKET_BUFFER_BYTES)
            links = (holder_packets.fileno(), holder_control.fileno())
            command = [
                *(str(program), "--packets", str(links[0]), "--control", str(links[1])),
                *("--passthrough", str(int(options.passthrough)), "--stay", str(int(options.stay_without_daemon))),
                *("--readahead-kib", str(options.readahead_kib), "--background", str(options.background_max)),
                *("--transfer-kib", str(options.transfer_kib), "--tasks", str(options.tasks_max)),
                *("--latency", options.latency_device, *arguments),
                *(("--", *options.restart) if options.restart else ()),
            ]
            process = subprocess.Popen(
                command, pass_fds=(*links, *fds), stdin=subprocess.DEVNULL, start_new_session=True
            )
        return cls(HolderProcess(process.pid, process), packets, control)

    @classmethod
    def taken_over(cls, takeover: Takeover) -> Self:
        """The holder that started this process."""
        return cls(HolderProcess(os.getppid()), takeover.packets, takeover.control)

    async def mounted(self, control: trio.socket.SocketType, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            packet = await control.recv(_PACKET_MAX_BYTES)
            if not packet:
                raise OSError(errno.EIO, "the holder ended before it mounted")
            kind, _, status, _, version, _ = wire.ANSWER.unpack_from(packet)
            if kind != wire.Kind.MOUNTED or version != wire.VERSION:
                raise OSError(errno.EPROTO, "the holder is of another version than this package")
            if status != 0:
                raise _os_error(status, "the holder cannot mount")
            return
        raise OSError(errno.ETIMEDOUT, "the holder did not mount in time")

    async def stop(self, timeout_s: float) -> None:
        """It ends once the packet socket is closed; one that does not is killed, which ends the session."""
        # the session's end reaches the holder even if somebody still has the descriptor that pyfuse3 was given
        with self.packets, suppress(OSError):
            self.packets.shutdown(socket.SHUT_RDWR)
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(self.process.wait, timeout_s)
            except subprocess.TimeoutExpired:
                log.warning("holder (pid %d) did not end and is killed", self.process.pid, extra={"event": "TFS8004"})
                self.process.kill()
                await trio.to_thread.run_sync(self.process.wait)


@asynccontextmanager
async def held(
    mountpoint: Path,
    options: HolderOptions,
    *,
    calls: Calls | None = None,
    program: Path | None = None,
    kernel_fd: int | None = None,
    takeover: Takeover | None = None,
) -> AsyncIterator[Holder]:
    """A holder with its mount inside the block; give `session_path` to pyfuse3 and serve.

    End the session with `unmount` while pyfuse3 still serves, then close pyfuse3. Leaving the block closes the links,
    and the holder unmounts lazily whatever is still mounted. OSError: it cannot be started or cannot mount.
    `calls` answers what pyfuse3 does not know. `kernel_fd` is for tests that play the kernel. With `takeover` it is
    the holder that has the mount already, and nothing is started.
    """
    if takeover is not None:
        started = _Started.taken_over(takeover)
    else:
        chosen = program or executable()
        if chosen is None:
            raise FileNotFoundError(errno.ENOENT, "the native holder is not installed")
        if kernel_fd is None:
            arguments = ["--mountpoint", str(mountpoint), "--options", ",".join(options.mount_options)]
        else:
            arguments = ["--kernel", str(kernel_fd)]
        started = _Started.new(chosen, arguments, options, () if kernel_fd is None else (kernel_fd,))
    session_fd = os.dup(started.packets.fileno())
    control = trio.socket.from_stdlib_socket(started.control)
    try:
        await started.mounted(control, options.start_timeout_s)
        holder = Holder(
            session_fd, started.process.pid, trio.Event(), control=control, direct=started.control, carried=calls
        )
        if takeover is not None:
            holder._adopt(takeover)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(holder._run, nursery)
            nursery.start_soon(holder._flush)
            try:
                yield holder
            finally:
                if options.restart:
                    await holder._leave(options.stop_timeout_s)
                nursery.cancel_scope.cancel()
    finally:
        control.close()
        await started.stop(options.stop_timeout_s)
