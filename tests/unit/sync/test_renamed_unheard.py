"""A write to a directory that was renamed before anybody heard of its end."""

from pathlib import Path

from tests.support.sync_rig import Rig, run_rig
from tierfs.index import conflicts


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
