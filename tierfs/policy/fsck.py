"""What fsck finds, and what may be done about it: the pure half of `tierfs fsck`.

A repair is one of these, and nothing else:

    a row that follows from others is written anew       lookup rows, counts, types, what is charged
    a row that speaks of nothing is removed              the bucket still has what the bucket had
    a name that was lost is put back                     where it was, or below /lost+found in the mount
    bytes that may be nowhere else are moved aside       into lost+found of the cache, never deleted

What cannot be put right so, stays as it is and is said: a row of bytes that nobody understands, changes whose bytes
are gone. For an index that is full of those there is the rebuild.
"""

import enum
from collections.abc import Mapping
from typing import Final

from attrs import frozen


class FindingKind(enum.Enum):
    """What is wrong."""

    UNREADABLE = "a row cannot be understood"
    BAD_NAME = "a name is no file name"
    NO_INODE = "a row speaks of an inode that is not there"
    NOT_A_DIRECTORY = "names hang on something that is no directory"
    WRONG_TYPE = "the type beside a name is not that of its inode"
    UNKNOWN_LINK = "a name that its inode does not know of"
    NO_DIRENT = "an inode thinks that it has a name, the directory does not"
    RING = "directories that lie in each other, and not below the root"
    WRONG_NLINK = "the link count is not the number of links"
    NO_ORPHAN_ROW = "an inode without a name is not listed for purging"
    NOT_ORPHANED = "an inode is listed for purging and has a name"
    NO_INTENT = "a change that nothing will ever export"
    STRAY_POINTER = "a pointer to something that does not point back"
    NO_POINTER = "something that its lookup table does not lead to"
    STRAY_EXTENT = "extents of a file that is not partly present, or that overlap or touch"
    # the hot tier
    UNKNOWN_FILE = "a file in the hot tier that no record speaks of"
    COPY_LEFT = "a file in the hot tier whose bytes the bucket has, and that no record speaks of"
    FOREIGN_FILE = "a file in the hot tier that is none of its own"
    NO_FILE = "a record of bytes that are not in the hot tier; the bucket has them"
    LOST_BYTES = "changes that were not uploaded, and whose bytes are gone"
    WRONG_SIZE = "a copy in the hot tier that is shorter or longer than its file"
    WRONG_SIZE_CHANGED = "a changed file that is shorter or longer in the hot tier than the index says"
    WRONG_CHARGE = "a file takes other room than it is charged for"
    EXTENT_BEYOND_END = "extents beyond the end of a file"
    # the bucket
    UNKNOWN_KEY = "an object that the mount does not show"
    NO_OBJECT = "a file whose object is not there"
    OTHER_OBJECT = "an object of another version than the mount knows"


class Repair(enum.Enum):
    """What is done about a finding; the text is what the plan says."""

    NONE = "stays as it is"
    DROP_ROW = "the row is removed"
    DROP_NAME = "the name is removed, and its directory listed anew"
    WRITE_POINTER = "the row that leads to it is written"
    WRITE_TYPE = "the type is written anew"
    WRITE_LINK = "the inode learns of the name"
    WRITE_NLINK = "the links are counted anew"
    WRITE_EXTENTS = "the extents are written anew"
    WRITE_CHARGE = "it is charged for what it takes"
    QUEUE_EXPORT = "it is queued for its export"
    QUEUE_PURGE = "its bytes are moved to lost+found, and it is purged by the next mount"
    RECONNECT = "it gets its name back, or one below /lost+found"
    FORGET_COPY = "the record is removed; the next read fetches the bytes"
    SAVE_BYTES = "its bytes are moved to lost+found of the cache"
    REMOVE_COPY = "it is removed"
    LIST_ANEW = "its directory is listed anew by the next mount"


@frozen
class Finding:
    """One disagreement; `ino` is 0 where none is concerned.

    `table` and `key` say which row it was found at; of a file in the hot tier `key` is its path below the tier.
    """

    kind: FindingKind
    ino: int
    detail: str
    table: str = ""
    key: bytes = b""

    def __str__(self) -> str:
        return f"inode {self.ino:#x}: {self.kind.value}: {self.detail}"


_BY_KIND: Final[Mapping[FindingKind, Repair]] = {
    FindingKind.UNREADABLE: Repair.NONE,
    FindingKind.BAD_NAME: Repair.DROP_NAME,
    FindingKind.NO_INODE: Repair.DROP_ROW,
    FindingKind.NOT_A_DIRECTORY: Repair.DROP_ROW,
    FindingKind.WRONG_TYPE: Repair.WRITE_TYPE,
    FindingKind.UNKNOWN_LINK: Repair.WRITE_LINK,
    FindingKind.NO_DIRENT: Repair.RECONNECT,
    FindingKind.RING: Repair.RECONNECT,
    FindingKind.WRONG_NLINK: Repair.WRITE_NLINK,
    FindingKind.NO_ORPHAN_ROW: Repair.QUEUE_PURGE,
    FindingKind.NOT_ORPHANED: Repair.DROP_ROW,
    FindingKind.NO_INTENT: Repair.QUEUE_EXPORT,
    FindingKind.STRAY_POINTER: Repair.DROP_ROW,
    FindingKind.NO_POINTER: Repair.WRITE_POINTER,
    FindingKind.STRAY_EXTENT: Repair.WRITE_EXTENTS,
    FindingKind.UNKNOWN_FILE: Repair.SAVE_BYTES,
    FindingKind.COPY_LEFT: Repair.REMOVE_COPY,
    FindingKind.FOREIGN_FILE: Repair.SAVE_BYTES,
    FindingKind.NO_FILE: Repair.FORGET_COPY,
    FindingKind.LOST_BYTES: Repair.NONE,
    FindingKind.WRONG_SIZE: Repair.SAVE_BYTES,
    FindingKind.WRONG_SIZE_CHANGED: Repair.NONE,
    FindingKind.WRONG_CHARGE: Repair.WRITE_CHARGE,
    FindingKind.EXTENT_BEYOND_END: Repair.WRITE_EXTENTS,
    FindingKind.UNKNOWN_KEY: Repair.LIST_ANEW,
    FindingKind.NO_OBJECT: Repair.LIST_ANEW,
    FindingKind.OTHER_OBJECT: Repair.LIST_ANEW,
}
_BY_ROW: Final[Mapping[tuple[FindingKind, str], Repair]] = {
    (FindingKind.NO_INODE, "DIRENTS"): Repair.DROP_NAME,
    (FindingKind.NOT_A_DIRECTORY, "DIRENTS"): Repair.DROP_NAME,
    (FindingKind.NO_INODE, "HOT"): Repair.SAVE_BYTES,
    (FindingKind.NO_DIRENT, "LINKS"): Repair.DROP_ROW,
    # what says nothing that other rows do not say, or is a record of what is over
    (FindingKind.UNREADABLE, "INTENT_OF"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "TOMBSTONES"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "LOCATED"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "SUMS"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "TASKS"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "TASK_FAILURES"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "RESTORES"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "HISTORY"): Repair.DROP_ROW,
    (FindingKind.UNREADABLE, "HOT"): Repair.SAVE_BYTES,
}


def repair_of(finding: Finding) -> Repair:
    """What is to be done about it; see the module."""
    return _BY_ROW.get((finding.kind, finding.table), _BY_KIND[finding.kind])
