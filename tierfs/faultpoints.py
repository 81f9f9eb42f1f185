"""Named steps at which a test ends the process as SIGKILL does, to see that what is left there can be gone on from.

Each step lies between two effects of which a crash may leave only the first; its name says what has happened. In a
daemon `TIERFS_FAULT_POINT=<name>:<count>:<file>` kills it when it comes to the point for the `count`-th time, once:
the file is made then, and a life that finds it goes on. Without the variable a point costs one comparison.
"""

import enum
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "TIERFS_FAULT_POINT"


class Point(enum.StrEnum):
    """What has just happened; what has not follows the dash."""

    JOURNAL_WRITTEN = "journal-written"  # the record of a change - it is not in LMDB's transaction, nor answered
    INDEX_COMMITTING = "index-committing"  # all changes are in LMDB's transaction - it is not committed
    INDEX_COMMITTED = "index-committed"  # LMDB has it - the journal's segments are not free
    EXPORT_BEGUN = "export-begun"  # the attempt is recorded - nothing is sent
    EXPORT_SENT = "export-sent"  # the bucket has the object - the index does not know
    EXPORT_RECORDED = "export-recorded"  # the index knows - further links, later steps
    UPLOAD_BEGUN = "upload-begun"  # the bucket has the upload, the index its id - no part is sent
    UPLOAD_FILLED = "upload-filled"  # all parts are sent - it is not completed
    UPLOAD_COMPLETED = "upload-completed"  # the object is there - the index does not know
    DELETE_SENT = "delete-sent"  # the object is gone - the tombstone stands
    ASIDE_COPIED = "aside-copied"  # what an open file still reads has its copy - the index does not know
    TREE_LISTED = "tree-listed"  # a page of a renamed directory has intents - nothing of it is moved
    TREE_EMPTIED = "tree-emptied"  # nothing lies under the old prefix - the index still says so
    PAGE_LISTED = "page-listed"  # a page of a listing has arrived - it is not applied
    PAGE_APPLIED = "page-applied"  # names are in the index - the directory does not count as listed
    CONTENT_DROPPED = "content-dropped"  # the bytes of a replaced version are gone - the row speaks of the old one
    FETCH_WRITTEN = "fetch-written"  # fetched bytes are in the backing file - no extent says so
    EVICT_RECORDED = "evict-recorded"  # the index says that nothing is here - the backing file is
    UNLINK_RECORDED = "unlink-recorded"  # the name is gone - inode and backing file are there
    FILE_RECOVERED = "file-recovered"  # a start has put one file right - others it has not


_action: Callable[[Point], None] | None = None


def reach(point: Point) -> None:
    """The process has come to this point."""
    if _action is not None:
        _action(point)


def arm(action: Callable[[Point], None] | None) -> None:
    """From now on every point calls `action`; None: no more."""
    global _action  # noqa: PLW0603 - one process has one death
    _action = action


def arm_from(environment: Mapping[str, str]) -> None:
    """Arms what the variable says, if it is there. ValueError for a point that does not exist."""
    said = environment.get(VARIABLE)
    if said is None:
        return
    name, count, mark = said.split(":", 2)
    arm(_Killer(Point(name), int(count), Path(mark)))


class _Killer:
    def __init__(self, point: Point, count: int, mark: Path) -> None:
        self._point = point
        self._left = count
        self._mark = mark

    def __call__(self, point: Point) -> None:
        if point is not self._point or self._mark.exists():
            return
        self._left -= 1
        if self._left == 0:
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
