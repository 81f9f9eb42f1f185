"""A wall clock that moves with trio's, so that a MockClock moves both."""

import trio

from tierfs.units import NS_PER_S


class TrioWallClock:
    """`tierfs.clock.Clock` for tests under `trio.testing.MockClock`: one second of trio is one second of the wall."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = start_ns
        self._skipped_ns = 0

    def now_ns(self) -> int:
        try:
            passed_s = trio.current_time()
        except RuntimeError:
            passed_s = 0.0
        return self._start_ns + self._skipped_ns + int(passed_s * NS_PER_S)

    def skip_s(self, seconds: float) -> None:
        """Moves the wall clock alone, as NTP or an operator does."""
        self._skipped_ns += int(seconds * NS_PER_S)
