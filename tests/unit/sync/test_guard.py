"""Others delete much of the bucket: the mount keeps it and asks; approve and reject do what they say, once."""

import logging
from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tests.support.versioned_store import VersionedStore
from tierfs.config.sections import ImportSettings
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.model import ROOT_INO
from tierfs.namespace.changes import AttrChange
from tierfs.objectstore.base import VersionPage
from tierfs.policy.guard import Limits, Verdict
from tierfs.policy.merge import Policy
from tierfs.sync.history import History
from tierfs.sync.sweep import Sweep
from tierfs.sync.verdicts import Verdicts

FILES = 100
LONG = ImportSettings(revalidate_s=365 * 86_400)


def name(number: int) -> str:
    return f"f{number:03}"


async def filled(rig: Rig, directory: str = "") -> None:
    """100 files of the bucket, listed."""
    for number in range(FILES):
        rig.put_remote(f"{directory}{name(number)}", b"bytes")
    await rig.list()
    for depth in range(directory.count("/")):
        await rig.list("/".join(directory.split("/")[: depth + 1]))


def lose(rig: Rig, numbers: range, directory: str = "") -> None:
    for number in numbers:
        del rig.store.objects[f"{directory}{name(number)}"]


def verdicts_of(rig: Rig, *, read_only: bool = False) -> Verdicts:
    history = History(
        index=rig.index, store=rig.store, locations=rig.locations, importer=rig.importer, read_only=read_only
    )
    return Verdicts(
        index=rig.index, guard=rig.guard, importer=rig.importer, history=history, locations=rig.locations,
        clock=rig.clock, wake_export=rig.exporter.wake, read_only=read_only,
    )  # fmt: skip


async def decide(rig: Rig, verdict: Verdict, *, read_only: bool = False) -> Verdicts:
    verdicts = verdicts_of(rig, read_only=read_only)
    assert rig.guard.decide(verdict) > 0
    await verdicts.carry_out(verdict)
    assert rig.guard.verdict is None
    return verdicts


def test_few_removals_pass(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(20))
        assert len(await rig.list()) == 80
        assert rig.guard.status() is None

    run_rig(tmp_path, main)


def test_too_many_are_kept_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(21))
        assert len(await rig.list()) == FILES
        heads = rig.store.requests["head"]
        lose(rig, range(50, 52))  # few, but while somebody is asked nothing goes
        assert len(await rig.list()) == FILES
        assert rig.store.requests["head"] == heads + 2, "what is held is not asked for again"
        status = rig.guard.status()
        assert status is not None and (status["names"], status["entries"]) == (23, 23)
        assert status["examples"][0] == "f000" and status["verdict"] is None

    run_rig(tmp_path, main)
    (told,) = [record for record in caplog.records if getattr(record, "event", "") == "TFS5001"]
    assert told.levelno == logging.ERROR and "21 of 101" in told.getMessage()


def test_small_steps_add_up_within_the_window(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        for start in range(0, 100, 5):
            lose(rig, range(start, start + 5))
            await rig.list()
        assert len(rig.names()) == 80
        assert rig.guard.status() is not None

    run_rig(tmp_path, main)


def test_steps_that_are_far_apart_do_not(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        for start in range(0, 100, 9):
            lose(rig, range(start, min(100, start + 9)))
            await rig.list()
            await trio.sleep(4000)
        assert rig.names() == [] and rig.guard.status() is None

    run_rig(tmp_path, main)


def test_the_same_whatever_tells_of_it(tmp_path: Path) -> None:
    """Events speak of single keys; a HEAD for attributes, and an export, find single objects gone."""

    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(60))
        for number in range(0, 20):
            await rig.importer.look(ROOT_INO, {name(number)})
        assert len(rig.names()) == 80
        await rig.importer.look(ROOT_INO, {name(20), name(21)})
        for number in range(22, 26):
            assert await rig.importer.ensure_attributes(rig.at(name(number)).ino) == rig.at(name(number)).ino
        for number in range(26, 30):
            rig.tree.set_attributes(rig.at(name(number)).ino, AttrChange(permissions=0o640))
        await trio.sleep(100)
        assert len(rig.names()) == 80
        assert len(rig.pending()) == 4

    run_rig(tmp_path, main, import_=ImportSettings(revalidate_s=365 * 86_400, attributes="always"), reads_ahead=False)


def test_local_changes_win_over_the_bucket_under_guard(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(60))
        await rig.importer.relist(ROOT_INO)
        await rig.write(name(0), b"mine")
        await trio.sleep(100)
        assert await rig.read(name(0)) == b"mine", "bucket-wins takes nothing that somebody still has to decide about"

    run_rig(tmp_path, main, policy=Policy.BUCKET_WINS, import_=LONG)


def test_approve_removes_and_is_not_asked_again(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "d/")
        lose(rig, range(99), "d/")
        await rig.list("d")
        assert len(rig.names("d")) == FILES
        rig.put_remote("d/f098", b"again")
        verdicts = await decide(rig, Verdict.APPROVE)
        assert (verdicts.outcome.removed, verdicts.outcome.returned) == (98, 1)
        assert rig.names("d") == ["f098", "f099"] and rig.guard.status() is None
        assert await rig.list("d") == ["f098", "f099"]
        assert await rig.read("d/f098") == b"again"

    run_rig(tmp_path, main)


def test_a_vanished_directory_counts_with_all_below_it(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "a/b/")
        rig.put_remote("z")
        lose(rig, range(100), "a/b/")
        assert await rig.list() == ["a", "z"]
        assert len(await rig.list("a/b")) == FILES
        status = rig.guard.status()
        assert status is not None and (status["names"], status["entries"]) == (1, 102)
        await decide(rig, Verdict.APPROVE)
        assert rig.names() == ["z"]
        assert await rig.list() == ["z"]

    run_rig(tmp_path, main)


def test_reject_uploads_what_is_here_and_keeps_the_rest(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "d/")
        assert await rig.read("d/f000") == b"bytes"
        lose(rig, range(100), "d/")
        assert await rig.list() == ["d"]
        verdicts = await decide(rig, Verdict.REJECT)
        assert (verdicts.outcome.uploaded, verdicts.outcome.unreadable) == (2, 99)
        await rig.sync()
        assert rig.keys == ["d/", "d/f000"]
        assert rig.store.content("d/f000") == b"bytes"
        assert len(await rig.list("d")) == FILES and await rig.list() == ["d"]
        assert rig.guard.status() is None, "nobody is asked about the same again"
        rig.put_remote("d/f099", b"found in a backup")
        await rig.list("d")
        assert await rig.read("d/f099") == b"found in a backup"
        del rig.store.objects["d/f099"]
        await rig.list("d")
        assert len(rig.names("d")) == FILES - 1, "a later deletion is a matter of its own"

    run_rig(tmp_path, main, reads_ahead=False)


def test_reject_takes_deletions_back_where_the_bucket_keeps_versions(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        store = rig.store
        assert isinstance(store, VersionedStore)
        await filled(rig, "d/")
        assert await rig.read("d/f000") == b"bytes"
        for number in range(100):
            store.remove(f"d/{name(number)}")
        for number in (0, 1):
            del store._history[f"d/{name(number)}"]  # expired
        assert await rig.list() == ["d"]
        verdicts = await decide(rig, Verdict.REJECT)
        outcome = verdicts.outcome
        assert (outcome.restored, outcome.uploaded, outcome.unreadable) == (98, 2, 1)
        await rig.sync()
        assert sorted(rig.keys) == ["d/", *(f"d/{name(number)}" for number in range(100) if number != 1)]
        assert len(await rig.list("d")) == FILES and rig.guard.status() is None
        assert await rig.read("d/f099") == b"bytes"

    run_rig(tmp_path, main, store=VersionedStore(), reads_ahead=False)


def test_versions_that_are_not_to_be_had_hold_up_nothing(tmp_path: Path) -> None:
    class Closed(VersionedStore):
        async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
            raise StoreError(StoreErrorKind.ACCESS_DENIED, "no s3:ListBucketVersions", key=prefix)

    async def main(rig: Rig) -> None:
        await filled(rig)
        assert await rig.read(name(0)) == b"bytes"
        lose(rig, range(100))
        await rig.list()
        outcome = (await decide(rig, Verdict.REJECT)).outcome
        assert (outcome.restored, outcome.uploaded, outcome.unreadable) == (0, 1, 99)

    run_rig(tmp_path, main, store=Closed(), reads_ahead=False)


def test_a_store_that_is_away_puts_a_decision_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(99))
        await rig.list()
        rig.guard.decide(Verdict.APPROVE)
        rig.store.fail_next("head", StoreErrorKind.UNAVAILABLE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(verdicts_of(rig).run)
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert rig.names() == [name(99)] and rig.guard.verdict is None

    run_rig(tmp_path, main)
    assert "goes on when the store answers" in caplog.text


def test_reject_in_a_read_only_mount_keeps_everything_local(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        await rig.read(name(0))
        lose(rig, range(100))
        await rig.list()
        verdicts = await decide(rig, Verdict.REJECT, read_only=True)
        assert verdicts.outcome.unreadable == 99 and not rig.pending()
        assert len(await rig.list()) == FILES and rig.guard.status() is None
        assert await rig.read(name(0)) == b"bytes"

    run_rig(tmp_path, main)


def test_bytes_that_only_this_machine_has_are_not_evicted(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        for number in (0, 1):
            await rig.read(name(number))
        ino = rig.at(name(0)).ino
        lose(rig, range(1, 100))
        lose(rig, range(1))
        await rig.list()
        assert await rig.files._evictor.evict_clean(1 << 20) == 0
        assert rig.files._evictor.evict(ino) == 0
        for number in range(100):
            rig.put_remote(name(number), b"bytes")
        await rig.list()
        assert rig.guard.status() is None, "all is there again"
        assert await rig.files._evictor.evict_clean(1 << 20) > 0

    run_rig(tmp_path, main)


def test_a_question_survives_a_restart_and_so_does_a_decision(tmp_path: Path) -> None:
    async def ask(rig: Rig) -> None:
        await filled(rig, "d/")
        await rig.read("d/f000")
        lose(rig, range(100), "d/")
        await rig.list()

    async def look(rig: Rig) -> None:
        assert await rig.list() == ["d"]
        status = rig.guard.status()
        assert status is not None and status["entries"] == 101
        rig.guard.decide(Verdict.REJECT)
        # killed when some of it was done, and uploaded
        row = next(row for row, _ in rig.guard.page((0, b""), 9))
        rig.guard.confirm(row)
        rig.put_remote("d/uploaded")

    async def go_on(rig: Rig) -> None:
        assert rig.guard.verdict is Verdict.REJECT
        with pytest.raises(FsError):
            rig.guard.decide(Verdict.APPROVE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(verdicts_of(rig).run)
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert rig.guard.verdict is None
        await rig.sync()
        assert "d/f000" in rig.keys and len(rig.names("d")) == FILES
        assert rig.guard.decide(Verdict.APPROVE) == 0

    store = run_rig(tmp_path, ask, reads_ahead=False)
    run_rig(tmp_path, look, store=store, reads_ahead=False)
    run_rig(tmp_path, go_on, store=store, reads_ahead=False)


def test_a_sweep_is_judged_as_a_whole(tmp_path: Path) -> None:
    """No directory alone loses much."""

    async def main(rig: Rig) -> None:
        for number in range(10):
            for file in range(10):
                rig.put_remote(f"d{number}/{name(file)}")
        await rig.list()
        for number in range(10):
            await rig.list(f"d{number}")
        found: list[str] = []
        sweep = Sweep(index=rig.index, importer=rig.importer, clock=rig.clock, interval_s=100, on_found=found.append)
        rig.store.delay_s = lambda: 0.01  # so that what is flat is seen to be listed since the sweep began
        lose(rig, range(1), "d0/")
        await sweep.sweep()
        assert found == ["d0/f000"] and len(rig.names("d0")) == 9
        for number in range(10):
            lose(rig, range(5, 8), f"d{number}/")
        await sweep.sweep()
        assert len(found) == 31
        await sweep.sweep()
        assert len(found) == 31, "what is held is told once"
        assert [len(rig.names(f"d{number}")) for number in range(10)] == [9] + [10] * 9
        await decide(rig, Verdict.APPROVE)
        assert [len(rig.names(f"d{number}")) for number in range(10)] == [6] + [7] * 9

    run_rig(tmp_path, main, import_=LONG)


def test_a_rename_by_another_client_is_named(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "old/")
        rig.put_remote("unlike/f000", b"something else")
        for number in range(FILES):
            rig.put_remote(f"new/{name(number)}", rig.store.content(f"old/{name(number)}"))
        lose(rig, range(100), "old/")
        assert await rig.list() == ["new", "old", "unlike"]
        ((row, state),) = rig.guard.page((0, b""), 9)
        assert (row.name, row.held.moved_to, state) == (b"old", "new", "asked")

    run_rig(tmp_path, main)


def test_what_somebody_has_seen_to_here_is_not_held(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(50))
        await rig.list()
        for number in range(49):
            rig.unlink(name(number))
        await rig.list()
        status = rig.guard.status()
        assert status is not None and status["names"] == 1
        rig.unlink(name(49))
        await rig.list()
        assert rig.guard.status() is None
        await rig.sync()

    run_rig(tmp_path, main)


def test_limits_are_settings(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(90))
        assert len(await rig.list()) == 10

    run_rig(tmp_path, main, limits=Limits(share_max=1.0))
