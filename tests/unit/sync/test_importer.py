"""What others do in the bucket shows up in the tree: names, attributes, changes, and what cannot be shown."""

import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings, ImportSettings
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.index import orphans, xattrs
from tierfs.model import InodeFlag
from tierfs.namespace.changes import AttrChange, RenameMode
from tierfs.objectstore.base import ListPage, ObjectMeta

DAY_S = 86_400.0


def test_a_first_listing_shows_files_and_directories(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a.txt", "b/c", "b/d/e", "z/"):
            rig.put_remote(key, b"123")
        rig.put_remote(".tierfs/format.json", b"{}")
        assert await rig.list() == ["a.txt", "b", "z"]
        assert await rig.list("b") == ["c", "d"]
        assert rig.at("").nlink == 4
        assert rig.at("b").nlink == 3
        inode = await rig.stat("b/c")
        assert (inode.size_bytes, inode.nlink) == (3, 1)
        assert await rig.read("b/c") == b"123"
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_posix_attributes_of_objects_are_read(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        user = {
            "file-permissions": "0104755",
            "file-owner": "7",
            "file-group": "8",
            "file-mtime": "1595002920000000001ns",
        }
        rig.put_remote("f", b"1", user=user)
        inode = await rig.stat("f")
        assert (stat.S_IMODE(inode.mode), inode.uid, inode.gid) == (0o4755, 7, 8)
        assert inode.mtime_ns == 1595002920000000001

    run_rig(tmp_path, main)


def test_an_entry_is_private_until_its_attributes_are_known(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(30):
            rig.put_remote(f"f{number:02}", b"1", user={"file-permissions": "0100666"})
        await rig.importer.ensure_listed(1)
        unknown = [rig.at(name) for name in rig.names() if InodeFlag.ATTRS_KNOWN not in rig.at(name).flags]
        assert unknown
        assert all(inode.mode == stat.S_IFREG | 0o600 and inode.uid == 1000 for inode in unknown)

    run_rig(tmp_path, main, reads_ahead=False)


def test_a_directory_without_posix_attributes_is_not_asked_file_by_file(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(500):
            rig.put_remote(f"f{number}", b"1")
        await rig.list()
        for number in range(500):
            await rig.importer.ensure_attributes(rig.at(f"f{number}").ino)
        assert rig.store.requests["head"] == 8

    run_rig(tmp_path, main)


def test_attributes_of_a_listed_directory_are_read_ahead(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(100):
            rig.put_remote(f"f{number}", b"1", user={"file-permissions": "0100640"})
        await rig.list()
        await trio.sleep(1)
        heads = rig.store.requests["head"]
        assert heads == 100
        assert stat.S_IMODE((await rig.stat("f42")).mode) == 0o640
        assert rig.store.requests["head"] == heads

    run_rig(tmp_path, main, import_=ImportSettings(revalidate_s=60))


@pytest.mark.parametrize(("policy", "heads"), [("always", 3), ("never", 0)])
def test_attribute_policy(tmp_path: Path, policy: str, heads: int) -> None:
    async def main(rig: Rig) -> None:
        for name in "abc":
            rig.put_remote(name, b"1")
        for name in "abc":
            await rig.stat(name)
        await trio.sleep(1)
        assert rig.store.requests["head"] == heads

    run_rig(tmp_path, main, import_=ImportSettings(attributes=policy, revalidate_s=60))


def test_many_callers_share_one_listing_and_one_head(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(20):
            rig.put_remote(f"f{number:02}", b"1", user={"file-permissions": "0100644"})
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(rig.importer.ensure_listed, 1)
        assert rig.store.requests["list"] == 1

    run_rig(tmp_path, main, import_=ImportSettings(revalidate_s=60))


def test_a_cancelled_caller_leaves_the_others_their_listing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"1")
        rig.store.hold("list")
        async with trio.open_nursery() as nursery:
            leader = trio.CancelScope()

            async def lead() -> None:
                with leader:
                    await rig.importer.ensure_listed(1)

            nursery.start_soon(lead)
            await rig.idle()
            nursery.start_soon(rig.importer.ensure_listed, 1)
            await rig.idle()
            leader.cancel()
            await rig.idle()
            rig.store.release("list")
        assert rig.names() == ["f"]

    run_rig(tmp_path, main)


# ---- symlinks, links, names ----


def test_a_second_mount_sees_the_same_tree(tmp_path: Path) -> None:
    async def first(rig: Rig) -> None:
        rig.mkdir("d")
        ino = await rig.write("d/f", b"bytes", mode=0o604)
        rig.tree.set_xattr(ino, b"user.a", b"1")
        rig.tree.set_attributes(ino, AttrChange(atime_ns=1, mtime_ns=1234567890123456789))
        rig.symlink("d/s", b"f")
        rig.link("d/f", "d/g")
        rig.tree.set_attributes(rig.at("d").ino, AttrChange(permissions=0o1711, mtime_ns=5))
        await rig.sync()

    async def second(rig: Rig) -> None:
        assert await rig.list() == ["d"]
        assert await rig.list("d") == ["f", "g", "s"]
        one, other = await rig.stat("d/f"), await rig.stat("d/g")
        one = rig.at("d/f")
        assert one.ino == other.ino == rig.at("d/g").ino
        assert one.nlink == 2
        assert (stat.S_IMODE(one.mode), one.mtime_ns, one.atime_ns) == (0o604, 1234567890123456789, 1)
        assert (await rig.stat("d/s")).target == b"f"
        assert stat.S_IMODE((await rig.stat("d")).mode) == 0o1711
        assert rig.at("d").mtime_ns == 5
        assert await rig.read("d/g") == b"bytes"

    store = run_rig(tmp_path / "1", first)
    run_rig(tmp_path / "2", second, store=store, import_=ImportSettings(revalidate_s=60))


def test_a_plain_copy_of_a_hard_link_is_a_file_of_its_own(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"x")
        rig.link("a", "b")
        await rig.sync()
        rig.put_remote("copy", b"x", user=rig.user_meta("a"))
        inode = await rig.stat("copy")
        assert (inode.nlink, rig.at("a").nlink) == (1, 2)

    run_rig(tmp_path, main)


def test_a_name_that_is_not_utf8_comes_back(tmp_path: Path) -> None:
    async def first(rig: Rig) -> None:
        await rig.write("x", b"")
        rig.tree.rename(1, b"x", 1, b"a\xff%41", RenameMode.REPLACE)
        await rig.write("%FF", b"literal")
        await rig.sync()

    async def second(rig: Rig) -> None:
        rig.put_remote("100%25", b"others keep their names")
        await rig.importer.ensure_listed(1)
        names = [entry for entry in (b"%FF", b"a\xff%41", b"100%25") if rig.tree.lookup(1, entry) is not None]
        assert len(names) == 3

    run_rig(tmp_path / "2", second, store=run_rig(tmp_path / "1", first))


def test_keys_that_are_no_path_are_reported_and_nothing_escapes(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a//b", "a/./c", "a/../d", "/e", "f" * 300, "ok", "a/fine"):
            rig.put_remote(key, b"1")
        assert await rig.list() == ["a", "ok"]
        assert await rig.list("a") == ["fine"]
        report = await rig.importer.report()
        assert {entry.key for entry in report} >= {"a//b", "a/./c", "a/../d", "/e", "f" * 300}
        assert all(entry.reason for entry in report)

    run_rig(tmp_path, main)


def test_an_object_beside_a_directory_of_its_name(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a", b"the object")
        rig.put_remote("a/b", b"below")
        assert await rig.list() == ["a", "a.tierfs-object"]
        assert await rig.read("a.tierfs-object") == b"the object"
        assert await rig.list("a") == ["b"]
        assert await rig.list() == ["a", "a.tierfs-object"]
        await rig.write("a.tierfs-object", b"changed")
        await rig.sync()
        assert rig.store.content("a") == b"changed"
        assert rig.keys == ["a", "a/b"]

    run_rig(tmp_path, main)


def test_a_directory_that_appears_where_an_object_is_known(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a", b"the object")
        assert await rig.list() == ["a"]
        ino = rig.at("a").ino
        rig.put_remote("a/b", b"below")
        assert await rig.list() == ["a", "a.tierfs-object"]
        assert rig.at("a.tierfs-object").ino == ino
        assert rig.at("").nlink == 3
        del rig.store.objects["a/b"]
        for _ in range(2):
            await rig.list()
        assert rig.names() == ["a"]
        assert await rig.read("a") == b"the object"

    run_rig(tmp_path, main)


# ---- changes ----


def test_an_object_that_takes_the_name_of_a_directory(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a/")
        rig.put_remote("a/below", b"below")
        assert await rig.list() == ["a"]
        await rig.list("a")
        del rig.store.objects["a/"], rig.store.objects["a/below"]
        rig.put_remote("a", b"the object")
        assert await rig.list() == ["a"]
        assert await rig.read("a") == b"the object"

    run_rig(tmp_path, main)


def test_a_changed_object_is_seen_and_its_inode_number_stays(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"one")
        ino = (await rig.stat("f")).ino
        assert await rig.read("f") == b"one"
        rig.put_remote("f", b"other")
        await rig.list()
        assert rig.at("f").ino == ino
        assert rig.at("f").size_bytes == 5
        assert (ino, True) in rig.told.inodes
        assert await rig.read("f") == b"other"

    run_rig(tmp_path, main)


def test_an_open_file_keeps_its_version_and_the_name_gets_a_new_inode(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"one")
        ino = (await rig.stat("f")).ino
        handle = await rig.files.open(ino, write=False, truncate=False)
        rig.put_remote("f", b"other")
        await rig.list()
        assert rig.at("f").ino != ino
        assert rig.inode(ino).nlink == 0
        assert ino in orphans.page(rig.index, 0, 10)
        assert (1, b"f") in rig.told.entries
        assert await rig.files.read(handle, 0, 10) == b"one"
        await rig.files.release(handle)
        assert await rig.read("f") == b"other"

    run_rig(tmp_path, main)


def test_the_same_content_under_a_new_etag_keeps_the_copy(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"bytes")
        await rig.sync()
        info = rig.store.objects["f"].info
        rig.store._store("f", b"bytes", info.meta or ObjectMeta(), "", etag="new-1")
        gets = rig.store.requests["get"] + rig.store.requests["get_whole"]
        await rig.list()
        base = rig.at("f").base
        assert base is not None
        assert base.etag == "new-1"
        assert await rig.read("f") == b"bytes"
        assert rig.store.requests["get"] + rig.store.requests["get_whole"] == gets

    run_rig(tmp_path, main)


def test_a_deleted_object_disappears_and_an_appearing_one_appears(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a/x", b"1")
        rig.put_remote("b", b"1")
        await rig.list()
        await rig.list("a")
        ino = rig.at("b").ino
        del rig.store.objects["a/x"], rig.store.objects["b"]
        rig.put_remote("c", b"1")
        assert await rig.list() == ["c"]
        assert rig.at("").nlink == 2
        assert rig.find("a") is None
        assert {(1, b"b"), (1, b"c"), (1, b"a")} <= set(rig.told.entries)
        with pytest.raises(AssertionError):
            rig.inode(ino)

    run_rig(tmp_path, main)


def test_what_a_listing_leaves_out_is_asked_for_before_it_is_taken_away(tmp_path: Path) -> None:
    """SeaweedFS lists no directory that has no objects; a server may be wrong about a file, too."""

    class Forgetful(MemoryStore):
        async def list(self, prefix: str, **how: Any) -> ListPage:
            page = await super().list(prefix, **how)
            return evolve(page, objects=[info for info in page.objects if info.key != "f"], prefixes=[])

    store = Forgetful()

    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/x", b"1")
        await rig.write("f", b"2")
        await rig.sync()
        ino = rig.at("d/x").ino
        assert sorted(await rig.list()) == ["d", "f"]
        assert rig.at("d/x").ino == ino
        del store.objects["f"]
        assert await rig.list() == ["d"]

    run_rig(tmp_path, main, store=store)


def test_what_is_dirty_here_outlives_a_deletion_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/x", b"1")
        await rig.list()
        await rig.list("d")
        await rig.write("d/new", b"mine")
        del rig.store.objects["d/x"]
        assert await rig.list() == ["d"]
        assert await rig.list("d") == ["new"]
        await rig.sync()
        assert rig.store.content("d/new") == b"mine"

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S))


# ---- races with the export ----


def test_a_listing_that_was_overtaken_neither_removes_nor_revives(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("old", b"1")
        await rig.sync()
        real = rig.store.list

        async def list_late(*args: object, **kwargs: object) -> object:
            page = await real(*args, **kwargs)  # type: ignore[arg-type]
            rig.store.list = real  # type: ignore[method-assign]
            await rig.write("new", b"2")
            rig.unlink("old")
            await rig.sync()
            return page

        rig.store.list = list_late  # type: ignore[method-assign,assignment]
        assert await rig.list() == ["new"]
        assert rig.keys == ["new"]
        assert await rig.list() == ["new"]

    run_rig(tmp_path, main)


def test_pending_deletions_are_not_imported_again(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/e/f", b"1")
        await rig.stat("d/e/f")
        rig.unlink("d/e/f")
        rig.rmdir("d/e")
        rig.rmdir("d")
        rig.store.hold("delete")
        assert await rig.list() == []
        rig.store.release("delete")
        await rig.sync()
        assert await rig.list() == []
        assert rig.keys == []

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S))


def test_own_exports_are_no_news(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/f", b"1")
        await rig.sync()
        before = rig.at("d/f")
        await rig.list()
        await rig.list("d")
        heads = rig.store.requests["head"]
        await rig.stat("d/f")
        assert rig.store.requests["head"] == heads
        after = rig.at("d/f")
        assert (after.ino, after.mode, after.mtime_ns, after.write_seq) == (
            before.ino, before.mode, before.mtime_ns, before.write_seq,
        )  # fmt: skip
        assert InodeFlag.ATTRS_KNOWN in rig.at("d").flags
        assert rig.told.inodes == []

    run_rig(tmp_path, main)


# ---- the store away ----


def test_a_listed_directory_is_served_while_the_store_is_away(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/f", b"1")
        await rig.list()
        rig.store.fail_next("list", StoreErrorKind.UNAVAILABLE, times=2)
        assert await rig.list() == ["d"]
        with pytest.raises(StoreError):
            await rig.importer.ensure_listed(rig.at("d").ino)

    run_rig(tmp_path, main)


def test_a_file_that_is_gone_when_its_attributes_are_asked_is_enoent(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(20):
            rig.put_remote(f"f{number:02}", b"1", user={"file-permissions": "0100644"})
        await rig.importer.ensure_listed(1)
        unknown = next(rig.at(name) for name in rig.names() if InodeFlag.ATTRS_KNOWN not in rig.at(name).flags)
        del rig.store.objects[unknown.name.decode()]
        with pytest.raises(FsError, match="deleted from the bucket"):
            await rig.importer.ensure_attributes(unknown.ino)
        assert rig.find(unknown.name.decode()) is None

    run_rig(tmp_path, main, reads_ahead=False)


def test_an_object_that_becomes_another_type_gets_another_inode(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("x", b"target", user={"file-permissions": "0100644"})
        file = await rig.stat("x")
        rig.put_remote("x", b"other", user={"file-permissions": "0120777"})
        link = await rig.stat("x")
        assert stat.S_ISLNK(link.mode)
        assert link.target == b"other"
        assert link.ino != file.ino

    run_rig(tmp_path, main)


def test_attributes_that_do_not_fit_on_the_object_come_back(tmp_path: Path) -> None:
    async def first(rig: Rig) -> None:
        ino = await rig.write("f", b"x")
        rig.tree.set_xattr(ino, b"user.big", b"v" * 5000)
        await rig.sync()

    async def second(rig: Rig) -> None:
        inode = await rig.stat("f")
        assert xattrs.get(rig.index, inode.ino, b"user.big") == b"v" * 5000
        assert rig.names() == ["f"]

    run_rig(tmp_path / "2", second, store=run_rig(tmp_path / "1", first))
