"""Rows of LINKS: the second and further names of an inode, each with the version of its own object.

The first link is in the inode (`parent`, `name`, `base`). Who removes the first link moves one of these up.
"""

from attrs import frozen

from tierfs.index.codec import decode_base, encode_base
from tierfs.index.schema import Reader, Table, pack_id, pack_pair, unpack_pair
from tierfs.index.txn import Txn
from tierfs.model import Base

_LINKS_MAX = 65_000  # as ext4 has it; what `all` may return


@frozen
class Link:
    """A further name; `base` is the version of the object under that name, None before its first export."""

    parent: int
    name: bytes
    base: Base | None


def get(reader: Reader, ino: int, parent: int, name: bytes) -> Link | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.LINKS, pack_pair(ino, parent) + name)
    return None if record is None else Link(parent, name, decode_base(record) if record else None)


def all(reader: Reader, ino: int) -> list[Link]:
    """Every further link, by (parent, name)."""
    rows = reader.scan(Table.LINKS, pack_id(ino), pack_id(ino + 1), limit=_LINKS_MAX)
    return [Link(unpack_pair(key)[1], key[16:], decode_base(record) if record else None) for key, record in rows]


def put(txn: Txn, ino: int, parent: int, name: bytes, base: Base | None) -> None:
    """Adds a link or replaces its base."""
    txn.put(Table.LINKS, pack_pair(ino, parent) + name, b"" if base is None else encode_base(base))


def delete(txn: Txn, ino: int, parent: int, name: bytes) -> None:
    """Removes a link."""
    txn.delete(Table.LINKS, pack_pair(ino, parent) + name)
