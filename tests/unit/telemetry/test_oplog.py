"""Operations for those who watch: none are kept otherwise, the ring is bounded, and who is slow is told."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from tierfs.clock import ManualClock
from tierfs.telemetry.oplog import OperationLog, Tier, waited_for_bucket


def carry_out(log: OperationLog, name: str, *, waits: bool = False, error: str = "") -> None:
    running = log.begin()
    if waits:
        waited_for_bucket()
    log.end(running, name, 1000, path=f"d/{name}", uid=7, pid=8, size_bytes=9, error=error)


def run(test: Callable[[MockClock], Awaitable[None]]) -> None:
    clock = MockClock()
    trio.run(test, clock, clock=clock)


def test_an_operation_is_told_with_who_what_and_where_from() -> None:
    async def main(_: MockClock) -> None:
        log = OperationLog(ManualClock())
        assert not log.is_on
        begun = await log.after(None, 10)
        assert log.is_on and begun.operations == []
        carry_out(log, "read", waits=True)
        carry_out(log, "open", error="EACCES")
        batch = await log.after(begun.last, 10)
        read, opened = batch.operations
        assert (read.operation, read.path, read.uid, read.pid, read.size_bytes) == ("read", "d/read", 7, 8, 9)
        assert (read.duration_ns, read.time_ns) == (1000, ManualClock().now_ns())
        assert (read.tier, read.error, opened.tier, opened.error) == (Tier.BUCKET, "", Tier.LOCAL, "EACCES")
        assert (batch.last, batch.missed) == (2, 0)

    run(main)


def test_nobody_is_marked_outside_of_an_operation() -> None:
    async def main(_: MockClock) -> None:
        log = OperationLog(ManualClock())
        await log.after(None, 10)
        waited_for_bucket()
        carry_out(log, "read")
        waited_for_bucket()
        assert [each.tier for each in (await log.after(0, 10)).operations] == [Tier.LOCAL]

    run(main)


def test_who_reads_slowly_is_told_how_many_he_missed() -> None:
    async def main(_: MockClock) -> None:
        log = OperationLog(ManualClock(), kept_max=3)
        await log.after(None, 10)
        for number in range(7):
            carry_out(log, f"op{number}")
        first = await log.after(0, 2)
        assert ([each.operation for each in first.operations], first.last, first.missed) == (["op4", "op5"], 6, 4)
        second = await log.after(first.last, 2)
        assert ([each.operation for each in second.operations], second.missed) == (["op6"], 0)

    run(main)


def test_it_is_off_a_minute_after_the_last_watcher() -> None:
    async def main(clock: MockClock) -> None:
        log = OperationLog(ManualClock())
        await log.after(None, 10)
        clock.jump(59)
        carry_out(log, "kept")
        assert len((await log.after(0, 10)).operations) == 1
        clock.jump(60)
        carry_out(log, "not kept")
        assert not log.is_on

    run(main)


def test_a_watcher_waits_for_the_next_one() -> None:
    async def main(clock: MockClock) -> None:
        log = OperationLog(ManualClock())
        told: list[str] = []

        async def watch() -> None:
            told.extend(each.operation for each in (await log.after(0, 10)).operations)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(3600)
            carry_out(log, "read")  # somebody waits, however long ago it began
        assert told == ["read"] and log.is_on

    run(main)
