"""The notify protocol, heard by a socket as systemd has one."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tierfs.control.servicemanager import ServiceManager


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def manager(heard: socket.socket, **more: str) -> ServiceManager:
    return ServiceManager.of({"NOTIFY_SOCKET": heard.getsockname(), **more})


def test_ready_names_the_process_that_stays(heard: socket.socket) -> None:
    manager(heard).ready("mounted", main_pid=4711)
    assert heard.recv(4096).decode().split("\n") == ["READY=1", "STATUS=mounted", "MAINPID=4711"]
    manager(heard).ready("mounted", main_pid=None)
    assert f"MAINPID={os.getpid()}".encode() in heard.recv(4096)


def test_the_end_is_said(heard: socket.socket) -> None:
    manager(heard).stopping()
    assert heard.recv(4096).startswith(b"STOPPING=1\n")


def test_signs_of_life_come_twice_within_the_limit(heard: socket.socket) -> None:
    """The pid of the first daemon does not matter: its successor says them as well."""
    spoken = manager(heard, WATCHDOG_USEC="20000000", WATCHDOG_PID="1")

    async def main() -> list[float]:
        at: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spoken.keep_alive)
            for _ in range(3):
                await trio.sleep(10)
                await trio.testing.wait_all_tasks_blocked()
                assert heard.recv(4096) == b"WATCHDOG=1"
                at.append(trio.current_time())
            nursery.cancel_scope.cancel()
        return at

    times = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(times) == 3


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "1000"}, {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "-1"}])
def test_without_a_manager_or_a_limit_nothing_is_said(environment: dict[str, str]) -> None:
    silent = ServiceManager.of(environment)
    trio.run(silent.keep_alive)
    if not silent.address:
        silent.ready("mounted", main_pid=1)


def test_an_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0tierfs-test-{os.getpid()}")
        listener.settimeout(5)
        ServiceManager.of({"NOTIFY_SOCKET": f"@tierfs-test-{os.getpid()}"}).stopping()
        assert listener.recv(100).startswith(b"STOPPING=1")


def test_a_manager_that_is_gone_is_told_of_once_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()
    assert "STOPPING=1" in caplog.text
