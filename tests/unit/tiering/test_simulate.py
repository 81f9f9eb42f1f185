"""Simulations that can be worked out by hand: what each access does to hits, requests, classes and the bill."""

import random

import pytest
from attrs import evolve

from tierfs.policy.caches import POLICIES
from tierfs.policy.classes import DAY_S, MONTH_S
from tierfs.policy.cost import RequestKind, Traffic, Use
from tierfs.policy.placement import Match, Rule, RuleSet, Terms
from tierfs.tiering import prices
from tierfs.tiering.simulate import Outcome, RuledTier, simulate
from tierfs.tiering.traces import Trace
from tierfs.units import GIB, MIB

NAMES = ["data/a", "data/b", "scratch/c"]
READ, WRITE = False, True


def ruled(trace: Trace, *rules: tuple[str, Terms], tier_bytes: int = GIB) -> Outcome:
    made = [Rule(path, Match(pattern=tuple(path.split("/"))), terms) for path, terms in rules]
    return RuledTier(trace, RuleSet(tuple(made)), tier_bytes).run("rules")


def test_hits_bytes_and_requests_of_a_policy() -> None:
    trace = Trace([(0, 0, 10, READ), (1, 0, 10, READ), (2, 1, 9 * MIB, WRITE), (3, 1, 9 * MIB, READ)], NAMES)
    outcome = simulate(trace, POLICIES["lru"](GIB), name="lru")
    assert (outcome.reads, outcome.hits, outcome.hit_bytes) == (3, 2, 10 + 9 * MIB)
    assert outcome.requests == {
        Use(RequestKind.GET): Traffic(1, 0, 10),
        Use(RequestKind.PUT): Traffic(2, 9 * MIB, 0),
        Use(RequestKind.POST): Traffic(2),
    }
    assert outcome.moved_bytes == 10 + 9 * MIB
    assert outcome.request_count == 5


def test_without_rules_it_is_the_mounts_own_policy() -> None:
    chooser = random.Random(1)
    accesses = [(float(n), chooser.randrange(300), 100, chooser.random() < 0.1) for n in range(5000)]
    trace = Trace(accesses, [str(n) for n in range(300)])
    plain, with_rules = simulate(trace, POLICIES["ranked"](10_000), name="rules"), ruled(trace, tier_bytes=10_000)
    assert with_rules.storage_months == pytest.approx(plain.storage_months)
    assert evolve(with_rules, storage_months={}) == evolve(plain, storage_months={})


def test_a_file_leaves_when_its_rule_says_so() -> None:
    terms = Terms(hot_at_most_s=10)
    trace = Trace([(0, 0, 5, READ), (9, 0, 5, READ), (18, 0, 5, READ), (28, 0, 5, READ), (29, 1, 5, READ)], NAMES)
    outcome = ruled(trace, ("data/a", terms))
    assert (outcome.hits, outcome.releases) == (2, 1)


def test_a_file_that_is_not_cached_never_hits() -> None:
    trace = Trace([(0, 2, 5, READ), (1, 2, 5, READ), (2, 0, 5, READ), (3, 0, 5, READ)], NAMES)
    assert ruled(trace, ("scratch", Terms(is_cached=False))).hits == 1


def test_pinned_files_stay_and_take_the_room_of_others() -> None:
    trace = Trace([(0, 0, 60, READ), (1, 1, 50, READ), (2, 1, 50, READ), (3, 2, 40, READ), (4, 0, 60, READ)], NAMES)
    outcome = ruled(trace, ("data/a", Terms(is_pinned=True)), tier_bytes=100)
    assert outcome.hits == 1, "b does not fit beside a"


def test_a_file_sinks_and_is_read_from_its_class() -> None:
    terms = Terms(demote_to="STANDARD_IA", demote_after_s=30 * DAY_S, hot_at_most_s=DAY_S)
    trace = Trace([(0, 0, GIB, READ), (60 * DAY_S, 0, GIB, READ), (60 * DAY_S, 1, 1, READ)], NAMES)
    outcome = ruled(trace, ("data/a", terms), tier_bytes=2 * GIB)
    assert (outcome.hits, outcome.demotions, outcome.releases) == (0, 1, 1)
    assert outcome.requests[Use(RequestKind.GET, "STANDARD_IA")].received_bytes == GIB
    assert outcome.requests[Use(RequestKind.COPY, "STANDARD_IA")] == Traffic(1)
    assert outcome.storage_months["STANDARD", GIB] == pytest.approx(30 * DAY_S / MONTH_S)
    assert outcome.storage_months["STANDARD_IA", GIB] == pytest.approx(30 * DAY_S / MONTH_S)
    table = prices.load()
    bill = outcome.bill(table, pays_transfer=False)
    storage = table.of("STANDARD").storage_gib_month + table.of("STANDARD_IA").storage_gib_month
    assert bill.storage == pytest.approx(storage, rel=1e-3)
    assert bill.retrieval == pytest.approx(table.of("STANDARD_IA").retrieval_gib)


def test_what_is_archived_is_restored_before_it_is_read_and_a_write_is_standard_again() -> None:
    terms = Terms(demote_to="DEEP_ARCHIVE", demote_after_s=DAY_S, hot_at_most_s=DAY_S)
    trace = Trace(
        [(0, 0, 7, READ), (2 * DAY_S, 0, 7, READ), (2 * DAY_S, 0, 7, WRITE), (2.5 * DAY_S, 0, 7, READ)], NAMES
    )
    outcome = ruled(trace, ("data/a", terms))
    assert outcome.requests[Use(RequestKind.RESTORE, "DEEP_ARCHIVE", "standard")] == Traffic(1, 0, 7)
    assert outcome.demotions == 1
    assert outcome.hits == 1


def test_rules_that_change_with_age_are_followed() -> None:
    young = Rule("young", Match(max_age_s=5 * DAY_S), Terms())
    old = Rule("old", Match(min_age_s=5 * DAY_S), Terms(demote_to="GLACIER_IR", demote_after_s=0))
    trace = Trace([(0, 0, 7, READ), (4 * DAY_S, 0, 7, READ), (10 * DAY_S, 0, 7, READ)], NAMES)
    outcome = RuledTier(trace, RuleSet((young, old)), GIB).run("rules")
    assert outcome.demotions == 1
    assert outcome.storage_months["GLACIER_IR", 7] == pytest.approx(DAY_S / MONTH_S)
