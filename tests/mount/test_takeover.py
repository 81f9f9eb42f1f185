"""The daemon is killed under running programs: the holder starts it again, and they see a pause."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import Mount, find_mount, mounted

KILLS = 3
HOT, COLD = b"hot" * 1000, os.urandom(3 << 20)


@pytest.fixture
def source(tmp_path: Path) -> str:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "hot").write_bytes(HOT)
    (bucket / "cold").write_bytes(COLD)
    for number in range(50):
        (bucket / f"file_{number}").write_bytes(b"%d" % number)
    return f"file://{bucket}"


def kill(mount: Mount) -> None:
    """One life; returns when the next daemon answers."""
    pid = int(mount.status()["pid"])
    os.kill(pid, signal.SIGKILL)

    def has_new() -> bool:
        answer = mount.tierctl("status", mount.path, "--json", check=False)
        return answer.returncode == 0 and f'"pid": {pid}' not in answer.stdout

    assert programs.wait_until(has_new, 60)


class Loop:
    """Repeats something in a thread until it is left; what it raises fails the test."""

    def __init__(self, body: Callable[[], None]) -> None:
        self._body = body
        self._done = threading.Event()
        self.turns = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                self._body()
                self.turns += 1
                time.sleep(0.002)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> "Loop":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.error is None, repr(self.error)
        assert self.turns > 0


def test_programs_see_a_pause(source: str, tmp_path: Path) -> None:
    settings = {"mount": {"attr_timeout_s": 0, "entry_timeout_s": 0}}
    with mounted(source, tmp_path, settings=settings) as mount:
        assert (mount.path / "hot").read_bytes() == HOT
        numbers = {name: os.stat(mount.path / name).st_ino for name in os.listdir(mount.path)}
        holder = mount.status()["holder_pid"]

        def look() -> None:
            for name, number in numbers.items():
                assert os.stat(mount.path / name).st_ino == number

        def read() -> None:
            assert (mount.path / "hot").read_bytes() == HOT

        with Loop(look), Loop(read), (mount.path / "cold").open("rb", buffering=0) as opened:
            for _ in range(KILLS):
                kill(mount)
                assert os.pread(opened.fileno(), 1000, 2 << 20) == COLD[2 << 20 :][:1000]
        assert {name: os.stat(mount.path / name).st_ino for name in os.listdir(mount.path)} == numbers
        assert (mount.path / "cold").read_bytes() == COLD
        assert mount.status()["holder_pid"] == holder
        assert mount.log().count("takes over") == KILLS


def test_what_is_open_goes_on(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        with (
            (mount.path / "new").open("w+b", buffering=0) as new,
            (mount.path / "gone").open("w+b", buffering=0) as gone,
        ):
            new.write(b"before, ")
            gone.write(b"still here")
            (mount.path / "gone").unlink()
            entries = os.scandir(mount.path)
            names = [next(entries).name]
            kill(mount)
            names += [entry.name for entry in entries]
            new.write(b"after")
            assert os.pread(new.fileno(), 100, 0) == b"before, after"
            assert os.pread(gone.fileno(), 100, 0) == b"still here"
        assert sorted(names) == sorted(os.listdir(mount.path))
        mount.wait_synced()
        assert (tmp_path / "bucket/new").read_bytes() == b"before, after"
        assert not (tmp_path / "bucket/gone").exists()


def test_a_daemon_that_dies_again_and_again_is_given_up(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        for _ in range(5):
            kill(mount)
        os.kill(int(mount.status()["pid"]), signal.SIGKILL)
        assert programs.wait_until(lambda: "is not started again" in mount.log(), 30)
        assert programs.wait_until(lambda: find_mount(mount.path) is None, 30)
        mount.remount()
        assert (mount.path / "hot").read_bytes() == HOT


def test_without_the_setting_the_mount_ends(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings={"mount": {"restart": False}}) as mount:
        os.kill(int(mount.status()["pid"]), signal.SIGKILL)
        assert programs.wait_until(lambda: find_mount(mount.path) is None, 30)
        mount.remount()
        assert "takes over" not in mount.log()
