"""The client's side of the control socket: blocking, one request at a time, standard library only.

Every failure is an `ExitError` with one line and an exit code. A daemon that says nothing for
`silence_limit_s` counts as gone: it sends a sign of life every few seconds while a verb runs.
"""

import contextlib
import socket as sockets
import struct
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from tierfs.control import protocol
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.protocol import ErrorCode, Json, ProtocolError

SILENCE_LIMIT_S: Final = 30.0
_CHUNK_BYTES: Final = 64 * 1024

_EXIT_CODES: Final = {
    ErrorCode.VERSION: ExitCode.INCOMPATIBLE,
    ErrorCode.UNKNOWN_VERB: ExitCode.INCOMPATIBLE,
    ErrorCode.PERMISSION: ExitCode.PERMISSION,
    ErrorCode.NOT_FOUND: ExitCode.NOT_FOUND,
    ErrorCode.BUSY: ExitCode.BUSY,
    ErrorCode.TIMEOUT: ExitCode.TIMEOUT,
}


class Client:
    """A connection to one daemon."""

    def __init__(self, socket_path: str, *, silence_limit_s: float = SILENCE_LIMIT_S) -> None:
        """Connects; raises ExitError(NO_DAEMON) when nobody listens."""
        self._next_id = 1
        self._received = bytearray()
        self._socket = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self._socket.settimeout(silence_limit_s)
        try:
            self._socket.connect(socket_path)
        except OSError as error:
            self._socket.close()
            raise ExitError(
                ExitCode.NO_DAEMON, f"no daemon answers at {socket_path}: {error.strerror or error}"
            ) from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; a verb that still runs for it is cancelled by the daemon."""
        self._socket.close()

    @property
    def daemon_pid(self) -> int:
        """The process that listens, as the kernel says; 0 when it is in a pid namespace that we cannot see."""
        credentials = self._socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack_from("i", credentials)[0]
        return pid

    def call(
        self, verb: str, args: Mapping[str, Any] | None = None, on_progress: Callable[[Json], None] | None = None
    ) -> Json:
        """Sends one request and waits for its answer; `on_progress` gets each report on the way, {} too."""
        request_id = self._next_id
        self._next_id += 1
        # a daemon that refuses this client may have answered and closed already: its line is still to be read
        with contextlib.suppress(BrokenPipeError):
            self._send(protocol.request(request_id, verb, args or {}))
        while True:
            message = self._receive()
            if message.get("id") not in (request_id, None):
                continue
            fields = message.get("progress")
            if isinstance(fields, dict):
                if on_progress is not None:
                    on_progress(fields)
                continue
            if message.get("ok") is True and isinstance(message.get("result"), dict):
                result: Json = message["result"]
                return result
            raise _refusal(message)

    def _send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
        except TimeoutError:
            raise ExitError(ExitCode.NO_DAEMON, "the daemon does not answer; it may hang") from None
        except ConnectionResetError:
            raise _gone() from None

    def _receive(self) -> Json:
        """The next message; raises ExitError when there will be none."""
        scanned = 0
        while (end := self._received.find(b"\n", scanned)) < 0:
            scanned = len(self._received)
            if scanned > protocol.ANSWER_LIMIT_BYTES:
                raise ExitError(ExitCode.INCOMPATIBLE, "the daemon's answer is longer than the protocol allows")
            try:
                chunk = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError:
                raise ExitError(ExitCode.NO_DAEMON, "the daemon does not answer; it may hang") from None
            except ConnectionResetError:
                raise _gone() from None
            if not chunk:
                raise _gone()
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            return protocol.decode(line)
        except ProtocolError as error:
            raise ExitError(ExitCode.INCOMPATIBLE, f"the daemon's answer is {error}") from None


def _gone() -> ExitError:
    return ExitError(ExitCode.NO_DAEMON, "the daemon ended before it answered")


def _refusal(message: Json) -> ExitError:
    error = message.get("error")
    if not isinstance(error, dict):
        return ExitError(ExitCode.INCOMPATIBLE, "the daemon's answer is not one of this protocol")
    text, errno = error.get("message"), error.get("errno")
    # another version's codes are failures like any other
    code = _EXIT_CODES.get(error.get("code", ""), ExitCode.FAILED)
    return ExitError(code, str(text or "the daemon refused"), errno=errno if isinstance(errno, int) else 0)
