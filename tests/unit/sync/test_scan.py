"""The background scan: what it brings, what it takes, and that it goes on where it was."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.small_pages import SmallPages
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.errors import IndexDamageError, StoreErrorKind
from tierfs.index import inodes
from tierfs.objectstore.base import Capabilities
from tierfs.sync.keyrange import KeyRange
from tierfs.sync.scan import Pace, Phase, Progress, Scan
from tierfs.sync.walk import is_listed

YEAR_S = 365 * 86_400


def settings(requests_s: int = 10_000) -> ImportSettings:
    return ImportSettings(revalidate_s=YEAR_S, scan=True, scan_concurrency=2, scan_requests_s=requests_s)


def scan_of(rig: Rig, used: ImportSettings | None = None) -> Scan:
    return Scan(index=rig.index, importer=rig.importer, clock=rig.clock, settings=used or settings())


def run(
    directory: Path,
    main: Callable[[Rig], Awaitable[None]],
    store: MemoryStore | None = None,
    import_: ImportSettings | None = None,
) -> MemoryStore:
    return run_rig(
        directory, main, store=store or SmallPages(10), import_=import_ or settings(), reads_ahead=False
    )  # fmt: skip


def put_tree(rig: Rig, directories: int = 40) -> None:
    for number in range(10 * directories):
        rig.put_remote(f"d{number // 10:02}/sub/f{number:03}")


def is_complete(rig: Rig) -> bool:
    return all(is_listed(inode) for inode in inodes.page(rig.index, 0, 100_000) if inode.is_dir)


def test_every_directory_is_listed_for_a_thousandth_of_the_requests(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        put_tree(rig)
        scan = scan_of(rig)
        assert scan.status() == {
            "state": "new", "directories": 0, "requests": 0, "at": [], "age_s": None, "error": "",
        }  # fmt: skip
        await scan.run()
        status = scan.status()
        assert is_complete(rig) and len(rig.names("d39/sub")) == 10
        assert status is not None and (status["state"], status["directories"]) == ("done", 80)
        assert status["requests"] == rig.store.requests["list"] < 4 + 40 + 10
        before = rig.store.requests["list"]
        assert len(await rig.list("d05/sub")) == 10 and rig.store.requests["list"] == before
        await scan_of(rig).run()
        assert rig.store.requests["list"] == before, "once for each cache"

    run(tmp_path, main)


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/f")
        scan = scan_of(rig, ImportSettings())
        await scan.run()
        assert scan.status() is None and not rig.store.requests

    run(tmp_path, main)


def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Path) -> None:
    store = SmallPages(10)

    async def first(rig: Rig) -> None:
        put_tree(rig)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scan_of(rig).run)
            await store.flat_listed(20)
            nursery.cancel_scope.cancel()

    async def second(rig: Rig) -> None:
        status = scan_of(rig).status()
        assert status is not None and status["state"] == "flat" and min(status["at"]) > "d05/"
        before = store.requests["list"]
        await scan_of(rig).run()
        assert is_complete(rig) and all(len(rig.names(f"d{number:02}/sub")) == 10 for number in range(40))
        assert store.requests["list"] - before < 30

    run(tmp_path, first, store)
    run(tmp_path, second, store)


def test_it_survives_a_store_that_is_away(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        put_tree(rig)
        scan = scan_of(rig)
        rig.store.fail_next("list", StoreErrorKind.UNAVAILABLE, times=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scan.run)
            await trio.sleep(30)
            status = scan.status()
            assert status is not None and status["error"] and status["state"] == "new"
        status = scan.status()
        assert status is not None and status["state"] == "done" and not status["error"] and is_complete(rig)

    run(tmp_path, main)


def test_a_server_without_order_is_scanned_directory_by_directory(tmp_path: Path) -> None:
    class Unordered(MemoryStore):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(ordered_listing=False)

    async def main(rig: Rig) -> None:
        put_tree(rig, 5)
        await scan_of(rig).run()
        assert is_complete(rig) and rig.store.requests["list"] == 11

    run(tmp_path, main, Unordered())


def test_it_keeps_its_pace(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        put_tree(rig)
        began_s = trio.current_time()
        await scan_of(rig, settings(requests_s=2)).run()
        taken_s = trio.current_time() - began_s
        lists = rig.store.requests["list"]
        assert (lists - 4) / 2 <= taken_s <= (lists + 4) / 2

    run(tmp_path, main)


def test_programs_that_wait_for_a_directory_go_first_for_a_second(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/f")
        rig.store.hold("list")
        pace = Pace(rig.importer, 1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.list, "")
            await rig.idle()
            began_s = trio.current_time()
            await pace.wait()
            assert trio.current_time() - began_s >= 1
            rig.store.release("list")
        began_s = trio.current_time()
        await pace.wait()
        assert trio.current_time() - began_s < 0.01

    run(tmp_path, main)


def test_progress_is_read_as_it_was_written() -> None:
    progress = Progress(Phase.FLAT, (KeyRange("a/é", "b/"), KeyRange("c", "")), 0)
    assert Progress.decode(progress.encode()) == progress
    with pytest.raises(IndexDamageError):
        Progress.decode(b'["elsewhere",[],0]')
