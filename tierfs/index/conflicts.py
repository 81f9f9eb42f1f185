"""Rows of CONFLICTS: both sides changed, both versions were kept, and this is where they are.

The key is a number (8 bytes, big-endian) that counts from 1 and never comes back: rows are in the order in which they
were found, and people can name one. The record is a version byte, then JSON of the fields below, names as lossless text
(surrogateescape).

A version is found by its directory's inode and its name, so it is found also when a directory above was renamed.
Records of version 1 have no `parent`.
"""

import json
from typing import Final

import attrs
from attrs import frozen

from tierfs.errors import IndexDamageError
from tierfs.index import settings
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, unpack_id
from tierfs.index.txn import Txn
from tierfs.policy.resolution import Kind

_VERSION: Final = b"\x02"
_COUNTER: Final = "conflicts-found"
_READABLE: Final = (b"\x01", _VERSION)


@frozen
class Conflict:
    """`path` is where it happened, `winner` and `loser` are paths of what was kept ("" = nothing under a name).

    All of them from the root of the mount, with a slash before, as they were when it was found; `parent` is the
    directory of all, 0 where it was not known.
    """

    time_ns: int
    kind: Kind
    path: str
    winner: str
    loser: str
    parent: int = 0


def add(txn: Txn, conflict: Conflict) -> int:
    """Adds a row and returns its number."""
    number = int(settings.get(txn, _COUNTER) or 0) + 1
    settings.put(txn, _COUNTER, str(number).encode())
    text = json.dumps(attrs.asdict(conflict), separators=(",", ":"))
    txn.put(Table.CONFLICTS, pack_id(number), _VERSION + text.encode())
    return number


def get(reader: Reader, number: int) -> Conflict | None:
    """One row. Raises IndexDamageError."""
    record = reader.get(Table.CONFLICTS, pack_id(number))
    return _decode(record) if record is not None else None


def page(reader: Reader, after: int, limit: int) -> list[tuple[int, Conflict]]:
    """The next `limit` rows above `after`, oldest first. Raises IndexDamageError."""
    rows = reader.scan(Table.CONFLICTS, pack_id(after + 1), KEY_STOP, limit=limit)
    return [(unpack_id(key), _decode(record)) for key, record in rows]


def _decode(record: bytes) -> Conflict:
    if record[:1] not in _READABLE:
        raise IndexDamageError(f"conflict of unknown version {record[:1].hex()}")
    try:
        fields = json.loads(record[1:])
        return Conflict(**{**fields, "kind": Kind(fields["kind"])})
    except (ValueError, TypeError, KeyError) as error:
        raise IndexDamageError(f"conflict: {error}") from error


def delete(txn: Txn, number: int) -> None:
    """Somebody has seen to it."""
    txn.delete(Table.CONFLICTS, pack_id(number))


def count(reader: Reader) -> int:
    """Rows, in constant time; how many of them are open is `sync.standing`'s to say."""
    return reader.count(Table.CONFLICTS)
