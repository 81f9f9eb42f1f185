"""Durations by bucket, and counts that only rise."""

import itertools

import pytest

from tierfs.telemetry.meters import BOUNDS_S, Histogram, Meters


@pytest.mark.parametrize(
    ("duration_ns", "bucket"),
    [
        *((0, 0), (1, 0), (4096, 0)),
        *((4097, 1), (8192, 1), (8193, 2)),
        *((1 << 37, len(BOUNDS_S) - 1), ((1 << 37) + 1, len(BOUNDS_S)), (1 << 63, len(BOUNDS_S))),
    ],
)
def test_a_duration_is_counted_where_it_is_no_longer_than_the_bound(duration_ns: int, bucket: int) -> None:
    histogram = Histogram()
    histogram.note(duration_ns)
    assert [number for number, count in enumerate(histogram.counts) if count] == [bucket]
    assert (histogram.count, histogram.sum_ns) == (1, duration_ns)
    assert len(histogram.counts) == len(BOUNDS_S) + 1


def test_bounds_are_powers_of_two_nanoseconds() -> None:
    assert BOUNDS_S[0] == 4.096e-06 and BOUNDS_S[-1] == pytest.approx(137.4, abs=0.1)
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(BOUNDS_S))


def test_what_failed_is_counted_by_error() -> None:
    meters = Meters()
    meters.operation("lookup", 5000)
    meters.operation("lookup", 7000, "ENOENT")
    meters.operation("lookup", 9000, "ENOENT")
    meters.request("get", 1_000_000, "timeout")
    told = meters.operations["lookup"].as_json()
    assert (told["count"], told["sum_s"], told["failures"]) == (3, 2.1e-05, {"ENOENT": 2})
    assert told["buckets"][:3] == [0, 2, 1]
    assert meters.requests["get"].as_json()["failures"] == {"timeout": 1}


def test_bytes_are_counted_by_where_they_came_from() -> None:
    meters = Meters()
    meters.read(10, waited=False)
    meters.read(20, waited=True)
    meters.used(3, 40)
    meters.brought(30)
    meters.wrote(5)
    meters.received(100)
    meters.sent(7)
    assert (meters.hot_reads, meters.hot_read_bytes) == (1, 10)
    assert (meters.cold_reads, meters.cold_read_bytes) == (2, 50)
    assert (meters.brought_reads, meters.brought_read_bytes) == (1, 30)
    assert (meters.kernel_opens, meters.holder_read_bytes) == (3, 40)
    assert (meters.written_bytes, meters.received_bytes, meters.sent_bytes) == (5, 100, 7)
