"""Checksums of ranges: joined with their neighbours, gone with the bytes, and right whatever came before."""

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierfs import native
from tierfs.index import residency, sums
from tierfs.index.env import Index, Table
from tierfs.model import HotRecord, Residency, Sum

DATA = bytes(range(256)) * 4
VERSION = sums.etag_hash("etag")


def made(start: int, stop: int, version: int = VERSION) -> Sum:
    return Sum(start, stop, native.crc64nvme(DATA[start:stop]), version)


def spans(index: Index) -> list[tuple[int, int]]:
    return [(found.start, found.stop) for found in sums.all(index, 7)]


def test_neighbours_are_joined_whatever_comes_first(index: Index) -> None:
    with index.transaction() as txn:
        for piece in ((0, 10), (20, 30), (10, 20), (40, 50)):
            sums.add(txn, 7, made(*piece))
        sums.add(txn, 8, made(50, 60))
    assert sums.all(index, 7) == [made(0, 30), made(40, 50)]
    assert sums.of_version(index, 7, "etag") == sums.all(index, 7)
    assert sums.of_version(index, 7, "other") == []


def test_versions_are_kept_apart_and_the_newer_one_counts(index: Index) -> None:
    with index.transaction() as txn:
        sums.add(txn, 7, made(0, 20, version=1))
        sums.add(txn, 7, made(20, 30))
        sums.add(txn, 7, made(10, 20))
    assert sums.all(index, 7) == [made(10, 30)], "of the older row a part is gone, so all of it"


def test_large_ranges_stay_apart(index: Index) -> None:
    half = sums.JOINED_MAX_BYTES // 2
    with index.transaction() as txn:
        for start in (0, half, 2 * half):
            sums.add(txn, 7, Sum(start, start + half, 1, VERSION))
    assert spans(index) == [(0, 2 * half), (2 * half, 3 * half)]


def test_they_go_with_the_bytes(index: Index) -> None:
    with index.transaction() as txn:
        residency.hot_put(txn, 7, HotRecord(Residency.PARTIAL, 1, False, False, 0, 5))
        sums.add(txn, 7, made(0, 10))
        sums.add(txn, 7, made(20, 30))
        sums.remove(txn, 7, 9, 20)
    assert spans(index) == [(20, 30)]
    with index.transaction() as txn:
        residency.hot_delete(txn, 7)
    assert index.count(Table.SUMS) == 0


@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 99), st.integers(1, 30), st.sampled_from([1, VERSION])), max_size=20
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_row_is_the_checksum_of_its_bytes(index: Index, steps: list[tuple[bool, int, int, int]]) -> None:
    with index.transaction() as txn:
        sums.clear(txn, 7)
        for is_added, start, size, version in steps:
            if is_added:
                sums.add(txn, 7, made(start, start + size, version))
            else:
                sums.remove(txn, 7, start, start + size)
        rows = sums.all(txn, 7)
    assert all(row == made(row.start, row.stop, row.etag_hash) for row in rows)
    assert all(left.stop <= right.start for left, right in itertools.pairwise(rows))
