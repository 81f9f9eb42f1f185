"""Places in an open directory: what a readdir cookie means. No I/O, no tasks."""

import errno
from array import array
from collections.abc import Iterable
from typing import Final

from tierfs.errors import FsError

DOT_COOKIE: Final = 1
DOTDOT_COOKIE: Final = 2
FIRST_COOKIE: Final = 3


class OpenDirectory:
    """The names that an open directory has returned so far, so that a cookie is a place in name order.

    Cookie n means "after the n-th name returned": it stays exact when entries come and go, also when that
    name itself is removed. Kept as bytes and offsets (about 30 bytes a name), only while the directory is open.
    """

    def __init__(self, ino: int) -> None:
        self.ino = ino
        self._names = bytearray()
        self._ends = array("Q")

    def name_at(self, cookie: int) -> bytes:
        """The name after which to continue. EINVAL for a cookie that this handle never gave."""
        if cookie < FIRST_COOKIE:
            return b""
        slot = cookie - FIRST_COOKIE
        if slot >= len(self._ends):
            raise FsError(errno.EINVAL, f"readdir cookie {cookie} was never returned")
        start = self._ends[slot - 1] if slot else 0
        return bytes(self._names[start : self._ends[slot]])

    def remember(self, name: bytes, after_cookie: int) -> int:
        """The cookie of `name`, which follows what `after_cookie` stands for."""
        slot = max(after_cookie, FIRST_COOKIE - 1) + 1 - FIRST_COOKIE
        if slot < len(self._ends):
            if self.name_at(slot + FIRST_COOKIE) == name:
                return slot + FIRST_COOKIE
            # read again from an earlier place, and the directory changed: what followed is forgotten
            del self._ends[slot:]
            del self._names[self._ends[slot - 1] if slot else 0 :]
        self._names += name
        self._ends.append(len(self._names))
        return slot + FIRST_COOKIE

    def remember_all(self, names: Iterable[bytes]) -> None:
        """All names of the directory, in order, for cookies of before a restart: exact if the names are the same."""
        position = DOTDOT_COOKIE
        for name in names:
            position = self.remember(name, position)
