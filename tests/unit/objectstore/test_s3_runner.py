"""What is required of a HEAD, what a rewrite carries over, and how requests share the threads."""

import threading
from typing import Any

import pytest
import trio
import trio.testing

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import EXPIRES_UNKNOWN, Always, Condition, IfAbsent, IfMatch, ObjectInfo, ObjectMeta
from tierfs.objectstore.s3_runner import Kept, Runner, require
from tierfs.objectstore.settings import S3Settings

FOUND = ObjectInfo(key="k", size_bytes=1, etag="e", last_modified_ns=0)


@pytest.mark.parametrize(
    ("found", "condition"),
    [(FOUND, IfMatch("e")), (None, IfAbsent()), (FOUND, Always()), (None, Always())],
)
def test_conditions_that_hold(found: ObjectInfo | None, condition: Condition) -> None:
    require("k", found, condition)


@pytest.mark.parametrize(("found", "condition"), [(FOUND, IfMatch("other")), (None, IfMatch("e")), (FOUND, IfAbsent())])
def test_conditions_that_do_not(found: ObjectInfo | None, condition: Condition) -> None:
    with pytest.raises(StoreError) as caught:
        require("k", found, condition)
    assert (caught.value.kind, caught.value.key) == (StoreErrorKind.PRECONDITION_FAILED, "k")


@pytest.mark.parametrize(("given", "sent"), [(EXPIRES_UNKNOWN, "0"), ("", ""), ("never", "never")])
def test_only_an_unknown_expiry_is_carried_over(given: str, sent: str) -> None:
    assert Kept(expires="0").completes(ObjectMeta(expires=given)).expires == sent
    assert Kept().completes(ObjectMeta(expires=EXPIRES_UNKNOWN)).expires == ""


class Requests:
    """Stands where the open connection would: the runner only hands it on."""


def open_runner(connections: int) -> Runner:
    runner = Runner(S3Settings(bucket="b", connections=connections))
    runner._requests = Requests()  # type: ignore[assignment]
    return runner


def test_writes_leave_room_for_reads() -> None:
    """With four connections three writes hang, a fourth waits, and a read still goes through."""
    go_on, entered = threading.Event(), threading.Semaphore(0)

    def hang(_requests: Any) -> None:
        entered.release()
        assert go_on.wait(30)

    async def main() -> None:
        runner = open_runner(4)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(runner.write, hang)
            for _ in range(3):
                assert await trio.to_thread.run_sync(lambda: entered.acquire(timeout=30))
            assert await runner.read(lambda _requests: "read") == "read"
            assert not entered.acquire(blocking=False)
            go_on.set()

    trio.run(main)


def test_a_cancelled_read_returns_while_its_thread_goes_on() -> None:
    go_on = threading.Event()

    async def main() -> None:
        runner = open_runner(1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.read, lambda _requests: go_on.wait(30))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        go_on.set()
        assert await runner.read(lambda _requests: 1) == 1  # its slot is free again

    trio.run(main)


def test_a_cancelled_write_is_waited_for() -> None:
    done: list[bool] = []
    entered, go_on = threading.Event(), threading.Event()

    def work(_requests: Any) -> None:
        entered.set()
        assert go_on.wait(30)
        done.append(True)

    async def main() -> None:
        runner = open_runner(1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.write, work)
                await trio.to_thread.run_sync(entered.wait)
                scope.cancel()
                go_on.set()
        assert done == [True]

    trio.run(main)
