"""What resolving a conflict does to the names of both versions: one pure function.

A conflict that was recorded is about a *file*, what has the contested name, and mostly a *copy* beside it:

    kind          file                  copy
    ------------  --------------------  ----------------------------------------------------------------------
    BOTH_CHANGED  the bucket's version  the local one, as `name.conflict-<host>-<UTC time>`
    NAME_TAKEN    the local version     the bucket's: it came to a key that a renamed directory was leaving
    DELETED_HERE  the bucket's version  none: it was deleted here
    BASE_LOST     the bucket's, if any  what is left of the local one, whose other bytes the bucket has no more

It is *open* as long as its copy is there (of DELETED_HERE: its file), under the name that it was given: whoever
removes or renames that has resolved it. What is to be kept then says what happens to the two names:

    kind          BUCKET                   LOCAL                    BOTH
    ------------  -----------------------  -----------------------  --------------------
    BOTH_CHANGED  the copy is removed      the copy gets the name   they stay as they are
    NAME_TAKEN    the copy gets the name   the copy is removed      they stay as they are
    DELETED_HERE  the file stays           the file is removed      it stays
    BASE_LOST     the copy is removed      refused: it has gaps     it stays

What is gone needs not be removed. Refused is what would keep a version that is gone, or remove the only one left.
"""

import enum
import errno
from collections.abc import Mapping
from typing import Final


class UnresolvableError(Exception):
    """What somebody wants to keep cannot be kept; `errno` as of a system call that meets it."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno = errno


class Kind(enum.StrEnum):
    """What happened; the values are those in the index."""

    BOTH_CHANGED = "both-changed"
    NAME_TAKEN = "name-taken"
    DELETED_HERE = "deleted-here-changed-there"
    BASE_LOST = "base-lost"


class Side(enum.StrEnum):
    """Whose version."""

    BUCKET = "bucket"
    LOCAL = "local"


class Keep(enum.StrEnum):
    """What somebody decided."""

    BUCKET = "bucket"
    LOCAL = "local"
    BOTH = "both"


class Step(enum.Enum):
    """What is done to the names."""

    NOTHING = enum.auto()
    REMOVE_COPY = enum.auto()
    REMOVE_FILE = enum.auto()
    COPY_OVER_FILE = enum.auto()


_KEPT: Final = {Side.BUCKET: Keep.BUCKET, Side.LOCAL: Keep.LOCAL}
FILE_SIDE: Final[Mapping[Kind, Side]] = {
    Kind.BOTH_CHANGED: Side.BUCKET,
    Kind.NAME_TAKEN: Side.LOCAL,
    Kind.DELETED_HERE: Side.BUCKET,
    Kind.BASE_LOST: Side.BUCKET,
}
COPY_SIDE: Final[Mapping[Kind, Side | None]] = {
    Kind.BOTH_CHANGED: Side.LOCAL,
    Kind.NAME_TAKEN: Side.BUCKET,
    Kind.DELETED_HERE: None,
    Kind.BASE_LOST: Side.LOCAL,
}


def is_open(kind: Kind, *, has_file: bool, has_copy: bool) -> bool:
    """Whether somebody still has to decide."""
    return has_file if COPY_SIDE[kind] is None else has_copy


def step(kind: Kind, keep: Keep, *, has_file: bool, has_copy: bool) -> Step:
    """The table above. UnresolvableError: ENOENT, what would be kept is gone; EIO, it has gaps."""
    if keep is Keep.BOTH:
        return Step.NOTHING
    if kind is Kind.BASE_LOST and keep is Keep.LOCAL:
        raise UnresolvableError(errno.EIO, "the bucket has no more what is missing of it: copy out what can be read")
    if kind is Kind.DELETED_HERE:
        return Step.REMOVE_FILE if keep is Keep.LOCAL and has_file else Step.NOTHING
    copy_side = COPY_SIDE[kind]
    if copy_side is not None and _KEPT[copy_side] is keep:
        if not has_copy:
            raise UnresolvableError(errno.ENOENT, f"the {keep.value} version is gone")
        return Step.COPY_OVER_FILE
    if not has_copy:
        return Step.NOTHING
    if kind is not Kind.BASE_LOST and not has_file:
        raise UnresolvableError(errno.ENOENT, f"the {keep.value} version is gone, and its copy is the only one left")
    return Step.REMOVE_COPY
