"""Access times: which reads of an open file move them. Pure; `now_ns` is an argument."""

import os
from typing import Final, Self

from attrs import define

from tierfs.model import Inode
from tierfs.units import NS_PER_S

_RELATIME_NS: Final = 86_400 * NS_PER_S


@define
class OpenFile:
    """What a file handle means to the verbs; its bytes are `content`'s."""

    ino: int
    is_reader: bool = False
    keeps_atime: bool = False
    waits_at_close: bool = False
    _next_look_ns: int = 0

    @classmethod
    def of(cls, ino: int, flags: int, *, read_only: bool, waits_at_close: bool = False) -> Self:
        """As open(2) with these flags has it, on a mount that is `read_only` or not. `waits_at_close`: who wrote."""
        access = flags & os.O_ACCMODE
        keeps_atime = bool(flags & os.O_NOATIME) or read_only
        return cls(ino, access != os.O_WRONLY, keeps_atime, waits_at_close and access != os.O_RDONLY)

    def is_look_due(self, now_ns: int) -> bool:
        """Is the access time to be looked at for this read?

        Once a second for each open file: a read from the page cache costs 20 us, a look 5.
        """
        if self.keeps_atime or now_ns < self._next_look_ns:
            return False
        self._next_look_ns = now_ns + NS_PER_S
        return True


def is_moved_by_read(inode: Inode, now_ns: int) -> bool:
    """relatime: a read moves atime when it is not newer than mtime and ctime, or older than a day."""
    return inode.atime_ns <= max(inode.mtime_ns, inode.ctime_ns) or now_ns - inode.atime_ns >= _RELATIME_NS
