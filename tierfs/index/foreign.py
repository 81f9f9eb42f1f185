"""Rows of FOREIGN: what others put on an object and a rewrite must keep.

The record is a version byte, then JSON of those fields that are not empty, under their names here.
"""

import json
from collections.abc import Mapping
from typing import Final

import attrs
from attrs import field, frozen

from tierfs.errors import IndexDamageError
from tierfs.index.schema import Reader, Table, pack_id
from tierfs.index.txn import Txn

_VERSION: Final = b"\x01"


@frozen
class ForeignMeta:
    """User metadata keys are lower-case without `x-amz-meta-`; empty strings mean "not set"."""

    user: Mapping[str, str] = field(factory=dict)
    tags: Mapping[str, str] = field(factory=dict)
    content_type: str = ""
    cache_control: str = ""
    content_encoding: str = ""
    content_disposition: str = ""
    content_language: str = ""
    expires: str = ""


_FIELDS: Final = tuple(attribute.name for attribute in attrs.fields(ForeignMeta))


def get(reader: Reader, ino: int) -> ForeignMeta | None:
    """None: nothing of others is known. Raises IndexDamageError."""
    record = reader.get(Table.FOREIGN, pack_id(ino))
    if record is None:
        return None
    if record[:1] != _VERSION:
        raise IndexDamageError(f"foreign metadata of inode {ino} of unknown version {record[:1].hex()}")
    try:
        return ForeignMeta(**json.loads(record[1:]))
    except (ValueError, TypeError) as error:
        raise IndexDamageError(f"foreign metadata of inode {ino}: {error}") from error


def put(txn: Txn, ino: int, meta: ForeignMeta) -> None:
    """Adds or replaces."""
    values = {name: value for name in _FIELDS if (value := getattr(meta, name))}
    text = json.dumps(values, default=dict, separators=(",", ":"))
    txn.put(Table.FOREIGN, pack_id(ino), _VERSION + text.encode())


def delete(txn: Txn, ino: int) -> None:
    """Nothing of others is left."""
    txn.delete(Table.FOREIGN, pack_id(ino))
