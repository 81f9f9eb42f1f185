"""The hot tier's rows: ages follow, extents behave like a set of bytes."""

from collections.abc import Callable

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierfs.index import residency
from tierfs.index.env import Index, Txn
from tierfs.index.journal import count_changes
from tierfs.model import HotRecord, Residency, Spill

HOT = HotRecord(Residency.PARTIAL, boot_id=1, synced=False, writing=True, bytes_charged=4096, last_use_s=100)


def test_ages_follow_the_record(index: Index) -> None:
    with index.transaction() as txn:
        residency.hot_put(txn, 7, HOT)
        residency.hot_put(txn, 8, evolve(HOT, last_use_s=50))
    assert residency.coldest(index, None, 10) == [(50, 8), (100, 7)]
    with index.transaction() as txn:
        residency.hot_put(txn, 8, evolve(HOT, last_use_s=200))
        residency.hot_put(txn, 8, evolve(HOT, last_use_s=300))  # sees what the line above did
    assert residency.coldest(index, None, 10) == [(100, 7), (300, 8)]
    assert residency.coldest(index, None, 1) == [(100, 7)]
    assert residency.coldest(index, (100, 7), 10) == [(300, 8)]
    with index.transaction() as txn:
        residency.hot_delete(txn, 7)
        residency.hot_delete(txn, 9)
    assert residency.coldest(index, None, 10) == [(300, 8)]
    assert residency.hot_get(index, 7) is None


def test_pages_of_records(index: Index) -> None:
    with index.transaction() as txn:
        for ino in (3, 1, 2):
            residency.hot_put(txn, ino, HOT)
    assert residency.hot_page(index, 0, 2) == [(1, HOT), (2, HOT)]
    assert residency.hot_page(index, 2, 2) == [(3, HOT)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "commit"]), st.integers(0, 30), st.integers(0, 12)), max_size=25
    )
)
def test_extents_are_a_set_of_bytes(index: Index, operations: list[tuple[str, int, int]]) -> None:
    present: set[int] = set()
    with index.transaction() as txn:
        residency.extents_clear(txn, 7)
        residency.extents_add(txn, 6, 0, 2**62)
        residency.extents_add(txn, 8, 0, 2**62)
    txn = index.transaction()
    for verb, start, length in operations:
        if verb == "commit":
            txn.__exit__(None, None, None)
            txn = index.transaction()
        elif verb == "add":
            residency.extents_add(txn, 7, start, start + length)
            present |= set(range(start, start + length))
        else:
            residency.extents_remove(txn, 7, start, start + length)
            present -= set(range(start, start + length))
        assert residency.extents_get(txn, 7) == ranges_of(present)
    txn.__exit__(None, None, None)
    assert residency.extents_get(index, 7) == ranges_of(present)
    assert residency.extents_get(index, 6) == residency.extents_get(index, 8) == [(0, 2**62)]


def ranges_of(present: set[int]) -> list[tuple[int, int]]:
    starts = sorted(byte for byte in present if byte - 1 not in present)
    stops = sorted(byte + 1 for byte in present if byte + 1 not in present)
    return list(zip(starts, stops, strict=True))


def test_an_added_range_costs_no_scan_of_the_file(index: Index) -> None:
    with index.transaction() as txn:
        for number in range(1000):
            residency.extents_add(txn, 7, number * 10, number * 10 + 5)
    changed = changes_of(index, lambda txn: residency.extents_add(txn, 7, 9995, 9998))
    assert changed == 1  # the last extent grows
    changed = changes_of(index, lambda txn: residency.extents_add(txn, 7, 101, 103))
    assert changed == 0  # present already: nothing for the journal


def changes_of(index: Index, act: Callable[[Txn], None]) -> int:
    with index.transaction() as txn:
        act(txn)
        return count_changes(txn.changes())


def test_spills(index: Index) -> None:
    first, second = Spill(0, 10, ".tierfs/spill/a", "e1"), Spill(10, 30, ".tierfs/spill/b", "e2")
    with index.transaction() as txn:
        residency.spill_put(txn, 7, second)
        residency.spill_put(txn, 7, first)
        residency.spill_put(txn, 8, first)
    assert residency.spills(index, 7) == [first, second]
    with index.transaction() as txn:
        residency.spill_delete(txn, 7, 0)
    assert residency.spills(index, 7) == [second]
    with index.transaction() as txn:
        residency.spills_clear(txn, 7)
    assert residency.spills(index, 7) == []
    assert residency.spills(index, 8) == [first]
