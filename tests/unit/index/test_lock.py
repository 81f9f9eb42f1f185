"""One process a directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tierfs.errors import CacheBusyError
from tierfs.index.lock import lock_directory


def test_the_second_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    fd = lock_directory(tmp_path)
    with pytest.raises(CacheBusyError, match=rf"pid {os.getpid()}\b"):
        lock_directory(tmp_path)
    os.close(fd)
    os.close(lock_directory(tmp_path))


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tierfs.index.lock import lock_directory; lock_directory(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[3])
    os.close(lock_directory(tmp_path))
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    fd = lock_directory(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "print('runs', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"runs\n"
        os.close(fd)
        os.close(lock_directory(tmp_path))
        child.communicate(b"\n")


def test_a_symlink_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"of another")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="Too many levels"):
        lock_directory(tmp_path / "cache")
    assert (tmp_path / "target").read_bytes() == b"of another"
