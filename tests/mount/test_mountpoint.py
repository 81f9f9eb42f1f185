"""Mountpoints in the states that a crash leaves behind: dead, hung and in use, made with bare /dev/fuse."""

import ctypes
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest

from tests.support.mounts import need_root
from tierfs.cli import tierfs
from tierfs.control import mountpoint
from tierfs.control.exitcodes import ExitCode
from tierfs.errors import FsError, MountError, MountProblem


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_root()
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))
    made = tmp_path / "m nt"
    made.mkdir()
    return made


@contextmanager
def fuse_mount(place: Path, filesystem: str = "fuse.tierfs") -> Iterator[FileIO]:
    """A FUSE mount whose daemon, the holder of this file, never answers; gone at the end."""
    device = FileIO("/dev/fuse", "r+")
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device.fileno()},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"s3://bucket", os.fsencode(place), filesystem.encode(), 0, options) == 0, ctypes.get_errno()
    try:
        yield device
    finally:
        # the end of the last descriptor ends the connection, and with it whatever waits for an answer
        device.close()
        if mountpoint.mounted_at(place) is not None:
            libc.umount2(os.fsencode(place), 2)


def problem_of(place: Path) -> MountError:
    with pytest.raises(MountError) as caught:
        mountpoint.check_mountpoint(place)
    return caught.value


def test_a_dead_mount_is_recognised_and_the_cure_works(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fuse_mount(place) as device:
        device.close()
        with pytest.raises(OSError) as caught:
            place.stat()
        assert caught.value.errno == errno.ENOTCONN
        problem = problem_of(place)
        assert problem.problem is MountProblem.BUSY
        assert "Transport endpoint is not connected" in str(problem) and f"tierfs umount {place}" in str(problem)
        assert (
            tierfs.main(["mount", "s3://bucket", str(place), "--cache", str(place.parent / "cache")]) == ExitCode.BUSY
        )
        assert "dead mount" in capsys.readouterr().err

        assert tierfs.main(["umount", str(place)]) == 0
        assert "its daemon was gone already" in capsys.readouterr().err
        assert mountpoint.mounted_at(place) is None
        mountpoint.check_mountpoint(place)


def test_a_hung_mount_hangs_neither_mount_nor_umount(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mountpoint, "LOOK_LIMIT_S", 0.2)
    with fuse_mount(place):
        problem = problem_of(place)
        assert problem.problem is MountProblem.BUSY and "hangs" in str(problem) and "--lazy" in str(problem)
        assert tierfs.main(["umount", "--lazy", "--json", str(place)]) == 0
        assert json.loads(capsys.readouterr().out)["had_daemon"] is False
        assert mountpoint.mounted_at(place) is None


def test_a_mount_of_another_kind_is_not_ours_to_take_away(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fuse_mount(place, "fuse.sshfs") as device:
        assert tierfs.main(["umount", str(place)]) == ExitCode.NO_DAEMON
        assert "is no tierfs mount but s3://bucket (fuse.sshfs)" in capsys.readouterr().err
        assert mountpoint.mounted_at(place) is not None
        device.close()


def test_a_mount_in_use_is_detached_lazily_only(place: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", os.fsencode(place), b"tmpfs", 0, None) == 0
    with (place / "file").open("w"):
        with pytest.raises(FsError, match="is in use; `fuser -vm") as caught:
            mountpoint.detach(place, lazy=False)
        assert caught.value.errno == errno.EBUSY and mountpoint.mounted_at(place) is not None
        mountpoint.detach(place, lazy=True)
        assert mountpoint.mounted_at(place) is None
