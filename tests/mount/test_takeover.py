"""The daemon is killed under running programs: the holder starts it again, and they see a pause."""

import os
import random
import signal
import stat
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import Mount, find_mount, mounted

KILLS, KILLS_MAX = 3, 5
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


class Names:
    """Changes of names in one directory, each made once: an error fails the test, and what was answered is kept."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._turn = 0
        self.there = dict[str, bytes]()  # content by path; of a directory: nothing

    def change(self) -> None:
        """One of each; every third time something stays."""
        self._turn += 1
        made, moved = self._directory / f"made_{self._turn}", self._directory / f"moved_{self._turn}"
        file, other, link = made / "file", made / "other", made / "link"
        made.mkdir()
        with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=0) as opened:
            opened.write(b"%d" % self._turn)
        os.setxattr(file, "user.new", b"1", os.XATTR_CREATE)
        os.setxattr(file, "user.new", b"2", os.XATTR_REPLACE)
        os.link(file, other)
        os.symlink("file", link)
        os.mknod(made / "fifo", 0o600 | stat.S_IFIFO)
        os.rename(made, moved)
        os.rename(moved / "file", moved / "renamed")
        with (moved / "other").open("wb", buffering=0) as opened:
            opened.write(b"cut %d" % self._turn)
        os.removexattr(moved / "renamed", "user.new")
        os.unlink(moved / "fifo")
        os.unlink(moved / "link")
        os.unlink(moved / "other")
        if self._turn % 3 == 0:
            self.there |= {moved.name: b"", f"{moved.name}/renamed": b"cut %d" % self._turn}
            return
        os.unlink(moved / "renamed")
        os.rmdir(moved)

    def found(self) -> dict[str, bytes]:
        """As `there`."""
        return {
            str(path.relative_to(self._directory)): b"" if path.is_dir() else path.read_bytes()
            for path in self._directory.rglob("*")
        }


@pytest.mark.parametrize("durability", ["interval", "operation"])
def test_each_change_of_a_name_is_made_once(source: str, tmp_path: Path, durability: str) -> None:
    """With "operation" nearly every kill finds changes that were committed and not answered."""
    moments = random.Random(durability)
    with mounted(source, tmp_path, settings={"index": {"durability": durability}}) as mount:
        threads = [Names(mount.path / f"thread_{number}") for number in range(4)]
        loops = [Loop(names.change) for names in threads]
        with ExitStack() as stack:
            for loop in loops:
                stack.enter_context(loop)
            for _ in range(KILLS_MAX):
                wanted = sum(loop.turns for loop in loops) + moments.randrange(1, 40)
                assert programs.wait_until(lambda: sum(loop.turns for loop in loops) >= wanted, 60)  # noqa: B023 - it is called here
                kill(mount)
        assert [names.found() for names in threads] == [names.there for names in threads]
        mount.remount()
        assert [names.found() for names in threads] == [names.there for names in threads]
        assert mount.log().count("takes over") == KILLS_MAX


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
        for _ in range(KILLS_MAX):
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
