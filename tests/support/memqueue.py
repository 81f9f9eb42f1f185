"""A queue in memory, with SQS's rules. It passes the conformance suite of queues.

Time is trio's. `send` is what the sender does; `fail_next` makes the next requests fail.
"""

import itertools
import math
from collections import deque
from collections.abc import Sequence

import trio
from attrs import define

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.queue import Message


@define
class _Kept:
    body: str
    visible_at_s: float = 0.0
    receipt: str = ""
    received: int = 0


class MemoryQueue:
    """The Queue protocol over a list."""

    def __init__(self, *, visibility_s: float = 30.0) -> None:
        self._visibility_s = visibility_s
        self._kept: list[_Kept] = []
        self._numbers = itertools.count(1)
        self._failures: deque[StoreErrorKind] = deque()
        self._sent = trio.Event()

    @property
    def source(self) -> str:
        return "memory"

    async def send(self, body: str) -> None:
        self._kept.append(_Kept(body))
        self._sent.set()
        self._sent = trio.Event()

    async def count(self) -> int:
        """Messages that are not deleted."""
        return len(self._kept)

    @property
    def receives(self) -> list[int]:
        """How often each message that is left was received."""
        return [kept.received for kept in self._kept]

    def fail_next(self, kind: StoreErrorKind, *, times: int = 1) -> None:
        self._failures.extend([kind] * times)

    async def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
        assert 1 <= limit <= 10 and 0 <= wait_s <= 20
        await self._request()
        deadline_s = trio.current_time() + wait_s
        while True:
            now_s = trio.current_time()
            found = [kept for kept in self._kept if kept.visible_at_s <= now_s][:limit]
            if found or now_s >= deadline_s:
                break
            next_s = min((kept.visible_at_s for kept in self._kept), default=math.inf)
            with trio.move_on_at(min(deadline_s, next_s)):
                await self._sent.wait()
        for kept in found:
            kept.visible_at_s = now_s + self._visibility_s
            kept.receipt = str(next(self._numbers))
            kept.received += 1
        return [Message(kept.body, kept.receipt) for kept in found]

    async def delete(self, receipts: Sequence[str]) -> None:
        assert len(receipts) <= 10
        await self._request()
        self._kept = [kept for kept in self._kept if kept.receipt not in receipts]

    async def give_back(self, receipts: Sequence[str], *, after_s: int) -> None:
        assert len(receipts) <= 10
        await self._request()
        for kept in self._kept:
            if kept.receipt in receipts:
                kept.visible_at_s = trio.current_time() + after_s
        self._sent.set()
        self._sent = trio.Event()

    async def aclose(self) -> None:
        pass

    async def _request(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._failures:
            raise StoreError(self._failures.popleft(), "as the test wants it")
