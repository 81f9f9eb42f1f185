"""Hot files by the kernel alone: nobody is asked, nothing is lost, and everybody else still sees what is there."""

import contextlib
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import Mount, mounted

FRESH = {"import": {"revalidate_s": 0}, "mount": {"attr_timeout_s": 0, "entry_timeout_s": 0}}
NOBODY = 65_534
LIMIT_S = 20.0


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A bucket that is a directory."""
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@contextlib.contextmanager
def passing(bucket: Path, tmp_path: Path, **settings: dict[str, object]) -> Iterator[Mount]:
    """A mount with passthrough; skips the test where the machine has none."""
    with mounted(f"file://{bucket}", tmp_path / "m", settings=settings) as mount:
        status = mount.status()
        if status["mode"] != "passthrough":
            pytest.skip(f"no passthrough: {status['mode_reason']}")
        assert status["holder_pid"] not in (None, status["pid"])
        yield mount


@contextlib.contextmanager
def stopped(mount: Mount) -> Iterator[None]:
    """The daemon does nothing inside the block; what waits for it is freed after a while."""
    rescue = threading.Timer(LIMIT_S, os.kill, (mount.pid, signal.SIGCONT))
    rescue.start()
    os.kill(mount.pid, signal.SIGSTOP)
    try:
        yield
        assert rescue.is_alive(), "something waited for the daemon"
    finally:
        rescue.cancel()
        os.kill(mount.pid, signal.SIGCONT)


def test_hot_files_are_opened_read_and_mapped_without_the_daemon(bucket: Path, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (bucket / "file").write_bytes(data)
    with passing(bucket, tmp_path) as mount:
        path = mount.path / "file"
        for _ in range(3):  # whole, then lent, then with attributes that the holder knows
            assert path.read_bytes() == data
        with stopped(mount):
            assert path.read_bytes() == data
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
                assert mapping[1 << 20 : 2 << 20] == data[1 << 20 : 2 << 20]


def test_a_stat_after_a_read_shows_the_access(bucket: Path, tmp_path: Path) -> None:
    (bucket / "file").write_bytes(b"x" * 5000)
    with passing(bucket, tmp_path) as mount:
        path = mount.path / "file"
        os.utime(path, ns=(10**9, 2 * 10**9))
        path.read_bytes()
        path.read_bytes()
        assert path.stat().st_atime_ns > 10**18
        assert path.stat().st_mtime_ns == 2 * 10**9
        mount.remount()
        assert path.stat().st_atime_ns > 10**18
        assert path.stat().st_mtime_ns == 2 * 10**9


def test_a_writer_beside_a_reader_is_seen_by_him_and_by_the_bucket(bucket: Path, tmp_path: Path) -> None:
    (bucket / "log").write_bytes(b"one\n")
    with passing(bucket, tmp_path, export={"quiet_s": 0.2}) as mount:
        path = mount.path / "log"
        path.read_bytes()
        with path.open("rb") as reader:
            assert reader.read() == b"one\n"
            for number in range(5):
                with path.open("ab") as writer:
                    writer.write(b"line %d\n" % number)
                assert reader.read() == b"line %d\n" % number
                assert path.stat().st_size == 4 + 7 * (number + 1)
            mount.wait_synced()
            assert (bucket / "log").read_bytes() == path.read_bytes()
            os.truncate(path, 3)
            assert path.read_bytes() == b"one"
        mount.wait_synced()
        assert (bucket / "log").read_bytes() == b"one"


def test_stores_through_a_mapping_after_the_last_close_reach_the_bucket(bucket: Path, tmp_path: Path) -> None:
    (bucket / "data").write_bytes(bytes(64 << 10))
    with passing(bucket, tmp_path, export={"quiet_s": 0.1}) as mount:
        path = mount.path / "data"
        path.read_bytes()
        with path.open("rb"):  # so that the writer comes by the kernel, too
            fd = os.open(path, os.O_RDWR)
            mapping = mmap.mmap(fd, 0)
            os.close(fd)
        for number in range(1, 6):
            mapping[number * 4096] = number
            mapping[0] = number
        mapping.close()
        mount.wait_synced()
        found = (bucket / "data").read_bytes()
        assert [found[number * 4096] for number in range(6)] == [5, 1, 2, 3, 4, 5]
        assert path.read_bytes() == found


def test_a_new_version_gets_the_name_and_an_open_file_keeps_the_old_one(bucket: Path, tmp_path: Path) -> None:
    (bucket / "file").write_bytes(b"old version")
    with passing(bucket, tmp_path, **FRESH) as mount:
        path = mount.path / "file"
        path.read_bytes()
        before = path.stat().st_ino
        with path.open("rb", buffering=0) as reader:
            assert reader.read(3) == b"old"
            (bucket / "new").write_bytes(b"a new version")
            (bucket / "new").rename(bucket / "file")
            assert programs.wait_until(lambda: path.read_bytes() == b"a new version", LIMIT_S)
            assert reader.read() == b" version"
            assert path.stat().st_ino != before
        before = path.stat().st_ino
        (bucket / "new").write_bytes(b"the third")
        (bucket / "new").rename(bucket / "file")
        assert programs.wait_until(lambda: path.read_bytes() == b"the third", LIMIT_S)
        assert path.stat().st_ino == before, "nobody had it open"


def test_lent_files_make_room(bucket: Path, tmp_path: Path) -> None:
    """A tier of 8 MiB, 40 files of 1 MiB, all read twice, one of them open throughout."""
    bodies = {f"file-{number:02}": os.urandom(1 << 20) for number in range(40)}
    for name, body in bodies.items():
        (bucket / name).write_bytes(body)
    with passing(bucket, tmp_path, hot_tier={"size_bytes": "8MiB"}) as mount:
        first = mount.path / "file-00"
        first.read_bytes()
        with first.open("rb") as held:
            for name, body in [*bodies.items(), *bodies.items()]:
                assert (mount.path / name).read_bytes() == body
            assert held.read() == bodies["file-00"]
        assert mount.status()["tier"]["used_bytes"] <= 8 << 20


def test_programs_run_from_hot_files(bucket: Path, tmp_path: Path) -> None:
    with passing(bucket, tmp_path) as mount:
        program = mount.path / "true"
        shutil.copy("/bin/true", program)
        for _ in range(3):
            assert subprocess.run([program], timeout=LIMIT_S, check=False).returncode == 0


def test_a_strangers_write_takes_setuid_away(bucket: Path, tmp_path: Path) -> None:
    code = f"""
import os, sys
directory = os.open(sys.argv[1], os.O_RDONLY)  # what leads there is not for everybody
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
os.write(os.open("file", os.O_WRONLY, dir_fd=directory), b"x")
"""
    with passing(bucket, tmp_path) as mount:
        path = mount.path / "file"
        path.write_bytes(b"content")
        path.chmod(0o6777)
        path.write_bytes(b"root keeps it")
        assert path.stat().st_mode & 0o7777 == 0o6777
        subprocess.run([sys.executable, "-c", code, mount.path], check=True, timeout=LIMIT_S)
        assert path.stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize("connection", ["holder", "pyfuse3"])
def test_the_same_without_passthrough(bucket: Path, tmp_path: Path, connection: str) -> None:
    (bucket / "file").write_bytes(b"content")
    settings = {"mount": {"connection": connection}}
    with mounted(f"file://{bucket}", tmp_path / "m", settings=settings) as mount:
        status = json.loads(mount.tierctl("status", mount.path, "--json").stdout)
        assert status["mode"] == connection
        assert connection in status["mode_reason"]
        assert (status["holder_pid"] is None) == (connection == "pyfuse3")
        path = mount.path / "file"
        assert path.read_bytes() == path.read_bytes() == b"content"
        with path.open("rb") as reader, path.open("ab") as writer:
            writer.write(b" and more")
            writer.flush()
            assert reader.read() == b"content and more"
        mount.wait_synced()
        assert (bucket / "file").read_bytes() == b"content and more"


def test_the_holder_goes_with_the_mount(bucket: Path, tmp_path: Path) -> None:
    with passing(bucket, tmp_path) as mount:
        holder_pid = mount.status()["holder_pid"]
        (mount.path / "file").write_bytes(b"x")
        os.kill(mount.pid, signal.SIGTERM)
        assert programs.wait_until(lambda: not mount.daemons(), LIMIT_S)
        assert not Path(f"/proc/{holder_pid}").exists()
        assert (bucket / "file").read_bytes() == b"x"
