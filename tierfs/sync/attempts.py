"""What the exporter keeps of its attempts at intents. Values."""

import enum

from attrs import define, frozen


class Outcome(enum.Enum):
    """How an attempt ended."""

    DONE = enum.auto()
    LATER = enum.auto()  # blocked, or changed while it was read
    PASSING = enum.auto()  # a failure that may pass
    FAILED = enum.auto()  # for good, as far as one can tell


@define
class Watch:
    """Somebody waits for an attempt that begins after this was made."""

    has_begun: bool = False
    outcome: Outcome | None = None


@frozen
class Blocked:
    """An intent is not tried again before other work has ended, or some time is over."""

    ended: int  # how much work had, then
    until_s: float  # trio time
    by: str


class SizeClass(enum.Enum):
    """What an intent occupies while it is worked on; each class has slots of its own."""

    SMALL = enum.auto()
    LARGE = enum.auto()
    TREE = enum.auto()  # waits for the intents that it raises, so it must not take their slots
