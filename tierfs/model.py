"""The values that several packages speak about. Frozen, no I/O, no imports from tierfs.

Those that the index makes 100,000 times a second have no slots: attrs fills a frozen class with slots
through `object.__setattr__`, name by name (an Inode: 1.8 us), one without through its dict (0.85 us).
"""

import enum
import stat
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from attrs import evolve

    revise = evolve  # so that names and types of the changes are checked
else:

    def revise(value: Any, **changes: Any) -> Any:
        """attrs.evolve for the classes without slots, in a tenth of its time: they have no validators to ask."""
        revised = object.__new__(type(value))
        revised.__dict__.update(value.__dict__, **changes)
        return revised


ROOT_INO: Final = 1
NAME_MAX_BYTES: Final = 255
KEY_MAX_BYTES: Final = 1024
SYMLINK_MAX_BYTES: Final = 4080
HIDDEN_PREFIX: Final = ".tierfs/"


class InodeFlag(enum.IntFlag):
    """What is true of an inode beside its POSIX attributes."""

    NONE = 0
    # POSIX attributes are known: set here, read from the bucket, or the bucket is known to have none
    ATTRS_KNOWN = 1
    # directory: its listing has been imported, a name that is absent here is absent in the bucket
    LISTED = 2
    # directory: no marker object in the bucket; it lives as long as a file in it
    IMPLICIT = 4
    # bytes differ from the base object
    DATA_DIRTY = 8
    # attributes, xattrs or the key differ from the base object
    META_DIRTY = 16
    # the base object carries metadata, tags or headers of others that a rewrite must keep
    FOREIGN = 32
    # directory: listed by names alone, nobody has asked a sample of its files for their attributes yet
    UNSAMPLED = 64
    # a rule keeps what differs from the bucket out of it, so that there is no intent
    LOCAL = 128

    # enum's own operators take 0.7 us each, these 0.15
    def __or__(self, other: int) -> "InodeFlag":
        return _FLAGS[int.__or__(self, other)]

    def __and__(self, other: int) -> "InodeFlag":
        return _FLAGS[int.__and__(self, other)]

    def __contains__(self, other: object) -> bool:
        return isinstance(other, InodeFlag) and int.__and__(self, other) == int(other)


_FLAGS: Final = tuple(InodeFlag(bits) for bits in range(2 * max(InodeFlag)))


class Residency(enum.IntEnum):
    """How much of a regular file the hot tier holds."""

    COLD = 0  # nothing: no backing file
    PARTIAL = 1  # the extents table says which bytes; the rest is in the base object (or a spill)
    FULL = 2  # every byte of [0, size); holes in the backing file are zeros of the file


@frozen(slots=False)
class Base:
    """The object version that index and bucket last agreed on."""

    etag: str
    size_bytes: int
    last_modified_ns: int
    version_id: str = ""
    storage_class: str = "STANDARD"
    content: str = ""  # "crc64nvme:<16 hex digits>" of the whole body where known

    def is_copy_of(self, other: "Base") -> bool:
        """Whether both are known to have the same bytes."""
        if self.size_bytes != other.size_bytes:
            return False
        return self.etag == other.etag or (self.content != "" and self.content == other.content)


@frozen(slots=False)
class Inode:
    """One inode as the index keeps it. `parent` and `name` are its first (for most: only) link."""

    ino: int
    mode: int  # st_mode with type bits
    uid: int
    gid: int
    size_bytes: int
    nlink: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    parent: int  # 0 once unlinked
    name: bytes
    rdev: int = 0
    flags: InodeFlag = InodeFlag.NONE
    base: Base | None = None  # of the first link's object; None: nothing in the bucket yet
    target: bytes = b""  # of a symlink
    listed_ns: int = 0  # directory: when its last full listing began
    write_seq: int = 0  # rises with each change of content or attributes; an export completes only for the seq it read

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_dirty(self) -> bool:
        return bool(self.flags & (InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY))


@frozen(slots=False)
class Dirent:
    """A name in a directory. `fmt` is the S_IFMT part of the mode, 0 while the type is not known."""

    name: bytes
    ino: int
    fmt: int


@frozen
class HotRecord:
    """What the index knows of an inode's backing file in the hot tier."""

    residency: Residency
    boot_id: int  # of the boot in which it was last published; see `trusted` rules in index/residency.py
    synced: bool  # the backing file was synced before this record was published
    writing: bool  # it has (or had, at a crash) a writer: size and times come from the backing file
    bytes_charged: int  # what it counts against the tier
    last_use_s: int  # key of its row in the ages table
    pinned: bool = False
    # see policy.ranking
    rank_bytes: int = 0
    used_at_bytes: int = 0  # the clock when a use counted last; on probation: when it came in
    on_probation: bool = False


@frozen
class Spill:
    """A range of a file that was uploaded under .tierfs/spill/ to make room before the whole is exported."""

    start: int
    stop: int
    key: str
    etag: str


@frozen
class Sum:
    """The checksum of a range of a backing file, of the bytes as they came from the bucket."""

    start: int
    stop: int
    crc: int  # CRC-64/NVME
    etag_hash: int  # of the version that they are of: rows of an older one say nothing


class IntentKind(enum.IntEnum):
    """What the bucket still has to see."""

    RECONCILE = 1  # bring the object(s) of an inode to the inode's state, at the inode's path
    DELETE = 2  # delete what an unlink or a rename left under a key (a tombstone)
    MOVE_TREE = 3  # move every object of a renamed directory to its new prefix


@frozen
class Intent:
    """A pending operation on the bucket. Identified by `seq`; older goes first."""

    seq: int
    kind: IntentKind
    ino: int  # RECONCILE, MOVE_TREE; 0 for DELETE
    key: str  # DELETE: the key; MOVE_TREE: the prefix where the objects were at the rename
    etag: str  # DELETE: the version to delete; "" = the object was never confirmed, HEAD first
    created_ns: int
    not_before_ns: int  # quiet time and backoff
    attempts: int = 0
    last_error: str = ""
    op_id: str = ""  # of the last attempt: written as tierfs-op, compared after a lost answer
    node: int = 0
    epoch: int = 0
    token: int = 0  # request token of the holder (DESIGN.md 5), 0 without it
    job: int = 0  # job that caused it, 0 = none


@frozen
class OpenHandle:
    """A handle that the daemon before gave out. `flags`: of its open."""

    handle: int
    ino: int
    flags: int


@frozen
class KernelState:
    """What the kernel holds of the daemon before."""

    lookups: dict[int, int] = field(factory=dict)
    """By inode."""
    files: list[OpenHandle] = field(factory=list)
    directories: list[OpenHandle] = field(factory=list)
    lent: set[int] = field(factory=set)
    """Inodes."""
    tokens: set[int] = field(factory=set)
    """Of changes that were not answered; see index.answers."""
