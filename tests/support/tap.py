"""A TCP proxy before a test's HTTP server that notes every request line: who asked the server for what, and when.

The bytes pass unchanged, so signatures stay valid. It sees what really crossed the wire, which the counters of the code
under test need not.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from attrs import frozen

CHUNK_BYTES: Final = 1 << 16
_REQUEST: Final = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")


@frozen
class Request:
    """One request line; `when_s` by time.monotonic()."""

    method: str
    target: str
    when_s: float

    @property
    def is_object_read(self) -> bool:
        """A GET of an object's bytes, not of a listing or of a setting of the bucket."""
        parts = urlsplit(self.target)
        _, _, key = parts.path.lstrip("/").partition("/")
        return (
            self.method == "GET" and bool(key) and parse_qs(parts.query).keys() <= {"versionId", "partNumber", "x-id"}
        )


class Tap:
    """Listens on a loopback port of its own while its context lasts; `requests` grows."""

    def __init__(self, upstream_url: str) -> None:
        address = urlsplit(upstream_url)
        assert address.hostname is not None
        self._upstream = address.hostname, address.port or 80
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._received_bytes = 0
        self._flows = threading.Event()
        self._flows.set()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where clients are to send their requests."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def requests(self) -> list[Request]:
        """All requests so far."""
        with self._lock:
            return list(self._requests)

    @property
    def received_bytes(self) -> int:
        """What the server has sent to clients so far, headers and all."""
        with self._lock:
            return self._received_bytes

    def pause(self) -> None:
        """From now on nothing passes, and nobody is told why: a server that hangs."""
        self._flows.clear()

    def resume(self) -> None:
        """What was held back passes, and all that comes."""
        self._flows.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown as well: a thread inside accept() is not woken by a close
        _shut(self._server)
        self.resume()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(self._upstream)
            except OSError:
                return
            with self._lock:
                self._open |= {client, server}
            for source, target, note in ((client, server, self._noting()), (server, client, self._count)):
                threading.Thread(target=self._pump, args=(source, target, note), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, note: Callable[[bytes], None]) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                note(data)
                self._flows.wait()
                target.sendall(data)
        except OSError:
            pass
        finally:
            for connection in (source, target):
                _shut(connection)

    def _count(self, data: bytes) -> None:
        with self._lock:
            self._received_bytes += len(data)

    def _noting(self) -> Callable[[bytes], None]:
        """Finds request lines in one connection's stream, also those that are cut by the end of a chunk."""
        kept = b""

        def note(data: bytes) -> None:
            nonlocal kept
            text = kept + data
            end = 0
            for match in _REQUEST.finditer(text):
                end = match.end()
                request = Request(match[1].decode(), match[2].decode(), time.monotonic())
                with self._lock:
                    self._requests.append(request)
            last_line = text.rfind(b"\n", end) + 1
            kept = text[max(end, last_line) :][-CHUNK_BYTES:]

        return note


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
