"""Multipart uploads that have begun and not ended: a crash leaves their parts in the bucket, where nobody sees them.

Rows of SETTINGS under names that begin with "upload ": an upload id may be longer than a key of LMDB, so its hash is
the name, and JSON of [object key, upload id] the value.
"""

import json
from typing import Final

import xxhash

from tierfs.index import settings
from tierfs.index.schema import Reader
from tierfs.index.txn import Txn

_NAMES: Final = "upload "


def add(txn: Txn, key: str, upload_id: str) -> None:
    """The upload has begun."""
    settings.put(txn, _name(upload_id), json.dumps([key, upload_id]).encode())


def remove(txn: Txn, upload_id: str) -> None:
    """It was completed or dropped. Repeatable."""
    settings.delete(txn, _name(upload_id))


def page(reader: Reader, limit: int) -> list[tuple[str, str]]:
    """(object key, upload id) of some."""
    found = []
    for value in settings.values(reader, _NAMES, limit):
        key, upload_id = json.loads(value)
        found.append((key, upload_id))
    return found


def _name(upload_id: str) -> str:
    return _NAMES + xxhash.xxh3_128_hexdigest(upload_id.encode())
