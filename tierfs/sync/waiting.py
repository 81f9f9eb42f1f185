"""Why an intent waits. Pure.

| reason | it goes on |
|---|---|
| running | it is being sent |
| held | when `tierctl sync approve` or `reject` decides about what the bucket has lost |
| conflict | when somebody resolves it: the bytes that were only in the bucket are gone there |
| store-away | when the store can be reached again |
| archived | when the object, which has to be copied for it, was restored: `tierctl restore` asks for that |
| retry | at its next attempt, after one that failed |
| dependency | when other work has ended: a directory before its files, a name that is still taken |
| open | when the program that writes the file closes it, or after `max_dirty_age_s` |
| quiet | when it has been left alone for its quiet time |
| turn | when one of the uploads under way has ended |
"""

import enum

from attrs import frozen

from tierfs.model import Intent


class Reason(enum.StrEnum):
    """See the module."""

    RUNNING = "running"
    HELD = "held"
    CONFLICT = "conflict"
    STORE_AWAY = "store-away"
    ARCHIVED = "archived"
    RETRY = "retry"
    DEPENDENCY = "dependency"
    OPEN = "open"
    QUIET = "quiet"
    TURN = "turn"


@frozen
class Standing:
    """What the engine knows of an intent."""

    due_ns: float
    is_running: bool = False
    is_held: bool = False
    has_lost_base: bool = False
    outage: str = ""
    needs_restore: bool = False
    blocked_by: str = ""
    is_written: bool = False  # a program has the file open for writing


@frozen
class Waiting:
    """Why, in more words ("" where there is nothing to add), and when it is tried next where that is known."""

    reason: Reason
    detail: str = ""
    next_ns: int | None = None


def waiting(intent: Intent, standing: Standing, now_ns: int) -> Waiting:
    """The first reason of the table that holds."""
    is_due = standing.due_ns <= now_ns
    next_ns = None if is_due else int(standing.due_ns)
    if standing.is_running:
        return Waiting(Reason.RUNNING)
    if standing.is_held:
        return Waiting(Reason.HELD)
    if standing.has_lost_base:
        return Waiting(Reason.CONFLICT, intent.last_error)
    if standing.outage:
        return Waiting(Reason.STORE_AWAY, standing.outage)
    if standing.needs_restore:
        return Waiting(Reason.ARCHIVED, intent.last_error, next_ns)
    if intent.attempts:
        return Waiting(Reason.RETRY, intent.last_error, next_ns)
    if standing.blocked_by:
        return Waiting(Reason.DEPENDENCY, standing.blocked_by)
    if not is_due:
        return Waiting(Reason.OPEN if standing.is_written else Reason.QUIET, next_ns=next_ns)
    return Waiting(Reason.TURN)
