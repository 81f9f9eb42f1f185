"""What the export engine tells of itself: values for status and for those who wait."""

from collections.abc import Awaitable, Callable

from attrs import frozen

from tierfs.errors import StoreErrorKind
from tierfs.model import IntentKind

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
    """What the bucket has not seen yet. `bytes` is a lower bound when more than 20,000 intents are pending."""

    count: int
    bytes: int
    oldest_age_s: float
    failing: tuple[tuple[str, str], ...]


@frozen
class Outage:
    """The store cannot be reached."""

    since_ns: int
    reason: str


def advice(kind: StoreErrorKind | None, intent: IntentKind) -> str:
    """What an operator can do about a failure."""
    if kind is StoreErrorKind.ACCESS_DENIED:
        return "Check that the credentials may write, copy and delete under this prefix."
    if kind is StoreErrorKind.ARCHIVED:
        return "The object is archived: restore it, then its change goes up."
    if kind is StoreErrorKind.KEY_TOO_LONG:
        return "Shorten the path: a key has at most 1,024 bytes."
    if intent is IntentKind.DELETE:
        return "Until then others see the object."
    return "The file is safe on the local disk meanwhile."
