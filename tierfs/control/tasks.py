"""Tasks for those who look after them: started, shown, waited for, ended; renames of directories among them."""

import errno
import os
from collections.abc import Sequence
from typing import Final

import trio

from tierfs.clock import Clock
from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json
from tierfs.control.renametasks import RenameTasks
from tierfs.errors import FsError
from tierfs.policy.tasks import NO_OPTIONS, Options, Task, TaskKind, eta_s
from tierfs.sync.tasks import Tasks
from tierfs.units import NS_PER_S

_ANSWER_ROWS: Final = 50  # an answer with the longest paths stays below the protocol's limit
_TELL_S: Final = 0.5


class TaskDesk:
    """The tasks of one mount: those that somebody asked for, and the bucket's side of renames."""

    def __init__(self, *, tasks: Tasks, renames: RenameTasks, clock: Clock) -> None:
        self._tasks = tasks
        self._renames = renames
        self._clock = clock

    async def start(
        self, kind: TaskKind, path: bytes, *, dry_run: bool, options: Options = NO_OPTIONS, others: Sequence[bytes] = ()
    ) -> Json:
        """The task as it was taken on. EAGAIN: too many wait. With `dry_run` also ENOENT, ENOTDIR, StoreError."""
        text, more = os.fsdecode(path), tuple(os.fsdecode(other) for other in others)
        if dry_run:
            task = await self._tasks.forecast(kind, text, options, more)
        else:
            task = self._tasks.start(kind, text, options, more)
        return {**self._described(task), "dry_run": dry_run}

    def page(self, after: int) -> Json:
        """A page of {"tasks": [...], "next": `after` of the next page, or None}, oldest first."""
        tasks = sorted([*self._tasks.all(), *self._renames.all()], key=lambda task: task.number)
        shown = [task for task in tasks if task.number > after][: _ANSWER_ROWS + 1]
        return {
            "tasks": [self._described(task) for task in shown[:_ANSWER_ROWS]],
            "next": shown[_ANSWER_ROWS - 1].number if len(shown) > _ANSWER_ROWS else None,
        }

    def show(self, number: int) -> Json:
        """ENOENT."""
        return self._described(self._find(number))

    def failures(self, number: int, after: int) -> Json:
        """A page of {"failures": [{"path", "code"}], "next": `after` of the next page, or None}. ENOENT."""
        self._find(number)
        found = self._tasks.failures(number, after, _ANSWER_ROWS)
        return {
            "failures": [{"path": path, "code": code} for _, path, code in found],
            "next": found[-1][0] if len(found) == _ANSWER_ROWS else None,
        }

    async def wait(self, number: int, progress: Progress) -> Json:
        """Returns when it has ended, however it did. ENOENT."""
        while not (task := self._find(number)).state.has_ended:
            progress(self._described(task))
            changed = self._tasks.changed
            with trio.move_on_after(_TELL_S):
                await changed.wait()
        return self._described(task)

    async def cancel(self, number: int) -> Json:
        """Ends it soon. Of a rename: takes it back, see `renametasks`. ENOENT."""
        if self._renames.find(number) is not None:
            await self._renames.take_back(number)
        else:
            self._tasks.cancel(number)
        return self.show(number)

    def _find(self, number: int) -> Task:
        task = self._tasks.find(number) or self._renames.find(number)
        if task is None:
            raise FsError(errno.ENOENT, f"there is no task {number}")
        return task

    def _described(self, task: Task) -> Json:
        now_ns, counts = self._clock.now_ns(), task.counts
        until_ns = task.ended_ns or now_ns
        return {
            "id": task.number,
            "kind": task.kind.value,
            "path": task.path,
            "more_paths": len(task.others),
            "state": task.state.value,
            "created_ns": task.created_ns,
            "started_ns": task.started_ns,
            "ended_ns": task.ended_ns,
            "elapsed_s": (until_ns - task.started_ns) / NS_PER_S if task.started_ns else 0.0,
            "eta_s": eta_s(task, now_ns),
            "total": counts.total,
            "is_counted": counts.counted_ns != 0,
            "done": counts.done,
            "failed": counts.failed,
            "total_bytes": counts.total_bytes,
            "done_bytes": counts.done_bytes,
            "notes": dict(counts.notes),
            "code": task.code,
            "message": task.message,
        }
