"""The way of a file back from an archive: its stages, when the bucket is asked next, and what its answer means. Pure.

    WANTED ──> ASKED ──> READY ──> (forgotten: the file is here)
       │         │
       └─────────┴─────> FAILED    until it is wanted again

A file whose object was deleted or replaced meanwhile is forgotten: there is nothing to come back.
"""

import enum
from typing import Final

from attrs import evolve, frozen

from tierfs.policy.classes import Speed, restore_times_s, speed_of
from tierfs.units import NS_PER_S

_LOOKS: Final = 20  # during the longest time that a restore takes
_AGAIN_S: Final = 60  # after a failure that may pass
_LATE_S: Final = 3600  # a restore that takes longer than it should is looked at so often


class Stage(enum.StrEnum):
    """See the module."""

    WANTED = "wanted"
    ASKED = "asked"
    READY = "ready"
    FAILED = "failed"


@frozen
class Restore:
    """One file. `etag`: of the object that is meant. `next_ns`: when the bucket is asked next.

    `ready_ns`: when it should be readable at the latest, by what S3 says of the class; 0 before it was asked for.
    """

    etag: str
    storage_class: str
    size_bytes: int
    speed: Speed
    days: int
    since_ns: int
    next_ns: int
    stage: Stage = Stage.WANTED
    ready_ns: int = 0
    message: str = ""


class Seen(enum.Enum):
    """What a HEAD has shown."""

    READABLE = enum.auto()
    ONGOING = enum.auto()
    STILL_ARCHIVED = enum.auto()


def expected_s(restore: Restore) -> int:
    """The longest that it takes by S3's word. Of Intelligent-Tiering only HEAD says from which archive it comes."""
    speed = speed_of(restore.storage_class, "", restore.speed)
    return restore_times_s(restore.storage_class).get(speed, _LATE_S)


def asked(restore: Restore, now_ns: int, longest_pause_s: float) -> Restore:
    """The store has taken it."""
    pause_s = min(longest_pause_s, expected_s(restore) / _LOOKS)
    ready_ns = now_ns + expected_s(restore) * NS_PER_S
    return evolve(restore, stage=Stage.ASKED, next_ns=now_ns + int(pause_s * NS_PER_S), ready_ns=ready_ns, message="")


def seen(restore: Restore, what: Seen, now_ns: int, longest_pause_s: float) -> Restore:
    """After a look at the object of one that was asked for."""
    if what is Seen.READABLE:
        return evolve(restore, stage=Stage.READY)
    if what is Seen.STILL_ARCHIVED:
        return failed(restore, "the restore ended and left nothing to read")
    pause_s = min(longest_pause_s, _LATE_S if now_ns > restore.ready_ns else expected_s(restore) / _LOOKS)
    return evolve(restore, next_ns=now_ns + int(pause_s * NS_PER_S))


def postponed(restore: Restore, now_ns: int, message: str) -> Restore:
    """The store failed in a way that may pass."""
    return evolve(restore, next_ns=now_ns + _AGAIN_S * NS_PER_S, message=message)


def failed(restore: Restore, message: str) -> Restore:
    """It is not tried again by itself."""
    return evolve(restore, stage=Stage.FAILED, message=message)
