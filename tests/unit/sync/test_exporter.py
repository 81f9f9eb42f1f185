"""Local changes reach the bucket: files, directories, links, attributes, deletions, and only when they rest."""

import stat
from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.errors import FsError, StoreErrorKind
from tierfs.index import conflicts
from tierfs.namespace.changes import AttrChange, NewInode, RenameMode
from tierfs.objectstore import dialects

DAY_S = 86_400.0


def test_a_new_file_goes_up_with_its_attributes_and_is_clean_then(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        ino = await rig.write("d/f", b"hello", mode=0o640)
        await rig.sync()
        assert rig.keys == ["d/", "d/f"]
        assert rig.store.content("d/f") == b"hello"
        view = dialects.read(await rig.store.head("d/f"))
        assert (view.fmt, view.perms, view.uid) == (stat.S_IFREG, 0o640, 1000)
        assert view.mtime_ns == rig.inode(ino).mtime_ns
        assert view.content == "crc64nvme:3377857006524257"
        inode = rig.inode(ino)
        assert not inode.is_dirty
        assert inode.base is not None
        assert inode.base.size_bytes == 5
        assert inode.base.content == view.content
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_nothing_goes_up_before_the_quiet_time(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"1")
        await trio.sleep(4)
        assert rig.keys == []
        await rig.write("f", b"22")
        await trio.sleep(4)
        assert rig.keys == []
        await trio.sleep(2)
        assert rig.store.content("f") == b"22"
        assert rig.store.requests["put"] == 1

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=5.0))


def test_a_file_that_stays_open_goes_up_at_max_dirty_age_and_again_at_its_end(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        created = rig.tree.create(1, b"log", NewInode(stat.S_IFREG | 0o644, 0, 0))
        handle = rig.files.created(created.ino)
        await rig.files.write(handle, 0, b"first")
        await trio.sleep(290)
        assert "log" not in rig.store.objects
        await trio.sleep(20)
        assert rig.store.content("log") == b"first"
        await rig.files.write(handle, 5, b" second")
        await rig.files.release(handle)
        await trio.sleep(10)
        assert rig.store.content("log") == b"first second"

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=5.0, max_dirty_age_s=300.0))


def test_hurry_does_not_wait(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"1")
        rig.exporter.hurry()
        await trio.sleep(1)
        assert rig.keys == ["f"]

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S))


def test_overwriting_replaces_only_the_version_known_here(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"one")
        await rig.sync()
        await rig.write("f", b"two!")
        await rig.sync()
        assert rig.store.content("f") == b"two!"
        assert rig.at("f").ino == ino
        assert rig.names() == ["f"]

    run_rig(tmp_path, main)


def test_chmod_is_a_copy_without_the_body(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        puts = rig.store.requests["put"]
        rig.tree.set_attributes(ino, AttrChange(permissions=0o4755, uid=7))
        await rig.sync()
        assert rig.store.requests["put"] == puts
        view = dialects.read(await rig.store.head("f"))
        assert (view.perms, view.uid) == (0o4755, 7)
        assert rig.store.content("f") == b"bytes"
        assert not rig.inode(ino).is_dirty

    run_rig(tmp_path, main)


def test_xattrs_travel_with_the_object(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"x")
        rig.tree.set_xattr(ino, b"user.k", b"\x00\xffv")
        await rig.sync()
        assert dialects.read(await rig.store.head("f")).xattrs == {b"user.k": b"\x00\xffv"}
        rig.tree.remove_xattr(ino, b"user.k")
        await rig.sync()
        assert dialects.read(await rig.store.head("f")).xattrs == {}

    run_rig(tmp_path, main)


def test_symlinks_and_special_files(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.symlink("s", b"../target \xff")
        rig.tree.create(1, b"dev", NewInode(stat.S_IFCHR | 0o600, 0, 0, rdev=0x103))
        rig.tree.create(1, b"pipe", NewInode(stat.S_IFIFO | 0o600, 0, 0))
        await rig.sync()
        assert rig.store.content("s") == b"../target \xff"
        assert dialects.read(await rig.store.head("s")).fmt == stat.S_IFLNK
        assert rig.store.content("dev") == b""
        assert dialects.read(await rig.store.head("dev")).rdev == 0x103
        assert dialects.read(await rig.store.head("pipe")).fmt == stat.S_IFIFO

    run_rig(tmp_path, main)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.tree.create(1, b"a\xffb", NewInode(stat.S_IFIFO | 0o600, 0, 0))
        await rig.sync()
        assert rig.keys == ["a%FFb"]
        assert dialects.read(await rig.store.head("a%FFb")).raw_name == b"a\xffb"

    run_rig(tmp_path, main)


def test_the_roots_attributes_have_an_object_of_their_own(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.tree.set_attributes(1, AttrChange(permissions=0o1777))
        await rig.sync()
        assert dialects.read(await rig.store.head(".tierfs/root")).perms == 0o1777
        rig.put_remote(".tierfs/root", b"", user={"file-permissions": "0040700"})
        rig.tree.set_attributes(1, AttrChange(permissions=0o755))
        await rig.sync()
        assert dialects.read(await rig.store.head(".tierfs/root")).perms == 0o755

    run_rig(tmp_path, main)


def test_a_new_mount_has_the_roots_attributes_and_still_a_directory(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote(".tierfs/root", b"", user={"file-permissions": "0040750", "file-owner": "7"})
        inode = await rig.stat("")
        assert (inode.mode, inode.uid) == (stat.S_IFDIR | 0o750, 7)

    run_rig(tmp_path, main)


# ---- deleting ----


def test_unlink_deletes_the_object(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"x")
        await rig.sync()
        rig.unlink("f")
        await rig.sync()
        assert rig.keys == []
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_file_that_never_went_up_costs_no_request(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"x")
        rig.unlink("f")
        await rig.sync()
        assert rig.store.requests["delete"] == 0
        assert rig.keys == []

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S))


def test_unlink_and_create_anew_writes_over_the_old_object(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"old")
        await rig.sync()
        rig.unlink("f")
        await rig.write("f", b"new")
        await rig.sync()
        assert rig.store.content("f") == b"new"
        assert rig.store.requests["delete"] == 0  # a reader of the bucket saw one or the other, never none
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_an_unlink_while_the_upload_is_under_way_deletes_what_arrives(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"x")
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        rig.store.release("put")
        await rig.sync()
        assert rig.keys == []
        assert not rig.pending()

    run_rig(tmp_path, main)


@pytest.mark.parametrize("is_open", [False, True])
def test_an_unlink_while_an_upload_fails_leaves_nothing_to_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_open: bool
) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"x")
        handle = await rig.files.open(ino, write=False, truncate=False) if is_open else None
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        rig.store.fail_next("put", StoreErrorKind.ACCESS_DENIED)
        rig.store.release("put")
        await rig.sync()
        assert rig.keys == []
        assert not rig.pending()
        assert rig.exporter.pending().failing == ()
        if handle is not None:
            await rig.files.release(handle)

    run_rig(tmp_path, main)
    assert not caplog.messages


def test_an_unlink_while_an_overwrite_is_under_way(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"x")
        await rig.sync()
        await rig.write("f", b"yy")
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        rig.store.release("put")
        await rig.sync()
        assert rig.keys == []
        assert rig.names() == []

    run_rig(tmp_path, main)


def test_an_implicit_directory_keeps_living_when_its_last_file_goes(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/f", b"x")
        await rig.list()
        await rig.list("d")
        rig.unlink("d/f")
        order: list[str] = []
        rig.store.hold("delete")
        rig.exporter.hurry()
        await rig.idle()
        order += rig.keys
        rig.store.release("delete")
        await rig.sync()
        assert order == ["d/", "d/f"]  # the marker was there before the last file went
        assert rig.keys == ["d/"]

    run_rig(tmp_path, main)


def test_removing_a_tree(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        rig.mkdir("d/e")
        await rig.write("d/e/f", b"x")
        await rig.sync()
        rig.unlink("d/e/f")
        rig.rmdir("d/e")
        rig.rmdir("d")
        await rig.sync()
        assert rig.keys == []

    run_rig(tmp_path, main)


# ---- changes while the export runs ----


def test_dirty_again_during_the_upload_goes_up_again(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"one")
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        await rig.write("f", b"two")
        rig.store.release("put")
        await rig.sync()
        assert rig.store.requests["put"] == 2
        assert rig.store.content("f") == b"two"
        assert rig.names() == ["f"]
        assert not rig.inode(ino).is_dirty

    run_rig(tmp_path, main)


def test_renamed_during_the_upload(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        rig.rename("f", "g")
        rig.store.release("put")
        await rig.sync()
        assert rig.keys == ["g"]
        assert rig.store.content("g") == b"bytes"
        assert not rig.inode(ino).is_dirty
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_renamed_over_another_file(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("target", b"old")
        await rig.sync()
        await rig.write("tmp", b"new")
        rig.rename("tmp", "target")
        await rig.sync()
        assert rig.keys == ["target"]
        assert rig.store.content("target") == b"new"
        assert rig.store.requests["delete"] == 0

    run_rig(tmp_path, main)


def test_a_rename_moves_the_object_without_its_bytes(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"bytes")
        await rig.sync()
        puts = rig.store.requests["put"]
        rig.rename("a", "b")
        rig.rename("b", "c")
        await rig.sync()
        assert rig.keys == ["c"]
        assert rig.store.requests["copy"] == 1
        assert rig.store.requests["put"] <= puts + 1  # the root's times

    run_rig(tmp_path, main)


@pytest.mark.parametrize("synced_between", [False, True])
def test_a_rename_and_a_new_file_under_the_old_name(tmp_path: Path, synced_between: bool) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"first")
        await rig.sync()
        rig.rename("a", "b")
        if synced_between:
            await rig.sync()
        await rig.write("a", b"second")
        await rig.sync()
        assert (rig.store.content("a"), rig.store.content("b")) == (b"second", b"first")
        assert rig.names() == ["a", "b"]
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_exchange(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"A")
        await rig.write("b", b"B")
        await rig.sync()
        rig.rename("a", "b", RenameMode.EXCHANGE)
        await rig.sync()
        assert (rig.store.content("a"), rig.store.content("b")) == (b"B", b"A")
        assert sorted(rig.store.objects) == ["a", "b"]  # nothing is left under .tierfs/aside/
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_ring_of_three_renames(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for name in "abc":
            await rig.write(name, name.encode())
        await rig.sync()
        rig.rename("a", "t")
        rig.rename("b", "a")
        rig.rename("c", "b")
        rig.rename("t", "c")
        await rig.sync()
        assert [rig.store.content(name) for name in "abc"] == [b"b", b"c", b"a"]
        assert rig.keys == ["a", "b", "c"]

    run_rig(tmp_path, main)


# ---- hard links ----


def test_hard_links_are_objects_with_one_id(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"one")
        rig.link("a", "b")
        await rig.sync()
        ids = [dialects.read(await rig.store.head(key)).link_id for key in ("a", "b")]
        assert ids[0] == ids[1] != ""
        await rig.write("a", b"two")
        await rig.sync()
        assert rig.store.content("b") == b"two"
        rig.unlink("a")
        await rig.sync()
        assert rig.keys == ["b"]
        await rig.write("b", b"three")
        await rig.sync()
        assert rig.store.content("b") == b"three"
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_renaming_either_name_of_a_hard_link(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"x")
        rig.link("a", "b")
        await rig.sync()
        rig.rename("b", "c")
        rig.rename("a", "d")
        await rig.sync()
        assert rig.keys == ["c", "d"]
        assert rig.store.content("c") == rig.store.content("d") == b"x"
        assert rig.at("c").ino == rig.at("d").ino

    run_rig(tmp_path, main)


# ---- what others put on objects ----


def test_foreign_metadata_survives_rewrite_chmod_and_rename(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"1", user={"owner-team": "blue"}, content_type="image/png", cache_control="no-cache")
        await rig.list()
        await rig.stat("f")

        def kept(key: str) -> tuple[str, str, str]:
            meta = rig.store.objects[key].info.meta
            assert meta is not None
            return meta.user.get("owner-team", ""), meta.content_type, meta.cache_control

        await rig.write("f", b"22")
        await rig.sync()
        assert (rig.store.content("f"), kept("f")) == (b"22", ("blue", "image/png", "no-cache"))
        rig.tree.set_attributes(rig.at("f").ino, AttrChange(permissions=0o600))
        await rig.sync()
        assert kept("f") == ("blue", "image/png", "no-cache")
        rig.rename("f", "g")
        await rig.sync()
        assert kept("g") == ("blue", "image/png", "no-cache")

    run_rig(tmp_path, main)


def test_metadata_that_was_never_read_survives_a_rename(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(20):  # more than are sampled
            rig.put_remote(f"f{number:02}", b"1", user={"team": str(number)})
        await rig.list()
        rig.rename("f13", "moved")
        await rig.sync()
        assert rig.user_meta("moved")["team"] == "13"

    run_rig(tmp_path, main)


# ---- failures ----


def test_one_denied_key_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("a", b"x")
        rig.exporter.hurry()
        rig.store.fail_next("put", StoreErrorKind.ACCESS_DENIED)
        with pytest.raises(FsError, match="/a: access denied"):
            await rig.exporter.sync(ino)
        await rig.write("b", b"y")
        rig.exporter.hurry()
        await trio.sleep(5)
        assert rig.keys == ["b"]
        (failing,) = rig.exporter.pending().failing
        assert failing[0] == "/a"
        await trio.sleep(60)
        assert rig.keys == ["a", "b"]
        assert rig.exporter.pending().failing == ()

    run_rig(tmp_path, main)


def _is_away(rig: Rig) -> bool:
    return rig.exporter.degraded is not None


def test_an_outage_is_one_probe_and_then_everything_drains(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(50):
            await rig.write(f"f{number}", b"x")
        rig.store.fail_next("put", StoreErrorKind.UNAVAILABLE, times=1000)
        rig.store.fail_next("check", StoreErrorKind.UNAVAILABLE, times=4)
        rig.exporter.hurry()
        await trio.sleep(10)
        assert _is_away(rig)
        asked = rig.store.requests["put"]
        assert asked <= 40  # those that were under way
        rig.store._failures["put"].clear()
        await trio.sleep(120)
        assert not _is_away(rig)
        assert len(rig.keys) == 50
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_lost_answer_is_recognised(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        real = rig.store.put

        async def put_and_lose(*args: object, **kwargs: object) -> object:
            rig.store.put = real  # type: ignore[method-assign]
            await real(*args, **kwargs)  # type: ignore[arg-type]
            from tierfs.errors import StoreError

            raise StoreError(StoreErrorKind.UNCLEAR, "the connection broke")

        ino = await rig.write("f", b"x")
        rig.store.put = put_and_lose  # type: ignore[method-assign,assignment]
        await rig.exporter.sync(ino)
        assert rig.names() == ["f"]
        assert not rig.inode(ino).is_dirty
        await rig.write("f", b"yy")
        await rig.sync()
        assert rig.store.content("f") == b"yy"
        assert rig.names() == ["f"]

    run_rig(tmp_path, main)


def test_a_restart_in_the_middle_goes_on(tmp_path: Path) -> None:
    store_before: list[str] = []

    async def first(rig: Rig) -> None:
        rig.mkdir("d")
        for number in range(10):
            await rig.write(f"d/f{number}", str(number).encode())
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        store_before.extend(rig.keys)

    async def second(rig: Rig) -> None:
        rig.store.release("put")
        await rig.sync()
        assert rig.keys == ["d/", *(f"d/f{number}" for number in range(10))]
        assert all(rig.store.content(f"d/f{number}") == str(number).encode() for number in range(10))
        assert len(rig.names("d")) == 10
        assert not rig.pending()

    store = run_rig(tmp_path, first)
    assert store_before == []
    run_rig(tmp_path, second, store=store)


def test_a_write_that_arrived_before_a_crash_is_recognised_after_it(tmp_path: Path) -> None:
    async def first(rig: Rig) -> None:
        await rig.write("f", b"bytes")
        real = rig.store.put

        async def arrive_and_hang(*args: object, **kwargs: object) -> object:
            await real(*args, **kwargs)  # type: ignore[arg-type]
            await trio.sleep_forever()

        rig.store.put = arrive_and_hang  # type: ignore[method-assign,assignment]
        rig.exporter.hurry()
        await rig.idle()
        rig.store.put = real  # type: ignore[method-assign]

    async def second(rig: Rig) -> None:
        assert rig.store.content("f") == b"bytes"
        puts = rig.store.requests["put"]
        await rig.sync()
        assert rig.names() == ["f"]
        assert rig.store.requests["put"] <= puts + 1  # at most the root's, not the body again
        assert not rig.pending()

    run_rig(tmp_path, second, store=run_rig(tmp_path, first))


@pytest.mark.parametrize("had_base", [False, True])
def test_a_write_that_arrives_after_a_crash_and_a_look_for_it_is_recognised(tmp_path: Path, had_base: bool) -> None:
    """A server that is busy carries out what a daemon sent before it died, while the next one is at work already."""
    sent: list[tuple[tuple[object, ...], dict[str, object]]] = []

    async def first(rig: Rig) -> None:
        if had_base:
            await rig.write("f", b"old")
            await rig.sync()
        await rig.write("f", b"bytes")
        real = rig.store.put

        async def hang(*args: object, **kwargs: object) -> object:
            sent.append((args, kwargs))
            await trio.sleep_forever()

        rig.store.put = hang  # type: ignore[method-assign,assignment]
        rig.exporter.hurry()
        await rig.idle()
        rig.store.put = real  # type: ignore[method-assign]

    async def second(rig: Rig) -> None:
        await rig.write("f", b"newer bytes")
        real = rig.store.put

        async def after_the_late_one(*args: object, **kwargs: object) -> object:
            rig.store.put = real  # type: ignore[method-assign]
            for late in sent:
                await real(*late[0], **late[1])  # type: ignore[arg-type]
            return await real(*args, **kwargs)  # type: ignore[arg-type]

        rig.store.put = after_the_late_one  # type: ignore[method-assign,assignment]
        await rig.sync()
        assert rig.names() == ["f"]
        assert rig.store.content("f") == b"newer bytes"
        assert not rig.pending()

    store = run_rig(tmp_path, first)
    assert [args[0] for args, _ in sent] == ["f"]
    run_rig(tmp_path, second, store=store)


@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize("had_base", [False, True])
def test_a_crash_after_an_unlink_during_an_upload(tmp_path: Path, had_base: bool, arrived: bool) -> None:
    """What was sent and never confirmed is deleted when it has arrived, and nothing comes back."""

    async def first(rig: Rig) -> None:
        if had_base:
            await rig.write("f", b"old")
            await rig.sync()
        await rig.write("f", b"bytes")
        real = rig.store.put

        async def hang(*args: object, **kwargs: object) -> object:
            if arrived:
                await real(*args, **kwargs)  # type: ignore[arg-type]
            await trio.sleep_forever()

        rig.store.put = hang  # type: ignore[method-assign,assignment]
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        rig.store.put = real  # type: ignore[method-assign]

    async def second(rig: Rig) -> None:
        await rig.sync()
        assert rig.keys == []
        assert await rig.list() == []
        assert conflicts.count(rig.index) == 0

    run_rig(tmp_path, second, store=run_rig(tmp_path, first))


@pytest.mark.parametrize("method", ["put", "copy"])
def test_the_first_name_of_a_hard_link_goes_while_the_objects_are_written(tmp_path: Path, method: str) -> None:
    """`put`: during the first object's upload; `copy`: during the copy to the further name, which then is the first."""

    async def main(rig: Rig) -> None:
        await rig.write("a", b"one")
        rig.link("a", "b")
        await rig.sync()
        await rig.write("a", b"two")
        rig.store.hold(method)
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("a")
        rig.store.release(method)
        await rig.sync()
        assert rig.keys == ["b"]
        assert rig.store.content("b") == b"two"
        assert rig.names() == ["b"]
        assert conflicts.count(rig.index) == 0
        assert not rig.pending()

    run_rig(tmp_path, main)


@pytest.mark.parametrize("is_renamed_before", [False, True])
def test_two_files_change_names_while_the_answer_to_a_write_gets_lost(tmp_path: Path, is_renamed_before: bool) -> None:
    method = "copy" if is_renamed_before else "put"

    async def first(rig: Rig) -> None:
        await rig.write("a", b"one")
        if is_renamed_before:
            await rig.sync()
        rig.rename("a", "b")
        rig.store.hold(method)
        rig.exporter.hurry()
        await rig.idle()
        await rig.write("c", b"two")
        rig.rename("b", "c", RenameMode.EXCHANGE)
        (op_id,) = {intent.op_id for intent in rig.pending() if intent.key == "b"}
        rig.put_remote("b", b"one", user={"tierfs-op": op_id})  # it has arrived, and nobody heard of it

    async def second(rig: Rig) -> None:
        await rig.sync()
        assert {key: rig.store.content(key) for key in rig.keys} == {"b": b"two", "c": b"one"}
        assert conflicts.count(rig.index) == 0
        assert rig.is_settled

    store = run_rig(tmp_path, first)
    store.release(method)
    run_rig(tmp_path, second, store=store)
