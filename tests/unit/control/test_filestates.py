"""What state says of files, and pages of many."""

import os
from pathlib import Path

from attrs import evolve

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.control import filestates
from tierfs.index import residency, restores
from tierfs.model import Residency
from tierfs.objectstore.base import ObjectMeta
from tierfs.policy.classes import Speed
from tierfs.policy.restores import Restore, Stage


def flags(rig: Rig, path: str) -> list[str]:
    found: list[str] = filestates.state_of(rig.index, path.encode(), rig.at(path))["flags"]
    return found


def test_the_flags(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.store._store("cold", b"1" * 8192, ObjectMeta(), "GLACIER")
        rig.put_remote("empty", b"")
        await rig.list()
        await rig.write("new", b"1")
        assert flags(rig, "cold") == ["exists", "archived", "released"]
        assert flags(rig, "empty") == ["exists"] and flags(rig, "new") == ["dirty"]
        await rig.sync()
        assert flags(rig, "new") == ["exists"]
        await rig.write("new", b"2")
        assert flags(rig, "new") == ["exists", "dirty"]
        rig.store.finish_restore("cold")
        await rig.read("cold")
        ino = rig.at("cold").ino
        hot = residency.hot_get(rig.index, ino)
        assert hot is not None
        with rig.index.transaction() as txn:
            residency.hot_put(txn, ino, evolve(hot, residency=Residency.PARTIAL, pinned=True))
            residency.extents_add(txn, ino, 0, 2048)
            restores.put(txn, ino, Restore("e", "GLACIER", 1, Speed.BULK, 7, 1, 2, Stage.ASKED, ready_ns=9))
        found = filestates.state_of(rig.index, b"cold", rig.at("cold"))
        assert found["flags"] == ["exists", "archived", "partial", "pinned"]
        assert (found["here_percent"], found["here_bytes"], found["storage_class"]) == (25, 2048, "GLACIER")
        assert found["restore"] == {"stage": "asked", "ready_ns": 9, "speed": "bulk", "days": 7, "message": ""}

    run_rig(tmp_path, main, reads_ahead=False, export=ExportSettings(quiet_s=3600))


def test_pages_of_a_tree_miss_nothing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        wanted = ["a", "b/c/x", "b/y", "b/z/1", "b/z/2", "c", "d/e/f/g"]
        for key in wanted:
            rig.put_remote(key, b"1")
        for path in ("", "b", "b/c", "b/z", "d", "d/e", "d/e/f"):
            await rig.list(path)
        rig.symlink("link", b"a")
        for size in (1, 2, 3, 64):
            filestates._PAGE_ROWS = size  # type: ignore[misc]
            assert pages(rig, "") == wanted and pages(rig, "b") == wanted[1:5] and pages(rig, "c") == ["c"]

    def pages(rig: Rig, path: str) -> list[str]:
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = filestates.page(rig.index, rig.at(path), path.encode(), os.fsencode(after))
            found += [file["path"] for file in page["files"]]
            after = page["next"]
        return found

    rows = filestates._PAGE_ROWS
    try:
        run_rig(tmp_path, main)
    finally:
        filestates._PAGE_ROWS = rows  # type: ignore[misc]
