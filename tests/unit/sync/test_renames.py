"""A renamed directory's objects follow it: all of them, also those never seen, whatever happens meanwhile."""

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreErrorKind
from tierfs.index import conflicts
from tierfs.namespace.changes import RenameMode
from tierfs.objectstore.base import ListPage, ObjectMeta, Written
from tierfs.policy.resolution import Kind


def test_a_tree_moves(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        rig.mkdir("a/sub")
        await rig.write("a/f", b"1")
        await rig.write("a/sub/g", b"2")
        rig.symlink("a/s", b"f")
        await rig.sync()
        rig.rename("a", "b")
        await rig.sync()
        assert rig.keys == ["b/", "b/f", "b/s", "b/sub/", "b/sub/g"]
        assert await rig.read("b/sub/g") == b"2"
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_objects_never_imported_are_swept_along(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(1100):
            rig.put_remote(f"a/deep/er/f{number}", b"1")
        rig.put_remote("a/marked/", b"")
        rig.put_remote("a/marked/x", b"2", user={"team": "blue"})
        await rig.list()
        rig.rename("a", "b")
        await rig.sync()
        assert not [key for key in rig.keys if key.startswith("a")]
        assert len([key for key in rig.keys if key.startswith("b/deep/er/")]) == 1100
        assert rig.user_meta("b/marked/x")["team"] == "blue"
        assert await rig.list("b") == ["deep", "marked"]
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_the_old_name_can_be_used_again_at_once(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a/unseen", b"u")
        await rig.list()
        await rig.list("a")
        await rig.write("a/f", b"old")
        await rig.sync()
        rig.rename("a", "b")
        rig.mkdir("a")
        await rig.write("a/f", b"new")
        assert await rig.list("a") == ["f"]
        await rig.sync()
        assert (rig.store.content("a/f"), rig.store.content("b/f")) == (b"new", b"old")
        assert rig.store.content("b/unseen") == b"u"
        assert await rig.list("a") == ["f"]
        assert await rig.list("b") == ["f", "unseen"]
        assert rig.is_settled

    run_rig(tmp_path, main)


class _StuckCopies(MemoryStore):
    """Some copies succeed, the others wait until they may go on."""

    def __init__(self, allowed: int) -> None:
        super().__init__()
        self._allowed = allowed
        self.is_stuck = trio.Event()
        self.go_on = trio.Event()

    async def _request(self, method: str, key: str, start: int = 0, stop: int = 0) -> None:
        await super()._request(method, key, start, stop)
        if method == "copy":
            self._allowed -= 1
            if self._allowed < 0:
                self.is_stuck.set()
                await self.go_on.wait()


def test_renamed_again_before_the_first_move_is_done(tmp_path: Path) -> None:
    store = _StuckCopies(5)

    async def main(rig: Rig) -> None:
        for number in range(20):
            rig.put_remote(f"a/f{number:02}", b"x")
        await rig.list()
        rig.rename("a", "b")
        rig.exporter.wake()
        await store.is_stuck.wait()
        assert sum(key.startswith("b/") for key in rig.keys) == 5
        rig.rename("b", "c")
        store.go_on.set()
        await rig.sync()
        assert rig.keys == [f"c/f{number:02}" for number in range(20)]
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)


def test_renamed_and_back(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/f", b"x")
        await rig.sync()
        rig.rename("a", "b")
        rig.rename("b", "a")
        await rig.sync()
        assert rig.keys == ["a/", "a/f"]
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_two_directories_change_places(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for name in ("a", "b"):
            rig.mkdir(name)
            await rig.write(f"{name}/same", name.encode())
            await rig.write(f"{name}/only-{name}", name.encode())
        await rig.sync()
        rig.rename("a", "b", RenameMode.EXCHANGE)
        await rig.sync()
        assert rig.keys == ["a/", "a/only-b", "a/same", "b/", "b/only-a", "b/same"]
        assert (rig.store.content("a/same"), rig.store.content("b/same")) == (b"b", b"a")
        assert not [key for key in rig.store.objects if key.startswith(".tierfs/aside/")]
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_a_directory_renamed_out_of_a_renamed_one(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a/in/x", b"x")
        rig.put_remote("a/y", b"y")
        await rig.list()
        await rig.list("a")
        rig.rename("a", "b")
        rig.rename("b/in", "out")
        await rig.sync()
        assert {"b/y", "out/x"} <= set(rig.keys)
        assert not [key for key in rig.keys if key.startswith("a/")]
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_a_directory_moves_into_another_and_files_change_meanwhile(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        rig.mkdir("p")
        for name in ("keep", "drop", "edit", "leave"):
            await rig.write(f"a/{name}", name.encode())
        await rig.sync()
        rig.rename("a", "p/q")
        rig.unlink("p/q/drop")
        await rig.write("p/q/edit", b"edited")
        await rig.write("p/q/new", b"new")
        rig.rename("p/q/leave", "left")
        await rig.sync()
        assert rig.keys == ["left", "p/", "p/q/", "p/q/edit", "p/q/keep", "p/q/new"]
        assert rig.store.content("p/q/edit") == b"edited"
        assert rig.is_settled

    run_rig(tmp_path, main)


def test_a_move_goes_on_after_a_restart(tmp_path: Path) -> None:
    store = _StuckCopies(10)

    async def first(rig: Rig) -> None:
        rig.mkdir("a")
        for number in range(100):
            await rig.write(f"a/f{number:03}", b"x")
        await rig.sync()
        rig.rename("a", "b")
        rig.exporter.wake()
        await store.is_stuck.wait()

    async def second(rig: Rig) -> None:
        store.go_on.set()
        await rig.sync()
        assert rig.keys == ["b/", *(f"b/f{number:03}" for number in range(100))]
        assert len(rig.names("b")) == 100
        assert rig.is_settled

    run_rig(tmp_path, second, store=run_rig(tmp_path, first, store=store))


def test_every_file_is_whole_at_one_of_both_keys_at_any_moment(tmp_path: Path) -> None:
    class Watched(MemoryStore):
        async def _request(self, method: str, key: str, start: int = 0, stop: int = 0) -> None:
            if self.watched:
                for name in ("f1", "f2"):
                    assert f"a/{name}" in self.objects or f"b/{name}" in self.objects
            await super()._request(method, key, start, stop)

        watched = False

    store = Watched()

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/f1", b"x")
        await rig.write("a/f2", b"y")
        await rig.sync()
        store.watched = True
        rig.rename("a", "b")
        await rig.sync()
        assert rig.keys == ["b/", "b/f1", "b/f2"]

    run_rig(tmp_path, main, store=store)


def test_one_object_that_cannot_move_holds_up_only_the_end(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        for name in "xyz":
            await rig.write(f"a/{name}", name.encode())
        await rig.sync()
        rig.store.fail_next("copy", StoreErrorKind.ACCESS_DENIED)
        rig.rename("a", "b")
        await trio.sleep(20)
        assert sum(key.startswith("b/") for key in rig.keys) == 3
        assert await rig.read("b/x") == b"x"
        await trio.sleep(120)
        assert rig.keys == ["b/", "b/x", "b/y", "b/z"]
        await trio.sleep(1000)
        assert rig.is_settled

    run_rig(tmp_path, main)


@pytest.mark.parametrize("remote_changes", [False, True])
def test_an_object_put_under_the_old_prefix_meanwhile(tmp_path: Path, remote_changes: bool) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/f", b"ours")
        await rig.sync()
        rig.rename("a", "b")
        rig.put_remote("a/late", b"late")
        if remote_changes:
            rig.put_remote("a/f", b"theirs")
        await rig.sync()
        assert rig.keys == ["b/", "b/f", "b/late"]
        assert rig.store.content("b/f") == (b"theirs" if remote_changes else b"ours")
        assert rig.is_settled

    run_rig(tmp_path, main)


class _LateLists(MemoryStore):
    """Flat listings of one prefix show the bucket as it was when they were asked for, and arrive when they may."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.asked = trio.Event()
        self.go_on = trio.Event()

    async def list(self, prefix: str, **named: Any) -> ListPage:
        page = await super().list(prefix, **named)
        if prefix == self._prefix and not named["delimited"]:
            self.asked.set()
            await self.go_on.wait()
        return page


def test_an_object_put_where_a_file_has_left_already_is_kept_beside_it_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = _LateLists("a/")

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/f", b"ours")
        await rig.sync()
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.asked.wait()
        await rig.write("b/f", b"ours, later")
        rig.exporter.hurry()
        await rig.idle()
        assert "b/f" in store.objects and "a/f" not in store.objects, "moved while the listing is on its way"
        rig.put_remote("a/f", b"theirs")
        store.go_on.set()
        await rig.sync()
        (copy,) = [name for name in await rig.list("b") if ".conflict-bucket-" in name]
        assert rig.keys == ["b/", "b/f", f"b/{copy}"]
        assert (await rig.read("b/f"), await rig.read(f"b/{copy}")) == (b"ours, later", b"theirs")
        ((_, row),) = conflicts.page(rig.index, 0, 10)
        assert (row.kind, row.winner, row.loser) == (Kind.NAME_TAKEN, "/b/f", f"/b/{copy}")
        assert f"shown as '/b/{copy}'" in caplog.text
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)


def test_a_delete_below_a_directory_that_is_being_listed_leaves_no_marker_behind(tmp_path: Path) -> None:
    store = _LateLists("a/")

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        rig.mkdir("a/sub")
        rig.mkdir("a/sub/deep")
        await rig.write("a/sub/deep/x", b"x")
        await rig.sync()
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.asked.wait()
        rig.unlink("b/sub/deep/x")
        rig.exporter.hurry()
        await rig.idle()
        assert "a/sub/deep/x" not in store.objects, "deleted while the listing is on its way"
        store.go_on.set()
        await rig.sync()
        assert rig.keys == ["b/", "b/sub/", "b/sub/deep/"]
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)


def test_a_file_that_arrives_under_the_old_prefix_after_the_listing_moves_too(tmp_path: Path) -> None:
    store = _LateLists("a/")

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.sync()
        store.hold("put")
        await rig.write("a/f", b"x")
        rig.exporter.hurry()
        await rig.idle()
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.asked.wait()
        store.hold("copy")
        store.release("put")
        await rig.idle()
        store.go_on.set()
        await rig.idle()
        store.release("copy")
        await rig.sync()
        assert rig.keys == ["b/", "b/f"]
        assert await rig.list("b") == ["f"]
        assert await rig.read("b/f") == b"x"
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)


class _LateLink(_LateLists):
    """Also the copy to one key takes its time. No listing shows markers, as if the directory had none."""

    def __init__(self, prefix: str, key: str) -> None:
        super().__init__(prefix)
        self._key = key
        self.is_copying = trio.Event()
        self.copy_on = trio.Event()

    async def list(self, prefix: str, **named: Any) -> ListPage:
        page = await super().list(prefix, **named)
        return evolve(page, objects=[info for info in page.objects if not info.key.endswith("/")])

    async def copy(self, source_key: str, key: str, **named: Any) -> Written:
        if key == self._key:
            self.is_copying.set()
            await self.copy_on.wait()
        return await super().copy(source_key, key, **named)


def test_a_link_that_arrives_under_the_old_prefix_after_the_listing_is_written_anew(tmp_path: Path) -> None:
    store = _LateLink("a/", "a/two")

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("one", b"x")
        await rig.sync()
        rig.link("one", "a/two")
        rig.exporter.hurry()
        await store.is_copying.wait()
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.asked.wait()
        store.copy_on.set()
        await rig.idle()
        store.go_on.set()
        await rig.sync()
        assert rig.keys == ["b/", "b/two", "one"]
        assert await rig.list("b") == ["two"]
        assert await rig.read("b/two") == b"x"
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)


def test_a_renamed_directory_does_not_show_what_has_its_old_name_now(tmp_path: Path) -> None:
    store = _StuckCopies(0)

    async def main(rig: Rig) -> None:
        rig.put_remote("a/f", b"old")
        await rig.list()
        await rig.list("a")
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.is_stuck.wait()
        rig.mkdir("a")
        rig.mkdir("a/sub")
        await rig.write("a/new", b"new")
        await rig.write("a/sub/deep", b"deep")
        with trio.move_on_after(1):
            await rig.sync()
        assert {"a/new", "a/sub/deep"} <= set(rig.keys)
        assert await rig.list("b") == ["f"]
        store.hold("put")
        await rig.write("a/late", b"late")
        rig.exporter.hurry()
        await rig.idle()
        rig.put_remote("a/late", b"late", user=dict(rig.user_meta("a/new")))  # it has arrived, its answer has not
        assert await rig.list("b") == ["f"]
        store.release("put")
        store.go_on.set()
        await rig.sync()
        assert await rig.list("b") == ["f"]
        assert {"late", "new", "sub"} <= set(await rig.list("a"))
        assert {"a/late", "a/new", "a/sub/deep", "b/f"} <= set(rig.keys)

    run_rig(tmp_path, main, store=store)


class _OtherETags(_StuckCopies):
    """A copy has another ETag than its source, as where the server encrypts."""

    async def copy(self, source_key: str, key: str, **named: Any) -> Written:
        await super().copy(source_key, key, **named)
        copied = self.objects[key]
        return self._store(key, copied.data, copied.info.meta or ObjectMeta(), "", etag=f"copy-{self.requests['copy']}")


def test_a_marker_that_has_left_and_is_still_listed_does_not_come_back(tmp_path: Path) -> None:
    store = _OtherETags(1)

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/f", b"x")
        await rig.sync()
        store.hold("delete")
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.is_stuck.wait()
        await rig.idle()
        assert rig.keys == ["a/", "a/f", "b/"]
        await rig.list("b")
        store.release("delete")
        store.go_on.set()
        await rig.sync()
        assert rig.keys == ["b/", "b/f"]
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)


def test_a_directory_with_the_old_name_has_its_marker_while_the_other_moves(tmp_path: Path) -> None:
    store = _LateLists("a/")

    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("a/f", b"x")
        await rig.sync()
        rig.rename("a", "b")
        rig.exporter.hurry()
        await store.asked.wait()
        rig.mkdir("a")
        rig.exporter.hurry()
        await rig.idle()
        assert rig.keys == ["a/", "a/f", "b/"]
        assert rig.at("a").base is not None
        assert store.requests["copy"] == 1, "of the other's marker"
        store.go_on.set()
        await rig.sync()
        assert rig.keys == ["a/", "b/", "b/f"]
        assert rig.is_settled

    run_rig(tmp_path, main, store=store)
