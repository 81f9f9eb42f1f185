"""Rows of INODES."""

from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.model import Inode


def make_inode(ino: int) -> Inode:
    return Inode(ino, 0o100644, 0, 0, 0, 1, 1, 1, 1, 1, 1, b"n%d" % ino)


def test_inodes(index: Index) -> None:
    assert inodes.get(index, 2**62) is None
    with index.transaction() as txn:
        for ino in (2**62, 3, 300):
            inodes.put(txn, make_inode(ino))
    assert inodes.get(index, 2**62) == make_inode(2**62)
    assert index.entries == 3
    with index.transaction() as txn:
        inodes.delete(txn, 3)
        assert inodes.get(txn, 3) is None
    assert index.entries == 2


def test_pages_of_inodes(index: Index) -> None:
    with index.transaction() as txn:
        for ino in (2**62, 3, 300):
            inodes.put(txn, make_inode(ino))
    assert [inode.ino for inode in inodes.page(index, 0, 2)] == [3, 300]
    assert inodes.page(index, 300, 2) == [make_inode(2**62)]
