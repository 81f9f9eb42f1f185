"""The operations of one mount, one by one, for those who watch: the latest ones, numbered.

Costs one comparison for each operation while nobody watches. While somebody does, and for a minute after, 10,000 are
kept; each has its number, so who reads slowly is told how many he missed. What the kernel answers by itself is in no
log: hot files that it reads and writes (passthrough), and names and attributes that it remembers.

Only the event loop's thread comes here. The only checkpoint is in `after`, where it waits.
"""

import enum
import itertools
from collections import deque
from contextvars import ContextVar, Token
from typing import Final

import trio
from attrs import define, field, frozen

from tierfs.clock import Clock

_KEPT_MAX: Final = 10_000
_WATCHED_S: Final = 60.0
NOBODY: Final = -1
"""For a uid or pid that is not known."""


class Tier(enum.StrEnum):
    """What an operation needed for its answer."""

    LOCAL = "local"  # the index and the hot tier
    BUCKET = "bucket"  # it waited for the bucket


@frozen
class Operation:
    """One of them. `path` as JSON has it, relative to the root of the mount; "" where it is about none."""

    number: int
    time_ns: int
    """When it was answered."""
    operation: str
    uid: int
    pid: int
    path: str
    size_bytes: int
    """Read, written, or 0."""
    duration_ns: int
    tier: Tier
    error: str
    """The name of an errno, "" for success."""


@frozen
class Batch:
    """The next operations; `last` is the number to go on with, `missed` how many up to it were not kept."""

    operations: list[Operation] = field(factory=list)
    last: int = 0
    missed: int = 0


@define
class Running:
    """One that is not answered yet, in the task that carries it out."""

    token: Token["Running | None"] | None = None
    tier: Tier = Tier.LOCAL


_running: ContextVar[Running | None] = ContextVar("tierfs_operation", default=None)


def waited_for_bucket() -> None:
    """The operation that this task carries out, if it is one that is watched, needed the bucket."""
    running = _running.get()
    if running is not None:
        running.tier = Tier.BUCKET


class OperationLog:
    """The operations of one mount."""

    def __init__(self, clock: Clock, *, kept_max: int = _KEPT_MAX) -> None:
        self._clock = clock
        self._kept: deque[Operation] = deque(maxlen=kept_max)
        self._last = 0
        self._waiting = 0
        self._watched_until_s = 0.0  # trio time
        self._told = trio.Event()
        self.is_on = False
        """Only then operations are to be told."""

    # ---- telling ----

    @staticmethod
    def begin() -> Running:
        """This task begins with an operation, and ends it, too."""
        running = Running()
        running.token = _running.set(running)
        return running

    def end(
        self,
        running: Running,
        operation: str,
        duration_ns: int,
        *,
        path: str,
        uid: int,
        pid: int,
        size_bytes: int,
        error: str,
    ) -> None:
        """It has its answer."""
        assert running.token is not None
        _running.reset(running.token)
        if not self._waiting and trio.current_time() >= self._watched_until_s:
            self.is_on = False
            self._kept.clear()
            return
        self._last += 1
        now_ns = self._clock.now_ns()
        self._kept.append(
            Operation(self._last, now_ns, operation, uid, pid, path, size_bytes, duration_ns, running.tier, error)
        )
        self._told.set()

    # ---- watching ----

    async def after(self, number: int | None, limit: int) -> Batch:
        """Waits for operations above `number` and returns at most `limit`, oldest first. None: begins, without a wait.

        A `number` of before the log was on again has missed what nobody has counted.
        """
        self.is_on = True
        self._waiting += 1
        try:
            while number is not None and self._last <= number:
                self._told = trio.Event() if self._told.is_set() else self._told
                await self._told.wait()
        finally:
            self._waiting -= 1
            self._watched_until_s = trio.current_time() + _WATCHED_S
        return Batch(last=self._last) if number is None else self._batch(number, limit)

    def since(self, number: int | None) -> Batch:
        """All that are kept above `number`, without a wait. None: begins. As `after`, somebody watches by this."""
        self.is_on = True
        self._watched_until_s = trio.current_time() + _WATCHED_S
        return Batch(last=self._last) if number is None else self._batch(number, self._last)

    def _batch(self, number: int, limit: int) -> Batch:
        kept = list(itertools.islice((each for each in self._kept if each.number > number), limit))
        last = kept[-1].number if kept else self._last
        return Batch(kept, last, missed=last - number - len(kept))
