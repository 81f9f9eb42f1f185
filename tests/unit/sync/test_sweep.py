"""A sweep finds what no event told, and asks for nothing else."""

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.sync.sweep import Missed, Sweep

LONG = ImportSettings(revalidate_s=365 * 86_400)


def sweep_of(rig: Rig, found: list[str]) -> Sweep:
    return Sweep(
        index=rig.index, importer=rig.importer, clock=rig.clock, interval_s=100, on_found=found.append, listings=4
    )


def test_every_listed_directory_is_compared_and_nothing_else(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        keys = ["a/1", "a/b/2", "a/b/c/3", "d/4", "e/5", *(f"many/{number:04}" for number in range(700)), "z/6"]
        for key in keys:
            rig.put_remote(key)
        for path in ("", "a", "a/b", "d", "many", "z"):
            await rig.list(path)
        before = rig.store.requests.copy()
        found: list[str] = []
        sweep = sweep_of(rig, found)
        await sweep.sweep()
        assert (found, sweep.counts.directories, sweep.counts.sweeps) == ([], 6, 1)
        assert rig.store.requests["list"] == before["list"] + 6 and rig.store.requests["head"] == before["head"]
        rig.put_remote("a/b/new")
        rig.put_remote("a/1", b"changed")
        rig.put_remote("below/new/directory")
        rig.put_remote("e/of an unlisted one")
        for key in ("z/6", "d/4"):
            del rig.store.objects[key]
        await sweep.sweep()
        assert sorted(found) == ["a/1", "a/b/new", "below/", "d/", "z/"]
        assert rig.names() == ["a", "below", "e", "many"] and rig.names("a/b") == ["2", "c", "new"]
        assert await rig.read("a/1") == b"changed"

    run_rig(tmp_path, main, import_=LONG, reads_ahead=False)


def test_own_changes_are_no_differences(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("old")
        await rig.list()
        await rig.write("new", b"mine")
        rig.unlink("old")
        await rig.sync()
        await rig.write("pending", b"mine")
        found: list[str] = []
        await sweep_of(rig, found).sweep()
        assert not found and rig.names() == ["new", "pending"]

    run_rig(tmp_path, main, import_=LONG)


def test_who_uses_a_directory_that_is_being_compared_waits_for_that_and_no_more(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f")
        await rig.list()
        await trio.sleep(100)
        before = rig.store.requests["list"]
        rig.put_remote("g")
        rig.store.hold("list")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.importer.relist, 1)
            await rig.idle()
            nursery.start_soon(rig.importer.ensure_listed, 1)
            await rig.idle()
            rig.store.release("list")
        assert rig.store.requests["list"] == before + 1 and rig.names() == ["f", "g"]

    run_rig(tmp_path, main, import_=ImportSettings(revalidate_s=60))


def test_it_comes_again_and_survives_a_store_that_is_away(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f")
        await rig.list()
        found: list[str] = []
        sweep = sweep_of(rig, found)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep.run)
            rig.store.fail_next("list", StoreErrorKind.UNAVAILABLE)
            await trio.sleep(150)
            assert (sweep.counts.sweeps, sweep.counts.is_running) == (0, False)
            rig.put_remote("g")
            await trio.sleep(100)
            assert (sweep.counts.sweeps, found) == (1, ["g"])
            nursery.cancel_scope.cancel()
        rig.store.fail_next("list", StoreErrorKind.UNAVAILABLE)
        with pytest.raises(StoreError):
            await sweep.sweep()

    run_rig(tmp_path, main, import_=LONG)


def missed_after(*steps: tuple[str, str | float]) -> Missed:
    """After steps: found KEY, told KEY, sleep SECONDS."""

    async def main() -> Missed:
        missed = Missed(10.0, keys_kept=3)
        for what, value in steps:
            if isinstance(value, float):
                await trio.sleep(value)
            elif what == "found":
                missed.found(value)
            else:
                missed.told(value)
        missed.settle()
        return missed

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_an_event_tells_of_in_time_was_not_missed() -> None:
    assert missed_after(("found", "a"), ("sleep", 9.0)).count == 0
    assert missed_after(("found", "a"), ("sleep", 9.0), ("told", "a"), ("sleep", 9.0)).count == 0
    assert missed_after(("found", "a/b/"), ("told", "a/b/c/d"), ("sleep", 11.0)).count == 0


def test_what_no_event_tells_of_was_missed() -> None:
    missed = missed_after(("found", "a"), ("told", "ab"), ("sleep", 5.0), ("found", "a"), ("sleep", 6.0))
    assert (missed.count, missed.examples) == (1, ["a"])
    assert missed_after(("found", "a"), ("sleep", 11.0), ("told", "a")).count == 1  # too late


def test_what_does_not_fit_is_counted_at_once() -> None:
    assert missed_after(*(("found", str(number)) for number in range(20))).count == 17
