"""The simulated policies: bounded, and as their papers say where that can be worked out by hand."""

import copy
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.workloads import TIER_FILES, WORKLOADS, Workload, same_order, scan, shuffled
from tierfs.policy.caches import POLICIES, Cache

SIZES = [1, 2, 3, 5, 8, 13, 40]
EVERY = pytest.mark.parametrize("policy", POLICIES)


def hits(cache: Cache, keys: Iterable[int], *, start: int = 0) -> list[bool]:
    return [cache.access(key, 1, float(start + number)) for number, key in enumerate(keys)]


def present(cache: Cache, now_s: float) -> set[int]:
    return {key for key in range(len(SIZES)) if copy.deepcopy(cache).access(key, SIZES[key], now_s)}


@EVERY
@given(st.lists(st.integers(0, len(SIZES) - 1), max_size=60), st.integers(1, 39))
def test_no_policy_holds_more_than_its_capacity(policy: str, keys: list[int], capacity: int) -> None:
    cache = POLICIES[policy](capacity)
    for number, key in enumerate(keys):
        before = present(cache, number * 40.0)
        assert cache.access(key, SIZES[key], number * 40.0) is (key in before)
        after = present(cache, number * 40.0)
        assert sum(SIZES[key] for key in after) <= capacity
        assert (key in after) is (SIZES[key] <= capacity)


@EVERY
def test_what_fits_stays(policy: str) -> None:
    cache = POLICIES[policy](100)
    hits(cache, range(100))
    assert all(hits(cache, list(range(100)) * 3, start=100))


@pytest.mark.parametrize(
    ("policy", "keys", "expected"),
    [
        ("lru", "ABCADABC", "...+.+.."),  # D takes B's place, B then C's
        ("age", "ABCADABC", "...+...."),
        ("sieve", "ABCADABC", "...+.+.."),
        ("sieve", "ABCABDECAB", "...++....."),
        ("s3-fifo", "ABCAADBC", "...++..."),
        ("arc", "ABCADABC", "...+.+.."),
    ],
)
def test_small_cases(policy: str, keys: str, expected: str) -> None:
    found = hits(POLICIES[policy](3), map(ord, keys))
    assert "".join("+" if hit else "." for hit in found) == expected


def test_age_sees_a_use_once_a_minute() -> None:
    for pause_s, is_here in ((59.0, False), (60.0, True)):
        cache = POLICIES["age"](2)
        cache.access(1, 1, 0.0)
        cache.access(2, 1, 30.0)
        assert cache.access(1, 1, pause_s)
        cache.access(3, 1, 61.0)
        assert cache.access(1, 1, 62.0) is is_here


def rate(policy: str, workload: Workload, *, from_share: float = 0.0) -> float:
    """Hits in percent, of all accesses but the first `from_share`."""
    cache, accesses = POLICIES[policy](workload.tier_bytes), list(workload.make())
    found = [cache.access(key, size_bytes, number / 2) for number, (key, size_bytes) in enumerate(accesses)]
    counted = found[int(len(found) * from_share) :]
    return 100 * sum(counted) / len(counted)


@pytest.mark.parametrize("make", [same_order, shuffled])
def test_epochs_of_one_and_a_half_tiers_hit_in_steady_state(make: object) -> None:
    workload = next(each for each in WORKLOADS if each.make is make)
    assert rate("ranked", workload, from_share=0.5) >= 60
    assert rate("lru", workload, from_share=0.5) <= 33


def test_a_scan_leaves_the_working_set() -> None:
    workload = next(each for each in WORKLOADS if each.make is scan)
    assert rate("ranked", workload) >= rate("lru", workload) + 15


def test_a_set_that_is_used_no_more_gives_way() -> None:
    """After hundreds of epochs that all fit, the next set is kept from its third epoch on."""
    cache = POLICIES["ranked"](TIER_FILES)
    hits(cache, list(range(TIER_FILES)) * 300)
    epochs = [hits(cache, range(10_000, 11_500), start=300 * TIER_FILES + 1500 * epoch) for epoch in range(6)]
    assert sum(epochs[4]) / 1500 > 0.6
