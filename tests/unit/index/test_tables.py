"""inodes, dirents, links, xattrs, foreign, orphans, settings: rows in, rows out, in order."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import conflicts, dirents, foreign, inodes, links, orphans, settings, xattrs
from tierfs.index.conflicts import Conflict
from tierfs.index.env import Index, Table
from tierfs.index.foreign import ForeignMeta
from tierfs.index.links import Link
from tierfs.index.schema import pack_id
from tierfs.model import Base, Dirent, Inode

NAMES = [b"\x01", b"\xff\xfe", b"a", b"a\x00b".replace(b"\x00", b"\x01"), b"b", b"z" * 255]


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


def test_a_directory_in_pages(index: Index) -> None:
    with index.transaction() as txn:
        for number, name in enumerate(NAMES):
            dirents.put(txn, 5, name, number + 10, 0o100000)
        dirents.put(txn, 4, b"other", 1, 0o040000)
        dirents.put(txn, 6, b"another", 1, 0)
    seen: list[Dirent] = []
    after = b""
    while page := dirents.page(index, 5, after, 2):
        assert len(page) <= 2
        seen += page
        after = page[-1].name
    assert [dirent.name for dirent in seen] == sorted(NAMES)
    assert dirents.get(index, 5, b"b") == Dirent(b"b", 14, 0o100000)
    assert dirents.get(index, 5, b"other") is None
    assert dirents.get(index, 6, b"another") == Dirent(b"another", 1, 0)


def test_a_page_goes_on_where_its_name_has_gone(index: Index) -> None:
    with index.transaction() as txn:
        for name in NAMES:
            dirents.put(txn, 5, name, 9, 0)
    first = dirents.page(index, 5, b"", 3)
    with index.transaction() as txn:
        dirents.delete(txn, 5, first[-1].name)
    assert [dirent.name for dirent in dirents.page(index, 5, first[-1].name, 9)] == sorted(NAMES)[3:]


def test_empty(index: Index) -> None:
    with index.transaction() as txn:
        dirents.put(txn, 4, b"a", 9, 0)
        dirents.put(txn, 6, b"a", 9, 0)
        assert not dirents.is_empty(txn, 4)
        dirents.delete(txn, 4, b"a")
        assert dirents.is_empty(txn, 4)
    assert dirents.is_empty(index, 5)
    assert not dirents.is_empty(index, 6)


def test_links(index: Index) -> None:
    base = Base("e", 1, 2)
    with index.transaction() as txn:
        links.put(txn, 7, 2, b"b", base)
        links.put(txn, 7, 2, b"a", None)
        links.put(txn, 7, 1, b"z", None)
        links.put(txn, 8, 1, b"y", None)
    assert links.all(index, 7) == [Link(1, b"z", None), Link(2, b"a", None), Link(2, b"b", base)]
    assert links.get(index, 7, 2, b"b") == Link(2, b"b", base)
    assert links.get(index, 7, 2, b"c") is None
    with index.transaction() as txn:
        links.delete(txn, 7, 2, b"a")
        assert len(links.all(txn, 7)) == 2
    assert links.all(index, 9) == []


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


def test_foreign_metadata(index: Index) -> None:
    meta = ForeignMeta(user={"café": "ü"}, tags={"a": "b"}, content_type="text/plain", expires="never")
    with index.transaction() as txn:
        foreign.put(txn, 7, meta)
        foreign.put(txn, 8, ForeignMeta())
    assert foreign.get(index, 7) == meta
    assert foreign.get(index, 8) == ForeignMeta()
    with index.transaction() as txn:
        foreign.delete(txn, 7)
    assert foreign.get(index, 7) is None


@pytest.mark.parametrize("record", [b"", b"\x02{}", b"\x01{", b'\x01{"colour":"red"}', b"\x01[]", b'\x01\xff"'])
def test_foreign_metadata_that_cannot_be_read(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.FOREIGN, pack_id(7), record)
    with pytest.raises(IndexDamageError):
        foreign.get(index, 7)


def test_orphans(index: Index) -> None:
    with index.transaction() as txn:
        for ino in (9, 3, 2**62):
            orphans.add(txn, ino)
    assert orphans.page(index, 0, 2) == [3, 9]
    assert orphans.page(index, 9, 2) == [2**62]
    with index.transaction() as txn:
        orphans.remove(txn, 9)
    assert orphans.page(index, 0, 10) == [3, 2**62]


def test_settings(index: Index) -> None:
    with index.transaction() as txn:
        settings.put(txn, "source", b"s3://bucket")
        with pytest.raises(ValueError, match="no name"):
            settings.put(txn, "\0state", b"")
    assert settings.get(index, "source") == b"s3://bucket"
    assert settings.get(index, "other") is None
    with pytest.raises(ValueError, match="no name"):
        settings.get(index, "")


def test_conflicts(index: Index) -> None:
    found = [Conflict(1, "both-changed", "a", "a", "a.conflict"), Conflict(2, "base-lost", "\udcff", "", "b")]
    with index.transaction() as txn:
        seqs = [conflicts.add(txn, conflict) for conflict in found]
    assert conflicts.page(index, 0, 9) == list(zip(seqs, found, strict=True))
    assert conflicts.page(index, seqs[0], 9) == [(seqs[1], found[1])]
    with index.transaction() as txn:
        conflicts.delete(txn, seqs[0])
    assert conflicts.count(index) == 1
    with index.transaction() as txn:
        txn.put(Table.CONFLICTS, pack_id(seqs[1]), b"\x02{}")
    with pytest.raises(IndexDamageError):
        conflicts.page(index, 0, 9)
