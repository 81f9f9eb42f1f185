"""The stages of a restore, and how often the bucket is asked."""

from attrs import evolve

from tierfs.policy.classes import Speed
from tierfs.policy.restores import Restore, Seen, Stage, asked, expected_s, failed, postponed, seen
from tierfs.units import NS_PER_S

NOW_NS = 1_700_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
WANTED = Restore("e", "GLACIER", 10, Speed.STANDARD, 7, NOW_NS, NOW_NS)
LOOK_S = 900.0


def test_how_long_it_takes_is_the_class_and_the_speed() -> None:
    assert expected_s(WANTED) == 5 * 3600
    assert expected_s(evolve(WANTED, speed=Speed.EXPEDITED)) == 300
    assert expected_s(evolve(WANTED, storage_class="DEEP_ARCHIVE", speed=Speed.EXPEDITED)) == 12 * 3600, "has none"
    assert expected_s(evolve(WANTED, storage_class="INTELLIGENT_TIERING")) == 3600


def test_looks_are_few() -> None:
    slow = asked(WANTED, NOW_NS, LOOK_S)
    assert (slow.stage, slow.ready_ns, slow.next_ns) == (Stage.ASKED, NOW_NS + 5 * HOUR_NS, NOW_NS + HOUR_NS // 4)
    fast = asked(evolve(WANTED, speed=Speed.EXPEDITED), NOW_NS, LOOK_S)
    assert fast.next_ns == NOW_NS + 15 * NS_PER_S
    assert seen(fast, Seen.ONGOING, NOW_NS, LOOK_S).next_ns == NOW_NS + 15 * NS_PER_S
    assert seen(fast, Seen.ONGOING, NOW_NS + HOUR_NS, LOOK_S).next_ns == NOW_NS + HOUR_NS + 900 * NS_PER_S, "it is late"


def test_how_it_ends() -> None:
    on_its_way = asked(WANTED, NOW_NS, LOOK_S)
    assert seen(on_its_way, Seen.READABLE, NOW_NS, LOOK_S).stage is Stage.READY
    ended = seen(on_its_way, Seen.STILL_ARCHIVED, NOW_NS, LOOK_S)
    assert ended.stage is Stage.FAILED and "nothing to read" in ended.message
    assert failed(WANTED, "no").message == "no"
    later = postponed(WANTED, NOW_NS, "away")
    assert (later.stage, later.next_ns) == (Stage.WANTED, NOW_NS + 60 * NS_PER_S)
