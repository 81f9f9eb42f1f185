"""Where the bucket still holds what was renamed."""

from tierfs.index import locations
from tierfs.index.env import Index, Table

LONG_KEY = "k" * 1024


def test_there_and_back(index: Index) -> None:
    with index.transaction() as txn:
        locations.set_location(txn, 7, LONG_KEY)
        assert locations.located_at(txn, LONG_KEY) == 7
    assert locations.location(index, 7) == LONG_KEY
    assert locations.located_at(index, LONG_KEY) == 7
    assert locations.location(index, 8) is None
    assert locations.located_at(index, "other") is None
    with index.transaction() as txn:
        locations.clear_location(txn, 7)
        locations.clear_location(txn, 8)
    assert locations.location(index, 7) is None
    assert locations.located_at(index, LONG_KEY) is None


def test_moving_leaves_nothing_behind(index: Index) -> None:
    with index.transaction() as txn:
        locations.set_location(txn, 7, "a")
        locations.set_location(txn, 7, "b")
    assert locations.located_at(index, "a") is None
    assert locations.located_at(index, "b") == 7
    assert index.count(Table.LOCATED) == 1


def test_a_key_has_one_inode(index: Index) -> None:
    with index.transaction() as txn:
        locations.set_location(txn, 7, "a")
        locations.set_location(txn, 8, "a")
    assert locations.located_at(index, "a") == 8
    assert locations.location(index, 7) is None
    with index.transaction() as txn:
        locations.clear_location(txn, 7)
    assert locations.located_at(index, "a") == 8


def test_overrides(index: Index) -> None:
    with index.transaction() as txn:
        locations.set_override(txn, 9, "old/é/")
        locations.set_override(txn, 3, "older/")
    assert locations.overrides(index) == [(3, "older/"), (9, "old/é/")]
    with index.transaction() as txn:
        locations.clear_override(txn, 3)
    assert locations.override(index, 3) is None
    assert locations.override(index, 9) == "old/é/"
