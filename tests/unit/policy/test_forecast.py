"""What a command would cost for one file: requests, the rest of a minimum duration, storage from then on."""

import pytest

from tests.unit.policy.test_cost import NOW_NS, TABLE
from tierfs.policy.classes import DAY_S, MONTH_S, Speed
from tierfs.policy.cost import RequestKind, Traffic, Use
from tierfs.policy.forecast import Deed, Seen, Terms, early_end, storage_change, uses, waits_for_restore
from tierfs.units import GIB, KIB, MIB, NS_PER_S

Kind = RequestKind
IA, ARCHIVE = "STANDARD_IA", "GLACIER"
OLD_NS = NOW_NS - 1000 * DAY_S * NS_PER_S
LOCAL = Seen(100)
COLD = Seen(20 * MIB, IA, OLD_NS, cold_bytes=20 * MIB)
HOT = Seen(20 * MIB, IA, OLD_NS)
ARCHIVED = Seen(20 * MIB, ARCHIVE, OLD_NS, cold_bytes=20 * MIB, is_archived=True)
RESTORED = Seen(20 * MIB, ARCHIVE, OLD_NS, cold_bytes=20 * MIB)


def terms(deed: Deed, storage_class: str = ARCHIVE) -> Terms:
    return Terms(deed, fetch_bytes=8 * MIB, part_bytes=8 * MIB, storage_class=storage_class, speed=Speed.STANDARD)


@pytest.mark.parametrize("seen", [COLD, HOT, RESTORED])
def test_a_move_copies_and_deletes(seen: Seen) -> None:
    assert uses(terms(Deed.MOVE), seen) == [
        (Use(Kind.HEAD, seen.storage_class), Traffic(1)),
        (Use(Kind.COPY, seen.storage_class), Traffic(1)),
        (Use(Kind.COPY, seen.storage_class), Traffic(0, 0, 20 * MIB)),
        (Use(Kind.DELETE), Traffic(1)),
    ]
    assert uses(terms(Deed.ATTRIBUTES), seen) == uses(terms(Deed.MOVE), seen)[:-1]


def test_a_move_of_more_than_a_copy_takes_goes_in_parts() -> None:
    assert uses(terms(Deed.ATTRIBUTES), Seen(12 * GIB, IA))[1:] == [
        (Use(Kind.POST, IA), Traffic(2)),
        (Use(Kind.COPY), Traffic(3)),
        (Use(Kind.COPY, IA), Traffic(0, 0, 12 * GIB)),
    ]


def test_what_is_not_here_is_fetched_in_parts_and_what_is_here_is_not() -> None:
    for deed in (Deed.READ, Deed.WARM):
        assert uses(terms(deed), COLD) == [(Use(Kind.GET, IA), Traffic(3, 0, 20 * MIB))]
        assert uses(terms(deed), HOT) == []


def test_a_copy_reads_and_writes() -> None:
    assert uses(terms(Deed.COPY), COLD) == [
        (Use(Kind.GET, IA), Traffic(3, 0, 20 * MIB)),
        (Use(Kind.POST), Traffic(2)),
        (Use(Kind.PUT), Traffic(3, 20 * MIB)),
    ]
    assert uses(terms(Deed.COPY), LOCAL) == [(Use(Kind.PUT), Traffic(1, 100))]


@pytest.mark.parametrize("deed", set(Deed) - {Deed.COPY})
def test_what_the_bucket_has_not_costs_nothing_more(deed: Deed) -> None:
    assert uses(terms(deed), LOCAL) == []
    assert early_end(TABLE, terms(deed), LOCAL, NOW_NS) == 0
    assert storage_change(TABLE, terms(deed), LOCAL) == 0


def test_archiving_moves_what_is_not_in_that_class() -> None:
    copy = [(Use(Kind.COPY, ARCHIVE), Traffic(1)), (Use(Kind.COPY, IA), Traffic(0, 0, 20 * MIB))]
    assert uses(terms(Deed.ARCHIVE), HOT) == [*2 * [(Use(Kind.HEAD, IA), Traffic(1))], *copy]
    assert uses(terms(Deed.ARCHIVE), RESTORED) == []
    assert uses(terms(Deed.ARCHIVE, IA), ARCHIVED) == []
    assert storage_change(TABLE, terms(Deed.ARCHIVE), RESTORED) == 0


def test_a_restore_is_of_what_is_archived() -> None:
    assert uses(terms(Deed.RESTORE), ARCHIVED) == [
        (Use(Kind.HEAD, ARCHIVE), Traffic(1)),
        (Use(Kind.RESTORE, ARCHIVE, "standard"), Traffic(1, 0, 20 * MIB)),
    ]
    assert uses(terms(Deed.RESTORE), RESTORED) == uses(terms(Deed.RESTORE), HOT) == []


@pytest.mark.parametrize("deed", [Deed.MOVE, Deed.ATTRIBUTES, Deed.READ, Deed.WARM, Deed.COPY])
def test_an_archived_file_is_restored_first(deed: Deed) -> None:
    assert waits_for_restore(terms(deed), ARCHIVED) and not waits_for_restore(terms(deed), RESTORED)
    assert uses(terms(deed), ARCHIVED) == []
    assert early_end(TABLE, terms(deed), ARCHIVED, NOW_NS) == storage_change(TABLE, terms(deed), ARCHIVED) == 0


def test_an_archived_file_that_is_here_can_be_read_but_not_moved() -> None:
    here = Seen(20 * MIB, ARCHIVE, OLD_NS, cold_bytes=0, is_archived=True)
    assert not waits_for_restore(terms(Deed.READ), here)
    assert waits_for_restore(terms(Deed.MOVE), here)


@pytest.mark.parametrize("deed", [Deed.MOVE, Deed.ATTRIBUTES, Deed.REMOVE, Deed.ARCHIVE])
def test_who_ends_an_object_pays_the_rest_of_its_least_time(deed: Deed) -> None:
    young = Seen(GIB, IA, NOW_NS - 10 * DAY_S * NS_PER_S)
    assert early_end(TABLE, terms(deed), young, NOW_NS) == pytest.approx(1.0 * 20 * DAY_S / MONTH_S)
    assert early_end(TABLE, terms(deed), COLD, NOW_NS) == 0
    assert early_end(TABLE, terms(deed), Seen(GIB, "STANDARD", NOW_NS), NOW_NS) == 0


def test_who_only_reads_ends_nothing() -> None:
    assert early_end(TABLE, terms(Deed.READ), Seen(GIB, IA, NOW_NS, GIB), NOW_NS) == 0
    assert early_end(TABLE, terms(Deed.ARCHIVE, IA), Seen(GIB, IA, NOW_NS), NOW_NS) == 0


def test_what_later_months_cost_more_or_less() -> None:
    assert storage_change(TABLE, terms(Deed.REMOVE), Seen(28 * KIB, IA)) == -(128 * KIB) / GIB
    assert storage_change(TABLE, terms(Deed.COPY), Seen(GIB, IA)) == 2.0
    assert storage_change(TABLE, terms(Deed.ARCHIVE), Seen(GIB, IA)) == pytest.approx(0.5 * (1 + 40 * KIB / GIB) - 1.0)
    assert storage_change(TABLE, terms(Deed.MOVE), Seen(GIB, IA)) == 0
