"""Deleted files come back from a bucket that keeps versions, and are shown at once."""

import errno
from pathlib import Path

import pytest

from tests.support.sync_rig import Rig, run_rig
from tests.support.versioned_store import VersionedStore
from tierfs.control.versions import Versions
from tierfs.errors import FsError
from tierfs.sync.history import History


def history_of(rig: Rig, *, read_only: bool = False) -> History:
    return History(
        index=rig.index, store=rig.store, locations=rig.locations, importer=rig.importer, read_only=read_only
    )


def store_of(rig: Rig) -> VersionedStore:
    assert isinstance(rig.store, VersionedStore)
    return rig.store


async def undelete(rig: Rig, path: str, *, dry_run: bool = False) -> int:
    return (await history_of(rig).undelete(path.encode(), lambda files: None, dry_run=dry_run)).files


def test_a_file_that_was_deleted_here_comes_back(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/f", b"mine", mode=0o640)
        await rig.sync()
        rig.unlink("d/f")
        await rig.sync()
        await rig.list("d")
        assert rig.names("d") == []
        assert await undelete(rig, "d/f") == 1
        assert await rig.read("d/f") == b"mine"
        assert (await rig.stat("d/f")).mode & 0o7777 == 0o640
        with pytest.raises(FsError) as caught:
            await undelete(rig, "d/f")
        assert caught.value.errno == errno.ENOENT

    run_rig(tmp_path, main, store=VersionedStore())


def test_all_that_was_deleted_below_a_directory_comes_back(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        keys = ["d/a", "d/sub/b", "d/sub/deeper/c", "d/stays", "d-beside"]
        for key in keys:
            rig.put_remote(key, key.encode())
        for path in ("", "d", "d/sub"):
            await rig.list(path)
        for key in ("d/a", "d/sub/b", "d/sub/deeper/c", "d-beside"):
            store_of(rig).remove(key)
        for path in ("d", ""):
            await rig.list(path)
        assert rig.names() == ["d"] and rig.names("d") == ["stays"]
        assert await undelete(rig, "d", dry_run=True) == 3
        assert rig.keys == ["d/stays"]
        assert await undelete(rig, "d") == 3
        assert rig.names("d") == ["a", "stays", "sub"]
        await rig.list("d/sub")
        await rig.list("d/sub/deeper")
        assert await rig.read("d/sub/deeper/c") == b"d/sub/deeper/c"
        assert await undelete(rig, "") == 1 and rig.names() == ["d", "d-beside"]

    run_rig(tmp_path, main, store=VersionedStore())


def test_a_key_that_was_deleted_twice_comes_back(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"x")
        store = store_of(rig)
        store.remove("f")
        store._history["f"].append(store._history["f"][-1].__class__("d-again", None, None))
        assert await undelete(rig, "f") == 1
        assert rig.keys == ["f"]

    run_rig(tmp_path, main, store=VersionedStore())


def test_what_is_held_comes_back_and_nobody_is_asked_any_more(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(100):
            rig.put_remote(f"d/f{number:03}", b"x")
        await rig.list()
        await rig.list("d")
        for number in range(100):
            store_of(rig).remove(f"d/f{number:03}")
        await rig.list()
        assert rig.guard.status() is not None
        assert await undelete(rig, "d") == 100
        await rig.list()
        assert rig.guard.status() is None and len(await rig.list("d")) == 100

    run_rig(tmp_path, main, store=VersionedStore())


def test_a_read_only_mount_brings_nothing_back(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"x")
        store_of(rig).remove("f")
        history = history_of(rig, read_only=True)
        with pytest.raises(FsError) as caught:
            await history.undelete(b"f", lambda files: None, dry_run=False)
        assert caught.value.errno == errno.EROFS
        assert (await history.undelete(b"f", lambda files: None, dry_run=True)).files == 1

    run_rig(tmp_path, main, store=VersionedStore())


def test_pages_for_people(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for body in (b"1", b"22"):
            rig.put_remote("d/f", body)
        rig.put_remote("d/stays", b"x")
        rig.put_remote(".tierfs/own", b"x")
        for key in ("d/f", ".tierfs/own"):
            store_of(rig).remove(key)
        versions = Versions(history_of(rig))
        page = await versions.page(b"d/f", None, everything=False)
        assert page["next"] == ""
        (file,) = page["files"]
        assert (file["key"], file["deleted"], file["more"]) == ("d/f", True, 0)
        assert [row["state"] for row in file["versions"]] == ["deletion", "old", "old"]
        assert [row["size_bytes"] for row in file["versions"]] == [0, 2, 1]
        page = await versions.page(b"", None, everything=False)
        assert [file["key"] for file in page["files"]] == ["d/f"] and page["next"] is None
        page = await versions.page(b"d", "", everything=True)
        assert [file["versions"][0]["state"] for file in page["files"]] == ["deletion", "current"]
        done = await versions.undelete(b"d", lambda files: None, dry_run=True)
        assert done == {"files": 1, "bytes": 2, "examples": ["d/f"], "dry_run": True}

    run_rig(tmp_path, main, store=VersionedStore())
