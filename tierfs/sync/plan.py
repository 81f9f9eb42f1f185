"""What the bucket needs for one inode, read from the index: the part of an export that is a decision.

    base   dirty        where                  work
    -----  -----------  ---------------------  ----------------------------------------------------------
    none   any          -                      BODY at the key of its path
    any    DATA         any                    BODY at the key of its path; what lies elsewhere is buried
    any    META         at its key             COPY onto itself with new metadata
    any    META or not  at another key         COPY to the key of its path with metadata, then bury the old
    any    no           at its key             NOTHING

The condition of a write, by what the index knows of the key: our own base is there: over that version;
a tombstone is there: over the version that it would delete; else: only where nothing is.
"""

import enum

from attrs import frozen

from tierfs.index import intents
from tierfs.index.env import Reader
from tierfs.model import HIDDEN_PREFIX, Inode, InodeFlag
from tierfs.namespace.locations import ROOT_KEY, Locations
from tierfs.objectstore.base import Condition, IfAbsent, IfMatch

ASIDE_PREFIX = HIDDEN_PREFIX + "aside/"
"""Where an object waits that is in the way, see sync.aside.

`.tierfs/tmp/` is where a directory as a bucket has unfinished files of its own.
"""

BESIDE_SUFFIX = b".tierfs-object"
"""An object `a` beside keys `a/...` is shown as `a.tierfs-object`, since the directory has the name `a`."""


class Work(enum.Enum):
    """See the module."""

    NOTHING = enum.auto()
    BODY = enum.auto()
    COPY = enum.auto()


@frozen
class Plan:
    """One write. `source` is where the base object lies ("" without a base); `write_seq` what it was made from."""

    work: Work
    key: str
    source: str
    write_seq: int

    @property
    def is_move(self) -> bool:
        """The base object lies at another key and has to go from there afterwards."""
        return self.source not in ("", self.key)


def target_key(reader: Reader, locations: Locations, inode: Inode) -> str:
    """Where the inode's object belongs: the key of its path.

    The object beside a directory stays where it is as long as it has the reserved name. Raises
    FsError(ESTALE) for an inode without a name.
    """
    desired = locations.desired_key(reader, inode)
    if inode.base is not None and inode.name.endswith(BESIDE_SUFFIX):
        actual = locations.actual_key(reader, inode)
        if actual + BESIDE_SUFFIX.decode() == desired:
            return actual
    return desired


def plan(reader: Reader, locations: Locations, inode: Inode) -> Plan:
    """The work for the first link of `inode`. Raises FsError(ESTALE) for an inode without a name."""
    key = target_key(reader, locations, inode)
    source = locations.actual_key(reader, inode) if inode.base is not None else ""
    is_root = is_root_key(key)  # tierfs's own object: whatever is there is written over
    if inode.base is None or InodeFlag.DATA_DIRTY in inode.flags or (is_root and inode.is_dirty):
        work = Work.BODY
    elif InodeFlag.META_DIRTY in inode.flags or source != key:
        work = Work.COPY
    else:
        work = Work.NOTHING
    return Plan(work, key, source, inode.write_seq)


def condition(reader: Reader, key: str, base_etag_there: str | None) -> Condition:
    """The precondition for writing `key`; `base_etag_there`: the ETag of our base if it lies at this key.

    A tombstone without an ETag has to be resolved (by a HEAD) before.
    """
    if base_etag_there is not None:
        return IfMatch(base_etag_there)
    tombstone = intents.tombstone(reader, key)
    if tombstone is not None and tombstone.etag:
        return IfMatch(tombstone.etag)
    return IfAbsent()


def is_root_key(key: str) -> bool:
    """The root's attributes are tierfs's own object: nobody else's version is kept."""
    return key == ROOT_KEY
