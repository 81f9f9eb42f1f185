"""Wall-clock time as an argument, so that a test can move it; deadlines use trio's own clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where "now" comes from."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's real-time clock."""

    def now_ns(self) -> int:
        return time.time_ns()


class ManualClock:
    """A clock that stands still until it is told to move, for tests and simulations."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance_s(self, seconds: float) -> None:
        self._now_ns += int(seconds * 1_000_000_000)
