"""Every row of the table in `sync/waiting.py`, and which of two reasons is told."""

import pytest
from attrs import evolve

from tierfs.model import Intent, IntentKind
from tierfs.sync.waiting import Reason, Standing, Waiting, waiting

NOW_NS = 1000
FRESH = Intent(1, IntentKind.RECONCILE, 5, "", "", created_ns=0, not_before_ns=0)
FAILED = evolve(FRESH, attempts=2, last_error="no")


@pytest.mark.parametrize(
    ("intent", "standing", "expected"),
    [
        (FRESH, Standing(0), Waiting(Reason.TURN)),
        (FRESH, Standing(1000.0), Waiting(Reason.TURN)),
        (FRESH, Standing(1500.0), Waiting(Reason.QUIET, next_ns=1500)),
        (FRESH, Standing(1500.0, is_written=True), Waiting(Reason.OPEN, next_ns=1500)),
        (FRESH, Standing(0, is_written=True), Waiting(Reason.TURN)),
        (FRESH, Standing(0, blocked_by="a"), Waiting(Reason.DEPENDENCY, "a")),
        (FAILED, Standing(1500.0, blocked_by="a"), Waiting(Reason.RETRY, "no", 1500)),
        (FAILED, Standing(0), Waiting(Reason.RETRY, "no")),
        (FAILED, Standing(1500.0, outage="away"), Waiting(Reason.STORE_AWAY, "away")),
        (FAILED, Standing(1500.0, needs_restore=True), Waiting(Reason.ARCHIVED, "no", 1500)),
        (FRESH, Standing(0, needs_restore=True), Waiting(Reason.ARCHIVED)),
        (FAILED, Standing(1500.0, outage="away", needs_restore=True), Waiting(Reason.STORE_AWAY, "away")),
        (FAILED, Standing(1500.0, outage="away", has_lost_base=True), Waiting(Reason.CONFLICT, "no")),
        (FAILED, Standing(1500.0, is_held=True, has_lost_base=True), Waiting(Reason.HELD)),
        (FAILED, Standing(1500.0, is_held=True, is_running=True), Waiting(Reason.RUNNING)),
    ],
)
def test_the_first_reason_that_holds_is_told(intent: Intent, standing: Standing, expected: Waiting) -> None:
    assert waiting(intent, standing, NOW_NS) == expected
