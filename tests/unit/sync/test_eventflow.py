"""When events can be relied on: only while the daemon's own come back."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreErrorKind
from tierfs.objectstore.base import Written
from tierfs.sync.eventflow import Canary, FlowState


def run(directory: Path, main: Callable[[Rig, Canary], Awaitable[None]], store: MemoryStore | None = None) -> None:
    async def whole(rig: Rig) -> None:
        canary = Canary(
            index=rig.index, store=rig.store, flow=rig.flow, clock=rig.clock, interval_s=60, lost_after_s=10
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(canary.run)
            await rig.idle()
            await main(rig, canary)
            nursery.cancel_scope.cancel()

    run_rig(directory, whole, store=store)


def etag(rig: Rig, canary: Canary) -> str:
    return rig.store.objects[canary.key].info.etag


def test_it_flows_from_the_writing_of_what_came_back(tmp_path: Path) -> None:
    async def main(rig: Rig, canary: Canary) -> None:
        written_ns = rig.clock.now_ns()
        assert (rig.flow.state, rig.flow.tells_of(written_ns)) == (FlowState.UNPROVEN, False)
        await trio.sleep(3)
        canary.returned("of an earlier life")
        await rig.idle()
        assert rig.flow.state is FlowState.UNPROVEN
        canary.returned(etag(rig, canary))
        await rig.idle()
        assert rig.flow.state is FlowState.FLOWING
        assert rig.flow.tells_of(written_ns) and not rig.flow.tells_of(written_ns - 1)

    run(tmp_path, main)


def test_an_event_that_is_faster_than_the_answer(tmp_path: Path) -> None:
    class Fast(MemoryStore):
        canary: Canary | None = None

        async def put(self, *args: Any, **kwargs: Any) -> Written:
            written = await super().put(*args, **kwargs)
            if self.canary is not None:
                self.canary.returned(written.etag)
            return written

    store = Fast()

    async def main(rig: Rig, canary: Canary) -> None:
        store.canary = canary
        rig.flow.fail("something")
        await trio.sleep(21)
        assert rig.flow.state is FlowState.FLOWING

    run(tmp_path, main, store)


def test_a_canary_that_does_not_come_back_ends_it_and_the_next_one_heals_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(rig: Rig, canary: Canary) -> None:
        await trio.sleep(10.5)
        assert rig.flow.state is FlowState.BROKEN and canary.key in rig.flow.reason
        await trio.sleep(100)
        canary.returned(etag(rig, canary))
        await rig.idle()
        await trio.sleep(10.5)
        canary.returned(etag(rig, canary))
        await trio.sleep(0.5)
        assert rig.flow.state is FlowState.FLOWING
        assert not rig.flow.tells_of(rig.clock.now_ns() - 60 * 10**9)

    run(tmp_path, main)
    assert len([line for line in caplog.messages if "cannot be relied on" in line]) == 1


def test_a_source_that_fails_is_proven_anew_at_once(tmp_path: Path) -> None:
    async def main(rig: Rig, canary: Canary) -> None:
        first = etag(rig, canary)
        canary.returned(first)
        await rig.idle()
        rig.flow.fail("the queue is away")
        now_ns = rig.clock.now_ns()
        assert not rig.flow.tells_of(now_ns)
        await rig.idle()
        assert etag(rig, canary) != first
        canary.returned(etag(rig, canary))
        await rig.idle()
        assert rig.flow.state is FlowState.FLOWING and not rig.flow.tells_of(now_ns - 1)

    run(tmp_path, main)


def test_a_canary_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    async def main(rig: Rig, canary: Canary) -> None:
        canary.returned(etag(rig, canary))
        await rig.idle()
        rig.store.fail_next("put", StoreErrorKind.ACCESS_DENIED)
        await trio.sleep(61)
        assert rig.flow.state is FlowState.BROKEN and "cannot be written" in rig.flow.reason

    run(tmp_path, main)
