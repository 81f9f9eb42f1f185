"""Ranks, admission and probation, in shares of a tier of 1,000 bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.policy.ranking import Ranking

TIER_BYTES = 1000
RANKING = Ranking(TIER_BYTES)
CLOCKS = st.integers(0, 10**6)


def test_a_first_use_ranks_by_its_time() -> None:
    assert RANKING.raised(None, 5000) == 5000


def test_a_second_use_at_the_same_time_is_worth_one_half_life() -> None:
    assert RANKING.raised(5000, 5000) == 5000 + 2 * TIER_BYTES


def test_a_use_long_ago_is_worth_nothing() -> None:
    assert RANKING.raised(0, 10**6) == 10**6


def test_a_use_one_half_life_ago_is_worth_half_a_use() -> None:
    assert RANKING.raised(3000, 5000) == 5000 + 1169  # 2,000 * log2(1.5)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=100))
def test_no_number_of_uses_gives_a_lead_of_more_than_two_tiers(steps: list[int]) -> None:
    rank, clock = None, 0
    for step in steps:
        clock += step
        rank = RANKING.raised(rank, clock)
        assert clock <= rank <= clock + 2 * TIER_BYTES


@given(CLOCKS, CLOCKS, CLOCKS, CLOCKS)
def test_who_ranks_higher_stays_higher_by_the_same_use(first: int, second: int, lead: int, clock: int) -> None:
    low, high = sorted((first, second))
    clock = max(low, high, clock)
    assert RANKING.raised(low, clock) <= RANKING.raised(high, clock)


@pytest.mark.parametrize(
    ("history", "weakest", "expected"),
    [
        (None, 0, False),  # nothing is known of it
        (None, None, False),
        (500, None, True),  # nothing to be better than
        (2000, 2000, False),  # a tie is no reason to replace anything
        (2999, 2000, False),
        (3000, 2000, True),
    ],
)
def test_admission(history: int | None, weakest: int | None, expected: bool) -> None:
    assert RANKING.admits(history, weakest) is expected


def test_a_file_does_not_use_itself_by_coming_in() -> None:
    assert not RANKING.is_new_use(5000, 5015, size_bytes=1)
    assert RANKING.is_new_use(5000, 5017, size_bytes=1)
    assert not RANKING.is_new_use(5000, 5400, size_bytes=400)


def test_probation_ends_after_a_share_of_the_tier() -> None:
    assert not RANKING.is_over(5000, 5040)
    assert RANKING.is_over(5000, 5041)
