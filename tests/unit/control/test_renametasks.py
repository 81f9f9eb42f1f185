"""Renames of directories as tasks: how far they are, and how they are taken back."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from attrs import frozen

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.control.renametasks import RenameTasks
from tierfs.errors import FsError
from tierfs.index import intents
from tierfs.model import IntentKind
from tierfs.policy.tasks import TaskKind, TaskState
from tierfs.sync.tasks import Tasks


@frozen
class Renaming:
    """A rig whose directory was just renamed from `a` to `b`, before its objects move."""

    rig: Rig
    renames: RenameTasks
    tasks: Tasks
    number: int


def run(tmp_path: Path, test: Callable[[Renaming], Awaitable[None]], *, files: int = 3) -> None:
    async def main(rig: Rig) -> None:
        rig.mkdir("a")
        for number in range(files):
            rig.put_remote(f"a/f{number}", b"%d" % number)
        await rig.sync()
        await rig.list()
        tasks = Tasks(index=rig.index, clock=rig.clock, makers={})
        renames = RenameTasks(
            index=rig.index, clock=rig.clock, mover=rig.exporter.mover, fs=rig.file_system(), notify=rig.told,
            tasks=tasks,
        )  # fmt: skip
        rig.store.hold("copy")
        rig.rename("a", "b")
        (number,) = (intent.seq for intent in rig.pending() if intent.kind is IntentKind.MOVE_TREE)
        await test(Renaming(rig, renames, tasks, number))

    run_rig(tmp_path, main, reads_ahead=False, export=ExportSettings(small_concurrency=1))


async def begun(rig: Rig) -> None:
    rig.exporter.hurry()
    await rig.idle()
    assert rig.exporter.mover.moves and rig.store.in_flight == 1


def test_how_far_it_is(tmp_path: Path) -> None:
    async def test(renaming: Renaming) -> None:
        rig, renames, number = renaming.rig, renaming.renames, renaming.number
        (waiting,) = renames.all()
        assert (waiting.number, waiting.kind, waiting.path) == (number, TaskKind.RENAME, "b")
        assert waiting.state is TaskState.QUEUED
        await begun(rig)
        running = renames.find(number)
        assert running is not None and running.state is TaskState.RUNNING
        assert (running.counts.total, running.counts.done) == (4, 0) and running.counts.counted_ns
        rig.store.release("copy")
        await rig.sync()
        assert renames.find(number) is None and renames.all() == []
        ended = renaming.tasks.find(number)
        assert ended is not None and ended.state is TaskState.DONE
        assert (ended.counts.total, ended.counts.done, ended.path) == (4, 4, "b")

    run(tmp_path, test)


def test_it_is_taken_back_with_what_has_moved(tmp_path: Path) -> None:
    async def test(renaming: Renaming) -> None:
        rig, renames, number = renaming.rig, renaming.renames, renaming.number
        await begun(rig)
        for _ in range(2):
            rig.store.release("copy")
            rig.store.hold("copy")
            await rig.idle()
        assert [key for key in rig.keys if key.startswith("b/f")] and "a/f2" in rig.keys
        told = len(rig.told.entries)
        await renames.take_back(number)
        assert rig.names() == ["a"]
        assert {name for _, name in rig.told.entries[told:]} >= {b"a", b"b"}
        rig.store.release("copy")
        await rig.sync()
        assert [key for key in rig.keys if not key.endswith("/")] == ["a/f0", "a/f1", "a/f2"]
        assert await rig.read("a/f2") == b"2" and rig.is_settled
        ended = renaming.tasks.find(number)
        assert ended is not None and ended.state is TaskState.CANCELLED

    run(tmp_path, test)


def test_it_is_taken_back_before_it_began(tmp_path: Path) -> None:
    async def test(renaming: Renaming) -> None:
        rig = renaming.rig
        await renaming.renames.take_back(renaming.number)
        await renaming.renames.take_back(renaming.number)  # it has its name
        assert rig.names() == ["a"]
        rig.store.release("copy")
        await rig.sync()
        assert rig.is_settled and not any(key.startswith("b") for key in rig.keys)

    run(tmp_path, test)


def test_an_old_name_that_is_taken_stays(tmp_path: Path) -> None:
    async def test(renaming: Renaming) -> None:
        rig = renaming.rig
        rig.mkdir("a")
        with pytest.raises(FsError, match="something else by now"):
            await renaming.renames.take_back(renaming.number)
        assert rig.names() == ["a", "b"]
        rig.store.release("copy")
        await rig.sync()
        assert "b/f2" in rig.keys

    run(tmp_path, test)


def test_an_old_directory_that_is_gone(tmp_path: Path) -> None:
    async def test(renaming: Renaming) -> None:
        rig = renaming.rig
        rig.store.release("copy")
        await rig.sync()
        rig.mkdir("up")
        rig.rename("b", "up/c")
        await rig.sync()
        rig.store.hold("copy")
        rig.rename("up/c", "d")
        rig.rmdir("up")
        (number,) = (intent.seq for intent in rig.pending() if intent.kind is IntentKind.MOVE_TREE)
        with pytest.raises(FsError, match="is gone"):
            await renaming.renames.take_back(number)
        assert rig.names() == ["d"]
        rig.store.release("copy")

    run(tmp_path, test)


def test_what_is_no_rename(tmp_path: Path) -> None:
    async def test(renaming: Renaming) -> None:
        other = next(intent.seq for intent in renaming.rig.pending() if intent.kind is not IntentKind.MOVE_TREE)
        assert intents.get(renaming.rig.index, other) is not None
        assert renaming.renames.find(other) is None
        with pytest.raises(FsError, match="no task"):
            await renaming.renames.take_back(12345)
        renaming.rig.store.release("copy")

    run(tmp_path, test)
