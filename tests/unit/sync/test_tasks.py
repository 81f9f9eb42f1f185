"""The registry of tasks: turns, ends, history and restarts, with jobs that do what the test says."""

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.clocks import TrioWallClock
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.index.env import Index, IndexSettings
from tierfs.policy.tasks import Task, TaskKind, TaskState
from tierfs.sync import tasks as registry
from tierfs.sync.tasks import Run, Tasks, code_of
from tierfs.units import MIB

Body = Callable[[Run], Awaitable[None]]


class ScriptedJob:
    """Finds three, then does what it was given."""

    def __init__(self, body: Body) -> None:
        self._body = body

    async def survey(self, run: Run) -> None:
        for size_bytes in (10, 20, 30):
            run.found(size_bytes)

    async def carry_out(self, run: Run) -> None:
        await self._body(run)


async def all_done(run: Run) -> None:
    for size_bytes in (10, 20, 30):
        run.done(size_bytes)


async def for_ever(run: Run) -> None:
    run.done(10)
    await trio.sleep_forever()


def opened(directory: Path) -> Index:
    return Index.open(
        directory / "index", clock=TrioWallClock(), settings=IndexSettings(map_size_bytes=64 * MIB), boot_id=7
    )


def run_tasks(directory: Path, body: Body, main: Callable[[Tasks], Awaitable[None]]) -> None:
    """One life of the registry over the index of a directory."""

    async def life() -> None:
        index = opened(directory)
        makers = {kind: lambda task: ScriptedJob(body) for kind in TaskKind}
        tasks = Tasks(index=index, clock=TrioWallClock(), makers=makers)
        tasks.resume()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tasks.run)
            await main(tasks)
            nursery.cancel_scope.cancel()
        index.close()

    trio.run(life, clock=trio.testing.MockClock(autojump_threshold=0))


async def ended(tasks: Tasks, number: int) -> Task:
    while not (task := at(tasks, number)).state.has_ended:
        await tasks.changed.wait()
    return task


def at(tasks: Tasks, number: int) -> Task:
    task = tasks.find(number)
    assert task is not None
    return task


def test_a_task_from_its_start_to_its_end(tmp_path: Path) -> None:
    async def main(tasks: Tasks) -> None:
        task = tasks.start(TaskKind.WARM, "d/\udcff")
        assert (task.state, task.path, task.kind) == (TaskState.QUEUED, "d/\udcff", TaskKind.WARM)
        done = await ended(tasks, task.number)
        assert done.state is TaskState.DONE and done.started_ns and done.ended_ns
        assert (done.counts.total, done.counts.done, done.counts.done_bytes) == (3, 3, 60)
        assert tasks.all() == [done]

    run_tasks(tmp_path, all_done, main)


def test_what_others_have_done_meanwhile_is_not_missed(tmp_path: Path) -> None:
    async def body(run: Run) -> None:
        run.done(10)
        run.failed("a", "in_use")

    async def main(tasks: Tasks) -> None:
        counts = (await ended(tasks, tasks.start(TaskKind.WARM, "").number)).counts
        assert (counts.total, counts.done, counts.failed) == (2, 1, 1)

    run_tasks(tmp_path, body, main)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FsError(errno.ENOENT, "no such directory"), "ENOENT"),
        (StoreError(StoreErrorKind.ACCESS_DENIED, "no"), "access_denied"),
        (OSError(errno.EIO, "the disk"), "EIO"),
        (RuntimeError("a fault"), "internal"),
    ],
)
def test_work_that_fails_as_a_whole(tmp_path: Path, error: Exception, code: str) -> None:
    async def body(run: Run) -> None:
        raise error

    async def main(tasks: Tasks) -> None:
        failed = await ended(tasks, tasks.start(TaskKind.WARM, "").number)
        assert (failed.state, failed.code) == (TaskState.FAILED, code)
        assert failed.message

    run_tasks(tmp_path, body, main)


def test_an_error_without_a_number_is_internal() -> None:
    assert code_of(OSError("no number")) == "internal"


def test_files_that_fail_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FAILURES_KEPT", 2)

    async def body(run: Run) -> None:
        run.done(10)
        run.note("by_luck")
        for name in ("a\udcff", "b", "c"):
            run.failed(name, "in_use")

    async def main(tasks: Tasks) -> None:
        failed = await ended(tasks, tasks.start(TaskKind.RELEASE, "").number)
        assert (failed.state, failed.code, failed.counts.failed) == (TaskState.FAILED, "", 3)
        assert failed.counts.notes == {"by_luck": 1}
        assert tasks.failures(failed.number, 0, 9) == [(1, "a\udcff", "in_use"), (2, "b", "in_use")]

    run_tasks(tmp_path, body, main)


def test_some_run_at_a_time_in_the_order_of_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ACTIVE_MAX", 6)

    async def main(tasks: Tasks) -> None:
        numbers = [tasks.start(TaskKind.EXPORT, "").number for _ in range(6)]
        with pytest.raises(FsError, match="already"):
            tasks.start(TaskKind.EXPORT, "")
        await trio.testing.wait_all_tasks_blocked()
        states = [at(tasks, number).state for number in numbers]
        assert states == [TaskState.RUNNING] * 4 + [TaskState.QUEUED] * 2
        assert at(tasks, numbers[0]).counts.done == 1
        tasks.cancel(numbers[4])  # before its turn
        tasks.cancel(numbers[1])
        assert (await ended(tasks, numbers[1])).state is TaskState.CANCELLED
        assert at(tasks, numbers[4]).state is TaskState.CANCELLED
        await trio.testing.wait_all_tasks_blocked()
        assert at(tasks, numbers[5]).state is TaskState.RUNNING

    run_tasks(tmp_path, for_ever, main)


def test_a_fault_beside_a_cancellation_ends_the_task_alone(tmp_path: Path) -> None:
    async def body(run: Run) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                if run.task.number == 1:
                    raise RuntimeError("a fault")

    async def main(tasks: Tasks) -> None:
        number = tasks.start(TaskKind.WARM, "").number
        await trio.testing.wait_all_tasks_blocked()
        tasks.cancel(number)
        assert (await ended(tasks, number)).state is TaskState.CANCELLED
        other = tasks.start(TaskKind.WARM, "").number
        await trio.testing.wait_all_tasks_blocked()
        assert at(tasks, other).state is TaskState.RUNNING

    run_tasks(tmp_path, body, main)


def test_what_is_not_there_or_has_ended_is_not_cancelled(tmp_path: Path) -> None:
    async def main(tasks: Tasks) -> None:
        done = await ended(tasks, tasks.start(TaskKind.WARM, "").number)
        tasks.cancel(done.number)
        assert at(tasks, done.number) == done
        with pytest.raises(FsError) as caught:
            tasks.cancel(done.number + 1000)
        assert caught.value.errno == errno.ENOENT

    run_tasks(tmp_path, all_done, main)


def test_the_oldest_are_forgotten_with_their_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ENDED_KEPT", 2)
    monkeypatch.setattr(registry, "_SLICE_ROWS", 2)
    numbers: list[int] = []

    async def body(run: Run) -> None:
        for name in "abcde":
            run.failed(name, "in_use")

    async def main(tasks: Tasks) -> None:
        numbers.extend([(await ended(tasks, tasks.start(TaskKind.RELEASE, "").number)).number for _ in range(3)])
        assert [task.number for task in tasks.all()] == numbers[1:]
        assert tasks.failures(numbers[0], 0, 9) == [] and len(tasks.failures(numbers[1], 0, 9)) == 5

    async def later(tasks: Tasks) -> None:
        assert [task.number for task in tasks.all()] == numbers[1:]
        assert len(tasks.failures(numbers[2], 0, 9)) == 5

    run_tasks(tmp_path, body, main)
    run_tasks(tmp_path, body, later)


def test_a_restart_begins_anew_what_is_the_same_as_going_on(tmp_path: Path) -> None:
    started: dict[TaskKind, int] = {}
    kinds = (TaskKind.WARM, TaskKind.IMPORT, TaskKind.VERIFY, TaskKind.RELEASE)

    async def fails_and_stays(run: Run) -> None:
        run.failed("a", "in_use")
        await trio.sleep_forever()

    async def first(tasks: Tasks) -> None:
        for kind in kinds:
            started[kind] = tasks.start(kind, "d").number
        await trio.testing.wait_all_tasks_blocked()
        assert all(at(tasks, number).state is TaskState.RUNNING for number in started.values())

    async def second(tasks: Tasks) -> None:
        for kind in (TaskKind.WARM, TaskKind.IMPORT):
            done = await ended(tasks, started[kind])
            assert (done.state, done.counts.failed, done.counts.done) == (TaskState.DONE, 0, 3)
            assert tasks.failures(done.number, 0, 9) == []
        for kind in (TaskKind.VERIFY, TaskKind.RELEASE):
            found = at(tasks, started[kind])
            assert (found.state, found.code) == (TaskState.INTERRUPTED, "interrupted")

    run_tasks(tmp_path, fails_and_stays, first)
    run_tasks(tmp_path, all_done, second)


def test_a_forecast_is_no_task(tmp_path: Path) -> None:
    async def main(tasks: Tasks) -> None:
        forecast = await tasks.forecast(TaskKind.WARM, "d")
        assert (forecast.counts.total, forecast.counts.total_bytes, forecast.counts.done) == (3, 60, 0)
        assert tasks.all() == []

    run_tasks(tmp_path, all_done, main)


def test_work_that_was_done_elsewhere_is_remembered(tmp_path: Path) -> None:
    moved = Task(7, TaskKind.RENAME, "d", 1, TaskState.DONE, 2, 3)

    async def main(tasks: Tasks) -> None:
        tasks.record(moved)
        assert tasks.find(7) == moved

    async def later(tasks: Tasks) -> None:
        assert tasks.find(7) == moved

    run_tasks(tmp_path, all_done, main)
    run_tasks(tmp_path, all_done, later)


def test_several_paths_are_worked_on_in_their_order(tmp_path: Path) -> None:
    paths = [f"{number:03}" for number in range(100)]
    begun: list[str] = []

    async def main() -> None:
        index = opened(tmp_path)

        def job_of(task: Task) -> ScriptedJob:
            async def body(run: Run) -> None:
                begun.append(task.path)
                await trio.lowlevel.checkpoint()

            return ScriptedJob(body)

        tasks = Tasks(index=index, clock=TrioWallClock(), makers={TaskKind.WARM: job_of})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tasks.run)
            for _ in range(5):  # one that leaves the order to trio may be lucky
                task = tasks.start(TaskKind.WARM, paths[0], others=tuple(paths[1:]))
                assert (await ended(tasks, task.number)).state is TaskState.DONE
            nursery.cancel_scope.cancel()
        index.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    # trio wakes those who are ready in any order: eight are at work
    moved = [abs(place % len(paths) - paths.index(path)) for place, path in enumerate(begun)]
    assert len(moved) == 5 * len(paths) and max(moved) < registry._PATHS_AT_A_TIME
