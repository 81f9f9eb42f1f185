"""What a rule ignores: it stays here, the bucket's stays there, and both are as they were when the rule goes."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.loading import load_text
from tierfs.config.sections import ExportSettings
from tierfs.errors import FsError, StoreErrorKind
from tierfs.filesystem import FileSystem
from tierfs.index import locations, residency
from tierfs.index.check import check
from tierfs.model import ROOT_INO, Inode, InodeFlag, Residency
from tierfs.namespace.changes import RenameMode
from tierfs.namespace.verbs import Caller
from tierfs.policy.prefixes import Mode, Rule, Rules

USER = Caller(uid=1000, gid=1000)
PLAIN = Rules(Rule((), Mode.WRITE_BACK, 5.0))
RULES = Rules(
    PLAIN.default,
    (
        Rule(("scratch", "results"), Mode.WRITE_BACK, 5.0),
        Rule(("scratch",), Mode.IGNORE, 0.0),
        Rule(("**", "*.tmp"), Mode.IGNORE, 0.0),
        Rule(("proj", "build"), Mode.IGNORE, 0.0),
    ),
)
Scenario = Callable[[Rig, FileSystem], Awaitable[None]]


def run(
    tmp_path: Path, scenario: Scenario, *, store: MemoryStore | None = None, rules: Rules = RULES,
    export: ExportSettings | None = None,
) -> MemoryStore:  # fmt: skip
    """One mount; with the same directory and store it is the same one, mounted again."""

    async def main(rig: Rig) -> None:
        await scenario(rig, rig.file_system())
        await rig.idle()
        assert list(check(rig.index)) == []

    return run_rig(tmp_path, main, store=store, rules=rules, export=export)


def is_resting(inode: Inode) -> bool:
    return inode.is_dirty and InodeFlag.LOCAL in inode.flags


async def is_across(verb: Awaitable[object]) -> bool:
    try:
        await verb
    except FsError as error:
        assert error.errno == errno.EXDEV
        return True
    return False


def test_nothing_below_is_uploaded_nor_waited_for(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.mkdir("scratch")
        rig.mkdir("scratch/d")
        await rig.write("scratch/d/f", b"local")
        rig.symlink("scratch/link", b"d/f")
        await rig.write("x.tmp", b"local, too")
        await rig.write("kept", b"exported")
        await rig.sync()
        assert rig.keys == ["kept"] and rig.is_settled
        assert rig.exporter.pending().count == 0
        assert all(
            is_resting(rig.at(path)) for path in ("scratch", "scratch/d", "scratch/d/f", "scratch/link", "x.tmp")
        )
        assert await rig.files.drop(rig.at("x.tmp").ino) == 0, "there is nowhere else to have it from"
        await rig.write("scratch/d/f", b"written again")
        rig.unlink("x.tmp")
        await rig.sync()
        assert rig.keys == ["kept"] and await rig.read("scratch/d/f") == b"written again"

    run(tmp_path, scenario)


def test_what_the_bucket_has_there_is_not_shown_nor_touched(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        for key in ("scratch/theirs", "scratch/results/1", "x.tmp", "seen"):
            rig.put_remote(key, b"of the bucket")
        assert await rig.list() == ["seen"]
        rig.mkdir("scratch")
        await rig.write("x.tmp", b"mine")
        await rig.sync()
        lists = rig.store.requests["list"]
        assert await rig.list("scratch") == []
        await rig.importer.relist(rig.at("scratch").ino)
        assert rig.store.requests["list"] == lists
        await rig.importer.look(ROOT_INO, ["x.tmp", "seen"])
        rig.store.objects.pop("x.tmp")
        await rig.importer.relist(ROOT_INO)
        assert await rig.read("x.tmp") == b"mine"
        rig.put_remote("x.tmp", b"again")
        rig.unlink("x.tmp")
        rig.rmdir("scratch")
        await rig.sync()
        assert rig.keys == ["scratch/results/1", "scratch/theirs", "seen", "x.tmp"]
        assert await rig.list() == ["seen"]

    run(tmp_path, scenario)


def test_a_file_that_is_renamed_out_is_uploaded(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("out", b"old")
        await rig.stat("out")
        await rig.write("out.tmp", b"new")
        await rig.sync()
        await fs.rename(ROOT_INO, b"out.tmp", ROOT_INO, b"out", RenameMode.REPLACE)
        await rig.sync()
        assert rig.keys == ["out"] and rig.store.content("out") == b"new"
        assert InodeFlag.LOCAL not in rig.at("out").flags and not rig.at("out").is_dirty

    run(tmp_path, scenario)


@pytest.mark.parametrize("is_hot", [True, False])
def test_a_file_that_is_renamed_in_leaves_the_bucket_when_all_of_it_is_here(tmp_path: Path, is_hot: bool) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("file", b"bytes")
        ino = (await rig.stat("file")).ino
        if is_hot:
            await rig.read("file")
        await fs.rename(ROOT_INO, b"file", ROOT_INO, b"file.tmp", RenameMode.REPLACE)
        await rig.write("file", b"its successor")
        await rig.sync()
        assert rig.keys == ["file"] and rig.store.content("file") == b"its successor"
        assert is_resting(rig.at("file.tmp")) and rig.at("file.tmp").base is None and rig.is_settled
        record = residency.hot_get(rig.index, ino)
        assert record is not None and record.residency is Residency.FULL and record.synced
        assert await rig.read("file.tmp") == b"bytes"

    run(tmp_path, scenario)


def test_what_cannot_be_had_stays_in_the_bucket_until_it_can(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("file", b"bytes")
        await rig.stat("file")
        rig.store.fail_next("get", StoreErrorKind.ACCESS_DENIED, times=1000)
        await fs.rename(ROOT_INO, b"file", ROOT_INO, b"file.tmp", RenameMode.REPLACE)
        with pytest.raises(FsError):
            await rig.sync()
        assert rig.keys == ["file"] and rig.exporter.pending().failures == 1
        rig.store.clear_faults()
        await rig.sync()
        assert rig.keys == [] and await rig.read("file.tmp") == b"bytes"

    run(tmp_path, scenario)


def test_what_others_wrote_meanwhile_is_what_is_brought(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("file", b"bytes")
        await rig.stat("file")
        rig.put_remote("file", b"other bytes")
        rig.rename("file", "file.tmp")
        await rig.sync()
        assert await rig.read("file.tmp") == b"other bytes" and rig.keys == []

    run(tmp_path, scenario)


def test_a_version_that_others_wrote_after_the_bytes_came_is_theirs(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("file", b"bytes")
        await rig.stat("file")
        await rig.read("file")
        rig.put_remote("file", b"other bytes")
        rig.rename("file", "file.tmp")
        await rig.sync()
        assert await rig.read("file.tmp") == b"bytes"
        assert rig.store.content("file") == b"other bytes"
        await rig.list()
        assert await rig.read("file") == b"other bytes"

    run(tmp_path, scenario)


def test_directories_and_links_are_not_moved_across(tmp_path: Path) -> None:
    async def scenario(rig: Rig, fs: FileSystem) -> None:
        for path in ("scratch", "scratch/in", "out", "proj", "proj/build", "other"):
            rig.mkdir(path)
        await rig.write("scratch/f", b"1")
        await rig.write("f", b"2")
        rig.link("f", "second")
        scratch, mode = rig.at("scratch").ino, RenameMode.REPLACE
        refused = [
            fs.rename(scratch, b"in", ROOT_INO, b"in", mode),
            fs.rename(ROOT_INO, b"out", scratch, b"out", mode),
            fs.rename(ROOT_INO, b"out", scratch, b"in", RenameMode.EXCHANGE),
            fs.rename(ROOT_INO, b"proj", ROOT_INO, b"new", mode),
            fs.rename(ROOT_INO, b"other", ROOT_INO, b"proj", RenameMode.EXCHANGE),
            fs.rename(ROOT_INO, b"second", scratch, b"second", mode),
            fs.link(rig.at("f").ino, scratch, b"third"),
            fs.link(rig.at("scratch/f").ino, ROOT_INO, b"third"),
        ]
        assert [await is_across(verb) for verb in refused] == [True] * len(refused)
        await fs.rename(scratch, b"in", scratch, b"in2", mode)
        await fs.link(rig.at("scratch/f").ino, scratch, b"third")
        await fs.rename(scratch, b"third", scratch, b"fourth", mode)
        await fs.rename(ROOT_INO, b"out", ROOT_INO, b"out2", mode)
        await rig.sync()
        assert rig.is_settled and [key for key in rig.keys if key.startswith("scratch")] == []

    run(tmp_path, scenario)


def test_a_directory_takes_along_what_is_ignored_wherever_it_lies(tmp_path: Path) -> None:
    async def before(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("d/known.tmp", b"of the bucket")
        await rig.stat("d/known.tmp")

    async def scenario(rig: Rig, fs: FileSystem) -> None:
        await rig.write("d/x.tmp", b"local")
        await rig.write("d/f", b"exported")
        await rig.sync()
        rig.put_remote("d/x.tmp", b"theirs")
        rig.put_remote("d/new.tmp/file", b"theirs")
        await fs.rename(ROOT_INO, b"d", ROOT_INO, b"e", RenameMode.REPLACE)
        await rig.sync()
        assert not rig.pending() and locations.overrides(rig.index) == []
        objects = [key for key in rig.keys if not key.endswith("/")]
        assert objects == ["d/known.tmp", "d/new.tmp/file", "d/x.tmp", "e/f"], "those of the bucket stay where they are"
        assert rig.names("e") == ["f", "known.tmp", "x.tmp"]
        assert await rig.read("e/x.tmp") == b"local" and await rig.read("e/known.tmp") == b"of the bucket"

    store = run(tmp_path, before, rules=PLAIN)
    run(tmp_path, scenario, store=store)


def test_what_was_known_before_the_rule_is_read_and_never_written(tmp_path: Path) -> None:
    async def before(rig: Rig, fs: FileSystem) -> None:
        for name in ("read", "written", "removed", "moved"):
            rig.put_remote(f"scratch/d/{name}", b"of the bucket")
            await rig.stat(f"scratch/d/{name}")
        rig.link("scratch/d/moved", "scratch/d/second")
        await rig.sync()

    async def ignored(rig: Rig, fs: FileSystem) -> None:
        keys, puts = rig.keys, rig.store.requests["put"]
        await rig.write("scratch/d/written", b"changed here")
        rig.unlink("scratch/d/removed")
        await fs.rename(rig.at("scratch").ino, b"d", rig.at("scratch").ino, b"e", RenameMode.REPLACE)
        await rig.sync()
        assert rig.keys == keys and rig.store.requests["put"] == puts and not rig.pending()
        assert locations.overrides(rig.index) == []
        assert await rig.read("scratch/e/read") == b"of the bucket"
        assert await rig.read("scratch/e/moved") == b"of the bucket"
        assert await rig.read("scratch/e/written") == b"changed here"

    async def after(rig: Rig, fs: FileSystem) -> None:
        await rig.idle()
        await rig.sync()
        assert rig.is_settled
        assert rig.store.content("scratch/e/written") == b"changed here"
        assert rig.store.content("scratch/e/moved") == rig.store.content("scratch/e/second") == b"of the bucket"
        assert await rig.list("scratch/e") == ["moved", "read", "second", "written"]

    store = run(tmp_path, before, rules=PLAIN)
    run(tmp_path, ignored, store=store)
    run(tmp_path, after, store=store, rules=PLAIN)


def test_when_the_rule_goes_all_is_exported_and_shown(tmp_path: Path) -> None:
    async def ignored(rig: Rig, fs: FileSystem) -> None:
        rig.put_remote("scratch/theirs", b"theirs")
        rig.put_remote("scratch/both", b"theirs, too")
        rig.mkdir("scratch")
        rig.symlink("scratch/link", b"mine")
        for name in ("mine", "both"):
            await rig.write(f"scratch/{name}", b"mine")
        await rig.write("x.tmp", b"still ignored")
        await rig.sync()
        assert sorted(rig.names("scratch")) == ["both", "link", "mine"]

    async def after(rig: Rig, fs: FileSystem) -> None:
        await rig.idle()
        await rig.sync()
        await rig.list()
        shown = await rig.list("scratch")
        await rig.sync()
        (copy,) = [name for name in shown if ".conflict-" in name]
        assert shown == ["both", copy, "link", "mine", "theirs"]
        assert {rig.store.content(f"scratch/{name}") for name in ("both", copy)} == {b"mine", b"theirs, too"}
        assert rig.store.content("scratch/mine") == b"mine" and "x.tmp" not in rig.keys
        assert is_resting(rig.at("x.tmp"))

    store = run(tmp_path, ignored)
    run(tmp_path, after, store=store, rules=Rules(PLAIN.default, (Rule(("**", "*.tmp"), Mode.IGNORE, 0.0),)))


def test_a_large_file_is_not_spilled(tmp_path: Path) -> None:
    settings = load_text("s.toml", b'[hot_tier]\nsize_bytes = "8MiB"\n')

    async def main(rig: Rig) -> None:
        fs = rig.file_system()
        _, handle = await fs.create(ROOT_INO, b"x.tmp", 0o600, USER)
        for offset in range(0, 6 << 20, 1 << 20):
            await fs.write(handle, offset, os.urandom(1 << 20))
            await trio.sleep(60)
        await fs.release(handle)
        await rig.sync()
        assert not rig.store.objects
        rig.unlink("x.tmp")
        _, handle = await fs.create(ROOT_INO, b"x", 0o600, USER)
        for offset in range(0, 6 << 20, 1 << 20):
            await fs.write(handle, offset, bytes(1 << 20))
            await trio.sleep(60)
        assert rig.store.objects, "the same, where it is exported"
        await fs.release(handle)

    run_rig(tmp_path, main, rules=RULES, tiering=settings)


def test_a_full_tier_refuses_writers_and_takes_them_again(tmp_path: Path) -> None:
    settings = load_text("s.toml", b'[hot_tier]\nsize_bytes = "1MiB"\n')

    async def main(rig: Rig) -> None:
        await rig.write("x.tmp", os.urandom(1 << 20))
        with pytest.raises(FsError) as caught:
            await rig.write("y", b"no room")
        assert caught.value.errno == errno.ENOSPC
        rig.unlink("x.tmp")
        await rig.write("y", b"room")
        await rig.sync()
        assert rig.store.content("y") == b"room"

    run_rig(tmp_path, main, rules=RULES, tiering=settings)
