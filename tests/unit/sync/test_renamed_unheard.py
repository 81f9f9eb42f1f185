"""A directory that was renamed while something else was under way: a write of which nobody heard the end, a listing."""

from pathlib import Path

from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreErrorKind
from tierfs.index import conflicts
from tierfs.model import ROOT_INO


def test_a_write_under_the_old_prefix_that_nobody_heard_of_is_no_other_object(tmp_path: Path) -> None:
    async def first(rig: Rig) -> None:
        rig.mkdir("a")
        await rig.write("f", b"x")
        await rig.sync()
        rig.rename("f", "a/f")
        rig.store.hold("copy")
        rig.exporter.hurry()
        await rig.idle()
        (op_id,) = {intent.op_id for intent in rig.pending() if intent.key == "a/f"}
        rig.put_remote("a/f", b"x", user={"tierfs-op": op_id})
        rig.rename("a", "b")

    async def second(rig: Rig) -> None:
        rig.store.hold("head")  # it is asked for only after the listing
        rig.exporter.hurry()
        await rig.idle()
        rig.store.release("head")
        await rig.sync()
        assert rig.keys == ["b/", "b/f"]
        assert conflicts.count(rig.index) == 0
        assert rig.is_settled

    store = run_rig(tmp_path, first)
    store.release("copy")
    run_rig(tmp_path, second, store=store)


def test_one_that_shows_in_keys_only_stays_while_its_objects_are_on_their_way(tmp_path: Path) -> None:
    """It has no object of its own at its new place, and those that it lives by are at the old one."""

    async def main(rig: Rig) -> None:
        for key in ("a/1", "a/b/2"):
            rig.put_remote(key)
        for path in ("", "a", "a/b"):
            await rig.list(path)
        rig.store.fail_next("copy", StoreErrorKind.UNAVAILABLE, times=1000)
        rig.rename("a", "moved")
        await rig.importer.relist(ROOT_INO)
        assert rig.names() == ["moved"] and rig.names("moved") == ["1", "b"] and rig.names("moved/b") == ["2"]
        rig.store.clear_faults()
        await rig.sync()
        await rig.importer.relist(ROOT_INO)
        assert rig.names() == ["moved"] and rig.keys == ["moved/1", "moved/b/2"]

    run_rig(tmp_path, main)
