"""The tables of the index and how they are read; what a row holds is said here, how it is packed in codec.py.

Integers in keys are 8 bytes big-endian, so that LMDB's binary order is the numeric order. No key is
longer than 511 bytes, LMDB's limit; an object key (up to 1,024 bytes) is therefore never a key here, its
xxh3-128 is, and the row it leads to holds the whole key for comparison.

    table      key                        value
    INODES     ino                        Inode
    DIRENTS    parent ino, name           ino, file type
    LINKS      ino, parent ino, name      Base of that link's object, or nothing; second and further links
    XATTRS     ino, name                  the attribute's value, raw
    HOT        ino                        HotRecord
    EXTENTS    ino, start                 stop; present ranges of a PARTIAL file, apart from each other
    SPILLS     ino, start                 Spill
    AGES       last use in s, ino         nothing; one row for each row of HOT
    INTENTS    seq                        Intent
    INTENT_OF  ino                        seq of its RECONCILE intent
    TOMBSTONES xxh3-128 of an object key  seq of the DELETE intent of that key
    LOCATIONS  ino                        the object key that still holds this inode's bytes
    LOCATED    xxh3-128 of an object key  ino; the way back from LOCATIONS
    OVERRIDES  ino of a directory         the key prefix that still holds its tree
    FOREIGN    ino                        ForeignMeta, JSON
    ORPHANS    ino                        nothing; unlinked while open, to purge at the next start
    CONFLICTS  seq                        Conflict, JSON
    COUNTERS   chosen by the caller       chosen by the caller
    SETTINGS   name                       raw; names that begin with NUL are the index's own
    HELD       parent ino, name           Held, JSON; gone from the bucket and kept until somebody decides
    TASKS      seq                        Task, JSON; long work that somebody asked for
    TASK_FAILURES  seq of a task, count   path and code, JSON; the files that it failed for
    RESTORES   ino                        Restore, JSON; on its way back from an archive
    RANKS      order of leaving, ino      nothing; one row for each row of HOT that is not pinned
    HISTORY    slot, of an ino            ino, rank, last use; of files that left the hot tier
    SUMS       ino, start                 Sum; checksums of ranges as they were fetched, apart from each other

Shareable between nodes (DESIGN.md 11): INODES, DIRENTS, LINKS, XATTRS, FOREIGN, LOCATIONS, LOCATED,
OVERRIDES. Of this node only: the others.
"""

import enum
import struct
from typing import Final, Protocol

import xxhash

INDEX_FORMAT: Final = 1
"""Rises when a table or record changes so that older software would misread it."""


class Table(enum.IntEnum):
    """One named LMDB database each. The numbers are written to the journal: never reuse one."""

    INODES = 0
    DIRENTS = 1
    LINKS = 2
    XATTRS = 3
    HOT = 4
    EXTENTS = 5
    SPILLS = 6
    AGES = 7
    INTENTS = 8
    INTENT_OF = 9
    TOMBSTONES = 10
    LOCATIONS = 11
    LOCATED = 12
    OVERRIDES = 13
    FOREIGN = 14
    ORPHANS = 15
    CONFLICTS = 16
    COUNTERS = 17
    SETTINGS = 18
    HELD = 19
    TASKS = 20
    TASK_FAILURES = 21
    RESTORES = 22
    RANKS = 23
    HISTORY = 24
    SUMS = 25


class Reader(Protocol):
    """What can be asked of an `Index`, and of a `Txn`, which also sees its own writes."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value, None where there is no row. Raises IndexDamageError."""
        ...

    def scan(self, table: Table, start: bytes, stop: bytes, *, limit: int) -> list[tuple[bytes, bytes]]:
        """The first `limit` rows of [start, stop) in key order. Raises IndexDamageError."""
        ...

    def last_before(self, table: Table, key: bytes, floor: bytes) -> tuple[bytes, bytes] | None:
        """The last row of [floor, key). Raises IndexDamageError."""
        ...

    def count(self, table: Table) -> int:
        """Rows of the table, in constant time; a Txn's own writes are not counted."""
        ...


KEY_MAX_BYTES: Final = 511
"""Of a row, by LMDB's build."""
_U64: Final = struct.Struct(">Q")
_U64_PAIR: Final = struct.Struct(">QQ")
KEY_STOP: Final = b"\xff" * 16
"""Above every key that begins with an integer or a hash below its maximum."""

pack_id = _U64.pack
"""An ino or a seq as a key: 8 bytes, big-endian."""
pack_pair = _U64_PAIR.pack
"""(ino, start), (ino, parent) or (last use, ino) as a key."""


def unpack_id(key: bytes) -> int:
    """The first 8 bytes of a key."""
    return int.from_bytes(key[:8], "big")


def unpack_pair(key: bytes) -> tuple[int, int]:
    """The first 16 bytes of a key."""
    return int.from_bytes(key[:8], "big"), int.from_bytes(key[8:16], "big")


def hash_key(object_key: str) -> bytes:
    """An object key as a key of TOMBSTONES and LOCATED: 16 bytes."""
    return xxhash.xxh3_128_digest(object_key.encode())
