"""Tasks for tests of the control plane: they end when and how the test says."""

import errno
from collections.abc import Sequence
from typing import Any

import trio

from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json
from tierfs.errors import FsError
from tierfs.policy.tasks import NO_OPTIONS, Options, TaskKind

_WHEN_NS = 1_700_000_000_000_000_000


class ScriptedTasks:
    """Passes for `taskverbs.TaskDaemon`. A task that is started ends at once as `outcome`, unless `stalled`."""

    def __init__(self) -> None:
        self.rows: dict[int, Json] = {}
        self.reports: dict[int, list[Json]] = {}
        self.outcome: Json = {"state": "done"}
        self.stalled = False
        self.asked: list[tuple[Options, tuple[bytes, ...]]] = []
        self.started: list[tuple[TaskKind, bytes, bool]] = []
        self.waits_cancelled = 0

    def add(self, kind: str = "warm", path: str = "dir", **fields: Any) -> int:
        number = len(self.rows) + 1
        self.rows[number] = {
            "id": number,
            "kind": kind,
            "path": path,
            "more_paths": 0,
            "state": "running",
            "created_ns": _WHEN_NS,
            "started_ns": _WHEN_NS,
            "ended_ns": 0,
            "elapsed_s": 61.0,
            "eta_s": 30.0,
            "total": 10,
            "is_counted": True,
            "done": 5,
            "failed": 0,
            "total_bytes": 4096,
            "done_bytes": 1024,
            "notes": {},
            "code": "",
            "message": "",
            **fields,
        }
        return number

    def _row(self, number: int) -> Json:
        if number not in self.rows:
            raise FsError(errno.ENOENT, f"there is no task {number}")
        return self.rows[number]

    async def start(
        self, kind: TaskKind, path: bytes, *, dry_run: bool, options: Options = NO_OPTIONS, others: Sequence[bytes] = ()
    ) -> Json:
        self.started.append((kind, path, dry_run))
        self.asked.append((options, tuple(others)))
        if path == b"absent":
            raise FsError(errno.ENOENT)
        number = self.add(kind.value, path.decode("utf-8", "surrogateescape"))
        row = {**self.rows[number], "dry_run": dry_run}
        if not self.stalled:
            self.rows[number].update({"done": 10, "done_bytes": 4096, **self.outcome})
        return row

    def page(self, after: int) -> Json:
        """Pages of two."""
        found = [row for number, row in self.rows.items() if number > after]
        return {"tasks": found[:2], "next": found[1]["id"] if len(found) > 2 else None}

    def show(self, number: int) -> Json:
        return self._row(number)

    def failures(self, number: int, after: int) -> Json:
        """Pages of two."""
        self._row(number)
        rows = self.reports.get(number, [])[after : after + 2]
        return {"failures": rows, "next": after + 2 if len(self.reports.get(number, [])) > after + 2 else None}

    async def wait(self, number: int, progress: Progress) -> Json:
        while (row := self._row(number))["state"] == "running":
            progress(row)
            try:
                await trio.sleep(0.01)
            except trio.Cancelled:
                self.waits_cancelled += 1
                raise
        return row

    async def cancel(self, number: int) -> Json:
        self._row(number)["state"] = "cancelled"
        return self._row(number)
