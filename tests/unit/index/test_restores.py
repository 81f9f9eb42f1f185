"""Rows of files on their way back from an archive."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import restores
from tierfs.index.env import Index, Table
from tierfs.index.schema import pack_id
from tierfs.policy.classes import Speed
from tierfs.policy.restores import Restore, Stage

RESTORE = Restore("e\udcff", "GLACIER", 10, Speed.BULK, 7, 1, 2, Stage.ASKED, 3, "away")


def test_rows_in_pages(index: Index) -> None:
    with index.transaction() as txn:
        for ino in (3, 1, 2):
            restores.put(txn, ino, RESTORE)
    assert restores.count(index) == 3
    assert restores.page(index, 1, 1) == [(2, RESTORE)] and restores.get(index, 3) == RESTORE
    with index.transaction() as txn:
        restores.delete(txn, 2)
        restores.delete(txn, 9)
    assert [ino for ino, _ in restores.page(index, 0, 9)] == [1, 3] and restores.get(index, 2) is None


@pytest.mark.parametrize("record", [b"\x09", b"\x01", b"\x01[]", b'\x01{"stage":"asked","speed":"bulk"}', b"\x01{}"])
def test_rubbish(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.RESTORES, pack_id(1), record)
    with pytest.raises(IndexDamageError, match="restore"):
        restores.get(index, 1)
