"""How much is below a path, and how each name stands, by the index alone."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.control.usage import Usage
from tierfs.errors import FsError

RESTFUL = ExportSettings(quiet_s=3600, max_dirty_age_s=86400)


def usage_of(rig: Rig) -> Usage:
    return Usage(rig.index, rig.files.live)


async def du(rig: Rig, path: bytes = b"") -> dict[str, Any]:
    return dict(await usage_of(rig).du(path, lambda files: None))


def test_sizes_are_summed_by_name_the_largest_first(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        rig.mkdir("d/e")
        await rig.write("d/small", bytes(10))
        await rig.write("d/e/large", bytes(5000))
        await rig.write("top", bytes(300))
        found = await du(rig)
        assert (found["size_bytes"], found["files"], found["directories"]) == (5310, 3, 3)
        assert [(row["name"], row["type"], row["size_bytes"], row["files"]) for row in found["children"]] == [
            ("d", "directory", 5010, 2),
            ("top", "file", 300, 1),
        ]
        assert found["rest"] == 0 and found["hot_bytes"] >= 5310
        below = await du(rig, b"d/e")
        assert (below["size_bytes"], below["files"], below["directories"]) == (5000, 1, 1)
        file = await du(rig, b"d/small")
        assert (file["size_bytes"], file["files"], file["directories"], file["children"]) == (10, 1, 0, [])
        with pytest.raises(FsError):
            await du(rig, b"absent")

    run_rig(tmp_path, main, export=RESTFUL)


def test_what_is_not_here_counts_as_size_alone(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("file", bytes(50_000))
        await rig.sync()
        assert await rig.files.drop(rig.at("file").ino) > 0
        found = await du(rig)
        assert (found["size_bytes"], found["hot_bytes"]) == (50_000, 0)

    run_rig(tmp_path, main)


def test_of_many_names_only_the_largest_are_told_and_all_are_counted(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        for number in range(130):
            rig.mkdir(f"d/{number:03d}")
        await rig.write("d/file", bytes(7))
        found = await du(rig, b"d")
        assert len(found["children"]) == 100 and found["rest"] == 31 and found["children"][0]["name"] == "file"
        assert (found["directories"], found["files"]) == (131, 1)

    run_rig(tmp_path, main, export=RESTFUL)


def test_children_come_in_pages_with_their_state(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        usage = usage_of(rig)
        rig.mkdir("d")
        for number in range(120):
            rig.mkdir(f"d/{number:03d}")
        first = usage.children(b"d", b"")
        second = usage.children(b"d", bytes.fromhex(first["next"]))
        assert [row["name"] for row in (*first["entries"], *second["entries"])] == [f"{n:03d}" for n in range(120)]
        assert second["next"] is None
        await rig.write("old", bytes(5000))
        await rig.sync()
        await rig.files.drop(rig.at("old").ino)
        await rig.write("new", b"bytes")
        rows = {row["name"]: row for row in usage.children(b"", b"")["entries"]}
        assert (rows["old"]["residency"], rows["old"]["synced"], rows["old"]["size_bytes"]) == ("cold", True, 5000)
        assert (rows["new"]["residency"], rows["new"]["synced"], rows["new"]["type"]) == ("hot", False, "file")
        assert rows["d"]["type"] == "directory" and "listed" in rows["d"] and "listed" not in rows["new"]
        with pytest.raises(FsError):
            usage.children(b"new", b"")

    run_rig(tmp_path, main)
