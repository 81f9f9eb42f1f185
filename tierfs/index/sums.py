"""Rows of SUMS: checksums of ranges in the hot tier, made while the bytes came in, for who reads them again.

A row counts only for the object version that it was made of (its ETag, hashed): so a file that was written and uploaded
since needs no row removed. Neighbours are joined up to 8 MiB, so a file has at most two rows for each 8 MiB.
"""

from typing import Final

from tierfs import native
from tierfs.index.codec import decode_sum, encode_sum
from tierfs.index.schema import Reader, Table, pack_id, pack_pair, unpack_pair
from tierfs.index.txn import Txn
from tierfs.model import Sum

JOINED_MAX_BYTES: Final = 8 << 20
_ROWS_MAX: Final = 1 << 22


def etag_hash(etag: str) -> int:
    """What a row keeps of an ETag."""
    return native.xxh3_64(etag.encode())


def all(reader: Reader, ino: int) -> list[Sum]:
    """By start, whatever their version. Raises IndexDamageError."""
    rows = reader.scan(Table.SUMS, pack_id(ino), pack_id(ino + 1), limit=_ROWS_MAX)
    return [decode_sum(unpack_pair(key)[1], record) for key, record in rows]


def of_version(reader: Reader, ino: int, etag: str) -> list[Sum]:
    """Those that count for this object version, by start."""
    wanted = etag_hash(etag)
    return [found for found in all(reader, ino) if found.etag_hash == wanted]


def add(txn: Txn, ino: int, found: Sum) -> None:
    """The range has this checksum; what rows said of it before goes."""
    if found.start >= found.stop:
        return
    remove(txn, ino, found.start, found.stop)
    before, after = _before(txn, ino, found.start), _at(txn, ino, found.stop)
    if before is not None and before.stop == found.start:
        found = _joined(txn, ino, before, found)
    if after is not None:
        found = _joined(txn, ino, found, after)
    txn.put(Table.SUMS, pack_pair(ino, found.start), encode_sum(found))


def _joined(txn: Txn, ino: int, left: Sum, right: Sum) -> Sum:
    """Both as one, their rows gone; where they cannot be joined, the one that has no row yet."""
    is_new_left = txn.get(Table.SUMS, pack_pair(ino, left.start)) is None
    if left.etag_hash != right.etag_hash or right.stop - left.start > JOINED_MAX_BYTES:
        return left if is_new_left else right
    for old in (left, right):
        txn.delete(Table.SUMS, pack_pair(ino, old.start))
    crc = native.crc64nvme_combine(left.crc, right.crc, right.stop - right.start)
    return Sum(left.start, right.stop, crc, left.etag_hash)


def _at(reader: Reader, ino: int, start: int) -> Sum | None:
    record = reader.get(Table.SUMS, pack_pair(ino, start))
    return None if record is None else decode_sum(start, record)


def _before(reader: Reader, ino: int, start: int) -> Sum | None:
    row = reader.last_before(Table.SUMS, pack_pair(ino, start), pack_id(ino))
    return None if row is None else decode_sum(unpack_pair(row[0])[1], row[1])


def remove(txn: Txn, ino: int, start: int, stop: int) -> None:
    """Bytes of [start, stop) are others now, or gone: a checksum cannot be cut, so every row that loses some goes."""
    before = _before(txn, ino, start)
    if before is not None and before.stop > start:
        txn.delete(Table.SUMS, pack_pair(ino, before.start))
    for key, _ in txn.scan(Table.SUMS, pack_pair(ino, start), pack_pair(ino, stop), limit=_ROWS_MAX):
        txn.delete(Table.SUMS, key)


def clear(txn: Txn, ino: int) -> None:
    """Nothing is known of the file any more."""
    for key, _ in txn.scan(Table.SUMS, pack_id(ino), pack_id(ino + 1), limit=_ROWS_MAX):
        txn.delete(Table.SUMS, key)
