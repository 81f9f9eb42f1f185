"""Rows of COUNTERS: what was asked of the bucket, month by month. Prices play no part here.

    key    "cost", month as YYYY-MM, group, kind, storage class, speed, joined by NUL; no part has one
    value  u8 version, u64 requests, u64 bytes sent, u64 bytes received

A group is the first directories of a key; UTF-8, cut where a row's key would become too long.

    key    "cost", month as YYYY-MM
    value  u8 version, then JSON of the fields of MonthRow
"""

import json
import struct
from collections.abc import Mapping
from typing import Final

import attrs
from attrs import field, frozen

from tierfs.errors import IndexDamageError
from tierfs.index.schema import Reader, Table
from tierfs.index.txn import Txn
from tierfs.policy.cost import RequestKind, Traffic, Use

_VERSION: Final = 1
_VALUE: Final = struct.Struct("<BQQQ")
_MARK: Final = b"cost\0"
_MARK_STOP: Final = b"cost\1"
GROUP_MAX_BYTES: Final = 400
_PAGE_ROWS: Final = 1000
_Key = tuple[str, Use]


@frozen
class MonthRow:
    """Of one month: counted from when to when, and for how long so many objects lay there.

    `gib_s`: GiB x s by class, with what is billed beyond their sizes; `watched_s`: objects x s that are watched.
    """

    counted_from_ns: int
    sampled_ns: int
    gib_s: Mapping[str, float] = field(factory=dict)
    watched_s: Mapping[str, float] = field(factory=dict)


def group_of(key: str, depth: int) -> str:
    """The first `depth` directories of an object's key, or of the prefix of a LIST; "" for what lies in the root."""
    group = "/".join(key.split("/")[:-1][:depth]).replace("\0", "")
    return group.encode()[:GROUP_MAX_BYTES].decode(errors="ignore")


def _prefix(month: str) -> bytes:
    return _MARK + month.encode()


def _row_key(month: str, key: _Key) -> bytes:
    group, use = key
    parts = (group, use.kind.value, use.storage_class[:32], use.speed)
    return _prefix(month) + b"\0" + "\0".join(parts).encode()


def add(txn: Txn, month: str, group: str, use: Use, traffic: Traffic) -> None:
    """Counts it. Raises IndexDamageError."""
    key = _row_key(month, (group, use))
    record = txn.get(Table.COUNTERS, key)
    total = traffic + (_decode(record) if record is not None else Traffic())
    txn.put(Table.COUNTERS, key, _VALUE.pack(_VERSION, total.requests, total.sent_bytes, total.received_bytes))


def _decode(record: bytes) -> Traffic:
    if len(record) != _VALUE.size or record[0] != _VERSION:
        raise IndexDamageError(f"counted requests of unknown version {record[:1].hex()} or length {len(record)}")
    _, requests, sent_bytes, received_bytes = _VALUE.unpack(record)
    return Traffic(requests, sent_bytes, received_bytes)


def of_month(reader: Reader, month: str) -> dict[tuple[str, Use], Traffic]:
    """All of a month, by group and use. Raises IndexDamageError."""
    found: dict[tuple[str, Use], Traffic] = {}
    start, stop = _prefix(month) + b"\0", _prefix(month) + b"\1"
    while rows := reader.scan(Table.COUNTERS, start, stop, limit=_PAGE_ROWS):
        for key, record in rows:
            group, kind, storage_class, speed = key[len(_prefix(month)) + 1 :].decode(errors="replace").split("\0")
            found[group, Use(RequestKind(kind), storage_class, speed)] = _decode(record)
        start = rows[-1][0] + b"\0"
    return found


def month_row(reader: Reader, month: str) -> MonthRow | None:
    """None where nothing of the month was counted. Raises IndexDamageError."""
    record = reader.get(Table.COUNTERS, _prefix(month))
    if record is None:
        return None
    if record[0] != _VERSION:
        raise IndexDamageError(f"counted month of unknown version {record[:1].hex()}")
    try:
        return MonthRow(**json.loads(record[1:]))
    except (ValueError, TypeError) as error:
        raise IndexDamageError(f"counted month: {error}") from error


def put_month(txn: Txn, month: str, row: MonthRow) -> None:
    """Adds or replaces."""
    text = json.dumps(attrs.asdict(row), separators=(",", ":"))
    txn.put(Table.COUNTERS, _prefix(month), bytes([_VERSION]) + text.encode())


def forget_before(txn: Txn, month: str, limit: int) -> int:
    """Deletes the first `limit` rows of earlier months; returns how many there were of these."""
    rows = txn.scan(Table.COUNTERS, _MARK, min(_prefix(month), _MARK_STOP), limit=limit)
    for key, _ in rows:
        txn.delete(Table.COUNTERS, key)
    return len(rows)
