"""What the holder is told of directories, so that it answers what the kernel asks around each change of a name.

A change of a name makes the kernel ask for the directory's attributes, and a name that is made is looked up before.
Both are known here: what a change made of its directory is said before the change is answered, on the link that the
answer takes; what the holder knows is as new as the answers that it has carried. What changes otherwise, by an import,
is taken back on the same link (`doubted`). The names of a directory are told when it is made, or when lookups have
found nothing in it some times; they hold as long as its listing does, and the holder adds what passes it.

Nothing here has a checkpoint. Its twin is native/holder/directories.c.
"""

import os
import select
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Final

from attrs import define
from pyfuse3 import EntryAttributes

from tierfs.fuse.convert import packed_attributes
from tierfs.index import dirents, inodes
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag
from tierfs.units import NS_PER_S

_DIRECTORIES_MAX: Final = 1024  # the holder keeps more
_MISSES: Final = 8
_NAMES_MAX_BYTES: Final = 60_000  # a packet's
_PAGE_ENTRIES: Final = 256
_HEADER: Final = struct.Struct("=IiQ")
_TOLD: Final = struct.Struct("=IIQQQ")
_CODE: Final = 1 << 16
_NS_MAX: Final = (1 << 63) - 1


class _Kind(IntEnum):
    NOTHING = 0
    ATTRIBUTES = 1
    NAMES = 2
    STILL = 3


@define
class _Known:
    """What the holder may have of a directory."""

    has_names: bool = False
    misses: int = 0  # lookups that found nothing since the names were told, or not told
    names_until_ns: int = 0


class Directories:
    """One for each mount. Without `begin` nothing is told."""

    def __init__(self, *, index: Index, hold_s: Callable[[int], float], negative_s: float) -> None:
        """`hold_s`: how long the names of a directory are taken as they are. `negative_s`: what the kernel may make of
        a name that is not there."""
        self._index = index
        self._hold_s = hold_s
        self._negative_ns = _ns(negative_s)
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._session_fd: int | None = None

    def begin(self, session_fd: int) -> None:
        """There is a holder at the other end of the session."""
        self._session_fd = session_fd

    def end(self) -> None:
        """The session is about to be closed."""
        self._session_fd = None

    # ---- what requests have done ----

    def changed(self, ino: int, attributes: Callable[[Inode], EntryAttributes]) -> None:
        """Names in the directory were made or removed; its attributes are packed by `attributes`."""
        if self._session_fd is None:
            return
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or InodeFlag.ATTRS_KNOWN not in inode.flags:
            self.doubted(ino)
            return
        entry = attributes(inode)
        self._know(ino)
        self._say(_Kind.ATTRIBUTES, ino, _ns(entry.attr_timeout), payload=packed_attributes(entry))

    def made(self, ino: int) -> None:
        """A new directory: it has no names."""
        if self._session_fd is not None and (hold_ns := _ns(self._hold_s(ino))) > 0:
            self._tell_names(ino, self._know(ino), hold_ns, b"")

    def missed(self, ino: int) -> None:
        """A lookup in the directory, whose listing is new enough, found nothing."""
        if self._session_fd is None:
            return
        known = self._know(ino)
        hold_ns = _ns(self._hold_s(ino))
        if known.has_names and known.names_until_ns <= self._index.clock.now_ns():
            known.names_until_ns = self._index.clock.now_ns() + hold_ns
            self._say(_Kind.STILL, ino, hold_ns)
            return
        known.has_names = False  # the holder has given them up
        known.misses += 1
        if known.misses % _MISSES == 0 and hold_ns > 0:
            names = self._names(ino)
            if names is not None:
                self._tell_names(ino, known, hold_ns, names)

    def doubted(self, ino: int) -> None:
        """Attributes or names of an inode are others now; no matter if it is a directory."""
        if self._known.pop(ino, None) is not None:
            self._say(_Kind.NOTHING, ino)

    # ---- the link ----

    def _know(self, ino: int) -> _Known:
        known = self._known.get(ino)
        if known is None:
            known = self._known[ino] = _Known()
            if len(self._known) > _DIRECTORIES_MAX:
                oldest, _ = self._known.popitem(last=False)
                self._say(_Kind.NOTHING, oldest)
        self._known.move_to_end(ino)
        return known

    def _names(self, ino: int) -> bytes | None:
        """All names, each behind its length; None: too many for a packet."""
        packed, after = bytearray(), b""
        while page := dirents.page(self._index, ino, after, _PAGE_ENTRIES):
            for entry in page:
                packed.append(len(entry.name))
                packed += entry.name
            if len(packed) > _NAMES_MAX_BYTES:
                return None
            after = page[-1].name
        return bytes(packed)

    def _tell_names(self, ino: int, known: _Known, hold_ns: int, names: bytes) -> None:
        known.has_names = True
        known.misses = 0
        known.names_until_ns = self._index.clock.now_ns() + hold_ns
        self._say(_Kind.NAMES, ino, hold_ns, self._negative_ns, names)

    def _say(self, kind: _Kind, ino: int, valid_ns: int = 0, negative_ns: int = 0, payload: bytes = b"") -> None:
        if self._session_fd is None:
            return
        size = _HEADER.size + _TOLD.size + len(payload)
        packet = _HEADER.pack(size, _CODE, 0) + _TOLD.pack(kind, 0, ino, valid_ns, negative_ns) + payload
        with suppress(OSError):  # the link has ended, and the holder with it
            while True:
                try:
                    os.write(self._session_fd, packet)
                    return
                except BlockingIOError:
                    # the holder reads it whatever happens, and never waits for us
                    select.select([], [self._session_fd], [])


def _ns(seconds: float) -> int:
    return max(0, min(_NS_MAX, int(seconds * NS_PER_S)))
