"""Long work that somebody asked for: what a task is, how it goes from state to state, and when it will be done.

    QUEUED ──> RUNNING ──> DONE          all of it succeeded
       │          ├──────> FAILED        some files failed, or the work as a whole
       └──────────┴──────> CANCELLED     somebody ended it
                           INTERRUPTED   the daemon ended, and it is not started again

A task that had not ended when the daemon did is started again where that is the same as going on: the state of the
work is then in the index and in the bucket, and what is done is passed over.

    IMPORT, EXPORT, WARM,
    PIN, UNPIN             start again: a directory that was listed since the task was asked for, a file that is in
                           the bucket and a file that is here cost nothing
    SALVAGE                starts again: what is in its place is no longer in lost+found
    RELEASE                ends: what programs have read since is not what was meant
    ARCHIVE, TIER, RESTORE start again: what is in its class already, or on its way back, costs nothing
    VERIFY, SCRUB          ends: half of a check says nothing of the other half, and the first half is old
    RENAME                 is never interrupted: it is an intent of the index, and the export goes on with it
"""

import enum
from collections.abc import Mapping
from typing import Final

from attrs import evolve, field, frozen

from tierfs.units import NS_PER_S


class TaskKind(enum.StrEnum):
    """What is done with all that is at a path or below it."""

    IMPORT = "import"  # the bucket is listed
    EXPORT = "export"  # what is pending is uploaded
    WARM = "warm"  # bytes are fetched into the hot tier
    RELEASE = "release"  # bytes that the bucket has leave the hot tier
    VERIFY = "verify"  # bytes in the hot tier are compared with the bucket's
    SCRUB = "scrub"  # the same, at a bounded rate, and damage is healed
    PIN = "pin"  # files stay in the hot tier, and their bytes are fetched
    UNPIN = "unpin"  # they may go again
    SALVAGE = "salvage"  # files in lost+found of the cache get their places in the mount back
    ARCHIVE = "archive"  # what is pending is uploaded, and its objects are moved to an archive
    TIER = "tier"  # objects are moved to another storage class
    RESTORE = "restore"  # archived files are asked back
    RENAME = "rename"  # the objects of a renamed directory follow it


class TaskState(enum.StrEnum):
    """Where a task is; see the module."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def has_ended(self) -> bool:
        return self not in (TaskState.QUEUED, TaskState.RUNNING)


class FileError(enum.StrEnum):
    """Why a task failed for a file, beside what the store (StoreErrorKind) and system calls (errno) have names for.

    The values are in reports that programs read: they never change their meaning.
    """

    NO_ROOM = "no_room"  # warm: the hot tier is not large enough
    NOT_UPLOADED = "not_uploaded"  # release, and a move: only this machine has the bytes
    IN_USE = "in_use"  # release: open for writing, or read this moment; of a move: open
    PINNED = "pinned"  # release, and a move: it was said to stay
    HELD = "held"  # release, and a move: the bucket has lost it, and nobody has decided yet
    HARD_LINKS = "hard_links"  # a move: it has several names, and an object for each
    OVER_BUDGET = "over_budget"  # a move: the money of the day is spent
    RULE_STOPPED = "rule_stopped"  # a move: half of the rule's moves failed
    CHECKSUM_MISMATCH = "checksum_mismatch"  # verify: the bytes here are not those that were written
    OBJECT_CHANGED = "object_changed"  # verify, and a move: the bucket has another version
    OBJECT_MISSING = "object_missing"  # verify, and a move: the bucket has no object there
    OBJECT_DAMAGED = "object_damaged"  # scrub: the bytes in the bucket are not those that were written
    INCOMPLETE = "incomplete"  # salvage: parts of it were only in the bucket
    UNKNOWN_PLACE = "unknown_place"  # salvage: nothing says where it belongs, and the bucket has no such bytes
    INTERNAL = "internal"  # a fault of tierfs, which its log tells


_NEXT: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.CANCELLED, TaskState.INTERRUPTED}),
    TaskState.RUNNING: frozenset(TaskState) - {TaskState.RUNNING},
}
_RESUMED: Final = frozenset(TaskKind) - {TaskKind.RELEASE, TaskKind.VERIFY, TaskKind.SCRUB, TaskKind.RENAME}


@frozen
class Counts:
    """How far a task is, in what it counts (files; directories of an import) and in bytes.

    `counted_ns`: when the totals were known, 0 while they are only what was found so far. `notes` counts by a name what
    only one kind has, such as files that were verified by their checksum.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    total_bytes: int = 0
    done_bytes: int = 0
    counted_ns: int = 0
    notes: Mapping[str, int] = field(factory=dict)


@frozen
class Options:
    """What a kind needs beside paths: ARCHIVE and TIER the class, RESTORE how fast and for how long ("", 0: as set)."""

    storage_class: str = ""
    speed: str = ""
    days: int = 0


NO_OPTIONS: Final = Options()


@frozen
class Task:
    """One task. `path` is lossless text from the root of the mount, without a slash before; `others`: more of them.

    `code` and `message` say why it failed as a whole; both are "" where only files did.
    """

    number: int
    kind: TaskKind
    path: str
    created_ns: int
    state: TaskState = TaskState.QUEUED
    started_ns: int = 0
    ended_ns: int = 0
    counts: Counts = Counts()
    code: str = ""
    message: str = ""
    options: Options = NO_OPTIONS
    others: tuple[str, ...] = ()


def moved_to(task: Task, state: TaskState, now_ns: int, *, code: str = "", message: str = "") -> Task:
    """The task in its next state. ValueError for a state that cannot follow."""
    if state not in _NEXT.get(task.state, frozenset()):
        raise ValueError(f"a task that is {task.state} cannot be {state}")
    if state is TaskState.QUEUED:
        return evolve(task, state=state, started_ns=0, counts=Counts())
    if state is TaskState.RUNNING:
        return evolve(task, state=state, started_ns=now_ns)
    return evolve(task, state=state, ended_ns=now_ns, code=code, message=message)


def after_restart(task: Task, now_ns: int) -> Task:
    """What becomes of a task that another daemon finds in the index."""
    if task.state.has_ended:
        return task
    if task.kind in _RESUMED:
        return task if task.state is TaskState.QUEUED else moved_to(task, TaskState.QUEUED, now_ns)
    message = "the daemon ended before it was done; start it again"
    return moved_to(task, TaskState.INTERRUPTED, now_ns, code="interrupted", message=message)


def eta_s(task: Task, now_ns: int) -> float | None:
    """Seconds until it is done at the rate so far; None while nothing can be said.

    Of files and of bytes the one that is further behind counts: small files cost by their number, large ones by
    their size.
    """
    counts = task.counts
    elapsed_ns = now_ns - counts.counted_ns
    if task.state is not TaskState.RUNNING or not counts.counted_ns or elapsed_ns <= 0:
        return None
    ended = counts.done + counts.failed
    shares = [(ended, counts.total)]
    if counts.total_bytes and not counts.failed:
        shares.append((counts.done_bytes, counts.total_bytes))
    estimates = [elapsed_ns / NS_PER_S * max(0, total - done) / done for done, total in shares if done]
    return max(estimates) if len(estimates) == len(shares) else None
