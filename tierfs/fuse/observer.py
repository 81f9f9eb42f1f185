"""What is noted of each request that the daemon answers: how long it took and, while somebody watches, who asked for
what. No checkpoints."""

from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any, Final

from attrs import define

from tierfs.clock import SystemClock
from tierfs.telemetry.accesses import AccessLog
from tierfs.telemetry.meters import Meters
from tierfs.telemetry.oplog import NOBODY, OperationLog, Running, waited_for_bucket

INTERRUPTED: Final = "EINTR"
"""The error of a request that ended without an answer of its handler."""


@define
class Watched:
    """A request that somebody watches, until it is answered."""

    running: Running
    path: str
    uid: int
    pid: int


class Observer:
    """Of one mount."""

    def __init__(
        self, meters: Meters | None = None, log: OperationLog | None = None, accesses: AccessLog | None = None
    ) -> None:
        self.meters = meters or Meters()
        self.log = log or OperationLog(SystemClock())
        self.accesses = accesses if accesses is not None else AccessLog(SystemClock())
        self._openers: dict[int, tuple[int, int]] = {}  # file handle -> uid and pid; the kernel tells both at OPEN only

    def opened(self, handle: int, uid: int, pid: int) -> None:
        """A program has the handle. `pid`: as FUSE has it, of a thread; negative where it stands for something else."""
        self._openers[handle] = (uid, pid if pid > 0 else NOBODY)

    def released(self, handle: int) -> None:
        """Nobody has it any more."""
        self._openers.pop(handle, None)

    def asked(self, verb: str, duration_ns: int, error: str) -> None:
        """The store has answered one attempt; see `RetryingStore`."""
        self.meters.request(verb, duration_ns, error)
        waited_for_bucket()

    def begin(
        self, arguments: Callable[[], Mapping[str, Any]], path: Callable[[Mapping[str, Any]], str]
    ) -> Watched | None:
        """A request has come; None while nobody watches, and then neither its arguments nor its path are looked at."""
        if not self.log.is_on:
            return None
        about = arguments()
        context = about.get("ctx")
        if context is not None:
            uid, pid = context.uid, context.pid if context.pid > 0 else NOBODY
        else:
            uid, pid = self._openers.get(about.get("fh", 0), (NOBODY, NOBODY))
        return Watched(self.log.begin(), path(about).removeprefix("/"), uid, pid)

    def end(self, watched: Watched | None, operation: str, began_ns: int, error: str, size_bytes: int) -> None:
        """It is answered. `error`: the name of an errno, "" for success."""
        duration_ns = monotonic_ns() - began_ns
        self.meters.operation(operation, duration_ns, error)
        if watched is not None:
            self.log.end(
                watched.running,
                operation,
                duration_ns,
                path=watched.path,
                uid=watched.uid,
                pid=watched.pid,
                size_bytes=size_bytes,
                error=error,
            )
