"""What the export engine tells of itself: values for status and for those who wait."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, frozen

from tierfs.errors import StoreErrorKind
from tierfs.model import IntentKind

_ADVICE: Final = {
    StoreErrorKind.ACCESS_DENIED: " Check that the credentials may write, copy and delete under this prefix.",
    StoreErrorKind.ARCHIVED: " The object is archived: its change goes up after tierctl restore.",
    StoreErrorKind.KEY_TOO_LONG: " Shorten the path: a key has at most 1,024 bytes.",
}
_MEANWHILE: Final = {
    IntentKind.RECONCILE: " The file is safe on the local disk meanwhile.",
    IntentKind.DELETE: " The object stays in the bucket meanwhile.",
    IntentKind.MOVE_TREE: " Each file is whole at its old or its new key meanwhile.",
}

_TELL_S: Final = 0.5  # to count what is left looks at all of it

Progress = Callable[[int, int], Awaitable[None]]
"""Told now and then: (intents left, bytes left)."""


@frozen
class Failing:
    """An intent that does not succeed."""

    path: str
    error: str
    errno: int
    is_permanent: bool


@frozen
class PendingSummary:
    """What the bucket has not seen yet; see `backlog.Backlog`."""

    count: int
    bytes: int
    failures: int
    oldest_age_s: float | None
    failing: tuple[tuple[str, str], ...]


@define
class Reporter:
    """Tells one who waits how much is left, twice a second at most."""

    on_progress: Progress | None
    survey: Callable[[], PendingSummary]
    next_s: float = 0.0  # by trio's clock

    async def tell(self) -> None:
        """If it is time."""
        if self.on_progress is not None and trio.current_time() >= self.next_s:
            summary = self.survey()
            self.next_s = trio.current_time() + _TELL_S
            await self.on_progress(summary.count, summary.bytes)


@frozen
class Outage:
    """The store cannot be reached."""

    since_ns: int
    reason: str


def advice(kind: StoreErrorKind | None, work: IntentKind) -> str:
    """What an operator can do about work that failed, or how things are until it succeeds.

    "" where the store is not the cause (`kind` None): how the local bytes are is then not known.
    """
    return _ADVICE.get(kind, _MEANWHILE[work]) if kind is not None else ""
