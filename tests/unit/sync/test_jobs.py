"""What tasks do with a path: import, export, warm and release over a store in memory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings, ImportSettings
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.index import held, residency
from tierfs.index import tasks as rows
from tierfs.index.held import Held
from tierfs.model import Residency
from tierfs.objectstore.base import Written
from tierfs.policy.tasks import Task, TaskKind, TaskState
from tierfs.sync.jobs import Mount, makers
from tierfs.sync.tasks import Tasks
from tierfs.units import GIB


def mount_of(rig: Rig, *, tier_bytes: int = GIB) -> Mount:
    return Mount(
        index=rig.index, locations=rig.locations, store=rig.store, files=rig.files, importer=rig.importer,
        exporter=rig.exporter, tier_bytes=tier_bytes,
    )  # fmt: skip


def tasks_of(rig: Rig, *, tier_bytes: int = GIB) -> Tasks:
    return Tasks(index=rig.index, clock=rig.clock, makers=makers(mount_of(rig, tier_bytes=tier_bytes)))


async def done(rig: Rig, kind: TaskKind, path: str, *, tier_bytes: int = GIB) -> tuple[Task, dict[str, str]]:
    """Carries a task out; returns it as it ended, and what it failed for."""
    tasks = tasks_of(rig, tier_bytes=tier_bytes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tasks.run)
        number = tasks.start(kind, path).number
        while not (task := tasks.find(number)) or not task.state.has_ended:
            await tasks.changed.wait()
        nursery.cancel_scope.cancel()
    return task, {path: code for _, path, code in tasks.failures(number, 0, 1000)}


def is_here(rig: Rig, path: str) -> bool:
    hot = residency.hot_get(rig.index, rig.at(path).ino)
    return hot is not None and hot.residency is Residency.FULL


# ---- import ----


def test_import_lists_all_that_is_below(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("d/a/x", "d/b/c/y", "d/z", "other/x"):
            rig.put_remote(key, b"1")
        task, failures = await done(rig, TaskKind.IMPORT, "d")
        assert (task.state, failures) == (TaskState.DONE, {})
        assert (task.counts.total, task.counts.done, task.counts.notes) == (4, 4, {"changed_names": 6})
        assert rig.at("d/b/c/y").size_bytes == 1 and rig.find("other/x") is None

    run_rig(tmp_path, main)


def test_import_sees_what_changed_since_a_fresh_listing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/a", b"1")
        await done(rig, TaskKind.IMPORT, "")
        rig.put_remote("d/b", b"2")
        del rig.store.objects["d/a"]
        task, _ = await done(rig, TaskKind.IMPORT, "d")
        assert rig.names("d") == ["b"] and task.counts.notes == {"changed_names": 2}
        rig.put_remote("d/b", b"three")
        await done(rig, TaskKind.IMPORT, "d/b")
        assert rig.at("d/b").size_bytes == 5

    run_rig(tmp_path, main)


def test_import_of_what_is_not_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/a", b"1")
        for path in ("e", "d/x/y", "d/a/b"):
            task, _ = await done(rig, TaskKind.IMPORT, path)
            assert task.state is TaskState.FAILED and task.code in ("ENOENT", "ENOTDIR")

    run_rig(tmp_path, main)


def test_import_goes_on_past_a_directory_that_cannot_be_listed(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("d/a/x", "d/b/y"):
            rig.put_remote(key, b"1")
        await rig.list()
        await rig.list("d")
        refused = rig.at("d/a").ino
        relist = rig.importer.relist

        async def relist_but(directory: int, found: Callable[[str], None]) -> bool:
            if directory == refused:
                raise StoreError(StoreErrorKind.ACCESS_DENIED, "not this prefix")
            return await relist(directory, found)

        rig.importer.relist = relist_but  # type: ignore[assignment]
        task, failures = await done(rig, TaskKind.IMPORT, "d")
        assert (task.state, failures) == (TaskState.FAILED, {"d/a": "access_denied"})
        assert (task.counts.done, task.counts.failed, rig.names("d/b")) == (2, 1, ["y"])

    run_rig(tmp_path, main)


def test_an_import_that_begins_anew_lists_nothing_twice(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/a/x", b"1")
        task = Task(1, TaskKind.IMPORT, "d", rig.clock.now_ns())
        await trio.sleep(1)
        await done(rig, TaskKind.IMPORT, "d")
        asked = rig.store.requests["list"]
        tasks = tasks_of(rig)
        with rig.index.transaction() as txn:
            rows.put(txn, task)
        tasks.resume()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tasks.run)
            while (found := tasks.find(1)) is None or not found.state.has_ended:
                await tasks.changed.wait()
            nursery.cancel_scope.cancel()
        assert (found.state, found.counts.done) == (TaskState.DONE, 2)
        assert rig.store.requests["list"] == asked + 1, "the root alone, to find the path"

    run_rig(tmp_path, main)


# ---- export ----


class _Refusing(MemoryStore):
    """Takes no object "a"."""

    async def put(self, key: str, *args: Any, **kwargs: Any) -> Written:
        if key == "a":
            raise StoreError(StoreErrorKind.ACCESS_DENIED, "not this one", key=key)
        return await super().put(key, *args, **kwargs)


def test_export_uploads_what_is_pending_below(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/a", b"x" * 100)
        await rig.write("d/b", b"y" * 50)
        await rig.write("elsewhere", b"z")
        began_s = trio.current_time()
        task, failures = await done(rig, TaskKind.EXPORT, "d")
        assert (task.state, failures) == (TaskState.DONE, {})
        assert (task.counts.total, task.counts.done, task.counts.done_bytes) == (3, 3, 150)
        assert rig.store.content("d/a") == b"x" * 100
        assert trio.current_time() - began_s < 60, "without its quiet time"

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=3600))


def test_export_names_what_the_bucket_refuses_and_goes_on(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"1")
        await rig.write("b", b"2")
        task, failures = await done(rig, TaskKind.EXPORT, "")
        assert (task.state, failures, rig.keys) == (TaskState.FAILED, {"a": "EACCES"}, ["b"])
        assert (task.counts.total, task.counts.done, task.counts.failed) == (2, 1, 1)

    run_rig(tmp_path, main, store=_Refusing())


def test_export_of_deletions(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/a", b"1")
        await rig.sync()
        rig.unlink("d/a")
        task, _ = await done(rig, TaskKind.EXPORT, "d")
        assert task.state is TaskState.DONE and "d/a" not in rig.keys

    run_rig(tmp_path, main)


# ---- warm ----


def test_warm_brings_all_bytes_of_a_tree_that_nobody_has_seen(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(40):
            rig.put_remote(f"d/{number % 3}/f{number}", b"%d" % number * 1000)
        rig.put_remote("d/empty", b"")
        task, failures = await done(rig, TaskKind.WARM, "d")
        assert (task.state, failures, task.counts.total, task.counts.done) == (TaskState.DONE, {}, 40, 40)
        assert task.counts.done_bytes == task.counts.total_bytes
        asked = rig.store.requests.total()
        assert await rig.read("d/1/f4") == b"4" * 1000
        assert rig.store.requests.total() == asked
        again, _ = await done(rig, TaskKind.WARM, "d")
        assert again.counts.total == 0 and again.state is TaskState.DONE

    run_rig(tmp_path, main, reads_ahead=False)


def test_what_turns_out_to_be_no_file_is_not_brought(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/link", b"target", user={"file-permissions": "0120777"})
        rig.put_remote("d/f", b"1", user={"file-permissions": "0100644"})
        await rig.list()
        task, failures = await done(rig, TaskKind.WARM, "d")
        assert (task.state, failures) == (TaskState.DONE, {})
        assert rig.at("d/link").is_symlink and residency.hot_get(rig.index, rig.at("d/link").ino) is None
        assert is_here(rig, "d/f")

    run_rig(tmp_path, main, reads_ahead=False)


def test_warm_takes_no_more_than_the_tier_holds(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for name in "abcd":
            rig.put_remote(f"d/{name}", b"x" * 1000)
        await rig.list()
        await rig.list("d")
        assert await rig.read("d/a")
        task, failures = await done(rig, TaskKind.WARM, "d", tier_bytes=3000)
        assert task.state is TaskState.FAILED and list(failures.values()) == ["no_room"]
        assert sum(is_here(rig, f"d/{name}") for name in "abcd") == 3

    run_rig(tmp_path, main)


def test_warm_names_what_cannot_be_fetched(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/a", b"1")
        rig.put_remote("d/b", b"2")
        await rig.list()
        await rig.list("d")
        del rig.store.objects["d/a"]
        task, failures = await done(rig, TaskKind.WARM, "d")
        assert task.state is TaskState.FAILED and failures == {"d/a": "precondition_failed"}
        assert is_here(rig, "d/b")

    run_rig(tmp_path, main, reads_ahead=False, import_=ImportSettings(revalidate_s=3600))


# ---- release ----


def test_release_lets_go_what_the_bucket_has(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("d")
        for name in "ab":
            await rig.write(f"d/{name}", b"x" * 5000)
        await rig.sync()
        await rig.write("d/new", b"y")
        task, failures = await done(rig, TaskKind.RELEASE, "d")
        assert (task.state, failures) == (TaskState.FAILED, {"d/new": "not_uploaded"})
        assert (task.counts.done, task.counts.total) == (2, 3) and task.counts.done_bytes >= 10_000
        assert residency.hot_get(rig.index, rig.at("d/a").ino) is None
        assert await rig.read("d/a") == b"x" * 5000 and await rig.read("d/new") == b"y"

    run_rig(tmp_path, main)


@pytest.mark.parametrize("why", ["in_use", "pinned", "held"])
def test_release_says_why_a_file_stays(tmp_path: Path, why: str) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("a", b"x" * 5000)
        await rig.sync()
        handle = await rig.files.open(ino, write=why == "in_use", truncate=False) if why == "in_use" else None
        record = residency.hot_get(rig.index, ino)
        assert record is not None
        with rig.index.transaction() as txn:
            if why == "pinned":
                residency.hot_put(txn, ino, evolve(record, pinned=True))
            elif why == "held":
                held.put(txn, rig.at("").ino, b"a", Held(ino, 1))
        _, failures = await done(rig, TaskKind.RELEASE, "a")
        assert failures == {"a": why} and is_here(rig, "a")
        if handle is not None:
            await rig.files.release(handle)

    run_rig(tmp_path, main)


# ---- all ----


@pytest.mark.parametrize("kind", [TaskKind.EXPORT, TaskKind.WARM, TaskKind.RELEASE, TaskKind.VERIFY])
def test_a_forecast_changes_nothing(tmp_path: Path, kind: TaskKind) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("cold", b"c" * 1000)
        rig.put_remote("hot", b"h" * 1000)
        await rig.list()
        assert await rig.read("hot")
        await rig.write("new", b"n" * 10)
        before = (rig.pending(), rig.store.requests["put"], is_here(rig, "hot"), is_here(rig, "cold"))
        forecast = await tasks_of(rig).forecast(kind, "")
        expected = {TaskKind.UNPIN: 0, TaskKind.RELEASE: 2}.get(kind, 1)
        assert forecast.counts.total == expected
        assert (rig.pending(), rig.store.requests["put"], is_here(rig, "hot"), is_here(rig, "cold")) == before

    run_rig(tmp_path, main, reads_ahead=False, export=ExportSettings(quiet_s=3600))


def test_a_forecast_of_nothing_is_refused(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for kind in makers(mount_of(rig)):
            with pytest.raises(FsError, match=os.strerror(2)):
                await tasks_of(rig).forecast(kind, "absent")

    run_rig(tmp_path, main)


def test_a_task_of_several_paths(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a", "d/x", "d/y", "other"):
            rig.put_remote(key, b"1" * 1000)
        tasks = tasks_of(rig, tier_bytes=2000)
        forecast = await tasks.forecast(TaskKind.WARM, "a", others=("d", "absent"))
        assert (forecast.counts.total, forecast.counts.failed) == (4, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tasks.run)
            number = tasks.start(TaskKind.WARM, "a", others=("d", "absent")).number
            while not (task := tasks.find(number)) or not task.state.has_ended:
                await tasks.changed.wait()
            nursery.cancel_scope.cancel()
        failures = {path: code for _, path, code in tasks.failures(number, 0, 9)}
        assert failures.pop("absent") == "ENOENT" and list(failures.values()) == ["no_room"], "they share the tier"
        assert task.counts.done == 2 and not is_here(rig, "other") and task.others == ("d", "absent")

    run_rig(tmp_path, main)
