"""The socket: lines, limits, signs of life, and clients that vanish. Time is moved, not waited for."""

import errno
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

from tests.support.control_daemon import ScriptedDaemon, socket_path
from tierfs.control import protocol, server
from tierfs.control.server import Limits
from tierfs.control.service import Service
from tierfs.control.taskverbs import TaskVerbs
from tierfs.errors import TierfsError

ABSENT_UID = 4_000_000


class LineClient:
    """Sends bytes and reads lines: what a careful or a careless client would do."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._received = bytearray()

    async def send(self, **request: Any) -> None:
        await self.stream.send_all(protocol.encode({"v": 1, "id": 1, **request}))

    async def line(self) -> dict[str, Any] | None:
        while (end := self._received.find(b"\n")) < 0:
            chunk = await self.stream.receive_some(65536)
            if not chunk:
                return None
            self._received += chunk
        message: dict[str, Any] = json.loads(self._received[:end])
        del self._received[: end + 1]
        return message

    async def ask(self, **request: Any) -> dict[str, Any]:
        """The last line of the answer, progress passed over."""
        await self.send(**request)
        while (message := await self.line()) is not None:
            if "progress" not in message:
                return message
        raise AssertionError("the server closed without an answer")


@frozen
class Running:
    daemon: ScriptedDaemon
    path: str
    scope: trio.CancelScope

    @asynccontextmanager
    async def client(self) -> AsyncIterator[LineClient]:
        async with await trio.open_unix_socket(self.path) as stream:
            yield LineClient(stream)


def run_with_server(
    directory: Path,
    body: Callable[[Running], Awaitable[None]],
    *,
    limits: Limits | None = None,
    daemon_uid: int | None = None,
) -> ScriptedDaemon:
    daemon = ScriptedDaemon()

    async def main() -> None:
        service = Service(
            daemon, [TaskVerbs(daemon.tasks)], daemon_uid=os.geteuid() if daemon_uid is None else daemon_uid
        )
        path = socket_path(directory)
        async with trio.open_nursery() as nursery:

            async def served(task_status: trio.TaskStatus[None]) -> None:
                await server.serve(path, service, limits=limits, task_status=task_status)

            await nursery.start(served)
            await body(Running(daemon, path, nursery.cancel_scope))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return daemon


def test_the_socket_is_open_to_all_and_goes_away_at_the_end(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        status = os.lstat(running.path)
        assert stat.S_ISSOCK(status.st_mode) and status.st_mode & 0o777 == 0o666

    run_with_server(tmp_path, body)
    assert list(tmp_path.iterdir()) == []


def test_requests_on_one_connection_are_answered_in_order(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            await client.stream.send_all(
                protocol.request(7, "status", {}) + protocol.request(8, "info", {"path": "mine"}) + b"junk\n"
            )
            first, second, third = await client.line(), await client.line(), await client.line()
            assert first and first["id"] == 7 and first["result"]["pid"] == 4242
            assert second and second["id"] == 8 and second["result"]["uid"] == 1000
            assert third and third["id"] is None and third["error"]["code"] == "bad_request"
            assert (await client.ask(verb="status"))["ok"] is True

    run_with_server(tmp_path, body)


def test_a_request_that_comes_in_pieces(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            for byte in protocol.request(7, "info", {"path": "dir/a"}):
                await client.stream.send_all(bytes([byte]))
            answer = await client.line()
            assert answer and answer["result"]["path"] == "dir/a"

    run_with_server(tmp_path, body)


def test_refusals_carry_code_errno_and_id(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            answer = await client.ask(id=9, verb="info", args={"path": "absent"})
            assert answer["id"] == 9 and answer["error"]["code"] == "not_found"
            assert answer["error"]["errno"] == errno.ENOENT
            answer = await client.ask(id=10, v=2, verb="status")
            assert answer["id"] == 10 and answer["error"]["code"] == "version"

    run_with_server(tmp_path, body)


def test_a_line_that_is_too_long_is_refused_and_ends_the_connection(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            await client.stream.send_all(b"x" * (protocol.REQUEST_LIMIT_BYTES + 8192))
            answer = await client.line()
            assert answer and "longer than 65536 bytes" in answer["error"]["message"]
            with pytest.raises(trio.BrokenResourceError):
                # bytes that nobody read make the kernel reset the connection
                assert await client.line() is None
                raise trio.BrokenResourceError

    run_with_server(tmp_path, body)


def test_a_half_closed_client_still_gets_its_answer(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            await client.send(verb="status")
            await client.stream.send_eof()
            answer = await client.line()
            assert answer and answer["ok"] is True
            assert await client.line() is None

    run_with_server(tmp_path, body)


def test_an_idle_client_is_cut_off_also_in_the_middle_of_a_line(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            await client.stream.send_all(b'{"v":1,')
            began = trio.current_time()
            assert await client.line() is None
            assert trio.current_time() - began == pytest.approx(20)

    run_with_server(tmp_path, body, limits=Limits(idle_timeout_s=20))


def test_long_work_reports_progress_and_signs_of_life(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        running.daemon.pending = {b"mine": 10}
        running.daemon.stalled = True
        async with running.client() as client:
            await client.send(id=3, verb="sync")
            first = await client.line()
            assert first == {"v": 1, "id": 3, "progress": {"files": 1, "bytes": 10}}
            began = trio.current_time()
            assert await client.line() == {"v": 1, "id": 3, "progress": {}}
            assert trio.current_time() - began <= server.HEARTBEAT_S + 1
            running.daemon.upload(b"mine")
            answer = await client.line()
            assert answer == {"v": 1, "id": 3, "ok": True, "result": {"synced": True}}

    run_with_server(tmp_path, body)


def test_progress_that_comes_fast_is_thinned_out(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        running.daemon.owners |= {b"dir/%d" % n: 0 for n in range(500)}
        running.daemon.pending = {b"dir/%d" % n: 1 for n in range(500)}
        async with running.client() as client:
            await client.send(verb="sync")
            lines = 0
            while (message := await client.line()) is not None and "progress" in message:
                lines += 1
            assert message and message["ok"] is True
            assert lines <= 3

    run_with_server(tmp_path, body)


def test_the_verb_of_a_client_that_went_away_is_cancelled(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        running.daemon.pending = {b"mine": 10}
        async with running.client() as client:
            await client.send(verb="wait")
            assert await client.line()
        await trio.sleep(2 * server.HEARTBEAT_S + 1)
        assert running.daemon.waiters_cancelled == 1

    run_with_server(tmp_path, body)


def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as client:
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            with trio.move_on_after(server.SEND_LIMIT_S + 10), pytest.raises(trio.BrokenResourceError):
                while True:
                    await client.send(verb="status")
            assert trio.current_time() > server.SEND_LIMIT_S - 1

    run_with_server(tmp_path, body)


def test_too_many_clients_are_told_so_and_room_comes_back(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        async with running.client() as first, running.client() as second:
            assert (await first.ask(verb="status"))["ok"] and (await second.ask(verb="status"))["ok"]
            async with running.client() as third:
                answer = await third.line()
                assert answer and answer["error"]["code"] == "busy"
                assert await third.line() is None
        await trio.testing.wait_all_tasks_blocked()
        async with running.client() as fourth:
            assert (await fourth.ask(verb="status"))["ok"]

    run_with_server(tmp_path, body, limits=Limits(max_clients=2, admin_reserve=1))


@pytest.mark.parametrize(("limits", "admins", "others"), [(Limits(), 64, 56), (Limits(max_clients=4), 4, 1)])
def test_the_last_connections_are_kept_for_admins(limits: Limits, admins: int, others: int) -> None:
    assert (limits.open_to(admin=True), limits.open_to(admin=False)) == (admins, others)


def test_the_kernel_says_who_connected(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(left)) as stream:
            peer = server.peer_of(stream)
        right.close()
        assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
        assert peer.groups == frozenset(os.getgroups())

    run_with_server(tmp_path, body)


# --- the socket's file


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(socket_path(tmp_path))

    async def body(running: Running) -> None:
        async with running.client() as client:
            assert (await client.ask(verb="status"))["ok"]

    run_with_server(tmp_path, body)


def refused_to_serve(path: str) -> TierfsError:
    async def main() -> None:
        await server.serve(path, Service(ScriptedDaemon(), daemon_uid=0))

    with pytest.raises(TierfsError) as caught:
        trio.run(main)
    return caught.value


def test_a_socket_in_use_is_not_taken_away(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as alive:
        alive.bind(path)
        alive.listen(1)
        error = refused_to_serve(path)
        assert error.errno == errno.EADDRINUSE and "another daemon listens there" in str(error)
        assert Path(path).exists()


def test_a_file_in_the_way_is_not_taken_away(tmp_path: Path) -> None:
    path = Path(socket_path(tmp_path))
    path.write_text("mine")
    assert "there is a file that is no socket" in str(refused_to_serve(str(path)))
    assert path.read_text() == "mine"


def test_a_path_that_no_socket_can_have_is_refused_with_the_cure(tmp_path: Path) -> None:
    error = refused_to_serve(str(tmp_path / ("x" * 120)))
    assert error.errno == errno.ENAMETOOLONG and "[control] socket" in str(error)
    assert refused_to_serve(str(tmp_path / "absent" / "c.sock")).errno == errno.ENOENT
