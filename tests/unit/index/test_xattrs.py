"""Extended attributes, raw."""

from tierfs.index import xattrs
from tierfs.index.env import Index


def test_xattrs(index: Index) -> None:
    with index.transaction() as txn:
        xattrs.put(txn, 7, b"user.b", b"\x00\xff" * 30_000)
        xattrs.put(txn, 7, b"user.a", b"")
        xattrs.put(txn, 8, b"user.c", b"other")
    assert xattrs.names(index, 7) == [b"user.a", b"user.b"]
    assert xattrs.get(index, 7, b"user.a") == b""
    assert xattrs.get(index, 7, b"user.c") is None
    with index.transaction() as txn:
        xattrs.put(txn, 7, b"user.new", b"in the same transaction")
        xattrs.delete_all(txn, 7)
    assert xattrs.all(index, 7) == {}
    assert xattrs.all(index, 8) == {b"user.c": b"other"}
