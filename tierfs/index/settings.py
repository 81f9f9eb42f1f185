"""Rows of SETTINGS: what the daemon keeps about this cache under a name."""

from tierfs.index.schema import Reader, Table
from tierfs.index.txn import Txn


def get(reader: Reader, name: str) -> bytes | None:
    """None where it was never put."""
    return reader.get(Table.SETTINGS, _key(name))


def put(txn: Txn, name: str, value: bytes) -> None:
    """Adds or replaces."""
    txn.put(Table.SETTINGS, _key(name), value)


def _key(name: str) -> bytes:
    if not name or name.startswith("\0"):
        raise ValueError(f"{name!r} is no name of a setting")
    return name.encode()
