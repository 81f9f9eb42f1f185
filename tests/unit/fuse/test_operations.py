"""Requests that are asked again: what a daemon that died has carried out is answered, all else is carried out."""

import errno
import os
import shutil
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
from attrs import frozen

from tests.support.sync_rig import Rig, run_rig
from tierfs.filesystem import FileSystem
from tierfs.fuse.convert import Timeouts
from tierfs.fuse.directories import Directories
from tierfs.fuse.failures import Failures
from tierfs.fuse.operations import Operations
from tierfs.index import xattrs
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO
from tierfs.namespace.changes import NewInode
from tierfs.units import MIB

MARK, AGAIN = -(1 << 31), 1 << 30


class NoHolder:
    """Of the holder only the tokens matter here."""

    takes_files = False

    def inode_of(self, fh: int) -> int | None:
        return None


@frozen
class Front:
    """The handlers, over a rig."""

    rig: Rig
    fs: FileSystem
    handlers: Operations

    async def ask(self, verb: str, *args: object, token: int = 0, again: bool = False) -> Any:
        """One request; `token` 0: without the holder. The context's type has no constructor."""
        pid = MARK | token | (AGAIN if again else 0) if token else 4711
        return await getattr(self.handlers, verb)(*args, SimpleNamespace(uid=0, gid=0, pid=pid, umask=0))


def run(tmp_path: Path, test: Callable[[Front], Awaitable[None]]) -> None:
    async def main(rig: Rig) -> None:
        fs = rig.file_system()
        directories = Directories(index=rig.index, hold_s=lambda ino: 0, negative_s=0)
        handlers = Operations(fs, Timeouts(0, 0, 0), NoHolder(), Failures(), rig.index.answers, directories)
        await test(Front(rig, fs, handlers))

    run_rig(tmp_path, main)


async def prepare(front: Front) -> dict[str, int]:
    """A file "f" with an attribute, a file "g" and a directory "d"."""
    numbers = {}
    for name in ("f", "g"):
        info, entry = await front.ask("create", ROOT_INO, name.encode(), stat.S_IFREG | 0o644, os.O_RDWR)
        await front.handlers.write(info.fh, 0, name.encode())
        await front.handlers.release(info.fh)
        numbers[name] = entry.st_ino
    numbers["d"] = (await front.ask("mkdir", ROOT_INO, b"d", 0o755)).st_ino
    await front.ask("setxattr", numbers["f"], b"user.old", b"1")
    return numbers


CHANGES: dict[str, Callable[[dict[str, int]], tuple[object, ...]]] = {
    "mknod": lambda of: (ROOT_INO, b"new", stat.S_IFREG | 0o644, 0),
    "mkdir": lambda of: (ROOT_INO, b"new", 0o755),
    "symlink": lambda of: (ROOT_INO, b"new", b"target"),
    "link": lambda of: (of["f"], of["d"], b"new"),
    "create": lambda of: (ROOT_INO, b"new", stat.S_IFREG | 0o644, os.O_WRONLY | os.O_EXCL),
    "unlink": lambda of: (ROOT_INO, b"f"),
    "rmdir": lambda of: (ROOT_INO, b"d"),
    "rename": lambda of: (ROOT_INO, b"f", of["d"], b"new", 0),
    "setxattr": lambda of: (of["f"], b"user.new", b"2"),
    "removexattr": lambda of: (of["f"], b"user.old"),
}


def state(front: Front) -> object:
    """All names with their inodes and their attributes."""
    rig = front.rig
    found = {}
    for directory in ("", "d/"):
        for name in rig.names(directory) if rig.find(directory) is not None else ():
            inode = rig.at(directory + name)
            attributes = {
                xattr: xattrs.get(rig.index, inode.ino, xattr) for xattr in xattrs.names(rig.index, inode.ino)
            }
            found[directory + name] = inode, attributes
    return found


def die(front: Front, token: int) -> None:
    """The daemon dies after the commit, before the answer: the next one knows the token."""
    with front.rig.index.transaction(token=token):
        pass


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_that_was_made_is_answered(tmp_path: Path, verb: str) -> None:
    async def test(front: Front) -> None:
        request = CHANGES[verb](await prepare(front))
        first = await front.ask(verb, *request, token=5)
        made = state(front)
        die(front, 5)
        second = await front.ask(verb, *request, token=5, again=True)
        assert state(front) == made
        assert not front.rig.index.answers.was_made(5), "it is answered now"
        if verb == "create":
            first, second = first[1], second[1]
        assert getattr(first, "st_ino", None) == getattr(second, "st_ino", None)

    run(tmp_path, test)


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_that_was_not_made_is_made(tmp_path: Path, verb: str) -> None:
    async def test(front: Front) -> None:
        request = CHANGES[verb](await prepare(front))
        before = state(front)
        await front.ask(verb, *request, token=5, again=True)
        assert state(front) != before

    run(tmp_path, test)


@pytest.mark.parametrize("verb", CHANGES)
def test_each_change_carries_its_token(tmp_path: Path, verb: str) -> None:
    async def test(front: Front) -> None:
        request = CHANGES[verb](await prepare(front))
        await front.ask(verb, *request, token=5)
        shutil.copytree(front.rig.index.directory, tmp_path / "next")
        settings = IndexSettings(map_size_bytes=64 * MIB)
        index = Index.open(tmp_path / "next", clock=front.rig.clock, settings=settings, unanswered={5})
        assert index.answers.was_made(5)
        index.close()

    run(tmp_path, test)


def test_a_number_that_is_not_asked_again_is_another_request(tmp_path: Path) -> None:
    """Numbers come round after a thousand million changes."""

    async def test(front: Front) -> None:
        await prepare(front)
        die(front, 5)
        await front.ask("mkdir", ROOT_INO, b"new", 0o755, token=5)
        assert front.rig.find("new") is not None

    run(tmp_path, test)


def test_what_the_bucket_took_away_since_is_made_again(tmp_path: Path) -> None:
    async def test(front: Front) -> None:
        die(front, 5)
        info, entry = await front.ask(
            "create", ROOT_INO, b"new", stat.S_IFREG | 0o600, os.O_WRONLY, token=5, again=True
        )
        assert front.rig.at("new").ino == entry.st_ino
        assert await front.handlers.write(info.fh, 0, b"bytes") == 5

    run(tmp_path, test)


def test_a_file_that_was_created_can_be_written(tmp_path: Path) -> None:
    """The daemon died before it made the backing file."""

    async def test(front: Front) -> None:
        await front.ask("mkdir", ROOT_INO, b"d", 0o755)
        request = (front.rig.at("d").ino, b"new", stat.S_IFREG | 0o600, os.O_WRONLY)
        inode = front.rig.tree.create(request[0], b"new", NewInode(stat.S_IFREG | 0o600, 0, 0), token=5)
        info, entry = await front.ask("create", *request, token=5, again=True)
        assert entry.st_ino == inode.ino
        assert await front.handlers.write(info.fh, 0, b"bytes") == 5
        assert await front.handlers.read(info.fh, 0, 9) == b"bytes"

    run(tmp_path, test)


def test_a_file_is_cut_once(tmp_path: Path) -> None:
    async def test(front: Front) -> None:
        number = (await prepare(front))["f"]
        flags = os.O_WRONLY | os.O_TRUNC
        await front.handlers.release((await front.ask("open", number, flags, token=5)).fh)
        assert front.rig.at("f").size_bytes == 0
        other = await front.ask("open", number, os.O_WRONLY)
        await front.handlers.write(other.fh, 0, b"of another")
        die(front, 5)
        await front.ask("open", number, flags, token=5, again=True)
        assert (await front.ask("getattr", number)).st_size == 10
        await front.ask("open", number, flags, token=6, again=True)
        assert (await front.ask("getattr", number)).st_size == 0

    run(tmp_path, test)


def test_pyfuse3_sees_the_attributes_of_before(tmp_path: Path) -> None:
    """It asks by itself whether an attribute is there that XATTR_CREATE or XATTR_REPLACE speaks of."""

    async def test(front: Front) -> None:
        number = (await prepare(front))["f"]
        await front.fs.setxattr(number, b"user.new", b"2", token=5)
        await front.fs.setxattr(number, b"user.old", b"2", token=6)
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await front.ask("getxattr", number, b"user.new", token=5, again=True)
        assert caught.value.errno == errno.ENODATA
        assert await front.ask("getxattr", number, b"user.old", token=6, again=True) == b"2"
        assert await front.ask("getxattr", number, b"user.new") == b"2"

    run(tmp_path, test)
