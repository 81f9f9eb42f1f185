"""Rows of SETTINGS: what the daemon keeps about this cache under a name."""

from tierfs.index.schema import Reader, Table
from tierfs.index.txn import Txn


def get(reader: Reader, name: str) -> bytes | None:
    """None where it was never put."""
    return reader.get(Table.SETTINGS, _key(name))


def put(txn: Txn, name: str, value: bytes) -> None:
    """Adds or replaces."""
    txn.put(Table.SETTINGS, _key(name), value)


def delete(txn: Txn, name: str) -> None:
    """Removes it. Repeatable."""
    txn.delete(Table.SETTINGS, _key(name))


def values(reader: Reader, prefix: str, limit: int) -> list[bytes]:
    """The first `limit` of those whose names begin with `prefix`, which ends in ASCII."""
    start = _key(prefix)
    stop = start[:-1] + bytes((start[-1] + 1,))
    return [value for _, value in reader.scan(Table.SETTINGS, start, stop, limit=limit)]


def _key(name: str) -> bytes:
    if not name or name.startswith("\0"):
        raise ValueError(f"{name!r} is no name of a setting")
    return name.encode()
