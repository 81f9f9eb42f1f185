"""What people read of events."""

from typing import Any

from tierfs.cli import events as verbs

SWEEP = {"interval_s": 60.0, "sweeps": 0, "directories": 0, "found": 0, "last_age_s": None, "is_running": False}


def test_polling() -> None:
    events: dict[str, Any] = {"source": "poll", "sweep": SWEEP}
    assert verbs.summary(events) == "polling every 1 min"
    assert verbs.status_text(events).splitlines() == ["polling every 1 min", "  sweeps  0, 0 differences"]


def test_a_source_that_is_broken_says_why() -> None:
    counts = dict.fromkeys(("received", "applied", "own", "known", "ignored", "pending", "missed"), 0)
    failures = {"errors": 1, "malformed": 0, "refused": 2}
    events = {
        "source": "webhook",
        "sweep": SWEEP,
        "address": "127.0.0.1:9123",
        "state": "broken",
        "state_age_s": 5.0,
        "reason": "no event came back",
        "last_event_age_s": None,
        "lag_s": 0.0,
        **counts,
        **failures,
    }
    text = verbs.status_text(events)
    assert "webhook, broken for 5 s\n" in text and "no event came back" in text and "1 errors, 2 refused" in text
