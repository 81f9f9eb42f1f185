"""The kernel's lookup counts: how many replies named an inode that FORGET has not taken back.

Only an unlinked inode with a count of zero may be removed. Ten million inodes may be known to the
kernel at a time, so counts live in pages of machine integers instead of one Python object each
(4 bytes an inode beside about 100 in a dict).
"""

from array import array
from typing import Final

_PAGE_BITS: Final = 10
_PAGE_SLOTS: Final = 1 << _PAGE_BITS


class LookupCounts:
    """Counts by inode number; a page is freed when all its counts are zero."""

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}
        self._live: dict[int, int] = {}  # page -> slots that are not zero

    def acquire(self, ino: int, count: int = 1) -> None:
        """`count` more replies name `ino`."""
        number, slot = ino >> _PAGE_BITS, ino & (_PAGE_SLOTS - 1)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = array("I", bytes(4 * _PAGE_SLOTS))
            self._live[number] = 0
        if page[slot] == 0:
            self._live[number] += 1
        page[slot] += count

    def release(self, ino: int, count: int) -> int:
        """FORGET of `count` lookups; returns what is left. Never goes below zero."""
        number, slot = ino >> _PAGE_BITS, ino & (_PAGE_SLOTS - 1)
        page = self._pages.get(number)
        if page is None or page[slot] == 0:
            return 0
        left = page[slot] = max(0, page[slot] - count)
        if left == 0:
            self._live[number] -= 1
            if self._live[number] == 0:
                del self._pages[number], self._live[number]
        return left

    def count(self, ino: int) -> int:
        """The lookups of `ino` that the kernel holds."""
        page = self._pages.get(ino >> _PAGE_BITS)
        return page[ino & (_PAGE_SLOTS - 1)] if page is not None else 0
