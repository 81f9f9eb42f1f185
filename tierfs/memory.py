"""How much of what it has freed the daemon keeps: settings of glibc's malloc for the whole process."""

import ctypes
from typing import Final

from tierfs.units import MIB

_M_TRIM_THRESHOLD: Final = -1  # of malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_MAPPED_BYTES: Final = 32 * MIB  # glibc takes no more
_KEPT_BYTES: Final = 128 * MIB


def bound() -> None:
    """Bodies of some MiB come and go in many threads: glibc would keep the most that each thread ever had.

    The threads share two arenas, and of what is free so much is kept that bodies find pages that were used before:
    mapped each by itself, they cost a page fault for each 4 KiB (seen: 2.7 s of processor time for a cold GiB against
    1.7). Another libc has no mallopt and goes on as it does.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, 2)
