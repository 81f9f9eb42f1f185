"""What repairs leave behind, where that is more than "nothing is wrong"; that each settles is in test_check."""

import stat

import pytest

from tierfs.index import dirents, inodes, intents, links, residency
from tierfs.index.check import check
from tierfs.index.codec import encode_number
from tierfs.index.env import Index
from tierfs.index.repair import LOST_AND_FOUND, repair
from tierfs.index.schema import Table, pack_pair
from tierfs.model import ROOT_INO, HotRecord, Inode, InodeFlag, Residency
from tierfs.policy.fsck import FindingKind, Repair, repair_of

FILE, DIRECTORY = 30, 20


def directory(ino: int, parent: int, name: bytes, nlink: int = 2) -> Inode:
    return Inode(
        ino, stat.S_IFDIR | 0o755, 7, 8, 0, nlink, 1, 1, 1, 1, parent, name,
        flags=InodeFlag.ATTRS_KNOWN | InodeFlag.LISTED, listed_ns=5,
    )  # fmt: skip


def regular(parent: int, name: bytes) -> Inode:
    return Inode(FILE, stat.S_IFREG | 0o640, 7, 8, 3, 1, 1, 1, 1, 1, parent, name, flags=InodeFlag.ATTRS_KNOWN)


@pytest.fixture
def tree(index: Index) -> Index:
    """/dir/file"""
    with index.transaction() as txn:
        inodes.put(txn, directory(ROOT_INO, ROOT_INO, b"", nlink=3))
        inodes.put(txn, directory(DIRECTORY, ROOT_INO, b"dir"))
        inodes.put(txn, regular(DIRECTORY, b"file"))
        dirents.put(txn, ROOT_INO, b"dir", DIRECTORY, stat.S_IFDIR)
        dirents.put(txn, DIRECTORY, b"file", FILE, stat.S_IFREG)
    assert not list(check(index))
    return index


def mend(index: Index) -> None:
    for _ in range(5):
        for finding in list(check(index)):
            assert repair_of(finding) is not Repair.NONE, str(finding)
            repair(index, finding, repair_of(finding))
    assert not list(check(index))


def at(index: Index, *names: bytes) -> Inode:
    ino = ROOT_INO
    for name in names:
        entry = dirents.get(index, ino, name)
        assert entry is not None, name
        ino = entry.ino
    inode = inodes.get(index, ino)
    assert inode is not None
    return inode


def test_a_name_that_was_lost_comes_back(tree: Index) -> None:
    with tree.transaction() as txn:
        dirents.delete(txn, DIRECTORY, b"file")
    mend(tree)
    assert at(tree, b"dir", b"file").ino == FILE


def test_what_lay_in_a_lost_directory_is_in_lost_and_found_and_will_be_exported(tree: Index) -> None:
    with tree.transaction() as txn:
        inodes.delete(txn, DIRECTORY)
    mend(tree)
    found = at(tree, LOST_AND_FOUND, b"%x" % FILE)
    assert (found.ino, found.mode, found.uid, found.size_bytes) == (FILE, stat.S_IFREG | 0o640, 7, 3)
    assert intents.of_inode(tree, FILE) is not None
    home = at(tree, LOST_AND_FOUND)
    assert (home.mode, home.uid, home.nlink) == (stat.S_IFDIR | 0o700, 7, 2)
    assert at(tree).nlink == 3
    assert InodeFlag.LISTED not in at(tree).flags, "the bucket is asked what there was"


def test_a_name_that_another_file_has_stays_the_other_one_s(tree: Index) -> None:
    with tree.transaction() as txn:
        other = regular(DIRECTORY, b"file")
        inodes.put(txn, Inode(**{**other.__dict__, "ino": 31}))
    mend(tree)
    assert at(tree, b"dir", b"file").ino == FILE
    assert at(tree, LOST_AND_FOUND, b"1f").ino == 31


def test_directories_that_lie_in_each_other_are_cut_loose(tree: Index) -> None:
    with tree.transaction() as txn:
        dirents.delete(txn, ROOT_INO, b"dir")
        inodes.put(txn, directory(ROOT_INO, ROOT_INO, b"", nlink=2))
        inodes.put(txn, directory(DIRECTORY, 21, b"inner", nlink=3))
        inodes.put(txn, directory(21, DIRECTORY, b"outer", nlink=3))
        dirents.put(txn, DIRECTORY, b"outer", 21, stat.S_IFDIR)
        dirents.put(txn, 21, b"inner", DIRECTORY, stat.S_IFDIR)
    assert {finding.kind for finding in check(tree)} == {FindingKind.RING}
    mend(tree)
    names = {entry.name for entry in dirents.page(tree, at(tree, LOST_AND_FOUND).ino, b"", 9)}
    assert names in ({b"14"}, {b"15"}), "one of them, with the other in it"


def test_a_name_that_would_close_a_ring_is_not_put_back(tree: Index) -> None:
    with tree.transaction() as txn:
        dirents.delete(txn, ROOT_INO, b"dir")
        inodes.put(txn, directory(DIRECTORY, 21, b"inner", nlink=3))
        inodes.put(txn, directory(21, DIRECTORY, b"outer", nlink=3))
        dirents.put(txn, DIRECTORY, b"outer", 21, stat.S_IFDIR)
    mend(tree)
    assert at(tree, LOST_AND_FOUND, b"14", b"outer").ino == 21
    assert at(tree, LOST_AND_FOUND, b"14", b"file").ino == FILE


def test_a_name_that_an_inode_did_not_know_is_a_link_of_it(tree: Index) -> None:
    with tree.transaction() as txn:
        dirents.put(txn, ROOT_INO, b"second", FILE, stat.S_IFREG)
    mend(tree)
    assert at(tree, b"second").nlink == 2
    assert [link.name for link in links.all(tree, FILE)] == [b"second"]
    assert intents.of_inode(tree, FILE) is not None


def test_extents_that_overlap_become_what_any_of_them_claims(tree: Index) -> None:
    with tree.transaction() as txn:
        hot = HotRecord(Residency.PARTIAL, 1, synced=True, writing=False, bytes_charged=0, last_use_s=9)
        residency.hot_put(txn, FILE, hot)
        residency.extents_add(txn, FILE, 0, 2)
        txn.put(Table.EXTENTS, pack_pair(FILE, 1), encode_number(9))
    mend(tree)
    assert residency.extents_get(tree, FILE) == [(0, 3)], "the file has 3 bytes"
