"""Further links in renamed directories: their objects follow, wherever the file's first name is."""

from pathlib import Path

import pytest

from tests.support.sync_rig import Rig, run_rig
from tierfs.sync.exporter import _TREES_AT_A_TIME


def test_hard_links_inside_a_renamed_directory(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/one", b"x")
        rig.link("a/one", "a/two")
        rig.link("a/one", "outside")
        await rig.sync()
        rig.rename("a", "b")
        await rig.sync()
        assert rig.keys == ["b/", "b/one", "b/two", "outside"]
        assert rig.at("b/two").nlink == 3
        assert rig.is_settled

    run_rig(tmp_path, main)


@pytest.mark.parametrize("has_the_old_name", ["nothing", "a file", "a link"])
def test_a_link_in_a_renamed_directory_of_a_file_outside(tmp_path: Path, has_the_old_name: str) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("one", b"x")
        rig.link("one", "a/two")
        await rig.write("other", b"y")
        await rig.sync()
        rig.rename("a", "b")
        wanted = {"b/two": b"x", "one": b"x", "other": b"y"}
        if has_the_old_name != "nothing":
            rig.mkdir("a")
        if has_the_old_name == "a file":
            await rig.write("a/two", b"z")
            wanted["a/two"] = b"z"
        elif has_the_old_name == "a link":
            rig.link("other", "a/two")
            wanted["a/two"] = b"y"
        await rig.sync()
        assert {key: rig.store.content(key) for key in rig.keys if not key.endswith("/")} == wanted
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_links_of_one_file_in_more_renamed_directories_than_move_at_a_time(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("one", b"x")
        numbers = range(_TREES_AT_A_TIME + 2)
        for number in numbers:
            rig.mkdir(f"a{number}")
            rig.link("one", f"a{number}/link")
        await rig.sync()
        for number in numbers:
            rig.rename(f"a{number}", f"b{number}")
        await rig.sync()
        assert [key for key in rig.keys if not key.endswith("/")] == [*(f"b{number}/link" for number in numbers), "one"]
        assert rig.is_settled

    run_rig(tmp_path, main)
