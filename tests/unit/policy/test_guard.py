"""How many removals are too many."""

import pytest

from tierfs.policy.guard import Limits, Recent, is_too_many
from tierfs.units import NS_PER_S

LIMITS = Limits(entries_max=1000, share_max=0.2, entries_min=10, window_s=3600)


@pytest.mark.parametrize(
    ("new", "recent", "known", "expected"),
    [
        (0, 0, 0, False),
        (9, 0, 9, False),  # all of a mount with hardly anything in it
        (10, 0, 49, True),
        (10, 0, 50, False),  # a fifth is not more than a fifth
        (11, 0, 50, True),
        (1000, 0, 1_000_000, False),
        (1001, 0, 1_000_000, True),
        (1, 1000, 1_000_000, True),
        (1, 20, 80, True),  # 21 of the 100 that there were
        (1, 19, 81, False),
    ],
)
def test_too_many(new: int, recent: int, known: int, expected: bool) -> None:
    assert is_too_many(LIMITS, new=new, recent=recent, known=known) is expected


def test_limits_that_ask_always_and_never() -> None:
    assert is_too_many(Limits(entries_max=0), new=1, recent=0, known=10**6)
    assert not is_too_many(Limits(entries_max=10**9, share_max=1.0), new=10**6, recent=0, known=10**6)


def test_recent_removals_are_forgotten_after_the_window() -> None:
    recent = Recent()
    for minute in range(60):
        recent = recent.plus(2, LIMITS, minute * 60 * NS_PER_S)
    assert recent.within(LIMITS, 59 * 60 * NS_PER_S) == 120
    assert len(recent.steps) == 12
    assert 60 <= recent.within(LIMITS, 90 * 60 * NS_PER_S) <= 70
    assert recent.within(LIMITS, 3 * 3600 * NS_PER_S) == 0
    assert recent.plus(1, LIMITS, 3 * 3600 * NS_PER_S).steps == ((36, 1),)


def test_a_clock_that_was_set_back_forgets_rather_than_asks() -> None:
    assert Recent(((100, 5000),)).within(LIMITS, 0) == 0
