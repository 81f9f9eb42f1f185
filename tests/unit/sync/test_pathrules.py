"""Rules for parts of the tree, at work: what may not be changed, how long a file rests, and closes that wait."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.errors import FsError, StoreErrorKind
from tierfs.filesystem import FileSystem
from tierfs.model import ROOT_INO
from tierfs.namespace.changes import AttrChange, RenameMode
from tierfs.namespace.verbs import Caller
from tierfs.policy.prefixes import Mode, Rule, Rules
from tierfs.units import NS_PER_S

USER = Caller(uid=1000, gid=1000)
RULES = Rules(
    Rule((), Mode.WRITE_BACK, 5.0),
    (
        Rule(("top", "kept"), Mode.READ_ONLY, 5.0),
        Rule(("**", "*.ro"), Mode.READ_ONLY, 5.0),
        Rule(("safe",), Mode.ON_CLOSE, 5.0),
        Rule(("slow",), Mode.WRITE_BACK, 60.0),
        Rule(("fast",), Mode.WRITE_BACK, 0.0),
    ),
)
Scenario = Callable[[Rig, FileSystem], Awaitable[None]]


def run(tmp_path: Path, scenario: Scenario) -> None:
    """Over a bucket with some files below a path that may not be changed."""

    async def main(rig: Rig) -> None:
        for key in ("top/kept/file", "top/kept/below/file", "top/free", "file"):
            rig.put_remote(key, b"bytes")
        await rig.stat("top/kept/file")
        await rig.stat("top/kept/below/file")
        await rig.stat("top/free")
        await rig.stat("file")
        await scenario(rig, rig.file_system())

    run_rig(tmp_path, main, rules=RULES, export=ExportSettings(max_dirty_age_s=3600))


async def is_refused(verb: Awaitable[object]) -> bool:
    try:
        await verb
    except FsError as error:
        assert error.errno == errno.EROFS
        return True
    return False


def test_what_may_not_be_changed_can_be_read_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        kept, file, below = rig.at("top/kept"), rig.at("top/kept/file"), rig.at("top/kept/below")
        handle = await fs.open(file.ino, os.O_RDONLY)
        assert await fs.read(handle, 0, 10) == b"bytes"
        await fs.flush(handle)
        await fs.release(handle)
        free = rig.at("top/free")
        refused = [
            fs.open(file.ino, os.O_RDWR),
            fs.open(file.ino, os.O_RDONLY | os.O_TRUNC),
            fs.create(kept.ino, b"new", 0o600, USER),
            fs.create(ROOT_INO, b"new.ro", 0o600, USER),
            fs.mkdir(below.ino, b"new", 0o700, USER),
            fs.symlink(kept.ino, b"new", b"target", USER),
            fs.link(free.ino, kept.ino, b"new"),
            fs.link(file.ino, ROOT_INO, b"new"),
            fs.unlink(kept.ino, b"file"),
            fs.rmdir(kept.ino, b"below"),
            fs.setattr(file.ino, AttrChange(permissions=0o600), None),
            fs.setattr(kept.ino, AttrChange(permissions=0o700), None),
            fs.setattr(file.ino, AttrChange(), 0),
            fs.setxattr(file.ino, b"user.a", b"1"),
            fs.removexattr(file.ino, b"user.a"),
            fs.rename(kept.ino, b"file", ROOT_INO, b"new", RenameMode.REPLACE),
            fs.rename(rig.at("top").ino, b"free", kept.ino, b"file", RenameMode.REPLACE),
            fs.rename(rig.at("top").ino, b"kept", ROOT_INO, b"new", RenameMode.REPLACE),
        ]
        assert [await is_refused(verb) for verb in refused] == [True] * len(refused)
        assert not rig.pending()
        await fs.setattr(rig.at("top").ino, AttrChange(permissions=0o700), None)
        await fs.unlink(rig.at("top").ino, b"free")
        await rig.sync()
        assert rig.keys == ["file", "top/", "top/kept/below/file", "top/kept/file"]

    run(tmp_path, scenario)


def test_a_directory_does_not_take_along_what_may_not_be_changed(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        await fs.mkdir(ROOT_INO, b"other", 0o700, USER)
        for old, new in ((b"top", b"new"), (b"other", b"top")):
            assert await is_refused(fs.rename(ROOT_INO, old, ROOT_INO, new, RenameMode.EXCHANGE))
        await fs.rename(ROOT_INO, b"file", ROOT_INO, b"new", RenameMode.REPLACE)
        await fs.rename(ROOT_INO, b"other", ROOT_INO, b"another", RenameMode.REPLACE)

    run(tmp_path, scenario)


def test_a_file_is_as_unchangeable_as_any_of_its_names(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.link("file", "second.ro")
        await rig.sync()
        assert await is_refused(fs.open(rig.at("file").ino, os.O_WRONLY))
        assert await is_refused(fs.unlink(ROOT_INO, b"second.ro"))

    run(tmp_path, scenario)


@pytest.mark.parametrize(("directory", "rests_s"), [("slow", 60.0), ("", 5.0), ("fast", 0.0)])
def test_each_part_has_its_own_quiet_time(tmp_path: Path, directory: str, rests_s: float) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        parent = (await fs.mkdir(ROOT_INO, directory.encode(), 0o700, USER)).ino if directory else ROOT_INO
        await rig.sync()
        inode, handle = await fs.create(parent, b"new", 0o600, USER)
        await fs.write(handle, 0, b"bytes")
        await fs.release(handle)
        (intent,) = [intent for intent in rig.pending() if intent.ino == inode.ino]
        assert (intent.not_before_ns - rig.clock.now_ns()) / NS_PER_S == pytest.approx(rests_s)
        await fs.setattr(inode.ino, AttrChange(permissions=0o640), None)
        await fs.rename(parent, b"new", ROOT_INO, b"new", RenameMode.REPLACE)
        (intent,) = [intent for intent in rig.pending() if intent.ino == inode.ino]
        assert (intent.not_before_ns - rig.clock.now_ns()) / NS_PER_S == pytest.approx(5.0), "of where it is now"

    run(tmp_path, scenario)


async def made(rig: Rig, fs: FileSystem) -> tuple[int, int]:
    """A file whose close waits, written and not closed: (inode, handle)."""
    directory = await fs.mkdir(ROOT_INO, b"safe", 0o700, USER)
    inode, handle = await fs.create(directory.ino, b"new", 0o600, USER)
    await fs.write(handle, 0, b"bytes")
    return inode.ino, handle


def test_a_close_returns_when_the_file_is_in_the_bucket(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        await rig.write("rests", b"x")
        ino, handle = await made(rig, fs)
        assert "safe/new" not in rig.keys
        await fs.flush(handle)
        assert rig.store.content("safe/new") == b"bytes"
        assert "rests" not in rig.keys, "nobody else is hurried"
        puts = rig.store.requests["put"]
        await fs.flush(handle)
        await fs.release(handle)
        await rig.idle()
        assert rig.store.requests["put"] == puts, "what is there is not sent again"
        assert ino not in {intent.ino for intent in rig.pending()}
        handle = await fs.open(ino, os.O_RDONLY)
        await fs.flush(handle)
        await fs.release(handle)

    run(tmp_path, scenario)


def test_a_close_waits_for_a_free_slot_and_for_an_attempt_under_way(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        fs = rig.file_system()
        first, second = await made(rig, fs), await fs.create(rig.at("safe").ino, b"second", 0o600, USER)
        rig.store.hold("put")
        ended: list[int] = []

        async def close(number: int, handle: int) -> None:
            await fs.flush(handle)
            ended.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close, 1, first[1])
            await rig.idle()
            await fs.write(first[1], 0, b"other")  # the attempt under way does not have it
            nursery.start_soon(close, 2, second[1])
            nursery.start_soon(close, 3, first[1])
            await rig.idle()
            assert ended == []
            rig.store.release("put")
        assert sorted(ended) == [1, 2, 3]
        assert rig.store.content("safe/new") == b"other" and rig.store.content("safe/second") == b""

    run_rig(tmp_path, main, rules=RULES, export=ExportSettings(small_concurrency=1))


@pytest.mark.parametrize(
    ("kind", "number"),
    [(StoreErrorKind.ACCESS_DENIED, errno.EACCES), (StoreErrorKind.THROTTLED, errno.EIO)],
)
def test_a_close_fails_with_what_kept_the_file_away(tmp_path: Path, kind: StoreErrorKind, number: int) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        ino, handle = await made(rig, fs)
        rig.store.fail_next("put", kind)
        with pytest.raises(FsError) as caught:
            await fs.flush(handle)
        assert caught.value.errno == number and "/safe/new" in str(caught.value)
        await fs.release(handle)
        assert ino in {intent.ino for intent in rig.pending()}
        await rig.sync()
        assert rig.store.content("safe/new") == b"bytes"

    run(tmp_path, scenario)


def test_a_close_does_not_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        _, handle = await made(rig, fs)
        rig.store.fail_next("put", StoreErrorKind.UNAVAILABLE, times=1000)
        rig.store.fail_next("check", StoreErrorKind.UNAVAILABLE, times=1000)
        for _ in range(2):
            with pytest.raises(FsError) as caught:
                await fs.flush(handle)
            assert caught.value.errno == errno.EIO
        assert rig.exporter.degraded is not None
        await fs.release(handle)
        rig.store.clear_faults()
        await rig.sync()
        assert rig.store.content("safe/new") == b"bytes"

    run(tmp_path, scenario)


def test_a_file_that_lost_its_name_has_nothing_to_wait_for(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        ino, handle = await made(rig, fs)
        fs.remember(ino)
        await fs.unlink(rig.at("safe").ino, b"new")
        await fs.flush(handle)
        await fs.release(handle)
        assert "safe/new" not in rig.keys

    run(tmp_path, scenario)
