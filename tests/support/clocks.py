"""Time for tests under `trio.testing.MockClock`: a wall clock that moves with trio's, and a patient autojump."""

import math
import time
from collections.abc import Sequence
from typing import Final

import trio
import trio.testing

from tierfs.units import NS_PER_S

_CUSHION_S: Final = 0.002  # of the clock; whoever waits for idleness itself has a shorter one and comes first
_IDLE_CUSHION_S: Final = 0.001


class TrioWallClock:
    """`tierfs.clock.Clock`: one second of trio is one second of the wall."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = start_ns

    def now_ns(self) -> int:
        try:
            passed_s = trio.current_time()
        except RuntimeError:
            passed_s = 0.0
        return self._start_ns + int(passed_s * NS_PER_S)


async def jump_when_idle(
    clock: trio.testing.MockClock, limiters: Sequence[trio.CapacityLimiter], *, cushion_s: float = _CUSHION_S
) -> None:
    """Moves `clock` to the next deadline whenever all tasks are blocked and no worker thread is busy.

    MockClock's own autojump takes a slow disk for idleness, so that a busy machine makes tests fail.
    `limiters`: those of the worker threads. Runs until it is cancelled. `cushion_s`: of those who wait for idleness,
    the one with the shortest comes first.
    """
    while True:
        await trio.testing.wait_all_tasks_blocked(cushion_s)
        if any(limiter.borrowed_tokens for limiter in limiters):
            await trio.to_thread.run_sync(time.sleep, _CUSHION_S)
            continue
        wait_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if math.isinf(wait_s):
            await trio.to_thread.run_sync(time.sleep, _CUSHION_S)
        else:
            clock.jump(max(0.0, wait_s))


async def wait_until_idle(limiters: Sequence[trio.CapacityLimiter], *, cushion_s: float = _IDLE_CUSHION_S) -> None:
    """Returns when nothing goes on any more without time passing: all tasks blocked, no worker thread busy."""
    while True:
        await trio.testing.wait_all_tasks_blocked(cushion_s)
        if not any(limiter.borrowed_tokens for limiter in limiters):
            return
        await trio.to_thread.run_sync(time.sleep, _IDLE_CUSHION_S)
