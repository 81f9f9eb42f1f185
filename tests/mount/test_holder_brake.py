"""The brake of the native holder: programs that write by passthrough wait while it is on, and can always be ended."""

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.holder_mounts import IMPATIENT_S, Demo, timed_end, until

WRITE = "import os, sys\nfd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
WRITE += "while True:\n    os.pwrite(fd, bytes(4096), os.fstat(fd).st_size % (1 << 26))\n"


@pytest.fixture
def braked(passing: Demo) -> Demo:
    """A demo on a machine whose kernel can stop writers."""
    state = passing.status()["brake_state"]
    if state != 1:
        pytest.skip(f"no fanotify pre-content marks here: {os.strerror(-state)}")
    return passing


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that writes to `path`, and has begun to."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: path.exists() and path.stat().st_size > 0)
        yield process
    finally:
        process.kill()
        process.wait(IMPATIENT_S)


def written(demo: Demo, name: str, seconds: float) -> bool:
    """Whether the backing file changes within so many seconds."""
    before = (demo.data / name).stat().st_mtime_ns
    time.sleep(seconds)
    return (demo.data / name).stat().st_mtime_ns != before


def test_a_writer_stops_at_once_and_goes_on(braked: Demo) -> None:
    with writer(braked.mount / "first"), writer(braked.mount / "second"):
        for _ in range(3):
            assert braked.ask("brake", 1) == "braking"
            time.sleep(0.1)
            assert not written(braked, "first", 0.3)
            assert not written(braked, "second", 0.1)
            assert braked.status()["braked"] == 2
            assert braked.ask("brake", 0) == "free"
            assert written(braked, "first", 0.1)
            assert written(braked, "second", 0.1)
            assert braked.status()["braked"] == 0


def test_a_writer_that_opens_while_the_brake_is_on_waits(braked: Demo) -> None:
    (braked.mount / "old").write_bytes(bytes(4096))
    braked.ask("brake", 1)
    for name in ("new", "old"):
        command = [sys.executable, "-c", WRITE, str(braked.mount / name)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            until(lambda: braked.status()["braked"] > 0)
            assert not written(braked, name, 0.2)
            assert timed_end(process, signal.SIGTERM) < 1.0
        until(lambda: braked.status()["braked"] == 0)


def test_who_does_not_write_is_not_stopped(braked: Demo) -> None:
    (braked.mount / "read").write_bytes(b"read")
    with writer(braked.mount / "file"):
        braked.ask("brake", 1)
        until(lambda: braked.status()["braked"] == 1)
        assert (braked.mount / "read").read_bytes() == b"read"
        assert (braked.mount / "file").stat().st_size > 0
        os.statvfs(braked.mount)
        os.listdir(braked.mount)
        (braked.mount / "read").unlink()


def test_the_daemon_reads_what_it_has_to_upload(braked: Demo) -> None:
    with writer(braked.mount / "file"):
        braked.ask("brake", 1)
        until(lambda: braked.status()["braked"] == 1)
        assert braked.ask("peek", "file") == (braked.data / "file").stat().st_size
        assert braked.status()["braked"] == 1


def test_a_mapping_and_a_reader_from_before_go_on(braked: Demo) -> None:
    path = braked.mount / "file"
    path.write_bytes(bytes(8192))
    with (
        path.open("rb", buffering=0) as reader,
        path.open("r+b") as file,
        mmap.mmap(file.fileno(), 8192) as mapped,
        writer(path),
    ):
        braked.ask("brake", 1)
        until(lambda: braked.status()["braked"] == 1)
        mapped[5000] = 1
        reader.seek(5000)
        assert reader.read(1) == b"\1"
        braked.ask("brake", 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_waiting_writer_can_be_ended(braked: Demo, number: int) -> None:
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n{WRITE}"
    command = [sys.executable, "-c", code, str(braked.mount / "file")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(lambda: (braked.data / "file").exists() and written(braked, "file", 0.05))
        braked.ask("brake", 1)
        until(lambda: braked.status()["braked"] == 1)
        assert timed_end(process, number) < 1.0
    until(lambda: braked.status()["braked"] == 0)  # its file's room is not kept
    assert braked.ask("revoke", "file", 5, 1) == "revoked"


def test_an_unmount_does_not_hang(braked: Demo) -> None:
    with writer(braked.mount / "file") as process:
        braked.ask("brake", 1)
        until(lambda: braked.status()["braked"] == 1)
        busy = braked.ask("unmount")
        assert isinstance(busy, dict)
        assert busy["errno"] == 16
        subprocess.run(["umount", "-l", braked.mount], check=True, timeout=IMPATIENT_S)
        assert timed_end(process, signal.SIGKILL) < 1.0
    assert braked.process.wait(IMPATIENT_S) == 0


@pytest.mark.parametrize("who", ["daemon", "holder"])
def test_a_writer_does_not_wait_for_the_dead(braked: Demo, who: str) -> None:
    with writer(braked.mount / "file") as process:
        braked.ask("brake", 1)
        until(lambda: braked.status()["braked"] == 1)
        assert not written(braked, "file", 0.1)
        os.kill(braked.process.pid if who == "daemon" else braked.status()["pid"], signal.SIGKILL)
        until(lambda: process.poll() is not None or written(braked, "file", 0.05))
