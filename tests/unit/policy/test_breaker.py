"""A rule whose moves fail is stopped, tried again, and goes on."""

from tierfs.policy.breaker import PAUSE_S, Breaker
from tierfs.units import NS_PER_S

NOW_NS = 1_000_000 * NS_PER_S
LATER_NS = NOW_NS + PAUSE_S * NS_PER_S


def after(pattern: str) -> Breaker:
    """ "x": a move that failed, ".": one that did not."""
    breaker = Breaker()
    for each in pattern:
        breaker = breaker.failed_with("no", NOW_NS) if each == "x" else breaker.succeeded()
    return breaker


def test_few_failures_stop_nothing() -> None:
    assert after("xxxxxxxxx").lets_through(NOW_NS), "nine are too few to judge by"
    assert after("....x.x..x....x....x").lets_through(NOW_NS)


def test_half_of_them_do() -> None:
    breaker = after(".x" * 5)
    assert not breaker.lets_through(NOW_NS) and breaker.reason == "no"


def test_old_successes_do_not_hide_it() -> None:
    assert not after("." * 100 + "x" * 10).lets_through(NOW_NS)


def test_one_trial_after_the_pause() -> None:
    breaker = after("x" * 10)
    assert breaker.lets_through(LATER_NS)
    trying = breaker.tried(LATER_NS)
    assert not trying.lets_through(LATER_NS), "others wait for how it ends"
    assert not trying.failed_with("still", LATER_NS).lets_through(LATER_NS)
    assert trying.succeeded() == Breaker()


def test_a_closed_one_has_no_trials() -> None:
    assert Breaker().tried(NOW_NS) == Breaker()
