"""Rates and a purse, by a clock that the test moves."""

import pytest

from tierfs.policy.budget import Purse, Rate
from tierfs.policy.classes import DAY_S
from tierfs.units import NS_PER_S

START_NS = 20_000 * DAY_S * NS_PER_S


def at(seconds: float) -> int:
    return START_NS + int(seconds * NS_PER_S)


def test_without_a_limit_nobody_waits() -> None:
    assert Rate(0).take(1e12, at(0)).wait_s(at(0)) == 0.0
    assert Purse(0).take(1e9, at(0)).allows(1e9, at(0))


def test_a_piece_goes_at_once_and_the_next_waits_for_it() -> None:
    rate = Rate(100).take(250, at(0))
    assert rate.wait_s(at(0)) == pytest.approx(1.5)
    assert rate.wait_s(at(1)) == pytest.approx(0.5)
    assert rate.wait_s(at(2)) == 0.0


def test_rest_is_saved_for_one_second_only() -> None:
    rate = Rate(100).take(100, at(0)).take(100, at(1000))
    assert rate.wait_s(at(1000)) == 0.0
    assert rate.take(100, at(1000)).wait_s(at(1000)) == pytest.approx(1.0)


def test_the_rate_holds_over_time() -> None:
    rate, now_s, count = Rate(10), 0.0, 0
    while now_s < 60:
        now_s += rate.wait_s(at(now_s)) + 1e-6
        rate, count = rate.take(1, at(now_s)), count + 1
    assert count == pytest.approx(610, abs=3), "sixty seconds, and the one that was saved"


def test_a_clock_that_is_set_back_gives_nothing() -> None:
    rate = Rate(100).take(200, at(1000))
    assert rate.wait_s(at(0)) == pytest.approx(1.0)
    purse = Purse(1.0).take(1.0, at(0))
    assert not purse.allows(0.1, at(-2 * DAY_S))


def test_a_purse_is_full_again_the_next_day() -> None:
    purse = Purse(1.0).take(0.9, at(0))
    assert not purse.allows(0.2, at(10)) and purse.allows(0.1, at(10))
    assert purse.allows(1.0, at(DAY_S))
