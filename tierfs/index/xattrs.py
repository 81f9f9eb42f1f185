"""Rows of XATTRS: extended attributes by (inode, name), values raw. The caller limits names to 255 bytes."""

from typing import Final

from tierfs.index import settings
from tierfs.index.schema import Reader, Table, pack_id
from tierfs.index.txn import Txn

XATTRS_MAX: Final = 4096
"""Attributes of one inode, at most; who sets one checks it."""
TIERING: Final = b"user.tierfs.tiering"
"""A rule that a file or directory has of its own, see tiering.view."""
_HAS_TIERING: Final = "has-tiering-rules"


def get(reader: Reader, ino: int, name: bytes) -> bytes | None:
    """The value, None where there is no such attribute."""
    return reader.get(Table.XATTRS, pack_id(ino) + name)


def put(txn: Txn, ino: int, name: bytes, value: bytes) -> None:
    """Sets one; an empty value is a value."""
    if name == TIERING:
        settings.put(txn, _HAS_TIERING, b"1")
    txn.put(Table.XATTRS, pack_id(ino) + name, value)


def has_tiering_rules(reader: Reader) -> bool:
    """Was TIERING ever set in this index? Where it was not, nobody has to look for it."""
    return settings.get(reader, _HAS_TIERING) is not None


def delete(txn: Txn, ino: int, name: bytes) -> None:
    """Removes one."""
    txn.delete(Table.XATTRS, pack_id(ino) + name)


def names(reader: Reader, ino: int) -> list[bytes]:
    """In binary order."""
    return list(all(reader, ino))


def all(reader: Reader, ino: int) -> dict[bytes, bytes]:
    """Names and values, in binary order of the names."""
    rows = reader.scan(Table.XATTRS, pack_id(ino), pack_id(ino + 1), limit=XATTRS_MAX)
    return {key[8:]: value for key, value in rows}


def delete_all(txn: Txn, ino: int) -> None:
    """Removes every attribute of the inode."""
    for name in names(txn, ino):
        delete(txn, ino, name)
