"""The endpoint that Prometheus scrapes: GET /metrics over HTTP, for whoever reaches the address; it names no file.

HTTP is h11's; a connection is one task and one request. Bounded: connections at one time, the size of a request, and
the time that it may take.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import h11
import trio

CONNECTIONS_MAX: Final = 8
_REQUEST_MAX_BYTES: Final = 16_384
_REQUEST_S: Final = 10.0
_PLAIN: Final = "text/plain; charset=utf-8"
_log: Final = logging.getLogger(__name__)


async def serve(
    host: str,
    port: int,
    content_type: str,
    tell: Callable[[], Awaitable[bytes]],
    *,
    task_status: trio.TaskStatus[int | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until it is cancelled; started with the port. Where the address cannot be used, one line says so, it is started
    with None, and that is all: a mount is worth more than its figures."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        why = error.strerror or str(error)
        _log.error(
            "[metrics] listen: cannot listen on %s:%d: %s; the mount goes on without", host, port, why,
            extra={"event": "TFS7004"},
        )  # fmt: skip
        task_status.started(None)
        return
    connections = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def answer(stream: trio.SocketStream) -> None:
        await _answer(stream, connections, content_type, tell)

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, answer, listeners)
        task_status.started(listeners[0].socket.getsockname()[1])


async def _answer(
    stream: trio.SocketStream,
    connections: trio.CapacityLimiter,
    content_type: str,
    tell: Callable[[], Awaitable[bytes]],
) -> None:
    """One connection."""
    async with stream:
        try:
            connections.acquire_nowait()
        except trio.WouldBlock:
            return  # who scrapes comes again
        try:
            with trio.move_on_after(_REQUEST_S):
                await _converse(stream, content_type, tell)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it went away
        finally:
            connections.release()


async def _converse(stream: trio.SocketStream, content_type: str, tell: Callable[[], Awaitable[bytes]]) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_MAX_BYTES)
    try:
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(_REQUEST_MAX_BYTES))
    except h11.RemoteProtocolError as error:
        await _send(stream, http, HTTPStatus(error.error_status_hint), _PLAIN, b"")
        return
    if not isinstance(event, h11.Request):
        return
    if event.target.partition(b"?")[0] != b"/metrics":
        await _send(stream, http, HTTPStatus.NOT_FOUND, _PLAIN, b"the figures are at /metrics\n")
    elif event.method not in (b"GET", b"HEAD"):
        await _send(stream, http, HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"")
    elif event.method == b"HEAD":
        await _send(stream, http, HTTPStatus.OK, content_type, b"")
    else:
        await _send(stream, http, HTTPStatus.OK, content_type, await tell())


async def _send(
    stream: trio.SocketStream, http: h11.Connection, status: HTTPStatus, content_type: str, body: bytes
) -> None:
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    headers = [("content-type", content_type), ("content-length", str(len(body))), ("connection", "close")]
    response = h11.Response(status_code=status, headers=headers, reason=status.phrase)
    events = (response, *([h11.Data(body)] if body else []), h11.EndOfMessage())
    await stream.send_all(b"".join(http.send(event) or b"" for event in events))
