"""The endpoint against real sockets: what is answered, and what one who asks may take."""

import contextlib
import http.client
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio

from tierfs.control import scrape

BODY = b"tierfs_up 1\n"
Test = Callable[[int], Awaitable[None]]


def serving(test: Test) -> None:
    async def tell() -> bytes:
        return BODY

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[int | None]) -> None:
                await scrape.serve("127.0.0.1", 0, "text/plain", tell, task_status=task_status)

            await test(await nursery.start(serve))
            nursery.cancel_scope.cancel()

    trio.run(main)


def ask(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    ("path", "method", "status", "body"),
    [
        ("/metrics", "GET", 200, BODY),
        ("/metrics?x=1", "GET", 200, BODY),
        ("/metrics", "HEAD", 200, b""),
        ("/metrics", "DELETE", 405, b""),
        ("/", "GET", 404, b"the figures are at /metrics\n"),
    ],
)
def test_only_the_figures_are_there(path: str, method: str, status: int, body: bytes) -> None:
    async def test(port: int) -> None:
        assert await trio.to_thread.run_sync(ask, port, path, method) == (status, body)

    serving(test)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 no http\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 5000])
def test_what_is_no_request_is_refused_and_the_next_one_is_answered(sent: bytes) -> None:
    async def test(port: int) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(sent)
                answer = await stream.receive_some()
                assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        assert (await trio.to_thread.run_sync(ask, port))[0] == 200

    serving(test)


def test_who_is_one_too_many_is_let_go() -> None:
    async def test(port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(scrape.CONNECTIONS_MAX):
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert await stream.receive_some() == b""

    serving(test)


def test_a_port_in_use_is_one_line_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def tell() -> bytes:
        return BODY

    async def main(port: int) -> None:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[int | None]) -> None:
                await scrape.serve("127.0.0.1", port, "text/plain", tell, task_status=task_status)

            assert await nursery.start(serve) is None

    with socket.create_server(("127.0.0.1", 0)) as taken:
        trio.run(main, taken.getsockname()[1])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and vars(record)["event"] == "TFS7004"
    assert "cannot listen on 127.0.0.1:" in record.getMessage() and "in use" in record.getMessage()
