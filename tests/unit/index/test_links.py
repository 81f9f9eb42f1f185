"""Second and further names."""

from tierfs.index import links
from tierfs.index.env import Index
from tierfs.index.links import Link
from tierfs.model import Base


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
