"""Rows of RESTORES: files on their way back from an archive, and those whose restore failed.

The key is the inode's number. The record is a version byte, then JSON of the fields of `policy.restores.Restore`.
"""

import json
from typing import Final

import attrs

from tierfs.errors import IndexDamageError
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, unpack_id
from tierfs.index.txn import Txn
from tierfs.policy.classes import Speed
from tierfs.policy.restores import Restore, Stage

_VERSION: Final = b"\x01"


def put(txn: Txn, ino: int, restore: Restore) -> None:
    """Adds or replaces."""
    text = json.dumps(attrs.asdict(restore), separators=(",", ":"))
    txn.put(Table.RESTORES, pack_id(ino), _VERSION + text.encode())


def get(reader: Reader, ino: int) -> Restore | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.RESTORES, pack_id(ino))
    return _decode(record) if record is not None else None


def page(reader: Reader, after_ino: int, limit: int) -> list[tuple[int, Restore]]:
    """The next `limit` rows above `after_ino`, by number. Raises IndexDamageError."""
    rows = reader.scan(Table.RESTORES, pack_id(after_ino + 1), KEY_STOP, limit=limit)
    return [(unpack_id(key), _decode(record)) for key, record in rows]


def count(reader: Reader) -> int:
    """In constant time; a Txn's own changes are not counted."""
    return reader.count(Table.RESTORES)


def delete(txn: Txn, ino: int) -> None:
    """No error where there is none."""
    txn.delete(Table.RESTORES, pack_id(ino))


def _decode(record: bytes) -> Restore:
    if record[:1] != _VERSION:
        raise IndexDamageError(f"restore of unknown version {record[:1].hex()}")
    try:
        fields = json.loads(record[1:])
        return Restore(**{**fields, "stage": Stage(fields["stage"]), "speed": Speed(fields["speed"])})
    except (ValueError, TypeError, KeyError) as error:
        raise IndexDamageError(f"restore: {error}") from error
