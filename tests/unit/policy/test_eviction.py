"""Eviction order."""

from hypothesis import given
from hypothesis import strategies as st

from tierfs.policy.eviction import Candidate, choose, choose_ranges


def test_the_first_ones_go_and_no_more_than_needed() -> None:
    candidates = [Candidate(2, 10), Candidate(3, 10), Candidate(1, 10)]
    assert [victim.ino for victim in choose(candidates, 15)] == [2, 3]


def test_dirty_written_pinned_and_empty_files_stay() -> None:
    candidates = [
        Candidate(1, 10, is_dirty=True),
        Candidate(2, 10, is_written=True),
        Candidate(3, 10, is_pinned=True),
        Candidate(4, 0),
        Candidate(5, 10),
    ]
    assert [victim.ino for victim in choose(candidates, 1000)] == [5]


def test_nothing_needed_nothing_chosen() -> None:
    assert choose([Candidate(1, 10)], 0) == []
    assert choose_ranges([(0, 10)], [5], 0) == []


def test_ranges_behind_the_reader_go_before_those_ahead() -> None:
    assert choose_ranges([(0, 100)], [60], 20) == [(0, 20)]
    assert choose_ranges([(0, 100)], [60], 70) == [(0, 60), (90, 100)]


def test_the_slowest_reader_counts() -> None:
    assert choose_ranges([(0, 100)], [60, 10], 20) == [(0, 10), (90, 100)]


def test_a_file_without_readers_goes_from_its_end() -> None:
    assert choose_ranges([(0, 10), (20, 30)], [], 15) == [(20, 30), (5, 10)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6),
    st.lists(st.integers(0, 80), max_size=3),
    st.integers(0, 90),
)
def test_ranges_chosen_are_present_disjoint_and_enough(
    gaps: list[tuple[int, int]], positions: list[int], need: int
) -> None:
    present, at = [], 0
    for gap, length in gaps:
        if length:
            present.append((at + gap + 1, at + gap + 1 + length))
            at = present[-1][1]
    members = {byte for start, stop in present for byte in range(start, stop)}
    victims = choose_ranges(present, positions, need)
    chosen = [byte for start, stop in victims for byte in range(start, stop)]
    assert len(chosen) == len(set(chosen)) == min(need, len(members))
    assert set(chosen) <= members
