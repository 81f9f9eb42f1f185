"""The socket of the control plane: connections, lines, limits. Knows no verb.

Promises: at most `max_clients` connections, of which the last few are kept for admins; a line of at
most 64 KiB is held in memory a connection; a client that neither asks nor reads is cut off; a verb
whose client is gone is cancelled, which is noticed when the next sign of life cannot be sent.

Tasks: one an accepted connection, and two more while its verb runs (the verb, the reporter).
They share only the count of connections, which changes without a checkpoint in between.
"""

import errno as errno_codes
import logging
import os
import socket as sockets
import stat
import struct
from collections.abc import Mapping
from typing import Any, Final

import trio
from attrs import frozen

from tierfs.control import protocol
from tierfs.control.arguments import Refusal
from tierfs.control.protocol import ErrorCode, ProtocolError, Request
from tierfs.control.service import Service
from tierfs.control.verbs import Peer
from tierfs.errors import TierfsError

_log = logging.getLogger(__name__)

SOCKET_PATH_LIMIT_BYTES: Final = 107  # sun_path without its NUL
HEARTBEAT_S: Final = 5.0
PROGRESS_INTERVAL_S: Final = 0.2
SEND_LIMIT_S: Final = 30.0
BACKLOG: Final = 64
_CHUNK_BYTES: Final = 4096
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python does not name it
_GROUPS_LIMIT_BYTES: Final = 1024  # the most that Python asks the kernel for: 256 groups


@frozen
class Limits:
    """Ceilings of the server."""

    max_clients: int = 64
    # connections that only admins get, so that strangers cannot keep root out
    admin_reserve: int = 8
    idle_timeout_s: float = 300.0

    def open_to(self, *, admin: bool) -> int:
        """How many connections there may be when another client asks."""
        return self.max_clients if admin else max(1, self.max_clients - self.admin_reserve)


async def serve(
    socket_path: str,
    service: Service,
    *,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until cancelled; `task_status.started` comes when clients can connect.

    The socket is 0666: who may do what is decided by who connects. A socket file without a listener
    is replaced; one with a listener raises TierfsError(EADDRINUSE). The file goes away at the end.
    """
    listener = _bind(socket_path)
    server = _Server(service, limits or Limits())
    try:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                connection = await _accept(listener)
                nursery.start_soon(server.connection, connection)
    finally:
        listener.close()
        _unlink_own(socket_path)


def _bind(path: str) -> trio.socket.SocketType:
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT_BYTES:
        raise TierfsError(
            f"the path of the control socket is longer than {SOCKET_PATH_LIMIT_BYTES} bytes: {path}; "
            "set [control] socket to a shorter one",
            errno=errno_codes.ENAMETOOLONG,
        )
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        listener.bind(path)
        os.chmod(path, 0o666)  # noqa: PTH101
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise TierfsError(
            f"cannot make the control socket {path}: {error.strerror or error}",
            errno=error.errno or errno_codes.EIO,
        ) from error
    return trio.socket.from_stdlib_socket(listener)


def _remove_stale(path: str) -> None:
    """Unlinks a socket that nobody listens on; raises OSError(EADDRINUSE) for one that is alive."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno_codes.EEXIST, "there is a file that is no socket")
    except FileNotFoundError:
        return
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108
            return
        except BlockingIOError:
            pass
    raise OSError(errno_codes.EADDRINUSE, "another daemon listens there")


def _unlink_own(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError as error:
        if error.errno != errno_codes.ENOENT:
            _log.warning("cannot remove the control socket %s: %s", path, error.strerror, extra={"event": "TFS7002"})


async def _accept(listener: trio.socket.SocketType) -> trio.SocketStream:
    while True:
        try:
            connection, _ = await listener.accept()
            return trio.SocketStream(connection)
        except OSError as error:
            if error.errno not in (errno_codes.EMFILE, errno_codes.ENFILE, errno_codes.ENOMEM, errno_codes.ENOBUFS):
                if error.errno in (errno_codes.ECONNABORTED, errno_codes.EPERM):
                    continue
                raise
            # out of descriptors: others will close some; taking the daemon down would not help
            _log.warning("control socket: %s", error.strerror, extra={"event": "TFS7003"})
            await trio.sleep(0.1)


def peer_of(connection: trio.SocketStream) -> Peer:
    """Who connected, as the kernel noted then."""
    credentials = connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
    assert isinstance(credentials, bytes)
    # uid and gid are unsigned
    pid, uid, gid = struct.unpack("iII", credentials)
    try:
        packed = connection.getsockopt(sockets.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_LIMIT_BYTES)
        assert isinstance(packed, bytes)
        groups = frozenset(struct.unpack(f"{len(packed) // 4}I", packed))
    except OSError:
        groups = frozenset()  # before Linux 4.13, or more groups than fit: the first group still counts
    return Peer(pid, uid, gid, groups)


class _Server:
    """The state of all connections: how many there are."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service = service
        self._limits = limits
        self._clients = 0

    async def connection(self, stream: trio.SocketStream) -> None:
        """One client from its first byte to its last. Raises nothing but Cancelled."""
        async with stream:
            peer = peer_of(stream)
            if self._clients >= self._limits.open_to(admin=self._service.is_admin(peer)):
                await _send(stream, protocol.failure(None, ErrorCode.BUSY, "too many clients", errno_codes.EAGAIN))
                return
            self._clients += 1
            try:
                await self._serve_client(stream, peer)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass  # the client is gone, or does not read
            finally:
                self._clients -= 1

    async def _serve_client(self, stream: trio.SocketStream, peer: Peer) -> None:
        lines = _Lines(stream)
        while True:
            request_id = None
            try:
                with trio.move_on_after(self._limits.idle_timeout_s) as idle:
                    line = await lines.next()
                if idle.cancelled_caught or line is None:
                    return
                request = protocol.parse_request(line)
                request_id = request.id
                reply = protocol.answer(request.id, await self._run(stream, request, peer))
            except Refusal as refusal:
                reply = protocol.failure(request_id, refusal.code, str(refusal), refusal.errno)
            except ProtocolError as error:
                reply = protocol.failure(error.request_id, error.code, str(error), errno_codes.EINVAL)
            await _send(stream, reply)
            if lines.is_broken:
                return

    async def _run(self, stream: trio.SocketStream, request: Request, peer: Peer) -> Mapping[str, Any]:
        """The verb, with a report of its progress now and then; Cancelled inside when the client is gone."""
        reporter = _Reporter(stream, request.id)
        outcomes: list[Mapping[str, Any] | Refusal] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporter.run, nursery.cancel_scope)
            try:
                outcomes.append(await self._service.handle(request, peer, reporter.update))
            except Refusal as refusal:
                outcomes.append(refusal)  # raised outside of the nursery, which would wrap it into a group
            reporter.stop()
        if reporter.is_client_gone or not outcomes:
            raise trio.BrokenResourceError("the client went away")
        if isinstance(outcomes[0], Refusal):
            raise outcomes[0]
        return outcomes[0]


class _Reporter:
    """Sends the latest progress, at most a few times a second, and a sign of life where there is none.

    Lines must not mix: the answer is sent after `run` has returned, and `run` stops only between two
    lines, or when the client is gone.
    """

    def __init__(self, stream: trio.SocketStream, request_id: int) -> None:
        self._stream = stream
        self._request_id = request_id
        self._latest: Mapping[str, Any] = {}
        self._wake = trio.Event()
        self._stop = trio.Event()
        self.is_client_gone = False

    def update(self, fields: Mapping[str, Any]) -> None:
        self._latest = fields
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    async def run(self, verb_scope: trio.CancelScope) -> None:
        """Until `stop`; cancels the verb when nobody is left to hear of its end."""
        try:
            while not self._stop.is_set():
                with trio.move_on_after(HEARTBEAT_S):
                    await self._wake.wait()
                if self._stop.is_set():
                    return
                self._wake = trio.Event()
                fields, self._latest = self._latest, {}
                await _send(self._stream, protocol.progress(self._request_id, fields))
                with trio.move_on_after(PROGRESS_INTERVAL_S):
                    await self._stop.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self.is_client_gone = True
            verb_scope.cancel()


class _Lines:
    """Lines of a client, each of at most REQUEST_LIMIT_BYTES."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = bytearray()
        self.is_broken = False

    async def next(self) -> bytes | None:
        """The next line without its end; None when there is none. Raises ProtocolError, then ends, for one
        that is too long: where it stops, nobody knows."""
        scanned = 0
        while (end := self._received.find(b"\n", scanned)) < 0:
            scanned = len(self._received)
            if scanned > protocol.REQUEST_LIMIT_BYTES:
                self.is_broken = True
                raise ProtocolError(
                    ErrorCode.BAD_REQUEST, f"a request is longer than {protocol.REQUEST_LIMIT_BYTES} bytes"
                )
            chunk = await self._stream.receive_some(_CHUNK_BYTES)
            if not chunk:
                return None
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line


async def _send(stream: trio.SocketStream, line: bytes) -> None:
    """A whole line; raises TooSlowError for a client that does not read."""
    with trio.fail_after(SEND_LIMIT_S):
        await stream.send_all(line)
