"""Rows of INODES."""

from tierfs.index.codec import decode_inode, encode_inode
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, unpack_id
from tierfs.index.txn import Txn
from tierfs.model import Inode


def get(reader: Reader, ino: int) -> Inode | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.INODES, pack_id(ino))
    return None if record is None else decode_inode(ino, record)


def put(txn: Txn, inode: Inode) -> None:
    """Adds or replaces. Raises FsError(EOVERFLOW) for a number out of its range (a time beyond the year 2262)."""
    txn.put(Table.INODES, pack_id(inode.ino), encode_inode(inode))


def delete(txn: Txn, ino: int) -> None:
    """The row alone; rows of other tables are their modules' business."""
    txn.delete(Table.INODES, pack_id(ino))


def page(reader: Reader, after_ino: int, limit: int) -> list[Inode]:
    """The next `limit` inodes above `after_ino`, by number."""
    rows = reader.scan(Table.INODES, pack_id(after_ino + 1), KEY_STOP, limit=limit)
    return [decode_inode(unpack_id(key), record) for key, record in rows]
