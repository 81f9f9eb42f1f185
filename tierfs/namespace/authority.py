"""The gate through which every right to cache, write or export a file is asked (DESIGN.md section 11).

One node owns its mount alone today, so the answer is yes. With many nodes the same questions go to a
lease service; callers already wait for the answer and already live with a no.
"""

import enum
from typing import Protocol


class Right(enum.Enum):
    """What a node wants to do with a file."""

    CACHE = enum.auto()
    WRITE = enum.auto()
    EXPORT = enum.auto()


class Authority(Protocol):
    """Grants rights on inodes."""

    async def acquire(self, ino: int, right: Right) -> None:
        """Returns when the right is held; raises FsError(EAGAIN) when it is refused by the deadline."""
        ...


class SoleNode:
    """This node is the only one that writes: every right is its own."""

    async def acquire(self, ino: int, right: Right) -> None:
        return None
