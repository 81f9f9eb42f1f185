"""Rows of ORPHANS: inodes that were unlinked while open. What is here at a start is purged."""

from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, unpack_id
from tierfs.index.txn import Txn


def add(txn: Txn, ino: int) -> None:
    """The last name went while somebody has the inode open."""
    txn.put(Table.ORPHANS, pack_id(ino), b"")


def remove(txn: Txn, ino: int) -> None:
    """It is purged, or has a name again."""
    txn.delete(Table.ORPHANS, pack_id(ino))


def page(reader: Reader, after_ino: int, limit: int) -> list[int]:
    """The next `limit` inode numbers above `after_ino`."""
    rows = reader.scan(Table.ORPHANS, pack_id(after_ino + 1), KEY_STOP, limit=limit)
    return [unpack_id(key) for key, _ in rows]
