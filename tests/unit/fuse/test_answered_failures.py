"""What the log says that a failed request was about, for each way in which a request names its file."""

import errno
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest
import trio

from tierfs.errors import FsError
from tierfs.filesystem import FileSystem
from tierfs.fuse.convert import Timeouts
from tierfs.fuse.directories import Directories
from tierfs.fuse.failures import Failures
from tierfs.fuse.operations import Operations
from tierfs.index.answers import Answers
from tierfs.index.env import Index

HOLDERS_HANDLE = 1 << 63
CONTEXT = cast(pyfuse3.RequestContext, SimpleNamespace(pid=1))


class BrokenFileSystem:
    """Knows its paths, and nothing else."""

    def __init__(self) -> None:
        self.forgotten: list[int] = []

    def path_of(self, ino: int) -> str:
        return "/" if ino == 1 else f"/inode-{ino}"

    def path_of_handle(self, handle: int) -> str:
        return f"/handle-{handle}"

    def forget(self, ino: int, count: int) -> None:
        self.forgotten.append(ino)
        raise FsError(errno.ENOSPC, "the journal is full")

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def fail(*_: Any, **__: Any) -> None:
            raise FsError(errno.EIO, "the journal failed")

        return fail


class HolderDouble:
    """`operations.HolderView` that gave out one handle."""

    takes_files = True

    def inode_of(self, fh: int) -> int | None:
        return 8 if fh == HOLDERS_HANDLE else None


def operations_of(fs: FileSystem) -> Operations:
    directories = Directories(index=cast(Index, None), hold_s=lambda ino: 0, negative_s=0)
    return Operations(fs, Timeouts(1, 1, 0), HolderDouble(), Failures(), Answers(), directories)


Ask = Callable[[Operations], Awaitable[Any]]


@pytest.mark.parametrize(
    ("ask", "about"),
    [
        (lambda it: it.getattr(7, CONTEXT), "getattr /inode-7"),
        (lambda it: it.read(5, 0, 4096), "read /handle-5"),
        (lambda it: it.flush(5), "flush /handle-5"),
        (lambda it: it.fsync(HOLDERS_HANDLE, False), "fsync /inode-8"),
        (lambda it: it.lookup(1, b"a\xff", CONTEXT), "lookup /a\\xff"),
        (lambda it: it.rename(2, b"a", 3, b"b", 0, CONTEXT), "rename /inode-2/a"),
        (lambda it: it.fsyncdir(5, False), "fsyncdir"),
        (lambda it: it.statfs(CONTEXT), "statfs"),
    ],
)
def test_a_failure_names_what_it_was_about(caplog: pytest.LogCaptureFixture, ask: Ask, about: str) -> None:
    fs = cast(FileSystem, BrokenFileSystem())
    operations = operations_of(fs)

    async def main() -> None:
        with pytest.raises(pyfuse3.FUSEError) as refused:
            await ask(operations)
        assert refused.value.errno == errno.EIO

    trio.run(main)
    assert caplog.messages == [f"{about} failed with EIO: the journal failed."]


def test_an_inode_that_cannot_be_purged_ends_neither_the_mount_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    fs = BrokenFileSystem()
    operations = operations_of(cast(FileSystem, fs))
    trio.run(operations.forget, [(7, 1), (8, 2)])
    assert fs.forgotten == [7, 8]
    assert "forget failed with ENOSPC: the journal is full." in caplog.text
