"""ExtentSet against the obvious model: a set of integers."""

from hypothesis import given
from hypothesis import strategies as st

from tierfs.hottier.extents import ExtentSet

LIMIT = 40
RANGES = st.tuples(st.integers(0, LIMIT), st.integers(0, LIMIT))
STEPS = st.lists(st.tuples(st.booleans(), RANGES), max_size=30)


def ranges_of(members: set[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for member in sorted(members):
        if ranges and ranges[-1][1] == member:
            ranges[-1] = (ranges[-1][0], member + 1)
        else:
            ranges.append((member, member + 1))
    return ranges


@given(STEPS, RANGES)
def test_agrees_with_a_set_of_integers(steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    extents, members = ExtentSet(), set[int]()
    for is_add, (start, stop) in steps:
        if is_add:
            extents.add(start, stop)
            members |= set(range(start, stop))
        else:
            extents.remove(start, stop)
            members -= set(range(start, stop))
    wanted = set(range(*asked))
    assert list(extents) == ranges_of(members)
    assert extents.total_bytes == len(members)
    assert len(extents) == len(ranges_of(members))
    assert extents.covers(*asked) == (wanted <= members)
    assert extents.missing(*asked) == ranges_of(wanted - members)
    assert extents.within(*asked) == ranges_of(wanted & members)


def test_touching_ranges_become_one() -> None:
    assert list(ExtentSet([(0, 4), (8, 12), (4, 8)])) == [(0, 12)]


def test_iterating_survives_a_change() -> None:
    extents = ExtentSet([(0, 4), (8, 12)])
    for start, stop in extents:
        extents.remove(start, stop)
    assert not extents


def test_equal_by_value() -> None:
    assert ExtentSet([(0, 2), (2, 3)]) == ExtentSet([(0, 3)])
    assert ExtentSet([(0, 2)]) != ExtentSet([(0, 3)])


def test_clear_forgets_everything() -> None:
    extents = ExtentSet([(0, 2)])
    extents.clear()
    assert extents.total_bytes == 0
    assert extents.missing(0, 2) == [(0, 2)]
