"""Names in a directory: binary order, pages that stay valid while names come and go."""

from tierfs.index import dirents
from tierfs.index.env import Index
from tierfs.model import Dirent

NAMES = [b"\x01", b"\xff\xfe", b"a", b"a\x01b", b"b", b"z" * 255]


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
