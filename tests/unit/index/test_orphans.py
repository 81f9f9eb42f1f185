"""Unlinked while open."""

from tierfs.index import orphans
from tierfs.index.env import Index


def test_orphans(index: Index) -> None:
    with index.transaction() as txn:
        for ino in (9, 3, 2**62):
            orphans.add(txn, ino)
    assert orphans.page(index, 0, 2) == [3, 9]
    assert orphans.page(index, 9, 2) == [2**62]
    with index.transaction() as txn:
        orphans.remove(txn, 9)
    assert orphans.page(index, 0, 10) == [3, 2**62]
