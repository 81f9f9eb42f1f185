"""Which of the two rules the sample finds better."""

import pytest

from tests.support.workloads import TIER_FILES, WORKLOADS, Workload, scan, shuffled, sliding, zipf
from tierfs.policy.caches import POLICIES
from tierfs.policy.duel import Duel, RankedTier


def after(workload: Workload) -> Duel:
    duel = Duel(workload.tier_bytes)
    for key, size_bytes in workload.make():
        duel.saw(key, size_bytes)
    return duel


@pytest.mark.parametrize("make", [scan, shuffled, sliding, zipf])
def test_what_comes_back_is_taken_in_only_where_the_set_moves_on(make: object) -> None:
    workload = next(each for each in WORKLOADS if each.make is make)
    assert after(workload).admits_returning is (make is sliding)


def test_the_sample_stays_small_however_many_files_there_are() -> None:
    duel = Duel(10**6)
    for _ in range(2):
        for key in range(100_000):
            duel.saw(key, 1)
    assert len(duel) <= 2 * 513
    assert not duel.admits_returning


def test_a_set_that_moves_on_is_followed() -> None:
    workload = next(each for each in WORKLOADS if each.make is sliding)
    hits = dict.fromkeys(("ranked", "lru"), 0)
    for policy in hits:
        cache = POLICIES[policy](workload.tier_bytes)
        hits[policy] = sum(cache.access(key, size_bytes, 0.0) for key, size_bytes in workload.make())
    assert hits["ranked"] > hits["lru"]


def test_what_was_dropped_may_come_back() -> None:
    tier = RankedTier(TIER_FILES)
    for key in range(3 * TIER_FILES // 2):
        tier.access(key, 1)
        if key % 3 == 0:
            tier.drop(key)
    tier.drop(-1)
    for _ in range(4):
        for key in range(3 * TIER_FILES // 2):
            tier.access(key, 1)
            assert len(tier) <= TIER_FILES
