"""The gate: order, priority, ceilings, cancellation."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import wait_all_tasks_blocked

from tierfs.content.flights import Gate, Ticket


class Bench:
    """Tasks that enter a gate and leave when told; who is granted together gets in in no certain order."""

    def __init__(self, gate: Gate, nursery: trio.Nursery) -> None:
        self.gate = gate
        self.nursery = nursery
        self.inside: list[str] = []
        self.leave: dict[str, trio.Event] = {}
        self.tickets: dict[str, Ticket] = {}

    async def enter(self, name: str, size: int, *, urgent: bool = True, owner: int | None = None) -> None:
        number = len(self.tickets) if owner is None else owner
        self.tickets[name] = Ticket(number, size, is_urgent=urgent)
        self.leave[name] = trio.Event()
        self.nursery.start_soon(self._stay, name)
        await wait_all_tasks_blocked()

    async def _stay(self, name: str) -> None:
        async with self.gate.entered(self.tickets[name]):
            self.inside.append(name)
            await self.leave[name].wait()
        self.inside.remove(name)

    async def free(self, name: str) -> None:
        self.leave[name].set()
        await wait_all_tasks_blocked()


def bench(limit: int, owner_limit: int, script: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        gate = Gate(limit, owner_limit)
        async with trio.open_nursery() as nursery:
            await script(Bench(gate, nursery))
            nursery.cancel_scope.cancel()
        assert gate.taken_bytes == 0

    trio.run(main)


def test_the_ceiling_holds_and_the_queue_keeps_its_order() -> None:
    async def script(b: Bench) -> None:
        await b.enter("a", 60)
        await b.enter("b", 60)
        await b.enter("c", 30)  # would fit, but b came first
        assert b.inside == ["a"]
        await b.free("a")
        assert sorted(b.inside) == ["b", "c"]

    bench(100, 100, script)


def test_empty_bodies_take_no_room_and_leave_in_any_order() -> None:
    async def script(b: Bench) -> None:
        await b.enter("empty", 0, owner=0)
        await b.enter("other", 10, owner=0)
        await b.enter("empty too", 0, owner=0)
        await b.free("other")
        await b.free("empty")
        await b.enter("last", 100, owner=0)
        await b.free("empty too")
        assert b.inside == ["last"]
        await b.free("last")

    bench(100, 100, script)


def test_a_reader_goes_before_readahead_and_has_a_share_of_its_own() -> None:
    async def script(b: Bench) -> None:
        await b.enter("ahead 1", 70, urgent=False)
        await b.enter("ahead 2", 10, urgent=False)  # beyond three quarters
        await b.enter("reader", 30)
        assert sorted(b.inside) == ["ahead 1", "reader"]
        await b.enter("reader 2", 30)
        await b.free("ahead 1")
        assert sorted(b.inside) == ["ahead 2", "reader", "reader 2"]

    bench(100, 100, script)


def test_readahead_that_a_reader_waits_for_is_moved_up() -> None:
    async def script(b: Bench) -> None:
        await b.enter("full", 100)
        await b.enter("ahead 1", 10, urgent=False)
        await b.enter("ahead 2", 90, urgent=False)
        b.gate.promote(b.tickets["ahead 2"])
        await b.free("full")
        assert b.inside == ["ahead 2"]

    bench(100, 100, script)


def test_one_file_does_not_take_everything() -> None:
    async def script(b: Bench) -> None:
        await b.enter("a1", 50, owner=1)
        await b.enter("a2", 20, owner=1)
        await b.enter("b1", 40, owner=2)
        assert sorted(b.inside) == ["a1", "b1"]
        await b.free("a1")
        assert sorted(b.inside) == ["a2", "b1"]

    bench(100, 60, script)


def test_more_than_the_limit_goes_alone() -> None:
    async def script(b: Bench) -> None:
        await b.enter("huge", 500)
        await b.enter("small", 1)
        assert b.inside == ["huge"]
        await b.free("huge")
        assert b.inside == ["small"]

    bench(100, 100, script)


def test_a_cancelled_waiter_leaves_the_queue() -> None:
    async def script(b: Bench) -> None:
        await b.enter("a", 100)
        with trio.move_on_after(0):
            async with b.gate.entered(Ticket(9, 100, is_urgent=True)):
                raise AssertionError("must not get in")
        await b.enter("b", 100)
        await b.free("a")
        assert b.inside == ["b"]

    bench(100, 100, script)
