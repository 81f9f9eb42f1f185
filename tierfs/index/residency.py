"""Rows of HOT, AGES, EXTENTS and SPILLS (RANKS: `index.ranks`): what the hot tier holds of an inode.

What to trust after a crash (DESIGN.md 4): a HotRecord whose `boot_id` is the current boot is true, since the
page cache kept every byte of the backing file. One of another boot is true only if it is `synced` and not
`writing`: its backing file was synced before the record was published. `content.recover` acts on it.
"""

from typing import Final

from tierfs.index import ranks, sums
from tierfs.index.codec import decode_hot, decode_number, decode_spill, encode_hot, encode_number, encode_spill
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, pack_pair, unpack_id, unpack_pair
from tierfs.index.txn import Txn
from tierfs.model import HotRecord, Inode, Residency, Spill

RANGES_MAX: Final = 1 << 20
"""Extents or spills of one inode, at most: 1 TiB in ranges of 1 MiB with gaps between them."""


def hot_get(reader: Reader, ino: int) -> HotRecord | None:
    """None: the file is cold. Raises IndexDamageError."""
    record = reader.get(Table.HOT, pack_id(ino))
    return None if record is None else decode_hot(record)


def is_whole(reader: Reader, inode: Inode) -> bool:
    """Every byte of the file is on this machine or in objects of ours: it can be told without its object."""
    if not inode.is_regular or inode.size_bytes == 0:
        return True
    hot = hot_get(reader, inode.ino)
    return hot is not None and hot.residency is Residency.FULL


def hot_put(txn: Txn, ino: int, hot: HotRecord) -> None:
    """Adds or replaces, and moves the rows of AGES and RANKS along."""
    old = hot_get(txn, ino)
    if old is None or old.last_use_s != hot.last_use_s:
        if old is not None:
            txn.delete(Table.AGES, pack_pair(old.last_use_s, ino))
        txn.put(Table.AGES, pack_pair(hot.last_use_s, ino), b"")
    ranks.move(txn, ino, old, hot)
    txn.put(Table.HOT, pack_id(ino), encode_hot(hot))


def hot_delete(txn: Txn, ino: int, *, remembers: bool = False) -> None:
    """Removes the record, its rows of AGES and RANKS and its checksums; extents and spills have functions of their own.

    `remembers`: the file itself lives on, and may come back.
    """
    hot = hot_get(txn, ino)
    if hot is not None:
        ranks.move(txn, ino, hot, None)
        if remembers:
            ranks.remember(txn, ino, hot)
        txn.delete(Table.AGES, pack_pair(hot.last_use_s, ino))
        txn.delete(Table.HOT, pack_id(ino))
        sums.clear(txn, ino)


def hot_page(reader: Reader, after_ino: int, limit: int) -> list[tuple[int, HotRecord]]:
    """The next `limit` records above `after_ino`, by number."""
    rows = reader.scan(Table.HOT, pack_id(after_ino + 1), KEY_STOP, limit=limit)
    return [(unpack_id(key), decode_hot(record)) for key, record in rows]


def coldest(reader: Reader, after: tuple[int, int] | None, limit: int) -> list[tuple[int, int]]:
    """(last use in s, ino), oldest use first, above `after`; None begins."""
    start = pack_pair(0, 0) if after is None else pack_pair(after[0], after[1] + 1)
    rows = reader.scan(Table.AGES, start, b"\xff" * 17, limit=limit)
    return [unpack_pair(key) for key, _ in rows]


def extents_get(reader: Reader, ino: int) -> list[tuple[int, int]]:
    """Present byte ranges [start, stop), rising, never touching. Raises IndexDamageError."""
    rows = reader.scan(Table.EXTENTS, pack_id(ino), pack_id(ino + 1), limit=RANGES_MAX)
    return [(unpack_pair(key)[1], decode_number(value)) for key, value in rows]


def _touching(reader: Reader, ino: int, start: int, stop: int) -> list[tuple[int, int]]:
    """Extents that overlap or touch [start, stop], found without reading those before it."""
    rows = reader.scan(Table.EXTENTS, pack_pair(ino, start), pack_pair(ino, stop + 1), limit=RANGES_MAX)
    found = [(unpack_pair(key)[1], decode_number(value)) for key, value in rows]
    # the one that begins before `start` may reach into it
    before = _last_before(reader, ino, start)
    if before is not None and before[1] >= start:
        found.insert(0, before)
    return found


def _last_before(reader: Reader, ino: int, start: int) -> tuple[int, int] | None:
    row = reader.last_before(Table.EXTENTS, pack_pair(ino, start), pack_id(ino))
    return None if row is None else (unpack_pair(row[0])[1], decode_number(row[1]))


def extents_add(txn: Txn, ino: int, start: int, stop: int) -> None:
    """[start, stop) is present now; merges with what it overlaps or touches."""
    if start >= stop:
        return
    for old_start, old_stop in _touching(txn, ino, start, stop):
        if old_start <= start and stop <= old_stop:
            return
        txn.delete(Table.EXTENTS, pack_pair(ino, old_start))
        start, stop = min(start, old_start), max(stop, old_stop)
    txn.put(Table.EXTENTS, pack_pair(ino, start), encode_number(stop))


def extents_remove(txn: Txn, ino: int, start: int, stop: int) -> None:
    """[start, stop) is absent now; splits what it cuts."""
    if start >= stop:
        return
    for old_start, old_stop in _touching(txn, ino, start, stop):
        if old_stop <= start or old_start >= stop:
            continue
        if old_start < start:
            txn.put(Table.EXTENTS, pack_pair(ino, old_start), encode_number(start))
        else:
            txn.delete(Table.EXTENTS, pack_pair(ino, old_start))
        if old_stop > stop:
            txn.put(Table.EXTENTS, pack_pair(ino, stop), encode_number(old_stop))


def extents_clear(txn: Txn, ino: int) -> None:
    """Nothing is present, or the file is FULL and needs no list."""
    for start, _ in extents_get(txn, ino):
        txn.delete(Table.EXTENTS, pack_pair(ino, start))


def spills(reader: Reader, ino: int) -> list[Spill]:
    """By start."""
    rows = reader.scan(Table.SPILLS, pack_id(ino), pack_id(ino + 1), limit=RANGES_MAX)
    return [decode_spill(unpack_pair(key)[1], record) for key, record in rows]


def spill_put(txn: Txn, ino: int, spill: Spill) -> None:
    """Adds or replaces the spill that begins at `spill.start`."""
    txn.put(Table.SPILLS, pack_pair(ino, spill.start), encode_spill(spill))


def spill_delete(txn: Txn, ino: int, start: int) -> None:
    """Removes the spill that begins at `start`."""
    txn.delete(Table.SPILLS, pack_pair(ino, start))


def spills_clear(txn: Txn, ino: int) -> None:
    """Removes every spill of the inode."""
    for spill in spills(txn, ino):
        spill_delete(txn, ino, spill.start)
