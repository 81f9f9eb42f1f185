"""Backing files in a real directory."""

import errno
import os
from pathlib import Path

import pytest
import trio

from tierfs import native
from tierfs.errors import FsError
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles


@pytest.fixture
def hot(tmp_path: Path) -> HotFiles:
    hot = HotFiles(Disk(), tmp_path / "hot")
    hot.prepare()
    return hot


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_openers_share_one_descriptor(hot: HotFiles) -> None:
    before = open_descriptors()
    first = hot.open(0x1000000000AB, create=True)
    second = hot.open(0x1000000000AB, create=False)
    assert first is second
    assert open_descriptors() == before + 1
    first.close()
    assert second.stat().size_bytes == 0
    second.close()
    assert open_descriptors() == before
    assert hot.path(0x1000000000AB).endswith("/hot/ab/1000000000ab")


def test_a_missing_file_is_enoent(hot: HotFiles) -> None:
    with pytest.raises(FsError) as caught:
        hot.open(7, create=False)
    assert caught.value.errno == errno.ENOENT
    assert hot.stat(7) is None


@pytest.mark.parametrize("writable", [False, True])
def test_what_is_shared_is_a_writer_only_if_it_may_write(hot: HotFiles, writable: bool) -> None:
    backing = hot.open(7, create=True)
    backing.write_inline(0, b"ours may write by now")
    before = open_descriptors()
    with backing.shared(writable=writable) as fd:
        theirs = os.dup(fd)
    assert open_descriptors() == before + 1
    assert os.pread(theirs, 4, 0) == b"ours"
    assert backing.has_other_writers() is writable
    os.close(theirs)
    assert not backing.has_other_writers()
    backing.close()


def test_small_and_big_writes_and_reads(hot: HotFiles) -> None:
    async def main() -> None:
        backing = hot.open(7, create=True)
        big = os.urandom(3 << 20)
        await backing.write(0, big)
        await backing.write(10, b"small")
        expected = big[:10] + b"small" + big[15:]
        assert await backing.read(0, 4 << 20) == expected
        assert await backing.read(8, 9) == expected[8:17]
        assert await backing.read(len(big), 5) == b""
        backing.close()

    trio.run(main)


def test_checked_write_and_sync(hot: HotFiles) -> None:
    async def main() -> None:
        backing = hot.open(7, create=True)
        assert await backing.write_checked(100, b"abc") == native.crc64nvme(b"abc")
        await backing.sync()
        await backing.sync(data_only=False)
        assert backing.stat().size_bytes == 103
        backing.close()

    trio.run(main)


def test_a_removed_file_lives_for_its_openers_and_the_next_open_is_another(hot: HotFiles) -> None:
    async def main() -> None:
        old = hot.open(7, create=True)
        await old.write(0, b"old")
        hot.remove(7)
        new = hot.open(7, create=True)
        assert new is not old
        assert new.stat().size_bytes == 0
        assert await old.read(0, 10) == b"old"
        old.close()
        assert hot.open(7, create=False) is new  # closing the old one did not disturb the new one

    trio.run(main)


def test_big_removed_files_are_freed_by_bury(hot: HotFiles) -> None:
    async def main() -> None:
        before = open_descriptors()
        for ino, keep_open in ((1, False), (2, True)):
            backing = hot.open(ino, create=True)
            await backing.write(0, b"x" * (33 << 20))
            if not keep_open:
                backing.close()
            hot.remove(ino)
            if keep_open:
                backing.close()
        assert open_descriptors() == before + 2
        await hot.bury()
        assert hot.stat(1) is None
        assert hot.stat(2) is None

    before_all = open_descriptors()
    trio.run(main)
    assert open_descriptors() == before_all


def test_inos_lists_every_backing_file_and_no_other_name(hot: HotFiles) -> None:
    for ino in (1, 0x1FF, 0xFFFF_0000_0000_0001):
        hot.open(ino, create=True).close()
    (hot.root / "01" / "probe.tmp").write_bytes(b"")
    (hot.root / "01" / "0X1").write_bytes(b"")
    assert sorted(ino for shard in hot.inos() for ino in shard) == [1, 0x1FF, 0xFFFF_0000_0000_0001]


def test_prepare_leaves_only_directories(hot: HotFiles) -> None:
    hot.prepare()
    assert len(list(hot.root.iterdir())) == 256
    assert hot.root.stat().st_mode & 0o777 == 0o700


class NoHoles(Disk):
    def punch(self, fd: int, start: int, stop: int) -> None:
        raise FsError(errno.EOPNOTSUPP)


def test_a_file_system_without_holes_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(FsError, match="ext4, XFS, btrfs or tmpfs"):
        HotFiles(NoHoles(), tmp_path / "hot").prepare()
