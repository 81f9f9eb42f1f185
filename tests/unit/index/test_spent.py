"""Counted requests in the index: summed by month, group and use."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import spent
from tierfs.index.env import Index
from tierfs.index.schema import Table
from tierfs.index.spent import MonthRow, group_of
from tierfs.policy.cost import RequestKind, Traffic, Use

PUT, GET = Use(RequestKind.PUT), Use(RequestKind.GET, "STANDARD_IA")
RESTORE = Use(RequestKind.RESTORE, "GLACIER", "bulk")


@pytest.mark.parametrize(
    ("key", "depth", "group"),
    [
        ("a", 1, ""),
        ("", 1, ""),
        ("a/b", 1, "a"),
        ("a/b/c", 1, "a"),
        ("a/b/c", 2, "a/b"),
        ("a/b", 3, "a"),
        ("a/", 1, "a"),
        (".tierfs/spill/1", 1, ".tierfs"),
        ("a\0b/c", 1, "ab"),
    ],
)
def test_a_group_is_the_first_directories_of_a_key(key: str, depth: int, group: str) -> None:
    assert group_of(key, depth) == group


def test_a_group_fits_a_row_whatever_the_key_is(index: Index) -> None:
    group = group_of("é" * 500 + "/a", 1)
    assert group == "é" * 200
    with index.transaction() as txn:
        spent.add(
            txn,
            "2025-02",
            group,
            Use(RequestKind.RESTORE, "A_CLASS_WITH_THE_LONGEST_NAME_EVER", "expedited"),
            Traffic(1),
        )
    assert [found for found, _ in spent.of_month(index, "2025-02")] == [group]


def test_what_is_counted_adds_up(index: Index) -> None:
    with index.transaction() as txn:
        spent.add(txn, "2025-02", "a", PUT, Traffic(1, 10, 0))
        spent.add(txn, "2025-02", "a", PUT, Traffic(2, 20, 0))
        spent.add(txn, "2025-02", "", RESTORE, Traffic(1, 0, 7))
        spent.add(txn, "2025-03", "a", PUT, Traffic(100, 1, 1))
    with index.transaction() as txn:
        spent.add(txn, "2025-02", "a", PUT, Traffic(4, 40, 0))
        spent.add(txn, "2025-02", "a", GET, Traffic(1, 0, 5))
    assert spent.of_month(index, "2025-02") == {
        ("a", PUT): Traffic(7, 70, 0),
        ("a", GET): Traffic(1, 0, 5),
        ("", RESTORE): Traffic(1, 0, 7),
    }
    assert spent.of_month(index, "2025-01") == {}


def test_earlier_months_are_forgotten_and_nothing_else(index: Index) -> None:
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"another", b"of another's")
        for month in ("2023-12", "2024-01", "2024-02", "2025-02"):
            spent.add(txn, month, "a", PUT, Traffic(1))
            spent.put_month(txn, month, MonthRow(1, 2))
    with index.transaction() as txn:
        assert spent.forget_before(txn, "2024-02", 3) == 3
    with index.transaction() as txn:
        assert spent.forget_before(txn, "2024-02", 3) == 1
        assert spent.forget_before(txn, "2024-02", 3) == 0
    left = [key for key, _ in index.scan(Table.COUNTERS, b"\0", b"\xff", limit=99)]
    assert left == [b"another", *(row for name in (b"2024-02", b"2025-02") for row in rows_of(name))]


def rows_of(month: bytes) -> list[bytes]:
    return [b"cost\0" + month, b"cost\0" + month + b"\0a\0put\0STANDARD\0"]


def test_the_row_of_a_month(index: Index) -> None:
    row = MonthRow(1, 2, {"STANDARD": 0.5}, {"STANDARD": 3.0})
    with index.transaction() as txn:
        spent.put_month(txn, "2025-02", row)
    assert spent.month_row(index, "2025-02") == row
    assert spent.month_row(index, "2025-03") is None


@pytest.mark.parametrize("record", [b"\x02{}", b"\x01no json", b'\x01{"what": 1}'])
def test_a_damaged_month_is_told(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"cost\x002025-02", record)
    with pytest.raises(IndexDamageError):
        spent.month_row(index, "2025-02")


@pytest.mark.parametrize("record", [b"\x01", b"\x02" + bytes(24)])
def test_damaged_counts_are_told(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"cost\x002025-02\0a\0put\0STANDARD\0", record)
    with pytest.raises(IndexDamageError):
        spent.of_month(index, "2025-02")
