"""Long work on a path, beside whoever asked for it: started, counted, waited for, ended. What it is, jobs say.

Promises: a task that was answered is in the index, and goes on without those who wait for it. A few run at a time, the
others wait in the order of asking. What ends is remembered with the files that it failed for: the last hundred tasks,
ten thousand failures each. Which tasks a restart starts again is decided in `policy.tasks`; they begin anew.

Shared between tasks: the table in memory, in sync code; the rows of the index are its copy. Checkpoints: in `run`, and
where the jobs have theirs.
"""

import errno
import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import trio
from attrs import define, evolve, field

from tierfs.clock import Clock
from tierfs.errors import FsError, StoreError, TierfsError
from tierfs.index import tasks as rows
from tierfs.index.env import Index
from tierfs.policy import tasks as policy
from tierfs.policy.tasks import NO_OPTIONS, Counts, FileError, Options, Task, TaskKind, TaskState

_RUNNING_MAX: Final = 4
_ACTIVE_MAX: Final = 100
_PATHS_AT_A_TIME: Final = 8
_ENDED_KEPT: Final = 100
_FAILURES_KEPT: Final = 10_000
_SLICE_ROWS: Final = 1000
_log: Final = logging.getLogger(__name__)


def code_of(error: Exception) -> str:
    """The stable name of a failure: of the store's kind, of an errno (ENOENT), or "internal"."""
    if isinstance(error, StoreError):
        return error.kind.name.lower()
    number = error.errno if isinstance(error, TierfsError | OSError) else None
    return errno.errorcode.get(number or 0, FileError.INTERNAL)


class Run:
    """One task at work: its job counts here."""

    def __init__(self, task: Task, clock: Clock, note_failure: Callable[[int, str, str], None]) -> None:
        """`note_failure` gets the count of the failure, its path and its code."""
        self._clock = clock
        self._note_failure = note_failure
        self._counts = Counts()
        self._notes: dict[str, int] = {}
        self._task = task
        self.kept_bytes = 0
        """What the task counts on in the hot tier: all its paths share that."""

    @property
    def task(self) -> Task:
        """As it is now."""
        return evolve(self._task, counts=evolve(self._counts, notes=dict(self._notes)))

    def begin(self) -> None:
        """Its turn has come."""
        self._task = policy.moved_to(self._task, TaskState.RUNNING, self._clock.now_ns())

    def found(self, size_bytes: int = 0) -> None:
        """There is one more to be done."""
        counts = self._counts
        self._counts = evolve(counts, total=counts.total + 1, total_bytes=counts.total_bytes + size_bytes)

    def recount(self, total: int) -> None:
        """There are more of them, or fewer, than were found at first."""
        self._counts = evolve(self._counts, total=total)

    def finished(self) -> None:
        """What was found and is neither done nor failed, others have done or removed meanwhile."""
        self.recount(self._counts.done + self._counts.failed)

    def counted(self) -> None:
        """All that is to be done was found, and work begins."""
        self._counts = evolve(self._counts, counted_ns=self._clock.now_ns())

    def done(self, size_bytes: int = 0) -> None:
        """One of them is."""
        counts = self._counts
        self._counts = evolve(counts, done=counts.done + 1, done_bytes=counts.done_bytes + size_bytes)

    def note(self, name: str, count: int = 1) -> None:
        """Counts what only this kind has."""
        self._notes[name] = self._notes.get(name, 0) + count

    def failed(self, path: str, code: str) -> None:
        """One of them cannot be done."""
        self._counts = evolve(self._counts, failed=self._counts.failed + 1)
        self._note_failure(self._counts.failed, path, code)


class Job(Protocol):
    """The work of one task. TierfsError from either ends the task as failed; a file's failure is told to the run."""

    async def survey(self, run: Run) -> None:
        """Finds what is to be done, and changes nothing in the mount or the bucket."""
        ...

    async def carry_out(self, run: Run) -> None:
        """Does it. May be cancelled at any checkpoint, and may be begun anew after that."""
        ...


JobMaker = Callable[[Task], Job]


class Several:
    """The job of a task with several paths: all of them in their order, some at a time. One that is not there is a
    failure."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._jobs = dict(jobs)

    async def survey(self, run: Run) -> None:
        """See Job."""
        for path, job in list(self._jobs.items()):
            try:
                await job.survey(run)
            except TierfsError as error:
                run.found()
                run.failed(path, code_of(error))
                del self._jobs[path]

    async def carry_out(self, run: Run) -> None:
        """See Job."""
        slots = trio.Semaphore(_PATHS_AT_A_TIME)

        async def one(path: str, job: Job) -> None:
            try:
                await job.carry_out(run)
            except TierfsError as error:
                run.failed(path, code_of(error))
            finally:
                slots.release()

        async with trio.open_nursery() as nursery:
            for path, job in self._jobs.items():
                await slots.acquire()  # here: those who wait in tasks of their own have no order
                nursery.start_soon(one, path, job)


@define
class _Active:
    """A task that has not ended."""

    run: Run
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    is_running: bool = False


class Tasks:
    """See the module. `resume` before anything else, `run` once in a nursery."""

    def __init__(self, *, index: Index, clock: Clock, makers: Mapping[TaskKind, JobMaker]) -> None:
        self._index = index
        self._clock = clock
        self._makers = makers
        self._active: dict[int, _Active] = {}
        self._ended: dict[int, Task] = {}
        self._wake = trio.Event()
        self.changed = trio.Event()
        """Set, and replaced, when a task begins or ends."""

    # ---- asking ----

    def start(self, kind: TaskKind, path: str, options: Options = NO_OPTIONS, others: tuple[str, ...] = ()) -> Task:
        """Takes a task on. FsError(EAGAIN) when too many wait already."""
        if len(self._active) >= _ACTIVE_MAX:
            raise FsError(errno.EAGAIN, f"{_ACTIVE_MAX} tasks are waiting or running already")
        with self._index.transaction() as txn:
            task = Task(rows.next_number(txn), kind, path, self._clock.now_ns(), options=options, others=others)
            rows.put(txn, task)
        self._add(task)
        return task

    async def forecast(
        self, kind: TaskKind, path: str, options: Options = NO_OPTIONS, others: tuple[str, ...] = ()
    ) -> Task:
        """What a task would find to be done; nothing is done, and it has no number. The errors of `Job.survey`."""
        task = Task(0, kind, path, self._clock.now_ns(), options=options, others=others)
        run = Run(task, self._clock, lambda count, path, code: None)
        await self._job_of(task).survey(run)
        return run.task

    def _job_of(self, task: Task) -> Job:
        make = self._makers[task.kind]
        if not task.others:
            return make(task)
        return Several({path: make(evolve(task, path=path, others=())) for path in (task.path, *task.others)})

    def find(self, number: int) -> Task | None:
        """As it is now."""
        active = self._active.get(number)
        return active.run.task if active is not None else self._ended.get(number)

    def all(self) -> list[Task]:
        """Those that are remembered, oldest first."""
        tasks = [*self._ended.values(), *(active.run.task for active in self._active.values())]
        return sorted(tasks, key=lambda task: task.number)

    def failures(self, number: int, after: int, limit: int) -> list[tuple[int, str, str]]:
        """(count, path, code) of the next `limit` failures above `after`; the first ten thousand are kept."""
        return rows.failures(self._index, number, after, limit)

    def cancel(self, number: int) -> None:
        """Ends a task, soon; one that has ended stays as it is. FsError(ENOENT)."""
        active = self._active.get(number)
        if active is None:
            if number not in self._ended:
                raise FsError(errno.ENOENT, f"there is no task {number}")
        elif active.is_running:
            active.scope.cancel()
        else:
            self._end(active, TaskState.CANCELLED)

    def record(self, task: Task) -> None:
        """Remembers a task that was carried out elsewhere, and has ended."""
        self._remember(task)

    # ---- the engine ----

    def resume(self) -> None:
        """Takes up what the index has of the daemons before."""
        after = 0
        while page := rows.page(self._index, after, _SLICE_ROWS):
            after = page[-1].number
            for found in page:
                task = policy.after_restart(found, self._clock.now_ns())
                if task != found:
                    self._put(task)
                if task.state.has_ended:
                    self._ended[task.number] = task
                else:
                    self._forget_failures(task.number)
                    self._add(task)

    def _add(self, task: Task) -> None:
        def note_failure(count: int, path: str, code: str) -> None:
            if count > _FAILURES_KEPT:
                return
            try:
                with self._index.transaction() as txn:
                    rows.put_failure(txn, task.number, count, path, code)
            except FsError as refusal:  # a full disk: it is counted all the same
                _log.warning("task %d failed for %r (%s), and the index does not take it: %s",
                             task.number, path, code, refusal, extra={"event": "TFS6003"})  # fmt: skip

        self._active[task.number] = _Active(Run(task, self._clock, note_failure))
        self._wake.set()

    async def run(self) -> None:
        """Carries tasks out until it is cancelled; what has not ended then is the next start's matter."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                waiting = [active for active in self._active.values() if not active.is_running]
                for active in waiting[: max(0, _RUNNING_MAX - (len(self._active) - len(waiting)))]:
                    active.is_running = True
                    nursery.start_soon(self._work, active)
                await self._wake.wait()

    async def _work(self, active: _Active) -> None:
        run = active.run
        code = message = ""
        run.begin()
        self._ring()
        try:
            with active.scope:
                job = self._job_of(run.task)
                await job.survey(run)
                run.counted()
                await job.carry_out(run)
                run.finished()
        except (TierfsError, OSError) as error:
            code, message = code_of(error), str(error)
        except Exception as error:
            _log.exception(
                "task %d (%s) failed in a way that was not foreseen",
                run.task.number,
                run.task.kind,
                extra={"event": "TFS9003"},
            )
            code, message = FileError.INTERNAL, f"a fault of tierfs ({type(error).__name__}); its log has more"
        if active.scope.cancelled_caught:
            self._end(active, TaskState.CANCELLED)
        elif code or run.task.counts.failed:
            self._end(active, TaskState.FAILED, code, message)
        else:
            self._end(active, TaskState.DONE)

    def _end(self, active: _Active, state: TaskState, code: str = "", message: str = "") -> None:
        task = policy.moved_to(active.run.task, state, self._clock.now_ns(), code=code, message=message)
        _log.info(
            "task %d (%s of %r) is %s: %d of %d done, %d failed%s",
            task.number, task.kind, task.path, state, task.counts.done, task.counts.total, task.counts.failed,
            f"; {message}" if message else "",
        )  # fmt: skip
        del self._active[task.number]
        self._remember(task)
        self._wake.set()

    def _remember(self, task: Task) -> None:
        self._ended[task.number] = task
        try:
            self._put(task)
            while len(self._ended) > _ENDED_KEPT:
                self._forget(next(iter(self._ended)))
        except FsError as refusal:  # a full disk: it is remembered until the daemon ends
            _log.warning(
                "the index does not take that task %d has ended: %s", task.number, refusal, extra={"event": "TFS6003"}
            )
        self._ring()

    def _forget(self, number: int) -> None:
        self._forget_failures(number)
        with self._index.transaction() as txn:
            rows.delete(txn, number)
        del self._ended[number]

    def _forget_failures(self, number: int) -> None:
        count = _SLICE_ROWS
        while count == _SLICE_ROWS:
            with self._index.transaction() as txn:
                count = rows.clear_failures(txn, number, _SLICE_ROWS)

    def _put(self, task: Task) -> None:
        with self._index.transaction() as txn:
            rows.put(txn, task)

    def _ring(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
