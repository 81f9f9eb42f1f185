"""The verbs about tasks: arguments in, JSON out. Who may use them, `service` decides."""

import errno as errno_codes
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import trio

from tierfs.control.arguments import Progress, Refusal, choice_of, number_of, path_of, switch_of, timeout_of
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.policy.tasks import TaskKind

Handler: TypeAlias = Callable[[Request, Any, Progress], Awaitable[Json]]


class TaskDaemon(Protocol):
    """What the verbs ask of the daemon: see `tasks.TaskDesk`. FsError(ENOENT) for an id that is not known."""

    async def start(self, kind: TaskKind, path: bytes, *, dry_run: bool) -> Json:
        """Takes a task on and describes it; with `dry_run` describes what it would find to be done."""
        ...

    def page(self, after: int) -> Json:
        """{"tasks": [...], "next": ...}, oldest first."""
        ...

    def show(self, number: int) -> Json:
        """One task, as it is now."""
        ...

    def failures(self, number: int, after: int) -> Json:
        """{"failures": [{path, code}], "next": ...}"""
        ...

    async def wait(self, number: int, progress: Progress) -> Json:
        """The task when it has ended; `progress` gets it as it is meanwhile."""
        ...

    async def cancel(self, number: int) -> Json:
        """Ends it; returns it as it is then, which may still be on its way to its end."""
        ...


class TaskVerbs:
    """Handlers of the verbs over one daemon."""

    NAMES: Final = ("task_start", "tasks", "task", "task_failures", "task_wait", "task_cancel")

    def __init__(self, tasks: TaskDaemon) -> None:
        self._tasks = tasks
        functions: tuple[Handler, ...] = (
            self._start,
            self._page,
            self._show,
            self._failures,
            self._wait,
            self._cancel,
        )
        self.handlers: Mapping[str, Handler] = dict(zip(self.NAMES, functions, strict=True))

    async def _start(self, request: Request, _peer: Any, _progress: Progress) -> Json:
        kind, path = choice_of(request, "kind", TaskKind), path_of(request)
        if path is None or kind is TaskKind.RENAME:
            raise Refusal(ErrorCode.BAD_REQUEST, "a task that is started needs a path and its kind", errno_codes.EINVAL)
        return await self._tasks.start(kind, path, dry_run=switch_of(request, "dry_run", False))

    async def _page(self, request: Request, _peer: Any, _progress: Progress) -> Json:
        return self._tasks.page(number_of(request, "after", 0))

    async def _show(self, request: Request, _peer: Any, _progress: Progress) -> Json:
        return self._tasks.show(number_of(request, "id"))

    async def _failures(self, request: Request, _peer: Any, _progress: Progress) -> Json:
        return self._tasks.failures(number_of(request, "id"), number_of(request, "after", 0))

    async def _wait(self, request: Request, _peer: Any, progress: Progress) -> Json:
        number, timeout_s = number_of(request, "id"), timeout_of(request)
        try:
            with trio.fail_after(timeout_s):
                return await self._tasks.wait(number, progress)
        except trio.TooSlowError:
            raise Refusal(
                ErrorCode.TIMEOUT, f"task {number} has not ended after {timeout_s:g} s", errno_codes.ETIMEDOUT
            ) from None

    async def _cancel(self, request: Request, _peer: Any, _progress: Progress) -> Json:
        return await self._tasks.cancel(number_of(request, "id"))
