"""Conflicts in the order in which they were found."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import conflicts
from tierfs.index.conflicts import Conflict
from tierfs.index.env import Index, Table
from tierfs.index.schema import pack_id
from tierfs.policy.resolution import Kind


def test_conflicts(index: Index) -> None:
    found = [
        Conflict(1, Kind.BOTH_CHANGED, "/a", "/a", "/a.conflict", parent=1),
        Conflict(2, Kind.BASE_LOST, "/\udcff", "", "/b"),
    ]
    with index.transaction() as txn:
        numbers = [conflicts.add(txn, conflict) for conflict in found]
    assert conflicts.get(index, numbers[1]) == found[1]
    assert conflicts.page(index, 0, 9) == list(zip(numbers, found, strict=True))
    assert conflicts.page(index, numbers[0], 9) == [(numbers[1], found[1])]
    with index.transaction() as txn:
        conflicts.delete(txn, numbers[0])
    assert conflicts.count(index) == 1
    assert conflicts.get(index, numbers[0]) is None


@pytest.mark.parametrize("record", [b"\x03{}", b"\x02{}", b'\x02{"kind":"of-tomorrow"}', b"\x02[1"])
def test_damaged_records(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.CONFLICTS, pack_id(7), record)
    with pytest.raises(IndexDamageError):
        conflicts.page(index, 0, 9)


def test_a_record_of_version_1_has_no_directory(index: Index) -> None:
    record = b'\x01{"time_ns":1,"kind":"both-changed","path":"/a","winner":"/a","loser":"/b"}'
    with index.transaction() as txn:
        txn.put(Table.CONFLICTS, pack_id(7), record)
    assert conflicts.get(index, 7) == Conflict(1, Kind.BOTH_CHANGED, "/a", "/a", "/b", parent=0)
