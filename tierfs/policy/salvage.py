"""What becomes of a file in the cache's lost+found: the decision, apart from who looks and who copies.

    what is at its place in the mount      it was written in this boot     in another one
    -------------------------------------  ------------------------------  ------------------------------
    nothing                                RESTORE                         RESTORE
    the version that it was written over   RESTORE                         BESIDE: parts of it may be lost
    the same bytes                         DONE                            DONE
    anything else                          BESIDE                          BESIDE

What does not say where it belongs, or lacks parts, stays where it is (KEEP), unless the bucket has the same bytes
somewhere: then it is a copy of an object (DONE).
"""

import enum


class Fate(enum.Enum):
    """See the module."""

    RESTORE = "it gets its name back"
    BESIDE = "it is put beside what has its name"
    DONE = "the bucket has its bytes: the copy goes"
    KEEP = "it stays in lost+found"


class There(enum.Enum):
    """What is at a file's place."""

    NOTHING = enum.auto()
    BASE = enum.auto()
    SAME = enum.auto()
    OTHER = enum.auto()


def fate_of(there: There, *, is_whole: bool, is_same_boot: bool) -> Fate:
    """Of a file that says where it belongs; see the module."""
    if there is There.SAME:
        return Fate.DONE
    if not is_whole:
        return Fate.KEEP
    if there is There.NOTHING or (there is There.BASE and is_same_boot):
        return Fate.RESTORE
    return Fate.BESIDE
