"""Notifications out of a queue: received by long polls, deleted when they were applied.

A message that could not be applied is given back and comes again after a pause; one that was not applied within most
of its visibility time, too. At most `messages_max` are held at a time, so memory is bounded whatever the queue holds.
A queue that does not answer breaks the flow and is asked again after a pause that doubles.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from tierfs.errors import StoreError, TierfsError
from tierfs.objectstore.queue import RECEIVED_MAX, WAIT_MAX_S, Message, Queue
from tierfs.sync.eventflow import Flow

_MESSAGES_MAX: Final = 200
_PAUSES_S: Final = (1.0, 60.0)
_GIVEN_BACK_S: Final = 10
_VISIBILITY_SHARE: Final = 0.8
_log: Final = logging.getLogger(__name__)


class QueueSource:
    """`run` once, in a nursery. `take` applies a message, or raises TierfsError when it has to come again."""

    def __init__(
        self,
        *,
        queue: Queue,
        take: Callable[[str], Awaitable[None]],
        flow: Flow,
        visibility_s: int,
        messages_max: int = _MESSAGES_MAX,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._queue = queue
        self._take = take
        self._flow = flow
        self._apply_s = visibility_s * _VISIBILITY_SHARE
        self._room = trio.Semaphore(messages_max, max_value=messages_max)
        self._uniform = uniform

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        async with trio.open_nursery() as nursery:
            while True:
                limit = await self._reserve()
                try:
                    messages = await self._queue.receive(limit=limit, wait_s=WAIT_MAX_S)
                except StoreError as error:
                    self._give_room(limit)
                    self._flow.fail(f"the queue cannot be read: {error}")
                    failures += 1
                    pause_s = min(_PAUSES_S[1], _PAUSES_S[0] * 2 ** min(failures, 10))
                    await trio.sleep(self._uniform(pause_s / 2, pause_s))
                    continue
                if failures:
                    self._flow.recover()
                failures = 0
                self._give_room(limit - len(messages))
                if messages:
                    nursery.start_soon(self._apply_all, messages)

    async def _reserve(self) -> int:
        """Room for as many messages as there is, at least one."""
        await self._room.acquire()
        count = 1
        while count < RECEIVED_MAX and self._room.value:
            self._room.acquire_nowait()
            count += 1
        return count

    def _give_room(self, count: int) -> None:
        for _ in range(count):
            self._room.release()

    async def _apply_all(self, messages: Sequence[Message]) -> None:
        done: list[str] = []
        failed: list[str] = []

        async def apply(message: Message) -> None:
            with trio.move_on_after(self._apply_s):
                try:
                    await self._take(message.body)
                    done.append(message.receipt)
                    return
                except TierfsError as error:
                    _log.debug("a message comes again: %s", error)
            failed.append(message.receipt)

        try:
            async with trio.open_nursery() as nursery:
                for message in messages:
                    nursery.start_soon(apply, message)
            await self._queue.delete(done)
            await self._queue.give_back(failed, after_s=_GIVEN_BACK_S)
        except StoreError as error:
            # they come again after their visibility time, and what they tell is known by then
            _log.info("%d messages could not be deleted from the queue: %s", len(messages), error)
        finally:
            self._give_room(len(messages))
