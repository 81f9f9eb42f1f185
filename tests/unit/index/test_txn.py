"""A transaction: it sees itself, it happens as a whole, and it reads like the index that it will leave behind."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierfs.index.env import Index, Reader, Table

KEYS = st.binary(min_size=1, max_size=2)
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=2)), max_size=30)
FIXTURE_IS_FINE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def replace_all(index: Index, rows: dict[bytes, bytes]) -> None:
    with index.transaction() as txn:
        for key, _ in index.scan(Table.COUNTERS, b"", b"\xff" * 3, limit=1000):
            txn.delete(Table.COUNTERS, key)
        for key, value in rows.items():
            txn.put(Table.COUNTERS, key, value)


@FIXTURE_IS_FINE
@given(before=st.dictionaries(KEYS, st.binary(max_size=2), max_size=20), changes=CHANGES, start=KEYS, stop=KEYS)
def test_it_reads_like_a_dictionary(
    index: Index, before: dict[bytes, bytes], changes: list[tuple[bytes, bytes | None]], start: bytes, stop: bytes
) -> None:
    replace_all(index, before)
    expected = dict(before)
    with index.transaction() as txn:
        for key, value in changes:
            if value is None:
                txn.delete(Table.COUNTERS, key)
                expected.pop(key, None)
            else:
                txn.put(Table.COUNTERS, key, value)
                expected[key] = value
        assert_reads_like(txn, expected, before, start, stop)
    assert_reads_like(index, expected, before, start, stop)
    assert index.count(Table.COUNTERS) == len(expected)


def assert_reads_like(
    reader: Reader, expected: dict[bytes, bytes], before: dict[bytes, bytes], start: bytes, stop: bytes
) -> None:
    within = sorted((key, value) for key, value in expected.items() if start <= key < stop)
    for limit in (0, 1, 3, 1000):
        assert reader.scan(Table.COUNTERS, start, stop, limit=limit) == within[:limit]
    assert reader.last_before(Table.COUNTERS, stop, start) == (within[-1] if within else None)
    for key in expected.keys() | before.keys():
        assert reader.get(Table.COUNTERS, key) == expected.get(key)


def test_an_exception_leaves_no_trace(index: Index, open_index: Callable[..., Index]) -> None:
    with pytest.raises(ZeroDivisionError), index.transaction() as txn:
        txn.put(Table.COUNTERS, b"a", b"1")
        raise ZeroDivisionError
    assert index.get(Table.COUNTERS, b"a") is None
    with index.transaction() as txn:
        assert txn.get(Table.COUNTERS, b"a") is None
    index.close()
    assert open_index().get(Table.COUNTERS, b"a") is None


def test_one_at_a_time(index: Index) -> None:
    with index.transaction(), pytest.raises(RuntimeError):
        index.transaction()
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"a", b"1")
    assert index.get(Table.COUNTERS, b"a") == b"1"


def test_nothing_is_seen_from_outside_before_the_end(index: Index) -> None:
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"a", b"1")
        assert index.get(Table.COUNTERS, b"a") is None


@pytest.mark.parametrize("key", [b"", b"x" * 512])
def test_a_key_that_lmdb_cannot_hold_is_refused_at_once(index: Index, key: bytes) -> None:
    with pytest.raises(ValueError, match="COUNTERS"), index.transaction() as txn:
        txn.put(Table.COUNTERS, key, b"")
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"x" * 511, b"")
    assert index.get(Table.COUNTERS, b"x" * 511) == b""


def test_a_large_transaction_is_sorted_into_its_tables(index: Index) -> None:
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, b"gone", b"1")
    with index.transaction() as txn:
        for number in reversed(range(500)):
            txn.put(Table.COUNTERS, b"%03d" % number, b"c")
            txn.put(Table.CONFLICTS, b"%03d" % number, b"x")
        txn.delete(Table.COUNTERS, b"gone")
        txn.delete(Table.COUNTERS, b"never there")
    assert index.count(Table.COUNTERS) == index.count(Table.CONFLICTS) == 500
    assert index.scan(Table.COUNTERS, b"0", b"9", limit=2) == [(b"000", b"c"), (b"001", b"c")]
