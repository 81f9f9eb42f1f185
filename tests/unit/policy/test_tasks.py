"""Tasks: their states, what a restart makes of them, and when they will be done."""

import pytest
from attrs import evolve

from tierfs.policy.tasks import Counts, Task, TaskKind, TaskState, after_restart, eta_s, moved_to
from tierfs.units import NS_PER_S

ASKED = Task(1, TaskKind.WARM, "d", created_ns=5)
S = TaskState


def test_from_state_to_state() -> None:
    running = moved_to(ASKED, S.RUNNING, 10)
    assert (running.state, running.started_ns, running.ended_ns) == (S.RUNNING, 10, 0)
    failed = moved_to(running, S.FAILED, 20, code="unavailable", message="no answer")
    assert (failed.ended_ns, failed.code, failed.message, failed.created_ns) == (20, "unavailable", "no answer", 5)
    assert failed.state.has_ended and not running.state.has_ended


@pytest.mark.parametrize(
    ("state", "following"),
    [(S.QUEUED, S.DONE), (S.RUNNING, S.RUNNING), *((ended, S.RUNNING) for ended in S if ended.has_ended)],
)
def test_states_that_cannot_follow(state: TaskState, following: TaskState) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        moved_to(evolve(ASKED, state=state), following, 10)


@pytest.mark.parametrize("kind", TaskKind)
@pytest.mark.parametrize("state", TaskState)
def test_after_a_restart(kind: TaskKind, state: TaskState) -> None:
    counts = Counts(total=9, done=4)
    found = after_restart(Task(1, kind, "d", 5, state, started_ns=6, counts=counts), 10)
    if state.has_ended:
        assert found.state is state and found.counts == counts
    elif kind not in (TaskKind.RELEASE, TaskKind.VERIFY, TaskKind.SCRUB, TaskKind.RENAME):
        assert (found.state, found.created_ns) == (S.QUEUED, 5)
        assert found.counts == (Counts() if state is S.RUNNING else counts)
    else:
        assert (found.state, found.code, found.ended_ns) == (S.INTERRUPTED, "interrupted", 10)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(total=10, done=5), None),  # more may be found
        (Counts(total=10, counted_ns=NS_PER_S), None),  # no rate yet
        (Counts(total=10, done=5, counted_ns=NS_PER_S), 10.0),
        (Counts(total=10, done=10, counted_ns=NS_PER_S), 0.0),
        (Counts(total=10, done=9, total_bytes=100, done_bytes=20, counted_ns=NS_PER_S), 40.0),  # a large one is left
        (Counts(total=10, done=2, total_bytes=100, done_bytes=90, counted_ns=NS_PER_S), 40.0),  # many small ones are
        (Counts(total=10, done=5, total_bytes=100, done_bytes=0, counted_ns=NS_PER_S), None),
        (Counts(total=10, done=3, failed=2, total_bytes=100, done_bytes=3, counted_ns=NS_PER_S), 10.0),
    ],
)
def test_when_it_will_be_done(counts: Counts, expected: float | None) -> None:
    assert eta_s(evolve(ASKED, state=S.RUNNING, counts=counts), 11 * NS_PER_S) == expected


def test_what_does_not_run_has_no_end() -> None:
    counts = Counts(total=10, done=5, counted_ns=NS_PER_S)
    assert eta_s(evolve(ASKED, counts=counts), 11 * NS_PER_S) is None
    assert eta_s(evolve(ASKED, state=S.RUNNING, counts=counts), NS_PER_S) is None
