"""What is noted of opens: only while somebody records, only what he asked for, only so many."""

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from tierfs.clock import ManualClock
from tierfs.telemetry.accesses import Access, AccessLog
from tierfs.units import NS_PER_S


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def size_of(ino: int) -> int | None:
    """Inode 9 lies elsewhere."""
    return None if ino == 9 else ino * 100


def test_nothing_is_noted_unless_somebody_records() -> None:
    async def main() -> None:
        log = AccessLog(ManualClock())
        log.opened(7, writes=False)
        log.used(7, 3, 0)
        assert not log.is_on and len(log) == 0
        log.begin(size_of)
        await trio.sleep(2)
        log.end()
        log.opened(7, writes=False)
        await trio.sleep(5)
        assert (len(log), log.duration_s) == (0, 2)

    run(main)


def test_opens_are_noted_with_their_time_and_size() -> None:
    async def main() -> None:
        clock = ManualClock()
        log = AccessLog(clock)
        log.begin(size_of)
        await trio.sleep(2)
        log.opened(7, writes=True)
        log.opened(9, writes=False)
        await trio.sleep(1)
        log.used(8, 3, clock.now_ns() - NS_PER_S // 2)
        log.used(8, 0, clock.now_ns())
        assert log.page(0, 10) == [Access(2.0, 7, 700, 1, True), Access(2.5, 8, 800, 3, False)]
        assert log.page(1, 10) == log.page(0, 10)[1:] and log.page(0, 1) == log.page(0, 10)[:1]
        assert log.page(2, 10) == []

    run(main)


def test_a_clock_that_is_set_leaves_the_time_within_the_recording() -> None:
    async def main() -> None:
        clock = ManualClock()
        log = AccessLog(clock)
        log.begin(size_of)
        await trio.sleep(3)
        log.used(1, 1, clock.now_ns() - 3600 * NS_PER_S)
        log.used(2, 1, clock.now_ns() + 3600 * NS_PER_S)
        assert [access.time_s for access in log.page(0, 10)] == [0.0, 3.0]

    run(main)


def test_what_finds_no_room_is_counted_and_memory_is_given_back() -> None:
    async def main() -> None:
        log = AccessLog(ManualClock(), kept_max=2)
        log.begin(size_of)
        for ino in (1, 2, 3):
            log.opened(ino, writes=False)
        log.used(4, 5, 0)
        assert (len(log), log.dropped) == (2, 6)
        assert [access.ino for access in log.page(0, 10)] == [1, 2]
        log.begin(size_of)
        assert (len(log), log.dropped) == (0, 0)
        log.opened(1, writes=False)
        log.forget()
        assert (len(log), log.is_on) == (0, False)

    run(main)
