"""Conflicts in the order in which they were found."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import conflicts
from tierfs.index.conflicts import Conflict
from tierfs.index.env import Index, Table
from tierfs.index.schema import pack_id


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
