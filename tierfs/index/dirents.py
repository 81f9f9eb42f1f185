"""Rows of DIRENTS: the names in a directory, in binary order."""

from collections.abc import Iterator
from typing import Final

from tierfs.index.codec import decode_dirent, encode_dirent
from tierfs.index.schema import Reader, Table, pack_id
from tierfs.index.txn import Txn
from tierfs.model import Dirent

_PAGE_ENTRIES: Final = 128


def get(reader: Reader, parent: int, name: bytes) -> Dirent | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.DIRENTS, pack_id(parent) + name)
    if record is None:
        return None
    ino, fmt = decode_dirent(record)
    return Dirent(name, ino, fmt)


def put(txn: Txn, parent: int, name: bytes, ino: int, fmt: int) -> None:
    """Adds or replaces a name; `fmt` is the S_IFMT part of the mode, 0 while it is not known."""
    txn.put(Table.DIRENTS, pack_id(parent) + name, encode_dirent(ino, fmt))


def delete(txn: Txn, parent: int, name: bytes) -> None:
    """Removes a name."""
    txn.delete(Table.DIRENTS, pack_id(parent) + name)


def page(reader: Reader, parent: int, after: bytes, limit: int) -> list[Dirent]:
    """The next `limit` names above `after`; b"" begins. A listing in pages stays valid while names come and go."""
    start = pack_id(parent) + after + b"\0" if after else pack_id(parent)
    dirents = []
    for key, record in reader.scan(Table.DIRENTS, start, pack_id(parent + 1), limit=limit):
        ino, fmt = decode_dirent(record)
        dirents.append(Dirent(key[8:], ino, fmt))
    return dirents


def above(reader: Reader, parent: int, after: bytes = b"") -> Iterator[Dirent]:
    """All names above `after`, read in pages, which it may take a moment to consume; see `page`."""
    while entries := page(reader, parent, after, _PAGE_ENTRIES):
        yield from entries
        after = entries[-1].name


def between(reader: Reader, parent: int, first: bytes, last: bytes, limit: int) -> dict[bytes, Dirent]:
    """Names from `first` to `last`, both included, at most the first `limit` of them."""
    prefix = pack_id(parent)
    rows = reader.scan(Table.DIRENTS, prefix + first, prefix + last + b"\0", limit=limit)
    return {key[8:]: Dirent(key[8:], *decode_dirent(record)) for key, record in rows}


def is_empty(reader: Reader, parent: int) -> bool:
    """No name is known to the index; of a directory that is not LISTED the bucket may know some."""
    return not reader.scan(Table.DIRENTS, pack_id(parent), pack_id(parent + 1), limit=1)
