"""When events can be relied on: only while the daemon's own come back."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreErrorKind
from tierfs.objectstore.base import Condition, ObjectMeta, Written
from tierfs.sync.eventflow import Canary, FlowState
from tierfs.sync.events import EventKind

BOTH = (EventKind.CREATED, EventKind.REMOVED)


class ToldStore(MemoryStore):
    """Remembers the canaries that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    async def put(
        self, key: str, data: bytes, meta: ObjectMeta, condition: Condition, *, storage_class: str = ""
    ) -> Written:
        written = await super().put(key, data, meta, condition, storage_class=storage_class)
        self.written.append(key)
        return written


def run(directory: Path, main: Callable[[Rig, Canary, list[str]], Awaitable[None]]) -> None:
    store = ToldStore()

    async def whole(rig: Rig) -> None:
        canary = Canary(
            index=rig.index, store=rig.store, flow=rig.flow, clock=rig.clock, interval_s=60, lost_after_s=10
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(canary.run)
            await rig.idle()
            await main(rig, canary, store.written)
            nursery.cancel_scope.cancel()

    run_rig(directory, whole, store=store)


async def comes_back(rig: Rig, canary: Canary, key: str, kinds: tuple[EventKind, ...] = BOTH) -> None:
    for kind in kinds:
        assert canary.claims(key, kind)
    await rig.idle()


def test_it_flows_from_the_writing_of_what_came_back(tmp_path: Path) -> None:
    async def main(rig: Rig, canary: Canary, written: list[str]) -> None:
        written_ns = rig.clock.now_ns()
        assert (rig.flow.state, rig.flow.tells_of(written_ns)) == (FlowState.UNPROVEN, False)
        assert not rig.store.objects  # it leaves nothing behind
        await trio.sleep(3)
        assert not canary.claims(".tierfs/events/of another mount", EventKind.CREATED)
        await comes_back(rig, canary, written[0])
        assert rig.flow.state is FlowState.FLOWING
        assert rig.flow.tells_of(written_ns) and not rig.flow.tells_of(written_ns - 1)

    run(tmp_path, main)


@pytest.mark.parametrize("kind", BOTH)
def test_one_kind_of_event_alone_proves_nothing(tmp_path: Path, kind: EventKind) -> None:
    async def main(rig: Rig, canary: Canary, written: list[str]) -> None:
        await comes_back(rig, canary, written[0], (kind, kind))
        await trio.sleep(10.5)
        (missing,) = {*BOTH} - {kind}
        assert rig.flow.state is FlowState.BROKEN and f"was {missing.name.lower()}" in rig.flow.reason

    run(tmp_path, main)


def test_an_event_that_is_faster_than_the_answer(tmp_path: Path) -> None:
    async def main(rig: Rig, canary: Canary, written: list[str]) -> None:
        await comes_back(rig, canary, written[0])
        rig.store.hold("delete")
        await trio.sleep(61)
        await comes_back(rig, canary, written[1])
        rig.store.release("delete")
        await trio.sleep(11)
        assert rig.flow.state is FlowState.FLOWING

    run(tmp_path, main)


def test_a_canary_that_does_not_come_back_ends_it_and_the_next_one_heals_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(rig: Rig, canary: Canary, written: list[str]) -> None:
        await comes_back(rig, canary, written[0])
        await trio.sleep(70.5)
        assert rig.flow.state is FlowState.BROKEN and written[1] in rig.flow.reason
        await trio.sleep(100)
        assert not canary.claims(written[1], EventKind.CREATED)  # too late
        await trio.sleep(12)
        now_ns = rig.clock.now_ns()
        await comes_back(rig, canary, written[-1])
        assert rig.flow.state is FlowState.FLOWING
        assert rig.flow.tells_of(now_ns) and not rig.flow.tells_of(now_ns - 10 * 10**9)

    run(tmp_path, main)
    assert len([line for line in caplog.messages if "cannot be relied on" in line]) == 1


def test_a_source_that_fails_is_proven_anew_at_once(tmp_path: Path) -> None:
    async def main(rig: Rig, canary: Canary, written: list[str]) -> None:
        await comes_back(rig, canary, written[0])
        await trio.sleep(1)
        rig.flow.fail("the queue is away")
        now_ns = rig.clock.now_ns()
        assert not rig.flow.tells_of(now_ns)
        await rig.idle()
        await comes_back(rig, canary, written[1])
        assert rig.flow.state is FlowState.FLOWING and not rig.flow.tells_of(now_ns - 1)

    run(tmp_path, main)


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_canary_that_cannot_be_written_is_a_reason(tmp_path: Path, method: str) -> None:
    async def main(rig: Rig, canary: Canary, written: list[str]) -> None:
        await comes_back(rig, canary, written[0])
        rig.store.fail_next(method, StoreErrorKind.ACCESS_DENIED)
        await trio.sleep(61)
        assert rig.flow.state is FlowState.BROKEN and "cannot be written" in rig.flow.reason

    run(tmp_path, main)
