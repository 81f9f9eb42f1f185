"""When an intent may be worked on. Pure."""

import enum
from typing import Final

from tierfs.errors import StoreErrorKind
from tierfs.model import Intent
from tierfs.units import NS_PER_S

AT_ONCE: Final = 0
_BACKOFF_S: Final = (1.0, 60.0)  # of what may pass: first and longest
_PERMANENT_BACKOFF_S: Final = (30.0, 900.0)
_ARCHIVED_WAIT_S: Final = 3600.0


class Haste(enum.IntEnum):
    """Who waits for the queue."""

    NOBODY = 0
    ROOM = 1  # the hot tier is full of what is not in the bucket yet
    ALL = 2  # a sync or an unmount


def aged_ns(intent: Intent, max_dirty_age_s: float) -> int:
    """When it has waited for so long that no quiet time counts any more."""
    return intent.created_ns + int(max_dirty_age_s * NS_PER_S)


def due_ns(intent: Intent, haste: Haste, *, is_written: bool, max_dirty_age_s: float) -> int:
    """Its time. `is_written`: the file is open for writing.

    Such a file rests only when it is closed. For room it is sent no more often than its quiet time has it: a writer who
    waits for room would else have all of it sent for each of its parts, which spill sooner and alone.
    """
    if intent.attempts:
        return intent.not_before_ns
    if haste is Haste.ALL:
        return AT_ONCE
    if is_written:
        aged = aged_ns(intent, max_dirty_age_s)
        return min(intent.not_before_ns, aged) if haste is Haste.ROOM else aged
    return AT_ONCE if haste is Haste.ROOM else min(intent.not_before_ns, aged_ns(intent, max_dirty_age_s))


def backoff_s(kind: StoreErrorKind | None, attempts: int, *, is_permanent: bool) -> float:
    """How long it waits after a failure, after `attempts` earlier ones. `kind`: of the store's, if it is one."""
    if kind is StoreErrorKind.ARCHIVED:
        return _ARCHIVED_WAIT_S
    first_s, longest_s = _PERMANENT_BACKOFF_S if is_permanent else _BACKOFF_S
    return min(longest_s, first_s * 2.0 ** min(attempts, 20))
