"""One task at a time for each directory: a picture of the bucket is applied before the next one is taken.

Who takes a picture of many directories at once cannot hold all of them meanwhile: it takes a mark before, and asks of
each directory whether it was somebody's turn since.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from attrs import define, field

from tierfs.sync.marks import Marks

_MARKED_MAX: Final = 200_000


@define
class _Turn:
    lock: trio.Lock = field(factory=trio.Lock)
    wanted_by: int = 0


class Turns:
    """Locks by inode number; one that nobody wants takes no memory."""

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}
        self.ended: Marks[int] = Marks(_MARKED_MAX)
        """Directories whose turns are over, but for those that ask not to be noted."""

    def is_taken(self, ino: int) -> bool:
        """Somebody is at work on the directory, or about to be."""
        return ino in self._turns

    @asynccontextmanager
    async def of(self, ino: int, *, is_noted: bool = True) -> AsyncIterator[None]:
        """Holds the directory for the body. Checkpoint; tasks come in the order in which they asked."""
        turn = self._turns.setdefault(ino, _Turn())
        turn.wanted_by += 1
        try:
            async with turn.lock:
                yield
        finally:
            if is_noted:
                self.ended.note(ino)
            turn.wanted_by -= 1
            if not turn.wanted_by:
                del self._turns[ino]
