"""The one suite for queues: SQS as moto's server has it, and the queue in memory."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import pytest
import trio
from attrs import frozen

from tests.support.memqueue import MemoryQueue
from tests.support.moto_server import MotoServer
from tierfs.errors import ConfigError, StoreError, StoreErrorKind
from tierfs.objectstore.queue import Queue
from tierfs.objectstore.settings import S3Settings
from tierfs.objectstore.sqs import SqsQueue

VISIBILITY_S = 1


class Sender(Protocol):
    """The other end of a queue."""

    async def send(self, body: str) -> None: ...

    async def count(self) -> int: ...


@frozen
class SqsSender:
    """By boto3, as another client."""

    client: Any
    url: str

    async def send(self, body: str) -> None:
        await trio.to_thread.run_sync(lambda: self.client.send_message(QueueUrl=self.url, MessageBody=body))

    async def count(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = await trio.to_thread.run_sync(
            lambda: self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        )
        return sum(int(found["Attributes"][name]) for name in names)


Made = Callable[[], tuple[Queue, Sender]]
Test = Callable[[Queue, Sender], Awaitable[None]]


@pytest.fixture(params=["memory", "sqs"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    if request.param == "memory":

        def in_memory() -> tuple[Queue, Sender]:
            queue = MemoryQueue(visibility_s=VISIBILITY_S)
            return queue, queue

        yield in_memory
        return
    server: MotoServer = request.getfixturevalue("moto_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    def sqs() -> tuple[Queue, Sender]:
        url = server.create_queue()
        return SqsQueue(url, S3Settings(), visibility_s=VISIBILITY_S), SqsSender(server.client("sqs"), url)

    yield sqs


def run(make: Made, test: Test) -> None:
    async def main() -> None:
        queue, sender = make()
        try:
            with trio.fail_after(60):
                await test(queue, sender)
        finally:
            await queue.aclose()

    trio.run(main)


def test_what_was_deleted_is_gone(make: Made) -> None:
    async def test(queue: Queue, sender: Sender) -> None:
        await sender.send('{"é": 1}')
        (message,) = await queue.receive(limit=10, wait_s=5)
        assert message.body == '{"é": 1}'
        await queue.delete([message.receipt])
        await queue.delete([message.receipt])
        assert await sender.count() == 0
        assert not await queue.receive(limit=10, wait_s=2 * VISIBILITY_S)

    run(make, test)


def test_what_was_not_deleted_comes_again(make: Made) -> None:
    async def test(queue: Queue, sender: Sender) -> None:
        await sender.send("1")
        (first,) = await queue.receive(limit=10, wait_s=5)
        assert not await queue.receive(limit=10, wait_s=0)
        (again,) = await queue.receive(limit=10, wait_s=20)
        assert again.body == first.body
        await queue.delete([again.receipt])
        assert await sender.count() == 0

    run(make, test)


def test_what_is_given_back_comes_at_once(make: Made) -> None:
    async def test(queue: Queue, sender: Sender) -> None:
        for number in range(3):
            await sender.send(str(number))
        received = []
        while len(received) < 3:
            received += await queue.receive(limit=10, wait_s=5)
        await queue.give_back([message.receipt for message in received], after_s=0)
        again = []
        while len(again) < 3:
            again += await queue.receive(limit=10, wait_s=0)
        assert {message.body for message in again} == {"0", "1", "2"}

    run(make, test)


def test_a_limit_and_nothing_to_do(make: Made) -> None:
    async def test(queue: Queue, sender: Sender) -> None:
        assert not await queue.receive(limit=1, wait_s=0)
        await queue.delete([])
        await queue.give_back([], after_s=0)
        for number in range(15):
            await sender.send(str(number))
        assert len(await queue.receive(limit=1, wait_s=1)) == 1
        assert len(await queue.receive(limit=10, wait_s=1)) <= 10

    run(make, test)


def test_a_message_that_is_sent_while_somebody_waits(make: Made) -> None:
    async def test(queue: Queue, sender: Sender) -> None:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                received = await queue.receive(limit=10, wait_s=20)
                assert [message.body for message in received] == ["late"]

            nursery.start_soon(wait)
            await sender.send("late")

    run(make, test)


def test_a_wait_can_be_cancelled(make: Made) -> None:
    async def test(queue: Queue, sender: Sender) -> None:
        with trio.move_on_after(0.2) as limit:
            await queue.receive(limit=10, wait_s=20)
        assert limit.cancelled_caught

    run(make, test)


def test_a_queue_that_is_not_there(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)

    async def main() -> None:
        queue = SqsQueue(f"{moto_server.endpoint_url}/123456789012/none", S3Settings(), visibility_s=30)
        with pytest.raises(StoreError, check=lambda error: not error.retryable):
            await queue.receive(limit=1, wait_s=0)
        await queue.aclose()
        away = SqsQueue("http://127.0.0.1:1/123456789012/none", S3Settings(), visibility_s=30)
        with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.UNAVAILABLE):
            await away.receive(limit=1, wait_s=0)
        await away.aclose()

    trio.run(main)


@pytest.mark.parametrize("url", ["", "queue", "sqs://host/1/q", "https:///q"])
def test_what_is_no_url_of_a_queue(url: str) -> None:
    with pytest.raises(ConfigError, match="queue_url"):
        SqsQueue(url, S3Settings(), visibility_s=30)
