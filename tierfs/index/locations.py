"""Rows of LOCATIONS, LOCATED and OVERRIDES: where the bucket holds what was renamed here and not yet there."""

from typing import Final

from tierfs.index.codec import decode_number, decode_text, encode_number
from tierfs.index.schema import KEY_STOP, Reader, Table, hash_key, pack_id, unpack_id
from tierfs.index.txn import Txn

OVERRIDES_MAX: Final = 100_000
"""Renamed directories whose trees are not yet moved, at most; who renames checks it."""


def location(reader: Reader, ino: int) -> str | None:
    """The key that holds the inode's object, where it is not the one of its path."""
    key = reader.get(Table.LOCATIONS, pack_id(ino))
    return None if key is None else decode_text(key)


def set_location(txn: Txn, ino: int, key: str) -> None:
    """The inode's object is at `key`, wherever its path is. One inode a key: a former owner loses its row."""
    _forget(txn, ino)
    owner = located_at(txn, key)
    if owner is not None:
        txn.delete(Table.LOCATIONS, pack_id(owner))
    txn.put(Table.LOCATIONS, pack_id(ino), key.encode())
    txn.put(Table.LOCATED, hash_key(key), encode_number(ino))


def clear_location(txn: Txn, ino: int) -> None:
    """The inode's object is where its path says."""
    _forget(txn, ino)
    txn.delete(Table.LOCATIONS, pack_id(ino))


def _forget(txn: Txn, ino: int) -> None:
    key = location(txn, ino)
    if key is not None:
        txn.delete(Table.LOCATED, hash_key(key))


def located_at(reader: Reader, key: str) -> int | None:
    """The inode whose object is at `key` though its path says otherwise."""
    pointer = reader.get(Table.LOCATED, hash_key(key))
    if pointer is None:
        return None
    ino = decode_number(pointer)
    return ino if location(reader, ino) == key else None


def override(reader: Reader, ino: int) -> str | None:
    """The prefix ("a/b/") that still holds the tree of a renamed directory."""
    prefix = reader.get(Table.OVERRIDES, pack_id(ino))
    return None if prefix is None else decode_text(prefix)


def set_override(txn: Txn, ino: int, prefix: str) -> None:
    """The directory's tree is at `prefix` until its MOVE_TREE is done."""
    txn.put(Table.OVERRIDES, pack_id(ino), prefix.encode())


def clear_override(txn: Txn, ino: int) -> None:
    """The tree is where the path says."""
    txn.delete(Table.OVERRIDES, pack_id(ino))


def overrides(reader: Reader) -> list[tuple[int, str]]:
    """(ino, prefix), by ino."""
    rows = reader.scan(Table.OVERRIDES, pack_id(0), KEY_STOP, limit=OVERRIDES_MAX)
    return [(unpack_id(key), decode_text(prefix)) for key, prefix in rows]
