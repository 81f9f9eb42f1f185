"""Rows of HELD: names that the bucket has no more and that are kept here all the same.

The key is the directory's ino and the name, as in DIRENTS. The record is a version byte, then JSON of the fields below.
A row is about one inode: where the name leads to another one by now, or to none, it says nothing any more.
"""

import json
from typing import Final

import attrs
from attrs import frozen

from tierfs.errors import IndexDamageError
from tierfs.index import inodes
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, unpack_id
from tierfs.index.txn import Txn
from tierfs.model import ROOT_INO

KEPT: Final = 0
"""The `round` of what somebody decided to keep although nothing can put it back into the bucket."""
_VERSION: Final = b"\x01"
_DEPTH_MAX: Final = 2048


@frozen
class Held:
    """One name.

    `round` counts the decisions from 1: a decision is about the rows of its round. `entries` is how many files and
    directories would go with the name, itself included. `moved_to`: the name of the directory beside it that has its
    files now, as lossless text, "" where none was seen. `is_confirmed`: the bucket was asked again after the decision.
    """

    ino: int
    round: int
    entries: int = 1
    moved_to: str = ""
    is_confirmed: bool = False


@frozen
class Row:
    """A row with its key."""

    parent: int
    name: bytes
    held: Held


def put(txn: Txn, parent: int, name: bytes, held: Held) -> None:
    """Adds or replaces."""
    text = json.dumps(attrs.asdict(held), separators=(",", ":"))
    txn.put(Table.HELD, pack_id(parent) + name, _VERSION + text.encode())


def get(reader: Reader, parent: int, name: bytes) -> Held | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.HELD, pack_id(parent) + name)
    return _decode(record) if record is not None else None


def delete(txn: Txn, parent: int, name: bytes) -> None:
    """It is not held any more; no error where it was not."""
    txn.delete(Table.HELD, pack_id(parent) + name)


def page(reader: Reader, after: tuple[int, bytes], limit: int, *, parent: int | None = None) -> list[Row]:
    """The next `limit` rows above `after` (ino of a directory, name), of one directory or of all. IndexDamageError."""
    start = pack_id(after[0]) + after[1] + (b"\0" if after[1] else b"")
    stop = KEY_STOP if parent is None else pack_id(parent + 1)
    if parent is not None:
        start = max(start, pack_id(parent))
    rows = reader.scan(Table.HELD, start, stop, limit=limit)
    return [Row(unpack_id(key), key[8:], _decode(record)) for key, record in rows]


def is_any(reader: Reader) -> bool:
    """Whether there is a row at all, in constant time."""
    return reader.count(Table.HELD) > 0


def covers(reader: Reader, parent: int, name: bytes, ino: int) -> bool:
    """Whether the name of the inode, or a directory above it, is held. Raises IndexDamageError."""
    if not is_any(reader):
        return False
    for _ in range(_DEPTH_MAX):
        row = get(reader, parent, name)
        if row is not None and row.ino == ino:
            return True
        directory = inodes.get(reader, parent)
        if directory is None or directory.parent == 0 or directory.ino == ROOT_INO:
            return False
        parent, name, ino = directory.parent, directory.name, directory.ino
    return False


def _decode(record: bytes) -> Held:
    if record[:1] != _VERSION:
        raise IndexDamageError(f"held name of unknown version {record[:1].hex()}")
    try:
        return Held(**json.loads(record[1:]))
    except (ValueError, TypeError) as error:
        raise IndexDamageError(f"held name: {error}") from error
