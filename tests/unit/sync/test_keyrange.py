"""Ranges of keys are cut between directories."""

from hypothesis import given
from hypothesis import strategies as st

from tierfs.sync.keyrange import KeyRange, before, behind, spread

KEYS = st.text(st.sampled_from("ab-./0é\U0001f600"), max_size=6)
PREFIXES = KEYS.map(lambda text: text + "/")


@given(PREFIXES, KEYS)
def test_a_directory_begins_and_ends_where_it_should(prefix: str, key: str) -> None:
    assert before(prefix) < prefix < behind(prefix)
    inside, outside = prefix + key, key
    assert before(prefix) < inside < behind(prefix)
    assert outside.startswith(prefix) or not before(prefix) < outside < behind(prefix)


@given(st.lists(PREFIXES, max_size=6), st.lists(KEYS, max_size=20), KEYS, KEYS)
def test_pieces_have_each_key_of_the_range_once(cuts: list[str], keys: list[str], after: str, until: str) -> None:
    whole = KeyRange(after, until)
    pieces = whole.cut(cuts)
    assert (pieces[0].after, pieces[-1].until) == (after, until)
    for key in keys:
        is_in = key > after and (not until or key < until)
        assert sum(key > piece.after and (not piece.until or key < piece.until) for piece in pieces) == is_in


def test_what_is_covered_has_neither_end_inside() -> None:
    assert KeyRange().covers("") and KeyRange().covers("a/")
    assert not KeyRange("a", "").covers("") and not KeyRange("", "a").covers("")
    assert not KeyRange("a/b").covers("a/") and KeyRange("a/b").covers("a/c/")
    assert KeyRange(before("a/")).covers("a/") and KeyRange("", "b/").covers("a/")
    assert not KeyRange(before("a/b/"), "c/").covers("a/")


def test_cuts_are_spread_evenly() -> None:
    prefixes = [f"{number}/" for number in range(8)]
    assert spread(prefixes, 4) == ["2/", "4/", "6/"]
    assert spread(prefixes[:2], 4) == ["0/", "1/"]
    assert spread([], 4) == [] and spread(prefixes, 1) == []
