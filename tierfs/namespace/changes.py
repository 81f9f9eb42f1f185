"""What the tree is asked to do, and what it answers: values, no behaviour."""

import enum

from attrs import frozen

from tierfs.model import Inode


class RenameMode(enum.Enum):
    """renameat2(2) flags, of which at most one is given."""

    REPLACE = 0
    NOREPLACE = 1
    EXCHANGE = 2


@frozen
class TreeSettings:
    """`key_prefix_bytes`: what the store's own prefix takes of the 1,024 bytes of a key."""

    key_prefix_bytes: int = 0


@frozen
class NewInode:
    """What a create brings: mode with type bits, owner, device number, symlink target.

    `umask` takes permissions away where the directory has no default ACL, as umask(2) has it.
    """

    mode: int
    uid: int
    gid: int
    rdev: int = 0
    target: bytes = b""
    umask: int = 0


@frozen
class AttrChange:
    """setattr without the size; None leaves an attribute as it is."""

    permissions: int | None = None  # the lower 12 bits
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@frozen
class Renamed:
    """What a rename moved, what lost a link by it (nlink 0: its last), and what it moved the other way."""

    moved: Inode
    replaced: Inode | None = None
    exchanged: Inode | None = None
