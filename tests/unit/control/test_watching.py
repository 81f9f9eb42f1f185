"""The verbs that show what waits and what happens: reasons, pages, and counts of the rest."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.control.watching import Watching
from tierfs.errors import FsError, StoreErrorKind
from tierfs.namespace.changes import AttrChange
from tierfs.policy.guard import Limits

RESTFUL = ExportSettings(quiet_s=3600, max_dirty_age_s=86400)


def watching_of(rig: Rig) -> Watching:
    return Watching(
        index=rig.index, locations=rig.locations, exporter=rig.exporter, guard=rig.guard, clock=rig.clock, news=rig.news
    )


async def queue(rig: Rig, path: bytes = b"") -> dict[str, dict[str, Any]]:
    """The first page, by path."""
    return {row["path"]: row for row in (await watching_of(rig).queue(path, 0))["entries"]}


def test_what_rests_and_what_is_written(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/rests", bytes(5))
        await rig.sync()
        await rig.write("d/rests", bytes(7))
        await rig.write("d/open", b"")
        handle = await rig.files.open(rig.at("d/open").ino, write=True, truncate=False)
        await rig.files.write(handle, 0, b"bytes")
        await trio.sleep(600)
        rows = await queue(rig, b"d")
        rests, written = rows["d/rests"], rows["d/open"]
        assert (rests["reason"], rests["op"], rests["size_bytes"], rests["attempts"]) == ("quiet", "reconcile", 7, 0)
        assert rests["age_s"] == pytest.approx(600, abs=5) and rests["next_attempt_s"] == pytest.approx(3000, abs=5)
        assert written["reason"] == "open" and written["next_attempt_s"] == pytest.approx(85800, abs=5)
        await rig.files.release(handle)
        assert set(await queue(rig, b"d/rests")) == {"d/rests"}
        with pytest.raises(FsError):
            await queue(rig, b"absent")

    run_rig(tmp_path, main, export=RESTFUL)


def test_what_is_sent_what_waits_for_it_and_what_failed(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("gone", b"bytes")
        await rig.sync()
        rig.store.hold("put")
        await rig.write("sent", b"bytes")
        await rig.idle()
        await rig.write("turn", b"bytes")
        rig.unlink("gone")
        rig.exporter.hurry()
        await rig.idle()
        rows = await queue(rig)
        assert {path: row["reason"] for path, row in rows.items()} == {
            **dict.fromkeys(("turn", "gone", ""), "turn"),
            "sent": "running",
        }
        assert rows["gone"]["op"] == "delete"
        rig.store.fail_next("put", StoreErrorKind.ACCESS_DENIED)
        rig.store.release("put")
        await rig.idle()
        (row,) = (await queue(rig)).values()
        assert (row["path"], row["reason"], row["attempts"]) == ("sent", "retry", 1)
        assert row["detail"] and row["next_attempt_s"] == pytest.approx(30, abs=1)
        rig.store.fail_next("put", StoreErrorKind.UNAVAILABLE, times=1000)
        rig.store.fail_next("check", StoreErrorKind.UNAVAILABLE, times=1000)
        await rig.write("other", b"bytes")
        await rig.idle()
        rows = await queue(rig)
        assert {row["reason"] for row in rows.values()} == {"store-away"}
        assert all(row["detail"] for row in rows.values())
        assert rig.exporter.pending().failures == 2

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=0, small_concurrency=1))


def test_what_somebody_has_to_decide(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(10):
            rig.put_remote(f"d/f{number}", b"bytes")
        await rig.stat("d/f0")
        await rig.read("d/f0")
        for number in range(1, 10):
            await rig.stat(f"d/f{number}")
        for number in range(10):
            await rig.store.delete(f"d/f{number}", if_match="")
        await rig.list("d")
        rig.tree.set_attributes(rig.at("d/f1").ino, AttrChange(permissions=0o600))
        assert (await queue(rig))["d/f1"]["reason"] == "held"

    run_rig(tmp_path, main, export=RESTFUL, limits=Limits(entries_max=5))


def test_pages_and_the_rest(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        for number in range(120):
            await rig.write(f"d/f{number:03}", b"x")
        await rig.write("other", b"x")
        watching = watching_of(rig)
        page = await watching.queue(b"d", 0)
        assert (len(page["entries"]), page["rest"], page["is_rest_exact"]) == (50, 71, True)
        paths = [row["path"] for row in page["entries"]]
        while page["next"] is not None:
            page = await watching.queue(b"d", page["next"])
            paths += [row["path"] for row in page["entries"]]
        assert paths == ["d", *(f"d/f{number:03}" for number in range(120))], "oldest first"
        assert page["rest"] == 0

    run_rig(tmp_path, main, export=RESTFUL)


def test_a_long_queue_is_looked_at_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierfs.control.watching._LOOKED_AT", 128)
    monkeypatch.setattr("tierfs.control.watching._PAGE_INTENTS", 64)

    async def main(rig: Rig) -> None:
        for number in range(200):
            await rig.write(f"f{number:03}", b"x")
        await rig.write("last", b"x")
        watching = watching_of(rig)
        page = await watching.queue(b"last", 0)
        assert (page["entries"], page["rest"], page["is_rest_exact"]) == ([], 0, False)
        page = await watching.queue(b"last", page["next"])
        assert [row["path"] for row in page["entries"]] == ["last"] and page["next"] is None
        page = await watching.queue(b"", 0)
        assert not page["is_rest_exact"] and page["rest"] == 128 - 50

    run_rig(tmp_path, main, export=RESTFUL)


def test_changes_come_in_answers(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        watching = watching_of(rig)
        began = await watching.watch(None)
        assert began["changes"] == [] and began["missed"] == 0
        await rig.write("file", b"bytes")
        await rig.sync()
        answer = await watching.watch(began["next"])
        (change,) = [change for change in answer["changes"] if change["path"] == "file"]
        assert (change["direction"], change["what"], change["detail"]) == ("export", "written", "")
        assert answer["next"] > began["next"] and change["time_ns"] > 0

    run_rig(tmp_path, main)
