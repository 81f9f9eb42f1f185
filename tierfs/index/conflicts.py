"""Rows of CONFLICTS: both sides changed, both versions were kept, and this is where they are.

The key is a seq (8 bytes, big-endian), so that rows are in the order in which they were found. The record
is a version byte, then JSON of the fields below, names as lossless text (surrogateescape).
"""

import json
from typing import Final

import attrs
from attrs import frozen

from tierfs.errors import IndexDamageError
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, unpack_id
from tierfs.index.txn import Txn

_VERSION: Final = b"\x01"


@frozen
class Conflict:
    """`path` is where it happened, `winner` and `loser` are paths of what was kept ("" = nothing under a name)."""

    time_ns: int
    kind: str  # "both-changed", "deleted-here-changed-there", "base-lost"
    path: str
    winner: str
    loser: str


def add(txn: Txn, conflict: Conflict) -> int:
    """Adds a row and returns its seq."""
    seq = txn.index.next_seq()
    text = json.dumps(attrs.asdict(conflict), separators=(",", ":"))
    txn.put(Table.CONFLICTS, pack_id(seq), _VERSION + text.encode())
    return seq


def page(reader: Reader, after_seq: int, limit: int) -> list[tuple[int, Conflict]]:
    """The next `limit` rows above `after_seq`, oldest first. Raises IndexDamageError."""
    rows = reader.scan(Table.CONFLICTS, pack_id(after_seq + 1), KEY_STOP, limit=limit)
    return [(unpack_id(key), _decode(record)) for key, record in rows]


def _decode(record: bytes) -> Conflict:
    if record[:1] != _VERSION:
        raise IndexDamageError(f"conflict of unknown version {record[:1].hex()}")
    try:
        return Conflict(**json.loads(record[1:]))
    except (ValueError, TypeError) as error:
        raise IndexDamageError(f"conflict: {error}") from error


def delete(txn: Txn, seq: int) -> None:
    """Somebody has seen to it."""
    txn.delete(Table.CONFLICTS, pack_id(seq))


def count(reader: Reader) -> int:
    """Rows, in constant time."""
    return reader.count(Table.CONFLICTS)
