"""The verbs about tasks over a mount in memory: pages, reports, waiting."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tests.unit.sync.test_jobs import tasks_of
from tierfs.control.renametasks import RenameTasks
from tierfs.control.tasks import TaskDesk
from tierfs.errors import FsError
from tierfs.policy.tasks import TaskKind


def run(tmp_path: Path, test: Callable[[Rig, TaskDesk], Awaitable[None]]) -> None:
    async def main(rig: Rig) -> None:
        tasks = tasks_of(rig)
        renames = RenameTasks(
            index=rig.index, clock=rig.clock, mover=rig.exporter.mover, fs=rig.file_system(), notify=rig.told,
            tasks=tasks,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tasks.run)
            await test(rig, TaskDesk(tasks=tasks, renames=renames, clock=rig.clock))
            nursery.cancel_scope.cancel()

    run_rig(tmp_path, main)


def quiet(_progress: Mapping[str, Any]) -> None:
    return None


def test_a_task_is_waited_for_and_told_of_meanwhile(tmp_path: Path) -> None:
    async def test(rig: Rig, desk: TaskDesk) -> None:
        rig.put_remote("d/a", b"x" * 1000)
        await rig.list()
        rig.store.hold("get")
        asked = await desk.start(TaskKind.WARM, b"d", dry_run=False)
        assert (asked["state"], asked["path"], asked["dry_run"], asked["eta_s"]) == ("queued", "d", False, None)
        told: list[Mapping[str, Any]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.wait, asked["id"], told.append)
            await trio.sleep(5)
            assert told[-1]["state"] == "running" and (told[-1]["total"], told[-1]["done"]) == (1, 0)
            rig.store.release("get")
        done = desk.show(asked["id"])
        assert (done["state"], done["done"], done["done_bytes"], done["is_counted"]) == ("done", 1, 1000, True)
        assert done["elapsed_s"] >= 5
        assert await desk.wait(asked["id"], quiet) == done

    run(tmp_path, test)


def test_who_stops_waiting_does_not_end_it(tmp_path: Path) -> None:
    async def test(rig: Rig, desk: TaskDesk) -> None:
        rig.put_remote("d/a", b"x" * 1000)
        await rig.list()
        rig.store.hold("get")
        number = (await desk.start(TaskKind.WARM, b"d", dry_run=False))["id"]
        with trio.move_on_after(2):
            await desk.wait(number, quiet)
        assert desk.show(number)["state"] == "running"
        await desk.cancel(number)
        assert (await desk.wait(number, quiet))["state"] == "cancelled"
        rig.store.release("get")

    run(tmp_path, test)


def test_pages_of_tasks_and_of_failures(tmp_path: Path) -> None:
    async def test(rig: Rig, desk: TaskDesk) -> None:
        rig.mkdir("d")
        for number in range(60):
            await rig.write(f"d/f{number:02}", b"new")
        forecast = await desk.start(TaskKind.RELEASE, b"d", dry_run=True)
        assert (forecast["id"], forecast["total"], desk.page(0)["tasks"]) == (0, 60, [])
        for _ in range(60):
            last = await desk.wait((await desk.start(TaskKind.RELEASE, b"d", dry_run=False))["id"], quiet)
        page = desk.page(0)
        assert len(page["tasks"]) == 50
        assert len(desk.page(page["next"])["tasks"]) == 10 and desk.page(page["next"])["next"] is None
        assert (last["state"], last["failed"]) == ("failed", 60)
        report = desk.failures(last["id"], 0)
        rest = desk.failures(last["id"], report["next"])
        rows = report["failures"] + rest["failures"]
        assert sorted(row["path"] for row in rows) == [f"d/f{number:02}" for number in range(60)]
        assert {row["code"] for row in rows} == {"not_uploaded"} and rest["next"] is None

    run(tmp_path, test)


def test_a_rename_is_a_task_like_any_other(tmp_path: Path) -> None:
    async def test(rig: Rig, desk: TaskDesk) -> None:
        rig.put_remote("a/f", b"1")
        await rig.list()
        rig.rename("a", "b")
        (shown,) = desk.page(0)["tasks"]
        assert (shown["kind"], shown["path"]) == ("rename", "b")
        assert desk.failures(shown["id"], 0) == {"failures": [], "next": None}
        assert (await desk.cancel(shown["id"]))["path"] == "a"
        assert (await desk.wait(shown["id"], quiet))["state"] == "cancelled"
        assert rig.keys == ["a/f"]

    run(tmp_path, test)


def test_what_is_not_there(tmp_path: Path) -> None:
    async def test(rig: Rig, desk: TaskDesk) -> None:
        for ask in (desk.show, lambda number: desk.failures(number, 0)):
            with pytest.raises(FsError, match="no task 7"):
                ask(7)
        for wait in (desk.cancel, lambda number: desk.wait(number, quiet)):
            with pytest.raises(FsError, match="no task 7"):
                await wait(7)

    run(tmp_path, test)
