"""What the export engine tells of itself: values for status and for those who wait."""

from collections.abc import Awaitable, Callable

from attrs import frozen

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
