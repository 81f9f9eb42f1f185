"""The queue interface: messages that come at least once, and go only when they were deleted.

Every implementation passes `tests/conformance/test_queue.py`. All methods are trio-async and raise only
`StoreError`; they may be cancelled at any time: what was received then comes again after its visibility time.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from attrs import frozen

RECEIVED_MAX: Final = 10  # messages of one request, as SQS has it
WAIT_MAX_S: Final = 20


@frozen
class Message:
    """A message that was received. `receipt` is what it is deleted by, until it comes again."""

    body: str
    receipt: str


class Queue(Protocol):
    """A queue of notifications."""

    @property
    def source(self) -> str:
        """Its address, without secrets."""
        ...

    async def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
        """At most `limit` (1 to 10) messages, after at most `wait_s` (0 to 20) seconds when there is none.

        Nobody else gets them for the queue's visibility time. In no order, and some more than once.
        """
        ...

    async def delete(self, receipts: Sequence[str]) -> None:
        """Deletes up to 10 messages. Repeatable. One that could not be deleted comes again."""
        ...

    async def give_back(self, receipts: Sequence[str], *, after_s: int) -> None:
        """Up to 10 messages come again after that time (0 to 43,200) instead of the visibility time. Repeatable."""
        ...

    async def aclose(self) -> None:
        """Frees connections."""
        ...
