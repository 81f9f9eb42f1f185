"""What goes over the control link: the twins of native/holder/control.h, hot_table.h and served.h."""

import struct
from enum import IntEnum, IntFlag
from typing import Final

from tierfs.units import NS_PER_S

VERSION: Final = 7
REQUEST: Final = struct.Struct("=IIQQQ")  # kind, tag, ino, a, b
ANSWER: Final = struct.Struct("=IIiIQQ")  # kind, tag, status, padding, a, b
USE: Final = struct.Struct("=QQQQ")  # ino, opens, bytes, last_use_ns
RANGE: Final = struct.Struct("=QQ")

INOS_MAX: Final = 4096  # in one message

HOLDER_HANDLES: Final = 1 << 63
"""File handles from here on belong to opens that the holder answered: this, and the inode."""


class Kind(IntEnum):
    """Of a message."""

    STATUS = 1
    REGISTER = 2
    REVOKE = 3
    DRAIN = 4
    INVAL_INODE = 5
    INVAL_ENTRY = 6
    UNMOUNT = 7
    BRAKE = 8
    REPLY = 9
    SERVE = 10
    PRESENT = 11
    BUDGET = 12
    WITHDRAW = 13
    LEAVE = 14
    KEEP = 15
    DISCARD = 16
    CHANGED = 17
    REVOKE_IDLE = 18
    MOUNTED = 100
    ENDED = 101
    REQUEST = 102


class Hot(IntFlag):
    """Of a file that is registered."""

    WRITABLE = 1
    NO_CAPABILITIES = 2


class Served(IntFlag):
    """Of a file that is served."""

    WRITABLE = 1
    NO_CAPABILITIES = 2
    WHOLE = 4
    FORWARD_FLUSH = 8


class Revoke(IntFlag):
    """How a file comes back."""

    WAIT = 1
    NO_WRITERS = 2


def lent(kind: Kind, ino: int, attributes: bytes, valid_s: float) -> bytes:
    """A message by which an inode is lent, with its attributes, which are valid for so long."""
    valid_ns = min(int(valid_s * NS_PER_S), (1 << 63) - 1)
    return REQUEST.pack(kind, 0, ino, int(Hot.WRITABLE), valid_ns) + attributes
