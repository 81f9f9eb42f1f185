"""What a scrub does about a file, by what is proven of its bytes here and of those in the bucket.

    here \\ bucket    as written     damaged        not known
    --------------  -------------  -------------  -------------
    as written      nothing        UPLOAD         nothing
    damaged         FETCH          TELL           TELL
    not known       nothing        TELL           nothing

*As written*: the bytes have the checksum that was made of them when they were written or fetched. *Damaged*: they have
another one, and nobody has written them since. Only a side that is proven goes over the other one.
"""

import enum


class Side(enum.Enum):
    """What is proven of the bytes on one side."""

    AS_WRITTEN = enum.auto()
    DAMAGED = enum.auto()
    UNKNOWN = enum.auto()


class Healing(enum.Enum):
    """See the module."""

    NOTHING = enum.auto()
    FETCH = enum.auto()
    UPLOAD = enum.auto()
    TELL = enum.auto()


def healing_of(here: Side, bucket: Side) -> Healing:
    """See the module."""
    match here, bucket:
        case Side.DAMAGED, Side.AS_WRITTEN:
            return Healing.FETCH
        case Side.AS_WRITTEN, Side.DAMAGED:
            return Healing.UPLOAD
        case (Side.DAMAGED, _) | (_, Side.DAMAGED):
            return Healing.TELL
        case _:
            return Healing.NOTHING
