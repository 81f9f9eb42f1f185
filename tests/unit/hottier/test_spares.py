"""Files made ahead, in a real directory."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tierfs.errors import FsError
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.spares import Spares


async def at_once(function: Callable[[int], list[int]], count: int) -> list[int]:
    await trio.lowlevel.checkpoint()
    return function(count)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_was_needed_once_is_there_the_next_time(tmp_path: Path) -> None:
    async def main() -> None:
        spares = Spares(Disk(), tmp_path, at_once)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spares.run)
            await wait_all_tasks_blocked()
            before = open_descriptors()
            assert spares.take(str(tmp_path / "first")) is None, "nobody has needed one"
            await wait_all_tasks_blocked()
            assert open_descriptors() > before
            assert os.listdir(tmp_path) == [], "they have no names"
            fd = spares.take(str(tmp_path / "second"))
            assert fd is not None
            os.write(fd, b"bytes")
            assert (tmp_path / "second").read_bytes() == b"bytes"
            assert (tmp_path / "second").stat().st_mode & 0o777 == 0o600
            os.close(fd)
            nursery.cancel_scope.cancel()
        assert open_descriptors() <= before

    trio.run(main)


def test_a_name_that_is_taken_keeps_its_file(tmp_path: Path) -> None:
    async def main() -> None:
        spares = Spares(Disk(), tmp_path, at_once)
        (tmp_path / "taken").write_bytes(b"old")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spares.run)
            spares.take(str(tmp_path / "first"))
            await wait_all_tasks_blocked()
            assert spares.take(str(tmp_path / "taken")) is None
            assert (tmp_path / "taken").read_bytes() == b"old"
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_they_are_made_again_before_they_are_used_up(tmp_path: Path) -> None:
    async def main() -> None:
        spares = Spares(Disk(), tmp_path, at_once)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spares.run)
            spares.take(str(tmp_path / "first"))
            for number in range(500):
                await wait_all_tasks_blocked()
                fd = spares.take(str(tmp_path / str(number)))
                assert fd is not None
                os.close(fd)
            nursery.cancel_scope.cancel()

    trio.run(main)


class WithoutUnnamed(Disk):
    def open_unnamed(self, directory: Path) -> int:
        raise FsError(errno.EOPNOTSUPP)


class WithoutProc(Disk):
    def name(self, fd: int, path: str) -> bool:
        raise FsError(errno.ENOENT)


@pytest.mark.parametrize("disk", [WithoutUnnamed, WithoutProc])
def test_where_none_can_be_made_files_are_made_when_they_are_needed(disk: type[Disk], tmp_path: Path) -> None:
    async def main() -> None:
        hot = HotFiles(disk(), tmp_path / "hot")
        hot.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hot.spares.run)
            for ino in 7, 8:
                backing = hot.open(ino, create=True)
                await wait_all_tasks_blocked()
                assert hot.stat(ino) is not None
                backing.close()
            nursery.cancel_scope.cancel()

    trio.run(main)
