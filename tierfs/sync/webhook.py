"""A small HTTP listener for servers that post their events (MinIO and servers like it).

It takes POST of a notification on any path, with `Authorization: Bearer <token>`, and answers once what it tells is
in the index for good: 200, or 503 when it has to be sent again (MinIO does so where it has a `queue_dir`). HEAD and
GET with the token answer 200, for those who ask whether somebody is there. What is no notification is taken, too
(and counted): a sender that repeats what was refused would never get past it.

HTTP is h11's; a connection is one task. Bounded: connections at one time, the size of headers and bodies, the time
for a request to come and for it to be applied. There is no TLS: it is meant for a loopback address or a proxy.
"""

import hmac
import logging
import stat
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import h11
import trio
from attrs import frozen

from tierfs.errors import ConfigError, TierfsError
from tierfs.sync.eventflow import Flow
from tierfs.sync.events import BODY_MAX_BYTES

_RECEIVE_BYTES: Final = 65_536
_HEADERS_MAX_BYTES: Final = 16_384
_TOKEN_MAX_BYTES: Final = 4096
_RETRY_AFTER_S: Final = 5
_log: Final = logging.getLogger(__name__)


@frozen(kw_only=True)
class WebhookLimits:
    """What one sender may take."""

    connections_max: int = 32
    request_s: float = 30.0  # for a whole request to come; an idle connection is closed after that
    apply_s: float = 20.0  # for what it tells to be applied


@frozen
class _Answer:
    status: HTTPStatus
    closes: bool = False
    retry_after_s: int = 0


def read_token(path: Path) -> bytes:
    """The token of `[events] token_file`, without white space around it. ConfigError."""
    try:
        found = path.stat()
        token = path.read_bytes()[: _TOKEN_MAX_BYTES + 1].strip()
    except OSError as error:
        raise ConfigError(f"[events] token_file: cannot read {path}: {error.strerror}") from None
    if stat.S_IMODE(found.st_mode) & 0o007:
        raise ConfigError(f"[events] token_file: everybody may use {path}; chmod 600 it")
    if not 8 <= len(token) <= _TOKEN_MAX_BYTES or len(token.split()) != 1:
        raise ConfigError(f"[events] token_file: {path} must hold one word of 8 to {_TOKEN_MAX_BYTES} bytes")
    return token


def parse_address(text: str, setting: str = "[events] listen") -> tuple[str, int]:
    """host:port of a setting; IPv6 addresses stand in brackets. ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65_535 or not host.strip("[]"):
        raise ConfigError(f"{setting}: {text!r} is no address; write 127.0.0.1:9123")
    return host.strip("[]"), int(port)


class Webhook:
    """Serves. `take` applies a message, or raises TierfsError when it has to come again."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        token: bytes,
        take: Callable[[bytes], Awaitable[None]],
        flow: Flow,
        limits: WebhookLimits | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._take = take
        self._flow = flow
        self._limits = limits or WebhookLimits()
        self._connections = trio.CapacityLimiter(self._limits.connections_max)
        self.refused = 0
        """Requests without the token."""

    async def run(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled; started with the port. ConfigError when the address cannot be used."""
        try:
            listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        except OSError as error:
            where = f"{self._host}:{self._port}"
            raise ConfigError(f"[events] listen: cannot listen on {where}: {error.strerror or error}") from None
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection."""
        try:
            self._connections.acquire_nowait()
        except trio.WouldBlock:
            await stream.aclose()  # who sends tries again
            return
        try:
            async with stream:
                await _Conversation(stream, self._limits.request_s, self._is_allowed, self._answer).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it went away: what it sent and was not told about comes again
        finally:
            self._connections.release()

    async def _answer(self, request: h11.Request, body: bytes | None) -> _Answer:
        """`body` None: it was not read, since nobody wants it or it is too long."""
        if not self._is_allowed(request):
            self.refused += 1
            if self.refused == 1:
                _log.warning(
                    "a request to the webhook without its token was refused (others are only counted)",
                    extra={"event": "TFS5005"},
                )
            return _Answer(HTTPStatus.UNAUTHORIZED, closes=True)
        if request.method in (b"HEAD", b"GET"):
            return _Answer(HTTPStatus.OK)
        if request.method != b"POST":
            return _Answer(HTTPStatus.METHOD_NOT_ALLOWED)
        if body is None:
            return _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, closes=True)
        return await self._apply(body)

    async def _apply(self, body: bytes) -> _Answer:
        reason = f"it was not applied within {self._limits.apply_s:g} s"
        with trio.move_on_after(self._limits.apply_s):
            try:
                await self._take(body)
                return _Answer(HTTPStatus.OK)
            except TierfsError as error:
                reason = str(error)
        # whether it comes again is the sender's choice
        self._flow.fail(f"an event could not be taken: {reason}")
        return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, retry_after_s=_RETRY_AFTER_S)

    def _is_allowed(self, request: h11.Request) -> bool:
        given = next((value for name, value in request.headers if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        return hmac.compare_digest(token.strip(), self._token) and scheme.lower() == b"bearer"


class _Conversation:
    """The requests of one connection, one after the other."""

    def __init__(
        self,
        stream: trio.SocketStream,
        request_s: float,
        is_allowed: Callable[[h11.Request], bool],
        answer: Callable[[h11.Request, bytes | None], Awaitable[_Answer]],
    ) -> None:
        self._stream = stream
        self._request_s = request_s
        self._is_allowed = is_allowed
        self._answer = answer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADERS_MAX_BYTES)

    async def run(self) -> None:
        """Until either side wants no more."""
        while True:
            try:
                with trio.fail_after(self._request_s):
                    received = await self._receive()
            except trio.TooSlowError:
                return
            except h11.RemoteProtocolError as error:
                await self._send(_Answer(HTTPStatus(error.error_status_hint), closes=True))
                return
            if received is None:
                return
            answer = await self._answer(*received)
            await self._send(answer)
            if answer.closes or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _receive(self) -> tuple[h11.Request, bytes | None] | None:
        """A request and its body (None: not allowed, or not that long); None at the end."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._stream.send_all(self._http.send(_continue()))
                self._http.receive_data(await self._stream.receive_some(_RECEIVE_BYTES))
            elif isinstance(event, h11.Request):
                request = event
                if not self._is_allowed(request):
                    return request, None
            elif isinstance(event, h11.Data):
                body += event.data
                if request is not None and len(body) > BODY_MAX_BYTES:
                    return request, None
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                return None

    async def _send(self, answer: _Answer) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [("content-length", "0")]
        if answer.closes:
            headers.append(("connection", "close"))
        if answer.retry_after_s:
            headers.append(("retry-after", str(answer.retry_after_s)))
        response = h11.Response(status_code=answer.status, headers=headers, reason=answer.status.phrase)
        data = (self._http.send(response) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        with trio.move_on_after(self._request_s):
            await self._stream.send_all(data)


def _continue() -> h11.InformationalResponse:
    return h11.InformationalResponse(status_code=100, headers=[])
