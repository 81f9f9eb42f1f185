"""The blocking client, against the real server in another thread and against servers that misbehave."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.control_daemon import real_server, socket_path
from tierfs.control import protocol
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.protocol import Json


@contextmanager
def odd_server(directory: Path, behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Takes one connection, lets `behave` do with it as it likes, and closes it."""
    path = socket_path(directory)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            thread.join()


def test_calls_on_one_connection(tmp_path: Path) -> None:
    with real_server(tmp_path) as (path, _), Client(path) as client:
        assert client.call("status")["pid"] == 4242
        assert client.call("info", {"path": "mine"})["uid"] == 1000
        with pytest.raises(ExitError) as caught:
            client.call("info", {"path": "absent"})
        assert caught.value.code is ExitCode.NOT_FOUND and caught.value.errno == 2
        assert client.call("status")["pid"] == 4242


def test_the_kernel_names_the_process_that_listens(tmp_path: Path) -> None:
    with real_server(tmp_path) as (path, _), Client(path) as client:
        assert client.daemon_pid == os.getpid()


def test_progress_is_handed_on(tmp_path: Path) -> None:
    seen: list[Json] = []
    with real_server(tmp_path) as (path, daemon), Client(path) as client:
        daemon.pending = {b"mine": 10, b"dir/a": 20}
        assert client.call("sync", on_progress=seen.append) == {"synced": True}
    # how many reports get through is a matter of time; what they say is not
    assert all(report in ({}, {"files": 2, "bytes": 30}, {"files": 1, "bytes": 20}) for report in seen)


@pytest.mark.parametrize(
    ("verb", "args", "code"),
    [
        ("wait", {"timeout_s": 0}, ExitCode.TIMEOUT),
        ("explode", {}, ExitCode.INCOMPATIBLE),
        ("info", {}, ExitCode.FAILED),
        ("unmount", {"drain": False}, ExitCode.BUSY),
    ],
)
def test_refusals_become_exit_codes(tmp_path: Path, verb: str, args: Json, code: ExitCode) -> None:
    with real_server(tmp_path) as (path, daemon), Client(path) as client:
        daemon.pending, daemon.busy = {b"mine": 10}, True
        with pytest.raises(ExitError) as caught:
            client.call(verb, args)
        assert caught.value.code is code


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ExitError, match=r"no daemon answers at .*: No such file") as caught:
        Client(socket_path(tmp_path))
    assert caught.value.code is ExitCode.NO_DAEMON


def failure_of(directory: Path, behave: Callable[[socket.socket], None], **options: float) -> ExitError:
    with odd_server(directory, behave) as path, Client(path, **options) as client, pytest.raises(ExitError) as caught:
        client.call("status")
    return caught.value


def test_a_daemon_that_dies_before_it_answers(tmp_path: Path) -> None:
    error = failure_of(tmp_path, lambda connection: None)
    assert error.code is ExitCode.NO_DAEMON and "ended before it answered" in str(error)


def test_a_daemon_that_says_nothing(tmp_path: Path) -> None:
    done = threading.Event()

    def keep_silent(_connection: socket.socket) -> None:
        done.wait(30)

    with odd_server(tmp_path, keep_silent) as path:
        with Client(path, silence_limit_s=0.05) as client, pytest.raises(ExitError, match="may hang") as caught:
            client.call("status")
        done.set()
    assert caught.value.code is ExitCode.NO_DAEMON


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"v":1,"id":1}\n',
        b'{"v":1,"id":1,"ok":true,"result":[]}\n',
        b'{"v":1,"id":1,"ok":false,"error":"x"}\n',
        b"x" * (protocol.ANSWER_LIMIT_BYTES + 200_000),
    ],
)
def test_answers_of_no_known_form(tmp_path: Path, line: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        try:
            connection.sendall(line)
        except OSError:
            return  # the client had enough

    assert failure_of(tmp_path, behave).code is ExitCode.INCOMPATIBLE


def test_lines_of_other_requests_are_passed_over(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(protocol.answer(99, {"stale": 1}) + protocol.answer(1, {"fresh": 1}))

    with odd_server(tmp_path, behave) as path, Client(path) as client:
        assert client.call("status") == {"fresh": 1}


def test_an_unknown_error_code_of_a_newer_daemon_is_a_failure(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b'{"v":1,"id":1,"ok":false,"error":{"code":"moonphase","message":"not tonight"}}\n')

    error = failure_of(tmp_path, behave)
    assert error.code is ExitCode.FAILED and str(error) == "not tonight"


def test_a_refusal_at_the_door_is_read_although_the_request_cannot_be_sent(tmp_path: Path) -> None:
    line = protocol.failure(None, protocol.ErrorCode.BUSY, "too many clients", 11)
    with odd_server(tmp_path, lambda connection: connection.sendall(line)) as path:
        with Client(path) as client, pytest.raises(ExitError, match="too many clients") as caught:
            client.call("status")
        assert caught.value.code is ExitCode.BUSY
