"""A failure is told once in a while, and nothing that was left out is forgotten without a number."""

from tierfs.fuse.repeats import DIFFERENT_MAX, INTERVAL_S, LeftOut, Repeats


def test_the_same_failure_is_told_again_after_a_while_with_a_count() -> None:
    repeats = Repeats()
    assert repeats.take("f", 0) == LeftOut()
    assert [repeats.take("f", second) for second in range(1, 5)] == [None] * 4
    assert repeats.take("f", INTERVAL_S - 0.1) is None
    assert repeats.take("f", INTERVAL_S) == LeftOut(same=5)
    assert repeats.take("f", INTERVAL_S + 1) is None
    assert repeats.take("f", 3 * INTERVAL_S) == LeftOut(same=1)


def test_different_failures_do_not_hide_each_other() -> None:
    repeats = Repeats()
    assert repeats.take(("f", 5), 0) == LeftOut()
    assert repeats.take(("g", 5), 0) == LeftOut()
    assert repeats.take(("f", 116), 0) == LeftOut()
    assert repeats.take(("f", 5), 1) is None


def test_only_so_many_different_ones_are_told() -> None:
    repeats = Repeats()
    assert [repeats.take(number, 0) for number in range(DIFFERENT_MAX)] == [LeftOut()] * DIFFERENT_MAX
    assert repeats.take("one more", 1) is None
    assert repeats.take("another", 1) is None
    assert repeats.take(0, 1) is None
    # the first ones are forgotten, with what was left out of them
    assert repeats.take("one more", INTERVAL_S) == LeftOut(others=3)
    assert repeats.take("another", INTERVAL_S) == LeftOut()
    assert repeats.take(0, INTERVAL_S) == LeftOut()


def test_one_that_is_told_again_is_not_the_oldest_any_more() -> None:
    repeats = Repeats()
    for number in range(DIFFERENT_MAX):
        repeats.take(number, 0)
    assert repeats.take(0, INTERVAL_S) == LeftOut()
    assert repeats.take("new", INTERVAL_S + 1) == LeftOut()
    assert repeats.take(0, INTERVAL_S + 1) is None
