"""Rows of RANKS and HISTORY: in which order files leave the hot tier, and what those were worth that left it.

A row of RANKS is put and moved along with the record of HOT that it speaks of (`index.residency`); what is pinned has
none. Files on probation come before all others, oldest first; then those that are settled, least worth first. HISTORY
remembers a rank for each of `_SLOTS` slots: files that share one replace each other's, so it never has to be trimmed.
See `policy.ranking` for what the numbers are.
"""

from typing import Final

from tierfs.index.codec import decode_rank, encode_rank
from tierfs.index.schema import Reader, Table, pack_id, pack_pair, unpack_pair
from tierfs.index.txn import Txn
from tierfs.model import HotRecord

_SLOTS: Final = 1 << 20
_SETTLED: Final = 1 << 63


def key_of(ino: int, hot: HotRecord) -> bytes | None:
    """Of the file's row of RANKS; None: it has none."""
    if hot.pinned:
        return None
    return pack_pair(hot.used_at_bytes if hot.on_probation else _SETTLED | hot.rank_bytes, ino)


def move(txn: Txn, ino: int, old: HotRecord | None, new: HotRecord | None) -> None:
    """The record of a file has changed."""
    before = None if old is None else key_of(ino, old)
    after = None if new is None else key_of(ino, new)
    if before == after:
        return
    if before is not None:
        txn.delete(Table.RANKS, before)
    if after is not None:
        txn.put(Table.RANKS, after, b"")


def on_probation(reader: Reader, after: tuple[int, int] | None, limit: int) -> list[tuple[int, int]]:
    """(clock when it came in, ino), oldest first, above `after`; None begins."""
    start = pack_pair(0, 0) if after is None else pack_pair(after[0], after[1] + 1)
    rows = reader.scan(Table.RANKS, start, pack_pair(_SETTLED, 0), limit=limit)
    return [unpack_pair(key) for key, _ in rows]


def settled(reader: Reader, after: tuple[int, int] | None, limit: int) -> list[tuple[int, int]]:
    """(rank, ino), least worth first, above `after`; None begins."""
    rank, ino = (0, -1) if after is None else after
    rows = reader.scan(Table.RANKS, pack_pair(_SETTLED | rank, ino + 1), b"\xff" * 17, limit=limit)
    return [(order ^ _SETTLED, ino) for order, ino in (unpack_pair(key) for key, _ in rows)]


def weakest(reader: Reader) -> int | None:
    """The lowest rank of a settled file; None: there is none."""
    return next((rank for rank, _ in settled(reader, None, 1)), None)


def remember(txn: Txn, ino: int, hot: HotRecord) -> None:
    """The file is leaving the tier."""
    txn.put(Table.HISTORY, pack_id(ino % _SLOTS), encode_rank(ino, hot.rank_bytes, hot.used_at_bytes))


def recall(reader: Reader, ino: int) -> tuple[int, int] | None:
    """(rank, clock of its last use) of the file when it left; None: it never did, or that is forgotten.

    Raises IndexDamageError.
    """
    record = reader.get(Table.HISTORY, pack_id(ino % _SLOTS))
    if record is None:
        return None
    owner, rank_bytes, used_at_bytes = decode_rank(record)
    return (rank_bytes, used_at_bytes) if owner == ino else None
