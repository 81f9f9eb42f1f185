"""Names that are held: rows in pages, and what is covered by one."""

import stat

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import dirents, held, inodes
from tierfs.index.env import Index, Table
from tierfs.index.held import Held
from tierfs.index.schema import pack_id
from tierfs.model import ROOT_INO, Inode


def make(index: Index, ino: int, parent: int, name: bytes, *, is_dir: bool) -> None:
    mode = stat.S_IFDIR if is_dir else stat.S_IFREG
    with index.transaction() as txn:
        inodes.put(txn, Inode(ino, mode, 0, 0, 0, 1, 0, 0, 0, 0, parent, name))
        if name:
            dirents.put(txn, parent, name, ino, mode)


def test_rows_in_pages(index: Index) -> None:
    assert not held.is_any(index)
    wanted = [(4, b"z"), (5, b"\xff"), (5, b"a"), (5, b"b"), (6, b"a")]
    with index.transaction() as txn:
        for number, (parent, name) in enumerate(wanted, 20):
            held.put(txn, parent, name, Held(number, 1, 7, moved_to="\udcff"))
    assert held.is_any(index)
    seen: list[tuple[int, bytes]] = []
    after = (0, b"")
    while page := held.page(index, after, 2):
        after = (page[-1].parent, page[-1].name)
        seen += [(row.parent, row.name) for row in page]
    assert seen == sorted(wanted)
    assert [row.name for row in held.page(index, (5, b""), 9, parent=5)] == [b"a", b"b", b"\xff"]
    assert held.get(index, 5, b"a") == Held(22, 1, 7, moved_to="\udcff")
    with index.transaction() as txn:
        held.delete(txn, 5, b"a")
    assert held.get(index, 5, b"a") is None


def test_what_is_below_a_held_directory_is_covered(index: Index) -> None:
    make(index, ROOT_INO, ROOT_INO, b"", is_dir=True)
    make(index, 20, ROOT_INO, b"d", is_dir=True)
    make(index, 21, 20, b"sub", is_dir=True)
    make(index, 22, 21, b"f", is_dir=False)
    make(index, 23, ROOT_INO, b"other", is_dir=False)
    assert not held.covers(index, 21, b"f", 22)
    with index.transaction() as txn:
        held.put(txn, ROOT_INO, b"d", Held(20, 1))
    assert held.covers(index, ROOT_INO, b"d", 20)
    assert held.covers(index, 21, b"f", 22) and held.covers(index, 20, b"sub", 21)
    assert not held.covers(index, ROOT_INO, b"other", 23)
    assert not held.covers(index, ROOT_INO, b"d", 99), "another inode has the name by now"


@pytest.mark.parametrize("record", [b"\x02{}", b"\x01{}", b'\x01{"inode":1}', b"\x01[1"])
def test_damaged_records(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.HELD, pack_id(5) + b"a", record)
    with pytest.raises(IndexDamageError):
        held.get(index, 5, b"a")
