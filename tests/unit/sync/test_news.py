"""What those who watch are told: each kind of change once, and how much was missed."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from tests.support.clocks import TrioWallClock
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreErrorKind
from tierfs.sync.news import Batch, Direction, News, What

Scenario = Callable[[Rig], Awaitable[None]]


def watched(tmp_path: Path, scenario: Scenario) -> list[tuple[str, str, str]]:
    """(direction, what, path) of all that is told while it runs."""
    told: list[tuple[str, str, str]] = []

    async def main(rig: Rig) -> None:
        began = await rig.news.after(None, 10)
        assert began == Batch(last=began.last)
        await scenario(rig)
        await rig.idle()
        batch = await rig.news.after(began.last, 1000)
        assert not batch.missed
        told.extend((change.direction.value, change.what.value, change.path) for change in batch.changes)

    run_rig(tmp_path, main)
    return told


def test_what_is_exported(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/file", b"bytes")
        await rig.write("d/%FF", b"a name that is no escape")
        await rig.sync()
        rig.rename("d/file", "d/new")
        await rig.sync()
        rig.unlink("d/%FF")
        await rig.sync()

    told = watched(tmp_path, scenario)
    assert {direction for direction, _, _ in told} == {"export"}
    assert [row[1:] for row in told if row[2] == "d/file"] == [("written", "d/file"), ("deleted", "d/file")]
    assert [row[1:] for row in told if row[2] == "d/new"] == [("written", "d/new")]
    assert [row[1:] for row in told if row[2] == "d/%FF"] == [("written", "d/%FF"), ("deleted", "d/%FF")]
    assert ("export", "written", "d") in told
    assert not [row for row in told if row[2].startswith(".tierfs")], "what is tierfs's own is nobody's news"


def test_what_is_imported(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for key in ("d/old", "d/gone", "d/meta"):
            rig.put_remote(key, b"bytes")
        await rig.list()
        await rig.list("d")
        rig.put_remote("d/new", b"bytes")
        rig.put_remote("d/sub/file", b"bytes")
        rig.put_remote("d/old", b"others")
        await rig.store.delete("d/gone", if_match="")
        await rig.list("d")
        await rig.list("d")

    told = watched(tmp_path, scenario)
    assert sorted(told) == [
        ("import", "added", "d/new"),
        ("import", "added", "d/sub"),
        ("import", "changed", "d/old"),
        ("import", "deleted", "d/gone"),
    ], "once each, and a first listing is no change"


def test_a_new_version_of_an_open_file_is_one_change(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.put_remote("file", b"bytes")
        await rig.stat("file")
        handle = await rig.files.open(rig.at("file").ino, write=False, truncate=False)
        rig.put_remote("file", b"others")
        await rig.list()
        await rig.files.release(handle)

    assert watched(tmp_path, scenario) == [("import", "changed", "file")]


def test_conflicts_and_failures(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("file", b"bytes")
        await rig.stat("file")
        await rig.write("file", b"mine")
        rig.put_remote("file", b"others")
        began = await rig.news.after(None, 10)
        rig.store.fail_next("put", StoreErrorKind.THROTTLED)
        await rig.sync()
        failed, conflict, *_ = (await rig.news.after(began.last, 10)).changes
        assert (failed.what, failed.path) == (What.FAILED, "file") and "throttled" in failed.detail.lower()
        assert (conflict.what, conflict.path) == (What.CONFLICT, "file")
        assert conflict.detail.startswith("file.conflict-here-")

    run_rig(tmp_path, main)


async def at_once(news: News, number: int, limit: int = 100) -> Batch:
    with trio.fail_after(1):
        return await news.after(number, limit)


def test_who_is_slow_is_told_how_much_he_missed(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        news = News(rig.index, TrioWallClock(), kept_max=3)
        began = await news.after(None, 10)
        for number in range(5):
            news.failed(Direction.EXPORT, f"/{number}", "no")
        batch = await at_once(news, began.last)
        assert ([change.path for change in batch.changes], batch.missed) == (["2", "3", "4"], 2)
        assert batch.last == began.last + 5
        batch = await at_once(news, began.last + 2, limit=2)
        assert ([change.path for change in batch.changes], batch.missed) == (["2", "3"], 0)
        batch = await at_once(news, batch.last, limit=2)
        assert [change.path for change in batch.changes] == ["4"]

    run_rig(tmp_path, main)


def test_nothing_is_kept_while_nobody_watches(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        news = News(rig.index, TrioWallClock())
        news.failed(Direction.EXPORT, "/before", "no")
        began = await news.after(None, 10)
        await trio.sleep(59)
        news.failed(Direction.EXPORT, "/kept", "no")
        await trio.sleep(2)
        news.failed(Direction.EXPORT, "/lost", "no")
        batch = await at_once(news, began.last)
        assert (batch.changes, batch.missed) == ([], 2), "both: what was kept went with the last watcher"
        news.failed(Direction.EXPORT, "/again", "no")
        assert [change.path for change in (await at_once(news, batch.last)).changes] == ["again"]

    run_rig(tmp_path, main)


def test_all_who_wait_hear_of_a_change_and_one_who_left_disturbs_nobody(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        news = News(rig.index, TrioWallClock())
        heard: list[Batch] = []

        async def listen() -> None:
            heard.append(await news.after(0, 10))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)
            with trio.move_on_after(1):
                await news.after(0, 10)
            await trio.sleep(1000)
            news.failed(Direction.IMPORT, "", "no")
        assert [len(batch.changes) for batch in heard] == [1, 1]

    run_rig(tmp_path, main)
