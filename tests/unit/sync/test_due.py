"""Every row of the rule in `sync/due.py`."""

import pytest
from attrs import evolve

from tierfs.errors import StoreErrorKind
from tierfs.model import Intent, IntentKind
from tierfs.sync.due import AT_ONCE, Haste, aged_ns, backoff_s, due_ns
from tierfs.units import NS_PER_S

RESTED_NS = 15 * NS_PER_S
AGED_NS = 70 * NS_PER_S
INTENT = Intent(1, IntentKind.RECONCILE, 5, "", "", created_ns=10 * NS_PER_S, not_before_ns=RESTED_NS)


@pytest.mark.parametrize(
    ("haste", "is_written", "expected_ns"),
    [
        (Haste.NOBODY, False, RESTED_NS),
        (Haste.NOBODY, True, AGED_NS),
        (Haste.ROOM, False, AT_ONCE),
        (Haste.ROOM, True, RESTED_NS),
        (Haste.ALL, False, AT_ONCE),
        (Haste.ALL, True, AT_ONCE),
    ],
)
def test_who_waits_decides_whether_it_rests(haste: Haste, is_written: bool, expected_ns: int) -> None:
    assert due_ns(INTENT, haste, is_written=is_written, max_dirty_age_s=60) == expected_ns


def test_no_rest_is_longer_than_the_age() -> None:
    restless = evolve(INTENT, not_before_ns=1000 * NS_PER_S)
    assert due_ns(restless, Haste.NOBODY, is_written=False, max_dirty_age_s=60) == AGED_NS
    assert due_ns(restless, Haste.ROOM, is_written=True, max_dirty_age_s=60) == AGED_NS
    assert aged_ns(restless, 60) == AGED_NS


@pytest.mark.parametrize("haste", Haste)
def test_what_failed_waits_for_its_next_try_whoever_hurries(haste: Haste) -> None:
    failed = evolve(INTENT, attempts=3, not_before_ns=99 * NS_PER_S)
    assert due_ns(failed, haste, is_written=True, max_dirty_age_s=60) == 99 * NS_PER_S


@pytest.mark.parametrize(
    ("kind", "attempts", "is_permanent", "expected_s"),
    [
        (None, 0, False, 1),
        (StoreErrorKind.THROTTLED, 3, False, 8),
        (None, 1000, False, 60),
        (StoreErrorKind.ACCESS_DENIED, 0, True, 30),
        (None, 9, True, 900),
        (StoreErrorKind.ARCHIVED, 0, True, 3600),
    ],
)
def test_each_failure_makes_the_wait_longer(
    kind: StoreErrorKind | None, attempts: int, is_permanent: bool, expected_s: float
) -> None:
    assert backoff_s(kind, attempts, is_permanent=is_permanent) == expected_s
