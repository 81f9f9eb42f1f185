"""The listener against real sockets: who is let in, what is answered when, and what one sender may take."""

import contextlib
import http.client
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from tests.support.clocks import TrioWallClock
from tests.support.notifications import MINIO_PUT
from tierfs.errors import ConfigError, StoreError, StoreErrorKind
from tierfs.sync.eventflow import Flow, FlowState
from tierfs.sync.events import BODY_MAX_BYTES, parse
from tierfs.sync.webhook import Webhook, WebhookLimits, parse_address, read_token

TOKEN = b"a-token-of-the-tests"
RIGHT = {"Authorization": f"Bearer {TOKEN.decode()}"}


@define
class Taker:
    """Takes what comes, or fails as it is told."""

    bodies: list[bytes] = field(factory=list)
    error: StoreError | None = None
    is_silent: bool = False

    async def __call__(self, body: bytes) -> None:
        if self.is_silent:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error
        self.bodies.append(body)


@define
class Posts:
    """A sender at one port."""

    port: int
    taker: Taker
    flow: Flow
    webhook: Webhook

    async def __call__(
        self, body: bytes | str = MINIO_PUT, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> int:
        """The status of the answer."""

        def send() -> int:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
                connection.request(method, "/any/path", body or None, headers if headers is not None else RIGHT)
                answer = connection.getresponse()
                answer.read()
                return answer.status

        return await trio.to_thread.run_sync(send)

    async def raw(self, *pieces: bytes) -> bytes:
        """All that is answered until the connection is closed."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        answer = b""
        async with stream:
            for piece in pieces:
                await stream.send_all(piece)
            while data := await stream.receive_some():
                answer += data
        return answer


def run(test: Callable[[Posts], Awaitable[None]], **limits: Any) -> None:
    async def main() -> None:
        flow, taker = Flow(TrioWallClock()), Taker()
        webhook = Webhook(host="127.0.0.1", port=0, token=TOKEN, take=taker, flow=flow, limits=WebhookLimits(**limits))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                port = await nursery.start(webhook.run)
                await test(Posts(port, taker, flow, webhook))
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_what_minio_posts_is_taken_and_then_answered() -> None:
    async def test(post: Posts) -> None:
        assert await post() == 200
        (body,) = post.taker.bodies
        assert parse(body).events[0].key == "some dir/file+1.txt"

    run(test)


@pytest.mark.parametrize(
    "given", [None, TOKEN.decode(), "Bearer wrong", "Bearer ", "Bearer", f"Basic {TOKEN.decode()}"]
)
def test_without_the_token_nothing_is_read(given: str | None) -> None:
    headers = {"Authorization": given} if given is not None else {}

    async def test(post: Posts) -> None:
        for method in ("POST", "GET"):
            assert await post(headers=headers, method=method, body="") == 401
        assert not post.taker.bodies and post.webhook.refused == 2
        assert post.flow.state is FlowState.UNPROVEN  # a stranger cannot make events unreliable

    run(test)


def test_other_methods() -> None:
    async def test(post: Posts) -> None:
        for method, status in (("HEAD", 200), ("GET", 200), ("PUT", 405), ("DELETE", 405)):
            assert await post(method=method, body="") == status
        assert not post.taker.bodies

    run(test)


def test_what_cannot_be_applied_is_to_be_sent_again() -> None:
    async def test(post: Posts) -> None:
        post.taker.error = StoreError(StoreErrorKind.UNAVAILABLE, "the store is away")
        assert await post() == 503
        assert post.flow.state is FlowState.BROKEN and "the store is away" in post.flow.reason
        post.taker.error = None
        post.taker.is_silent = True
        assert await post() == 503

    run(test, apply_s=0.1)


def test_a_body_that_is_too_long() -> None:
    async def test(post: Posts) -> None:
        head = (
            f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN.decode()}\r\nContent-Length: 99999999\r\n\r\n"
        )
        answer = await post.raw(head.encode(), b" " * (BODY_MAX_BYTES + 1))
        assert answer.startswith(b"HTTP/1.1 413 ") and not post.taker.bodies

    run(test)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NO HTTP AT ALL\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 40_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_http(sent: bytes, status: bytes) -> None:
    async def test(post: Posts) -> None:
        assert (await post.raw(sent)).startswith(b"HTTP/1.1 " + status)
        assert await post() == 200

    run(test)


def test_who_sends_half_a_request_is_let_go() -> None:
    async def test(post: Posts) -> None:
        assert await post.raw(b"POST / HTTP/1.1\r\n") == b""

    run(test, request_s=0.1)


def test_one_connection_carries_many_requests() -> None:
    async def test(post: Posts) -> None:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: bearer {TOKEN.decode()}\r\nExpect: 100-continue\r\n"
        one = f"{head}Content-Length: 2\r\n\r\n{{}}".encode()
        chunked = f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n[]\r\n0\r\n\r\n".encode()
        answer = await post.raw(one, one, chunked)
        assert answer.count(b"HTTP/1.1 200 ") == 3
        assert post.taker.bodies == [b"{}", b"{}", b"[]"]

    run(test)


def test_connections_are_bounded() -> None:
    async def test(post: Posts) -> None:
        held = await trio.open_tcp_stream("127.0.0.1", post.port)
        async with held:
            await held.send_all(
                f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {RIGHT['Authorization']}\r\n\r\n".encode()
            )
            assert await held.receive_some(), "it is answered, and stays"
            with pytest.raises(ConnectionError):
                await post()

    run(test, connections_max=1)


def test_a_port_that_is_taken_is_a_setting_that_cannot_be_used() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            webhook = Webhook(host="127.0.0.1", port=port, token=TOKEN, take=Taker(), flow=Flow(TrioWallClock()))
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
                await webhook.run()

    trio.run(main)


def test_addresses() -> None:
    assert parse_address("127.0.0.1:9123") == ("127.0.0.1", 9123)
    assert parse_address("[::1]:0") == ("::1", 0)
    for text in ("", "9123", "host:", ":9123", "host:port", "host:70000"):
        with pytest.raises(ConfigError, match="listen"):
            parse_address(text)


def test_the_token_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot read"):
        read_token(file)
    file.write_bytes(TOKEN + b"\n")
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(file)
    file.chmod(0o600)
    for wrong in (b"", b"short", b"two words of it", b"x" * 5000):
        file.write_bytes(wrong)
        with pytest.raises(ConfigError, match="one word"):
            read_token(file)
