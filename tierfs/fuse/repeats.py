"""Which failures are told again: a program may ask for one broken file a thousand times a second. Pure."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from attrs import define, frozen

INTERVAL_S: Final = 60.0
DIFFERENT_MAX: Final = 1000


@frozen
class LeftOut:
    """What was not told since the last time."""

    same: int = 0
    """Failures of the same kind."""
    others: int = 0
    """Failures of other kinds, that are not counted by kind any more."""


@define
class _Told:
    since_s: float
    left_out: int = 0


class Repeats:
    """Each kind of failure is told once in `INTERVAL_S`, and `DIFFERENT_MAX` kinds at most in that time."""

    def __init__(self) -> None:
        self._told: OrderedDict[Hashable, _Told] = OrderedDict()  # longest ago first
        self._others = 0

    def take(self, kind: Hashable, now_s: float) -> LeftOut | None:
        """A failure of this kind: what to tell with it, or None where it is not to be told."""
        told = self._told.get(kind)
        if told is not None and now_s - told.since_s < INTERVAL_S:
            told.left_out += 1
            return None
        if told is None and not self._make_room(now_s):
            self._others += 1
            return None
        self._told[kind] = _Told(now_s)
        self._told.move_to_end(kind)
        left_out = LeftOut(told.left_out if told is not None else 0, self._others)
        self._others = 0
        return left_out

    def _make_room(self, now_s: float) -> bool:
        while len(self._told) >= DIFFERENT_MAX:
            kind, oldest = next(iter(self._told.items()))
            if now_s - oldest.since_s < INTERVAL_S:
                return False
            self._others += oldest.left_out
            del self._told[kind]
        return True
