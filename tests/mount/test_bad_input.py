"""What goes wrong around a mount ends with a clear line and an exit code, within a limit, and loses nothing."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import Mount, find_mount, mounted, need_root, prepared
from tests.support.programs import Completed
from tests.support.s3double import Fault, S3Double
from tierfs.control.exitcodes import ExitCode

PROMPT_S = 60.0  # a loaded machine's idea of at once


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


def assert_fails(done: Completed, code: ExitCode, *words: str) -> None:
    said = done.stderr.strip().splitlines()
    assert done.returncode == code and len(said) == 1, done
    assert not [word for word in words if word not in said[0]], done


@contextlib.contextmanager
def full_disk(place: Path) -> Iterator[Path]:
    """A disk of 64 KiB on which nothing is left."""
    need_root()
    place.mkdir()
    programs.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place])
    try:
        with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        yield place
    finally:
        programs.run(["umount", "-l", place])


def test_settings_that_were_half_written(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path) as mount:
        mount.config.write_text('[export]\nquiet_s = "5s"\n[stor')
        assert_fails(mount.tierfs(*mount.mount_command(), check=False), ExitCode.CONFIG, f"{mount.config}:3:")
        assert find_mount(mount.path) is None


def test_a_full_log_disk_loses_lines_and_nothing_else(source: str, tmp_path: Path) -> None:
    with full_disk(tmp_path / "log") as place:
        settings = {"log": {"file": str(place / "tierfs.log"), "level": "debug"}, "export": {"quiet_s": 0.1}}
        with mounted(source, tmp_path, settings=settings) as mount:
            (mount.path / "f").write_bytes(b"bytes")
            mount.wait_synced()
            report = mount.tierctl("doctor", mount.path, check=False)
            assert report.returncode == ExitCode.DOUBTFUL and "lines that do not fit are lost" in report.stdout
        assert (tmp_path / "bucket" / "f").read_bytes() == b"bytes"
        assert (place / "tierfs.log").stat().st_size == 0


def test_a_run_directory_of_somebody_else_is_not_believed(source: str, tmp_path: Path) -> None:
    """Whoever owns it could name any socket as that of a mount."""
    need_root()
    run_directory = tmp_path / "run"
    run_directory.mkdir()
    with prepared(source, tmp_path, env={"TIERFS_RUN_DIR": str(run_directory)}) as mount:
        mount.mount()
        os.chown(run_directory, 1000, 1000)
        assert_fails(mount.tierctl("status", mount.path, check=False), ExitCode.NO_DAEMON, "no tierfs mount")
        os.chown(run_directory, 0, 0)
        mount.umount()
        os.chown(run_directory, 1000, 1000)
        assert_fails(
            mount.tierfs(*mount.mount_command(), check=False), ExitCode.FAILED, "another user", "TIERFS_RUN_DIR"
        )
        assert find_mount(mount.path) is None


def test_two_unmounts_at_once(source: str, tmp_path: Path) -> None:
    """One does it; the other waits for the same end, or finds nothing to do. Then there is nothing."""
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 3600}}) as mount:
        (mount.path / "f").write_bytes(b"bytes")
        done: list[Completed] = []
        threads = [
            threading.Thread(target=lambda: done.append(mount.tierfs("umount", mount.path, check=False)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PROMPT_S)
        codes = sorted(one.returncode for one in done)
        assert codes[0] == 0 and codes[1] in (0, ExitCode.NO_DAEMON), done
        assert find_mount(mount.path) is None and (tmp_path / "bucket" / "f").read_bytes() == b"bytes"
        assert_fails(mount.tierfs("umount", mount.path, check=False), ExitCode.NO_DAEMON, "nothing is mounted")


def test_umount_l_under_an_open_file(source: str, tmp_path: Path) -> None:
    """The file goes on; who mounts again meanwhile is told what holds the cache; with the last close it is uploaded."""
    need_root()
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 3600}}) as mount:
        with (mount.path / "f").open("wb", buffering=0) as file:
            file.write(b"before ")
            programs.run(["umount", "-l", mount.path])
            file.write(b"after")
            again = mount.tierfs(*mount.mount_command(), check=False)
            assert_fails(again, ExitCode.CACHE_IN_USE, str(mount.cache))
        assert programs.wait_until(lambda: not mount.daemons(), PROMPT_S)
        assert (tmp_path / "bucket" / "f").read_bytes() == b"before after"
        mount.mount()
        assert (mount.path / "f").read_bytes() == b"before after"


def hang(double: S3Double, released: threading.Event) -> None:
    """From now on no request is answered."""
    for op in ("PutObject", "HeadObject", "ListObjectsV2", "CreateMultipartUpload"):
        double.fail_next(op, "*", Fault(hold=released), times=1000)


@contextlib.contextmanager
def over_a_double(tmp_path: Path, **export: object) -> Iterator[tuple[Mount, S3Double, threading.Event]]:
    released = threading.Event()
    with S3Double() as double:
        settings = {
            "store": {"endpoint_url": double.endpoint_url, "read_timeout_s": 1, "retry_budget_s": 5},
            "export": {"quiet_s": 3600, **export},
        }
        source = f"s3://{double.create_bucket()}"
        with mounted(source, tmp_path, settings=settings, env=double.environment) as mount:
            try:
                yield mount, double, released
            finally:
                double.clear_faults()
                released.set()


def test_a_hung_store_holds_an_unmount_no_longer_than_it_is_told(tmp_path: Path) -> None:
    with over_a_double(tmp_path, drain_timeout_s=2) as (mount, double, released):
        (mount.path / "f").write_bytes(b"bytes")
        hang(double, released)
        done = mount.tierfs("umount", mount.path, check=False, timeout_s=PROMPT_S)
        assert "1 upload left" in done.stderr or done.returncode == ExitCode.FAILED, done
        if done.returncode:  # it says so, and the mount stays
            assert "--no-drain" in done.stderr
            mount.tierfs("umount", mount.path, "--no-drain", timeout_s=PROMPT_S)
        assert find_mount(mount.path) is None
        double.clear_faults()
        released.set()
        mount.mount()
        mount.tierctl("sync", mount.path)
        assert (mount.path / "f").read_bytes() == b"bytes"
