"""Fetches under way, and the gate that bounds how many bytes of bodies are in memory.

A `Flight` is one request for one range of one file. Readers join it; readahead wants it without waiting. It
lives while somebody does. The gate gives room in the order of asking, first to flights that a reader waits
for; readahead never takes the last quarter, and no file takes more than its share.

Shared by tasks: both classes. Checkpoints: `Gate.entered` and waiting for `Flight.done`.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import frozen

from tierfs.errors import TierfsError


@frozen
class Source:
    """Where bytes of a file lie in the bucket: file offset `origin` is the object's byte 0."""

    key: str
    etag: str
    origin: int = 0
    is_spill: bool = False


class Flight:
    """One fetch that readers share. Ends with exactly one of: published, `data`, `error`, or `is_void`."""

    def __init__(self, start: int, stop: int, source: Source, *, is_urgent: bool, is_whole: bool = False) -> None:
        self.start = start
        self.stop = stop
        self.source = source
        self.is_urgent = is_urgent
        self.is_whole = is_whole  # the whole object in one request
        self.is_ahead = not is_urgent  # readahead wants it, whoever waits
        self.waiters = 0
        self.done = trio.Event()
        self.scope = trio.CancelScope()
        self.error: TierfsError | None = None
        self.data: memoryview | None = None  # not admitted to the tier: the readers take it from here
        self.is_void = False  # came too late (the file changed): look again
        self.ticket: Ticket | None = None

    def overlaps(self, start: int, stop: int) -> bool:
        return self.start < stop and start < self.stop


class Ticket:
    """A place in the gate's queue."""

    __slots__ = ("event", "is_granted", "is_urgent", "owner", "size_bytes")

    def __init__(self, owner: int, size_bytes: int, *, is_urgent: bool) -> None:
        self.owner = owner
        self.size_bytes = size_bytes
        self.is_urgent = is_urgent
        self.is_granted = False
        self.event: trio.Event | None = None


class Gate:
    """Bytes of bodies in flight, overall and for each file."""

    def __init__(self, limit_bytes: int, owner_limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._ahead_limit_bytes = limit_bytes * 3 // 4
        self._owner_limit_bytes = owner_limit_bytes
        self._taken_bytes = 0
        self._owners: dict[int, int] = {}
        self._urgent: deque[Ticket] = deque()
        self._ahead: deque[Ticket] = deque()

    @property
    def taken_bytes(self) -> int:
        return self._taken_bytes

    @asynccontextmanager
    async def entered(self, ticket: Ticket) -> AsyncIterator[None]:
        """Waits for room. More than the whole limit is let in alone."""
        queue = self._urgent if ticket.is_urgent else self._ahead
        queue.append(ticket)
        self._grant()
        try:
            if not ticket.is_granted:
                ticket.event = trio.Event()
                await ticket.event.wait()
            yield
        finally:
            self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        if ticket.is_granted:
            self._taken_bytes -= ticket.size_bytes
            # an empty body is inside too, and may be so when its owner's last other body leaves
            left_bytes = self._owners.pop(ticket.owner, 0) - ticket.size_bytes
            if left_bytes:
                self._owners[ticket.owner] = left_bytes
        else:
            (self._urgent if ticket.is_urgent else self._ahead).remove(ticket)
        self._grant()

    def promote(self, ticket: Ticket) -> None:
        """A reader waits for it now."""
        if not ticket.is_urgent:
            ticket.is_urgent = True
            if not ticket.is_granted and ticket in self._ahead:
                self._ahead.remove(ticket)
                self._urgent.append(ticket)
                self._grant()

    def _grant(self) -> None:
        self._grant_from(self._urgent, self._limit_bytes)
        if not self._urgent:
            self._grant_from(self._ahead, self._ahead_limit_bytes)

    def _grant_from(self, queue: deque[Ticket], limit_bytes: int) -> None:
        for ticket in list(queue):
            if self._taken_bytes and self._taken_bytes + ticket.size_bytes > limit_bytes:
                return  # in order: a big one is not overtaken for ever by small ones
            of_owner = self._owners.get(ticket.owner, 0)
            if of_owner and of_owner + ticket.size_bytes > self._owner_limit_bytes:
                continue
            queue.remove(ticket)
            ticket.is_granted = True
            self._taken_bytes += ticket.size_bytes
            self._owners[ticket.owner] = of_owner + ticket.size_bytes
            if ticket.event is not None:
                ticket.event.set()
