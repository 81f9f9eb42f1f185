"""What others put on an object comes back; what cannot be read is damage."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import foreign
from tierfs.index.env import Index, Table
from tierfs.index.foreign import ForeignMeta
from tierfs.index.schema import pack_id


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
