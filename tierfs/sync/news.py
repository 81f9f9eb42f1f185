"""What happens on both sides, for those who watch: the latest changes, numbered.

Bounded: 10,000 are kept, and none while nobody has asked for a minute. Each one has its number all the same, so who
reads slowly, or comes back late, is told how many he missed. What a first listing finds is no change.

Shared by export and import (tell) and the control socket (`after`). Telling is sync code; the only checkpoint is in
`after`, where it waits.
"""

import enum
import itertools
from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from attrs import field, frozen

from tierfs.clock import Clock
from tierfs.index.env import Reader
from tierfs.model import HIDDEN_PREFIX
from tierfs.sync.paths import key_path, text_path

_KEPT_MAX: Final = 10_000
_WATCHED_S: Final = 60.0


class Direction(enum.StrEnum):
    """Whose work it was."""

    EXPORT = "export"
    IMPORT = "import"


class What(enum.StrEnum):
    """What became of a path: in the bucket by an export, in the mount by an import."""

    WRITTEN = "written"
    DELETED = "deleted"
    ADDED = "added"
    CHANGED = "changed"
    CONFLICT = "conflict"  # `detail`: where the other version is kept, "" where it is not
    FAILED = "failed"  # `detail`: with which error


@frozen
class Change:
    """One of them. `path` as JSON has it, relative to the root of the mount; "" where it is about no path."""

    number: int
    time_ns: int
    direction: Direction
    what: What
    path: str
    detail: str = ""


@frozen
class Batch:
    """The next changes; `last` is the number to go on with, `missed` how many up to it were not kept."""

    changes: list[Change] = field(factory=list)
    last: int = 0
    missed: int = 0


class News:
    """The changes of one mount."""

    def __init__(self, reader: Reader, clock: Clock, *, kept_max: int = _KEPT_MAX) -> None:
        self._reader = reader
        self._clock = clock
        self._kept: deque[Change] = deque(maxlen=kept_max)
        self._last = 0
        self._waiting = 0
        self._watched_until_s = 0.0  # trio time
        self._told = trio.Event()

    # ---- telling ----

    def exported(self, key: str, etag: str) -> None:
        """We wrote the object at `key` as version `etag`, or ("") deleted it."""
        if not key.startswith(HIDDEN_PREFIX):
            what = What.WRITTEN if etag else What.DELETED
            self._tell(Direction.EXPORT, what, lambda: key_path(self._reader, key))

    def imported(self, what: What, parent: int, name: bytes) -> None:
        """Somebody else's change is in the index."""
        self._tell(Direction.IMPORT, what, lambda: text_path(self._reader, parent, name))

    def conflict(self, path: str, copy: str) -> None:
        """Both sides changed the file at `path`."""
        self._tell(Direction.EXPORT, What.CONFLICT, lambda: path, copy.removeprefix("/"))

    def failed(self, direction: Direction, path: str, error: str) -> None:
        """It is tried again."""
        self._tell(direction, What.FAILED, lambda: path, error)

    def _tell(self, direction: Direction, what: What, path: Callable[[], str], detail: str = "") -> None:
        self._last += 1
        if not self._waiting and trio.current_time() >= self._watched_until_s:
            self._kept.clear()
            return
        text = path().removeprefix("/")
        self._kept.append(Change(self._last, self._clock.now_ns(), direction, what, text, detail))
        self._told.set()

    # ---- watching ----

    async def after(self, number: int | None, limit: int) -> Batch:
        """Waits for changes above `number` and returns at most `limit`, oldest first. None: begins, without a wait."""
        self._waiting += 1
        try:
            while number is not None and self._last <= number:
                self._told = trio.Event() if self._told.is_set() else self._told
                await self._told.wait()
        finally:
            self._waiting -= 1
            self._watched_until_s = trio.current_time() + _WATCHED_S
        if number is None:
            return Batch(last=self._last)
        changes = list(itertools.islice((change for change in self._kept if change.number > number), limit))
        last = changes[-1].number if changes else self._last
        return Batch(changes, last, missed=last - number - len(changes))
