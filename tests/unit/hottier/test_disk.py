"""Disk on a real file system."""

import errno
import os
from pathlib import Path

import pytest

from tierfs import native
from tierfs.errors import FsError
from tierfs.hottier.disk import Disk


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_write_read_and_short_read_at_the_end(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    disk.pwrite(fd, b"hello world", 3)
    assert disk.pread(fd, 0, 100) == b"\0\0\0hello world"
    assert disk.pread(fd, 100, 10) == b""
    assert disk.stat(fd).size_bytes == 14
    disk.close(fd)


def test_try_pread_gives_all_or_nothing(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    disk.pwrite(fd, bytes(range(200)), 0)
    assert disk.try_pread(fd, 10, 5) in (bytes(range(10, 15)), None)
    assert disk.try_pread(fd, 190, 20) is None  # past the end: cannot be told from bytes that are not cached
    assert disk.try_pread(fd, 0, 2 << 20) is None
    disk.close(fd)


def test_results_of_try_pread_are_independent(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    disk.pwrite(fd, b"aaaabbbb", 0)
    first = disk.try_pread(fd, 0, 4)
    disk.try_pread(fd, 4, 4)
    assert first in (b"aaaa", None)
    disk.close(fd)


def test_a_checked_write_returns_the_checksum(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    data = os.urandom(5000)
    assert disk.pwrite_crc64nvme(fd, data, 7) == native.crc64nvme(data)
    assert disk.pread(fd, 7, 5000) == data
    disk.close(fd)


def test_a_checksum_of_a_range_takes_its_bytes_piece_by_piece(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    data = os.urandom((5 << 20) // 2)
    disk.pwrite(fd, data, 0)
    assert disk.crc64nvme(fd, 7, 2 << 20) == (native.crc64nvme(data[7 : 7 + (2 << 20)]), 2 << 20)
    assert disk.crc64nvme(fd, 100, 1 << 30) == (native.crc64nvme(data[100:]), len(data) - 100)
    assert disk.crc64nvme(fd, 1 << 30, 10) == (0, 0)
    disk.close(fd)


def test_punch_frees_blocks_and_keeps_the_size(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    disk.pwrite(fd, b"x" * 65536, 0)
    before = disk.stat(fd)
    disk.punch(fd, 4096, 65536)
    after = disk.stat(fd)
    assert after.size_bytes == 65536
    assert after.allocated_bytes <= before.allocated_bytes - 57344
    assert disk.pread(fd, 4090, 10) == b"xxxxxx\0\0\0\0"
    disk.close(fd)


def test_times_are_set_to_the_nanosecond(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", create=True)
    disk.set_times(fd, 1_000_000_001, 1_500_000_000_123_456_789)
    assert disk.stat(fd).mtime_ns == 1_500_000_000_123_456_789
    disk.close(fd)


def test_publish_replaces_as_a_whole(disk: Disk, tmp_path: Path) -> None:
    disk.publish(tmp_path / "note", b"one")
    disk.publish(tmp_path / "note", b"two")
    assert (tmp_path / "note").read_bytes() == b"two"
    assert disk.names(tmp_path) == ["note"]


def test_errors_carry_the_errno(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(FsError) as caught:
        disk.open(f"{tmp_path}/none", create=False)
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(FsError) as caught:
        disk.pwrite(-1, b"x", 0)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(FsError) as caught:
        disk.punch(-1, 0, 1)
    assert caught.value.errno == errno.EBADF


def test_what_is_not_there(disk: Disk, tmp_path: Path) -> None:
    assert disk.stat_path(f"{tmp_path}/none") is None
    assert disk.unlink(f"{tmp_path}/none") is False


def test_free_bytes_is_what_df_says(disk: Disk, tmp_path: Path) -> None:
    stat = os.statvfs(tmp_path)
    assert abs(disk.free_bytes(tmp_path) - stat.f_bavail * stat.f_frsize) < 1 << 30


def test_a_file_system_is_synced_and_a_missing_directory_is_an_error(disk: Disk, tmp_path: Path) -> None:
    disk.sync_file_system(tmp_path)
    with pytest.raises(FsError) as refused:
        disk.sync_file_system(tmp_path / "missing")
    assert refused.value.errno == errno.ENOENT


def test_a_symlink_in_the_place_of_a_file_is_not_followed(disk: Disk, tmp_path: Path) -> None:
    """Whoever could plant one would have us write over the file that it leads to."""
    (tmp_path / "target").write_bytes(b"of another")
    for name in ("file", "small.tmp"):
        (tmp_path / name).symlink_to(tmp_path / "target")
    with pytest.raises(FsError) as refused:
        disk.open(str(tmp_path / "file"), create=True)
    assert refused.value.errno == errno.ELOOP
    with pytest.raises(FsError):
        disk.publish(tmp_path / "small", b"bytes")
    assert (tmp_path / "target").read_bytes() == b"of another"
