"""The verbs about tasks: arguments in, JSON out. Who may use them, `service` decides."""

import errno as errno_codes
from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from tierfs.control.arguments import Progress, Refusal, choice_of, number_of, path_of, paths_of, switch_of, timeout_of
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.verbs import Peer, Verb
from tierfs.policy.classes import ClassName, Speed
from tierfs.policy.tasks import NO_OPTIONS, Options, TaskKind


class TaskDaemon(Protocol):
    """What the verbs ask of the daemon: see `tasks.TaskDesk`. FsError(ENOENT) for an id that is not known."""

    async def start(
        self, kind: TaskKind, path: bytes, *, dry_run: bool, options: Options = NO_OPTIONS, others: Sequence[bytes] = ()
    ) -> Json:
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


def _options_of(request: Request, kind: TaskKind) -> Options:
    options = Options(
        storage_class=choice_of(request, "class", ClassName) if "class" in request.args else "",
        speed=choice_of(request, "speed", Speed) if "speed" in request.args else "",
        days=number_of(request, "days", 0),
    )
    takes_class, is_restore = kind in (TaskKind.ARCHIVE, TaskKind.TIER), kind is TaskKind.RESTORE
    if (options.storage_class and not takes_class) or ((options.speed or options.days) and not is_restore):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{kind} takes no such options", errno_codes.EINVAL)
    return options


class TaskVerbs:
    """A `VerbGroup` over one daemon."""

    def __init__(self, tasks: TaskDaemon) -> None:
        self._tasks = tasks
        self.verbs: Mapping[str, Verb] = {
            "task_start": Verb(self._start),
            "tasks": Verb(self._page),
            "task": Verb(self._show),
            "task_failures": Verb(self._failures),
            "task_wait": Verb(self._wait),
            "task_cancel": Verb(self._cancel),
        }

    async def _start(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        kind, path = choice_of(request, "kind", TaskKind), path_of(request)
        if path is None or kind is TaskKind.RENAME:
            raise Refusal(ErrorCode.BAD_REQUEST, "a task that is started needs a path and its kind", errno_codes.EINVAL)
        return await self._tasks.start(
            kind, path, dry_run=switch_of(request, "dry_run", False), options=_options_of(request, kind),
            others=paths_of(request, "others"),
        )  # fmt: skip

    async def _page(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self._tasks.page(number_of(request, "after", 0))

    async def _show(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self._tasks.show(number_of(request, "id"))

    async def _failures(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self._tasks.failures(number_of(request, "id"), number_of(request, "after", 0))

    async def _wait(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        number, timeout_s = number_of(request, "id"), timeout_of(request)
        try:
            with trio.fail_after(timeout_s):
                return await self._tasks.wait(number, progress)
        except trio.TooSlowError:
            raise Refusal(
                ErrorCode.TIMEOUT, f"task {number} has not ended after {timeout_s:g} s", errno_codes.ETIMEDOUT
            ) from None

    async def _cancel(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return await self._tasks.cancel(number_of(request, "id"))
