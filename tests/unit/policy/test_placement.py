"""Which rule a file has, what is due for it, and when that will be another."""

import stat

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tierfs.model import Inode, Residency
from tierfs.policy.placement import (
    NEVER,
    Action,
    Decision,
    File,
    Match,
    Placement,
    Rule,
    RuleSet,
    Terms,
    decisions,
    is_below,
    last_use_s,
    next_change,
    place,
)

DAY = 86_400.0
NOW = 1_700_000_000.0
FILE = File(("a", "b.ckpt"), 1000, NOW, uid=7, gid=8, residency=Residency.FULL, storage_class="STANDARD")


def aged(days: float) -> File:
    return evolve(FILE, last_use_s=NOW - days * DAY)


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(), True),
        (Match(pattern=("a",)), True),
        (Match(pattern=("**", "*.ckpt")), True),
        (Match(pattern=("*.ckpt",)), False),
        (Match(min_size_bytes=1000), True),
        (Match(min_size_bytes=1001), False),
        (Match(max_size_bytes=1001), True),
        (Match(max_size_bytes=1000), False),
        (Match(uid=7), True),
        (Match(uid=0), False),
        (Match(gid=8), True),
        (Match(gid=7), False),
        (Match(residency=Residency.FULL), True),
        (Match(residency=Residency.COLD), False),
        (Match(storage_class="STANDARD"), True),
        (Match(storage_class="GLACIER"), False),
        (Match(xattr=("user.p", None)), True),
        (Match(xattr=("user.p", b"x")), True),
        (Match(xattr=("user.p", b"y")), False),
        (Match(xattr=("user.q", None)), False),
        (Match(uid=7, gid=7), False),
    ],
)
def test_a_match_holds_where_all_of_it_does(match: Match, fits: bool) -> None:
    assert match.holds(evolve(FILE, xattrs={"user.p": b"x"}), NOW) is fits


def test_an_age_fits_from_its_least_to_before_its_most() -> None:
    match = Match(min_age_s=DAY, max_age_s=2 * DAY)
    assert [match.holds(aged(days), NOW) for days in (0.5, 1, 1.5, 2, -3)] == [False, True, True, False, False]


def test_the_first_rule_that_names_a_file_counts() -> None:
    rules = RuleSet(
        (
            Rule("old", Match(min_age_s=30 * DAY), Terms(demote_to="GLACIER")),
            Rule("a", Match(pattern=("a",)), Terms(is_pinned=True)),
            Rule("all", Match(), Terms(is_cached=False)),
        )
    )
    assert place(rules, aged(31), NOW).rule == "old"
    assert place(rules, aged(1), NOW).rule == "a"
    assert place(rules, evolve(FILE, path=("c",)), NOW).rule == "all"
    assert place(RuleSet(), FILE, NOW) == Placement()


def test_the_last_use_is_the_latest_of_all_times() -> None:
    inode = Inode(2, stat.S_IFREG, 0, 0, 0, 1, 5_000_000_000, 7_000_000_000, 6_000_000_000, 9_000_000_000, 1, b"f")
    assert last_use_s(inode) == 7.0
    assert last_use_s(inode, 8) == 8.0


def test_what_is_due_comes_in_its_order() -> None:
    terms = Terms(hot_at_least_s=DAY, hot_at_most_s=9 * DAY, demote_to="GLACIER", demote_after_s=3 * DAY)
    placement = place(RuleSet((Rule("r", Match(), terms),)), FILE, NOW)
    assert placement.stays_until_s == NOW + DAY
    assert decisions(placement, FILE) == [
        Decision(Action.DEMOTE, NOW + 3 * DAY, "r", "GLACIER"),
        Decision(Action.RELEASE, NOW + 9 * DAY, "r"),
    ]
    assert decisions(placement, evolve(FILE, residency=Residency.COLD, storage_class="DEEP_ARCHIVE")) == []


def test_what_is_pinned_goes_nowhere() -> None:
    terms = Terms(is_pinned=True, hot_at_most_s=0, demote_to="GLACIER")
    placement = place(RuleSet((Rule("r", Match(), terms),)), FILE, NOW)
    assert placement.is_pinned and decisions(placement, FILE) == []


def test_a_clock_that_was_set_back_makes_nothing_due() -> None:
    terms = Terms(hot_at_most_s=DAY, demote_to="GLACIER", demote_after_s=DAY)
    placement = place(RuleSet((Rule("r", Match(), terms),)), FILE, NOW - 365 * DAY)
    assert all(decision.at_s > NOW - 365 * DAY for decision in decisions(placement, FILE))


def test_classes_only_go_down() -> None:
    assert is_below("GLACIER", "STANDARD") and not is_below("STANDARD", "GLACIER")
    assert not is_below("STANDARD", "STANDARD")
    assert not is_below("GLACIER", "") and not is_below("", "STANDARD") and not is_below("SNOW", "STANDARD")


def test_the_next_change_is_when_another_rule_counts() -> None:
    rules = RuleSet(
        (
            Rule("ancient", Match(min_age_s=90 * DAY), Terms(demote_to="DEEP_ARCHIVE")),
            Rule("big", Match(min_age_s=30 * DAY, min_size_bytes=1 << 30), Terms(demote_to="GLACIER")),
            Rule("young", Match(max_age_s=7 * DAY), Terms(hot_at_least_s=7 * DAY)),
        )
    )
    change = next_change(rules, FILE, NOW)
    assert change is not None and change[0] == NOW + 7 * DAY and change[1] == Placement()
    change = next_change(rules, FILE, NOW + 8 * DAY)
    assert change is not None and change[0] == NOW + 90 * DAY and change[1].rule == "ancient"
    assert next_change(rules, FILE, NOW + 91 * DAY) is None


_SPANS = st.sampled_from([0.0, 0.1, 1 / 3, 7.7, DAY, 30 * DAY])
_MATCHES = st.builds(Match, min_age_s=_SPANS, max_age_s=st.one_of(_SPANS, st.just(NEVER)))
_RULES = st.lists(st.builds(Terms, hot_at_least_s=_SPANS), max_size=4).flatmap(
    lambda terms: st.tuples(
        *(st.builds(Rule, st.just(str(at)), _MATCHES, st.just(each)) for at, each in enumerate(terms))
    )
)


@given(_RULES, st.floats(NOW, NOW + 40 * DAY))
def test_between_now_and_the_next_change_nothing_changes(rules: tuple[Rule, ...], then_s: float) -> None:
    rule_set = RuleSet(rules)
    change = next_change(rule_set, FILE, NOW)
    if change is None or then_s < change[0]:
        assert place(rule_set, FILE, then_s) == place(rule_set, FILE, NOW)
    else:
        assert place(rule_set, FILE, change[0]) == change[1] != place(rule_set, FILE, NOW)


def test_the_names_and_the_span_that_a_pass_needs() -> None:
    rules = RuleSet(
        (
            Rule("a", Match(xattr=("user.p", None)), Terms(hot_at_most_s=5 * DAY)),
            Rule("b", Match(), Terms(hot_at_most_s=2 * DAY)),
        )
    )
    assert rules.xattr_names == {"user.p"} and rules.shortest_stay_s == 2 * DAY
    assert RuleSet().xattr_names == frozenset() and RuleSet().shortest_stay_s == NEVER
