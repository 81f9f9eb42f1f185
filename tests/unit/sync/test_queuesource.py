"""Messages go when they were applied, come again when not, and a queue that is away is asked less and less."""

from collections.abc import Awaitable, Callable

import trio
import trio.testing
from attrs import define, field

from tests.support.clocks import TrioWallClock
from tests.support.memqueue import MemoryQueue
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.sync.eventflow import Flow, FlowState
from tierfs.sync.queuesource import QueueSource

AWAY = StoreErrorKind.UNAVAILABLE


@define
class Taker:
    """Takes messages, and is told which it takes when."""

    taken: list[tuple[float, str]] = field(factory=list)
    failing: int = 0
    held: trio.Event | None = None

    async def __call__(self, body: str) -> None:
        self.taken.append((trio.current_time(), body))
        if self.held is not None:
            await self.held.wait()
        if self.failing:
            self.failing -= 1
            raise StoreError(AWAY, "the store is away")


def run(test: Callable[[MemoryQueue, Taker, Flow], Awaitable[None]], *, messages_max: int = 200) -> None:
    async def main() -> None:
        queue, taker, flow = MemoryQueue(visibility_s=30), Taker(), Flow(TrioWallClock())
        source = QueueSource(
            queue=queue, take=taker, flow=flow, visibility_s=30, messages_max=messages_max, uniform=lambda _, high: high
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.run)
            await test(queue, taker, flow)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


def test_a_message_is_deleted_when_it_was_applied() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        taker.held = trio.Event()
        await queue.send("1")
        await trio.sleep(1)
        assert len(taker.taken) == 1 and await queue.count() == 1
        taker.held.set()
        await trio.sleep(1)
        assert await queue.count() == 0 and len(taker.taken) == 1

    run(test)


def test_a_message_that_fails_comes_again() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        taker.failing = 2
        await queue.send("1")
        await trio.sleep(60)
        assert [time_s for time_s, _ in taker.taken] == [0, 10, 20]
        assert await queue.count() == 0
        assert flow.state is FlowState.UNPROVEN  # nothing is lost, only late

    run(test)


def test_a_message_that_takes_too_long_is_given_back_before_others_get_it() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        taker.held = trio.Event()
        await queue.send("1")
        await trio.sleep(29)
        taker.held.set()
        await trio.sleep(10)
        assert [time_s for time_s, _ in taker.taken] == [0, 34]
        assert await queue.count() == 0

    run(test)


def test_a_slow_message_does_not_hold_the_others() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        held = taker.held = trio.Event()
        await queue.send("slow")
        await trio.sleep(1)
        taker.held = None
        await queue.send("fast")
        await trio.sleep(1)
        assert await queue.count() == 1
        held.set()

    run(test)


def test_what_is_held_is_bounded() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        taker.held = trio.Event()
        for number in range(50):
            await queue.send(str(number))
        await trio.sleep(1)
        assert len(taker.taken) == 15
        taker.held.set()
        await trio.sleep(1)
        assert await queue.count() == 0

    run(test, messages_max=15)


def test_a_queue_that_is_away_breaks_the_flow_and_is_asked_again() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        flow.prove(0)
        queue.fail_next(AWAY, times=3)
        await queue.send("1")
        await trio.sleep(1)
        assert flow.state is FlowState.BROKEN and not flow.tells_of(10**18)
        await trio.sleep(20)
        assert [time_s for time_s, _ in taker.taken] == [2 + 4 + 8]
        assert flow.state is FlowState.UNPROVEN  # it answers again, and has to prove that events arrive

    run(test)


def test_a_delete_that_fails_makes_the_message_come_again() -> None:
    async def test(queue: MemoryQueue, taker: Taker, flow: Flow) -> None:
        taker.held = trio.Event()
        await queue.send("1")
        await trio.sleep(1)
        queue.fail_next(AWAY)
        taker.held.set()
        await trio.sleep(60)
        assert len(taker.taken) == 2 and await queue.count() == 0

    run(test)
