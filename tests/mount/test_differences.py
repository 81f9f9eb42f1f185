"""Where a mount differs from a native file system, as README.md says it does. A change here is a change there."""

import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.posix.tools import attempt, open_close, umask
from tests.support import programs
from tests.support.mounts import mounted, need_root
from tierfs.model import KEY_MAX_BYTES, SYMLINK_MAX_BYTES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("differences")
    (directory / "bucket").mkdir()
    with mounted(f"file://{directory}/bucket", directory) as mount:
        yield mount.path


def test_a_path_must_fit_into_a_key(root: Path) -> None:
    directory = root / "deep"
    while len(str(directory.relative_to(root))) < KEY_MAX_BYTES - 250:
        directory = directory / ("d" * 120)
    directory.mkdir(parents=True)
    room = KEY_MAX_BYTES - len(str(directory.relative_to(root))) - 1
    assert attempt(open_close, directory / ("f" * room), os.O_CREAT | os.O_WRONLY) == "ok"
    (root / "short").write_bytes(b"x")
    too_long = directory / ("g" * (room + 1))
    assert attempt(open_close, too_long, os.O_CREAT | os.O_WRONLY) == "ENAMETOOLONG"
    assert attempt(os.mkdir, too_long) == "ENAMETOOLONG"
    assert attempt(os.symlink, "x", too_long) == "ENAMETOOLONG"
    assert attempt(os.link, root / "short", too_long) == "ENAMETOOLONG"
    assert attempt(os.rename, root / "short", too_long) == "ENAMETOOLONG"
    assert (root / "short").read_bytes() == b"x"
    assert len(os.listdir(directory)) == 1


def test_a_symlink_target_must_fit_into_an_object(root: Path) -> None:
    assert attempt(os.symlink, "x" * SYMLINK_MAX_BYTES, root / "fits") is None
    assert attempt(os.symlink, "x" * (SYMLINK_MAX_BYTES + 1), root / "too long") == "ENAMETOOLONG"


def test_the_place_of_tierfs_in_the_bucket_is_hidden(root: Path) -> None:
    (root / "subdirectory").mkdir()
    hidden = root / ".tierfs"
    assert ".tierfs" not in os.listdir(root)
    assert attempt(os.stat, hidden) == "ENOENT"
    assert attempt(os.mkdir, hidden) == "EPERM"
    assert attempt(open_close, hidden, os.O_CREAT | os.O_WRONLY) == "EPERM"
    assert attempt(os.rename, root / "subdirectory", hidden) == "EPERM"
    # only at the root
    assert attempt(os.mkdir, root / "subdirectory/.tierfs") is None


def test_devices_exist_but_cannot_be_used(root: Path) -> None:
    """The mount is nosuid and nodev, as libfuse has it: a bucket must not be able to hand out rights."""
    need_root()
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert attempt(open_close, root / "null", os.O_RDWR) == "EACCES"
    assert os.statvfs(root).f_flag & (os.ST_NODEV | os.ST_NOSUID) == os.ST_NODEV | os.ST_NOSUID


def test_no_space_can_be_reserved_and_no_file_made_without_a_name(root: Path) -> None:
    with (root / "f").open("wb") as file:
        assert attempt(os.posix_fallocate, file.fileno(), 0, 4096) in (None, "ENOTSUP")
    assert attempt(os.open, root, os.O_TMPFILE | os.O_WRONLY) == "ENOTSUP"


def test_inode_flags_are_not_kept(root: Path) -> None:
    """chattr: neither S3 nor a FUSE file system has a place for them."""
    get_flags = 0x80086601
    (root / "g").write_bytes(b"")
    with (root / "g").open("rb") as file:
        assert attempt(fcntl.ioctl, file.fileno(), get_flags, bytes(8)) in ("ENOTTY", "ENOSYS", "ENOTSUP")


def test_without_the_holder_the_umask_counts_beside_a_default_acl(tmp_path: Path) -> None:
    """A native file system leaves it out; the kernel applies it before it asks, unless the holder says not to."""
    (tmp_path / "bucket").mkdir()
    settings = {"mount": {"connection": "pyfuse3"}}
    with mounted(f"file://{tmp_path}/bucket", tmp_path, settings=settings) as mount:
        directory = mount.path / "with default acl"
        directory.mkdir()
        programs.run(["setfacl", "-d", "-m", "u::rwx,g::rwx,o::rwx", directory])
        with umask(0o027):
            os.close(os.open(directory / "f", os.O_CREAT | os.O_WRONLY, 0o666))
        assert stat.filemode(os.stat(directory / "f").st_mode) == "-rw-r-----"
