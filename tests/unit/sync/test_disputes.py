"""Both sides changed: nothing is lost, the bucket's version has the name, and it is told."""

from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.errors import StoreErrorKind
from tierfs.index import conflicts
from tierfs.namespace.changes import AttrChange
from tierfs.objectstore import dialects
from tierfs.policy.resolution import Kind

DAY_S = 86_400.0


def _conflict_names(rig: Rig, path: str = "") -> list[str]:
    return [name for name in rig.names(path) if ".conflict-here-" in name]


def test_both_changed_keeps_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        ino = await rig.write("d/f", b"base")
        await rig.sync()
        await rig.write("d/f", b"mine")
        rig.put_remote("d/f", b"theirs")
        await rig.sync()
        (loser,) = _conflict_names(rig, "d")
        assert rig.store.content("d/f") == b"theirs"
        assert rig.store.content(f"d/{loser}") == b"mine"
        assert rig.at(f"d/{loser}").ino == ino
        assert rig.at("d/f").ino != ino
        assert await rig.read("d/f") == b"theirs"
        ((_, row),) = conflicts.page(rig.index, 0, 10)
        assert (row.kind, row.path, row.winner, row.loser) == (Kind.BOTH_CHANGED, "/d/f", "/d/f", f"/d/{loser}")
        assert row.parent == rig.at("d").ino
        assert f"kept as '/d/{loser}'" in caplog.text
        assert (rig.at("d").ino, b"f") in rig.told.entries
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_both_created_the_same_name(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"mine")
        rig.put_remote("f", b"theirs")
        await rig.sync()
        (loser,) = _conflict_names(rig)
        assert (rig.store.content("f"), rig.store.content(loser)) == (b"theirs", b"mine")

    run_rig(tmp_path, main)


def test_both_wrote_the_same_bytes_is_no_conflict(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        other = await rig.write("other", b"same")
        await rig.sync()
        content = rig.inode(other).base
        assert content is not None
        await rig.write("f", b"same", mode=0o640)
        rig.put_remote("f", b"same", user={"tierfs-content": content.content, "team": "blue"})
        await rig.sync()
        assert rig.keys == ["f", "other"]
        assert conflicts.count(rig.index) == 0
        assert dialects.read(await rig.store.head("f")).perms == 0o640
        assert rig.user_meta("f")["team"] == "blue"
        assert not rig.at("f").is_dirty

    run_rig(tmp_path, main)


def test_changed_here_deleted_there_is_written_anew(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"base")
        await rig.sync()
        await rig.write("f", b"mine")
        del rig.store.objects["f"]
        await rig.sync()
        assert rig.store.content("f") == b"mine"
        assert rig.at("f").ino == ino
        assert rig.names() == ["f"]

    run_rig(tmp_path, main)


def test_deleted_here_changed_there_comes_back(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        await rig.list()
        rig.unlink("f")
        rig.put_remote("f", b"theirs")
        await rig.sync()
        assert rig.store.content("f") == b"theirs"
        assert await rig.read("f") == b"theirs"
        ((_, row),) = conflicts.page(rig.index, 0, 10)
        assert (row.kind, row.winner, row.loser) == (Kind.DELETED_HERE, "/f", "")
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_deleted_on_both_sides(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        rig.unlink("f")
        del rig.store.objects["f"]
        await rig.sync()
        assert not rig.pending()
        assert conflicts.count(rig.index) == 0

    run_rig(tmp_path, main)


def test_attributes_here_and_bytes_there_are_both_taken(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"base")
        await rig.sync()
        rig.tree.set_attributes(ino, AttrChange(permissions=0o600, uid=9))
        rig.put_remote("f", b"theirs", user={"team": "blue"})
        await rig.sync()
        assert rig.names() == ["f"]
        assert rig.store.content("f") == b"theirs"
        view = dialects.read(await rig.store.head("f"))
        assert (view.perms, view.uid) == (0o600, 9)
        assert rig.user_meta("f")["team"] == "blue"
        assert await rig.read("f") == b"theirs"
        assert rig.at("f").size_bytes == 6

    run_rig(tmp_path, main)


def test_attributes_here_and_another_type_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"base")
        await rig.sync()
        rig.tree.set_attributes(ino, AttrChange(permissions=0o600))
        rig.put_remote("f", b"target", user={"file-permissions": "0120777"})
        await rig.sync()
        found = await rig.stat("f")
        assert found.is_symlink and found.target == b"target"
        assert rig.user_meta("f") == {"file-permissions": "0120777"}
        assert conflicts.count(rig.index) == 0

    run_rig(tmp_path, main)


def test_a_plain_copy_of_a_file_of_ours_is_not_a_write_of_ours(tmp_path: Path) -> None:
    """It carries the op id of the write that it is a copy of."""

    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"short")
        await rig.write("g", b"a longer body")
        await rig.sync()
        for key in ("g", "f"):  # another file, and an earlier version of this one
            copied = rig.store.objects[key]
            await rig.write("f", b"mine")
            await rig.sync()
            rig.put_remote("f", copied.data, user=dict(copied.info.meta.user))
            rig.tree.set_attributes(ino, AttrChange(permissions=0o600))
            await rig.sync()
            assert await rig.read("f") == copied.data == rig.store.content("f")
            assert rig.at("f").size_bytes == len(copied.data)

    run_rig(tmp_path, main)


def test_attributes_here_and_gone_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"base")
        await rig.sync()
        rig.tree.set_attributes(ino, AttrChange(permissions=0o600))
        del rig.store.objects["f"]
        await rig.sync()
        assert rig.names() == []
        assert rig.keys == []
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_the_same_content_under_another_etag_is_no_conflict(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        info = rig.store.objects["f"].info
        assert info.meta is not None
        rig.store._store("f", b"base", info.meta, "", etag="moved-by-somebody")
        await rig.write("f", b"mine")
        await rig.sync()
        assert rig.names() == ["f"]
        assert rig.store.content("f") == b"mine"

    run_rig(tmp_path, main)


def test_a_renamed_file_whose_old_object_changed(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"base")
        await rig.sync()
        rig.rename("a", "b")
        rig.put_remote("a", b"theirs")
        await rig.sync()
        assert rig.keys == ["b"]
        assert rig.store.content("b") == b"theirs"
        assert await rig.read("b") == b"theirs"

    run_rig(tmp_path, main)


def test_renamed_and_written_here_changed_under_the_old_name_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a", b"base", user={"team": "blue"})
        await rig.stat("a")
        rig.rename("a", "b")
        await rig.write("b", b"mine")
        rig.put_remote("a", b"theirs")
        await rig.sync()
        assert (rig.store.content("a"), rig.store.content("b")) == (b"theirs", b"mine")
        assert await rig.list() == ["a", "b"]
        assert await rig.read("a") == b"theirs"
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_renamed_file_whose_old_object_is_gone(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"base")
        await rig.sync()
        rig.rename("a", "b")
        del rig.store.objects["a"]
        await rig.sync()
        assert rig.names() == []
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_rename_onto_a_name_that_others_took(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("a", b"mine")
        await rig.sync()
        rig.rename("a", "b")
        rig.put_remote("b", b"theirs")
        await rig.sync()
        (loser,) = _conflict_names(rig)
        assert rig.at(loser).ino == ino
        assert rig.keys == ["b", loser]
        assert (rig.store.content("b"), rig.store.content(loser)) == (b"theirs", b"mine")
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_rename_over_a_file_that_changed_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("target", b"old")
        await rig.sync()
        await rig.write("tmp", b"mine")
        rig.rename("tmp", "target")
        rig.put_remote("target", b"theirs")
        await rig.sync()
        (loser,) = _conflict_names(rig)
        assert (rig.store.content("target"), rig.store.content(loser)) == (b"theirs", b"mine")
        assert rig.keys == ["target", loser]

    run_rig(tmp_path, main)


def test_a_marker_that_another_mount_made_is_no_conflict(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        rig.put_remote("d/", b"", user={"file-permissions": "040700"})
        await rig.sync()
        assert rig.keys == ["d/"]
        assert dialects.read(await rig.store.head("d/")).perms == 0o755
        assert conflicts.count(rig.index) == 0

    run_rig(tmp_path, main)


def test_a_conflict_on_the_further_name_of_a_hard_link(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("a", b"one")
        rig.link("a", "b")
        await rig.sync()
        rig.put_remote("b", b"theirs")
        await rig.write("a", b"two")
        await rig.sync()
        (loser,) = _conflict_names(rig)
        assert rig.at(loser).ino == ino
        assert rig.store.content("a") == rig.store.content(loser) == b"two"
        assert rig.store.content("b") == b"theirs"
        assert await rig.read("b") == b"theirs"

    run_rig(tmp_path, main)


async def _linked_cold(rig: Rig) -> int:
    """A file of which only the bucket has the bytes, and its second name, which has no object yet."""
    ino = await rig.write("a", b"one")
    await rig.sync()
    rig.link("a", "b")
    assert await rig.files.drop(ino)
    return ino


def test_a_new_link_of_a_file_that_others_replaced_leads_to_what_is_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await _linked_cold(rig)
        rig.put_remote("a", b"theirs")
        await rig.sync()
        assert (rig.at("a").ino, rig.at("b").ino) == (ino, ino)
        assert await rig.read("b") == rig.store.content("a") == rig.store.content("b") == b"theirs"

    run_rig(tmp_path, main)


def test_a_new_link_of_a_file_that_others_deleted_goes_with_it(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await _linked_cold(rig)
        del rig.store.objects["a"]
        await rig.sync()
        assert rig.names() == [] == rig.keys
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_a_link_whose_object_is_older_than_the_file_gets_the_bytes_that_are_here(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"one")
        rig.link("a", "b")
        await rig.sync()
        await rig.write("a", b"two!")
        rig.store.fail_next("copy", StoreErrorKind.THROTTLED)  # the second name's object stays as it was
        rig.exporter.hurry()
        await rig.idle()
        assert (rig.store.content("a"), rig.store.content("b")) == (b"two!", b"one")
        del rig.store.objects["a"]
        await rig.sync()
        assert rig.names() == ["b"]
        assert await rig.read("b") == rig.store.content("b") == b"two!"

    run_rig(tmp_path, main)


def test_changed_ranges_of_a_file_whose_rest_is_gone_are_kept_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(rig: Rig) -> None:
        body = bytes(3 << 20)
        rig.put_remote("big", body)
        ino = (await rig.stat("big")).ino
        handle = await rig.files.open(ino, write=True, truncate=False)
        await rig.files.write(handle, 100, b"changed")
        await rig.files.release(handle)
        rig.put_remote("big", b"theirs")
        rig.exporter.hurry()
        await trio.sleep(5)
        (loser,) = _conflict_names(rig)
        assert rig.store.content("big") == b"theirs"
        assert await rig.read("big") == b"theirs"
        handle = await rig.files.open(rig.at(loser).ino, write=False, truncate=False)
        assert await rig.files.read(handle, 100, 7) == b"changed"
        await rig.files.release(handle)
        (failing,) = rig.exporter.pending().failing
        assert failing[0] == f"/{loser}"
        ((_, row),) = conflicts.page(rig.index, 0, 10)
        assert (row.kind, row.path, row.loser) == (Kind.BASE_LOST, "/big", f"/{loser}")
        assert loser not in rig.store.objects  # never a body with holes

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S))
