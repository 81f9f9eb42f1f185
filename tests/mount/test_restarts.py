"""What outlives a daemon: names, numbers, attributes and pending uploads, after an unmount and after a kill."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.trees import assert_same, describe, make_source_tree

NEVER = {"export": {"quiet_s": 3600}}
HOW: dict[str, Callable[[Mount], None]] = {
    "umount": Mount.umount,
    "umount without draining": lambda mount: mount.umount(drain=False),
    "kill": Mount.kill9,
}


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


@pytest.mark.parametrize("how", HOW)
def test_everything_is_there_again(source: str, tmp_path: Path, how: str) -> None:
    make_source_tree(tmp_path / "native", 60)
    with mounted(source, tmp_path, settings=NEVER) as mount:
        programs.run(["cp", "-a", tmp_path / "native", mount.path / "tree"])
        numbers = inode_numbers(mount.path)
        HOW[how](mount)
        mount.remount()
        assert_same(describe(tmp_path / "native"), describe(mount.path / "tree"))
        assert inode_numbers(mount.path) == numbers
        mount.wait_synced()
        assert mount.status()["pending_exports"] == 0
        mount.remount(fresh_cache=True)
        assert_same(describe(tmp_path / "native"), describe(mount.path / "tree"))


def inode_numbers(root: Path) -> dict[str, int]:
    return {
        os.path.join(top, name): os.lstat(os.path.join(top, name)).st_ino
        for top, directories, files in os.walk(root)
        for name in directories + files
    }


def test_removals_and_renames_outlive_a_kill(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        make_source_tree(mount.path / "tree", 60)
        mount.wait_synced()
        before = describe(mount.path / "tree/package_000")
        (mount.path / "tree/package_000").rename(mount.path / "moved")
        (mount.path / "tree/corner/tagged").unlink()
        (mount.path / "tree/corner/large").rename(mount.path / "tree/corner/sparse")
        mount.kill9()
        mount.remount()
        assert_same(before, describe(mount.path / "moved"))
        after = describe(mount.path)
        mount.wait_synced()
        mount.remount(fresh_cache=True)
        assert_same(after, describe(mount.path))
        assert sorted(os.listdir(mount.path / "tree")) == ["corner"]


def test_bytes_of_files_that_are_open_outlive_a_kill(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings=NEVER) as mount:
        (mount.path / "old").write_bytes(b"x" * 50_000)
        fds = [os.open(mount.path / name, os.O_CREAT | os.O_WRONLY) for name in ("new", "old")]
        os.write(fds[0], b"never closed")
        os.pwrite(fds[1], b"overwritten", 40_000)
        mount.kill9()
        for fd in fds:
            with pytest.raises(OSError, match="connect"):
                os.close(fd)
        mount.remount()
        assert (mount.path / "new").read_bytes() == b"never closed"
        assert (mount.path / "old").read_bytes() == b"x" * 40_000 + b"overwritten" + b"x" * 9_989
        mount.wait_synced()
        assert (tmp_path / "bucket/new").read_bytes() == b"never closed"


def test_unlinked_files_leave_nothing_behind(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings=NEVER) as mount:
        fd = os.open(mount.path / "gone", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"y" * 3_000_000)
        (mount.path / "gone").unlink()
        mount.kill9()
        with pytest.raises(OSError, match="connect"):
            os.close(fd)
        mount.remount()
        assert os.listdir(mount.path) == []
        mount.wait_synced()
        assert hot_bytes(mount) == 0
        assert [name for name in os.listdir(tmp_path / "bucket") if not name.startswith(".")] == []


def hot_bytes(mount: Mount) -> int:
    return sum(Path(top, name).stat().st_size for top, _, names in os.walk(mount.cache / "hot") for name in names)


def test_a_file_that_stays_open_is_exported_meanwhile(source: str, tmp_path: Path) -> None:
    settings = {"export": {"quiet_s": 0.5, "max_dirty_age_s": 2}}
    with mounted(source, tmp_path, settings=settings) as mount, (mount.path / "log").open("wb", buffering=0) as log:
        done = threading.Event()

        def write_lines() -> None:
            while not done.wait(0.05):
                log.write(b"another line\n")

        writer = threading.Thread(target=write_lines)
        writer.start()
        try:
            exported = tmp_path / "bucket/log"
            assert programs.wait_until(lambda: exported.exists() and exported.stat().st_size > 0, 30)
            size = exported.stat().st_size
            assert programs.wait_until(lambda: exported.stat().st_size > size, 30)
        finally:
            done.set()
            writer.join(30)
    assert (tmp_path / "bucket/log").read_bytes().replace(b"another line\n", b"") == b""
