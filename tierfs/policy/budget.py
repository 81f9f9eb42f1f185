"""How much of something background work may take: so much a second, so much a day. Pure: `now` is an argument.

A rate is a bucket of tokens that holds what comes in a second, or the largest piece where that is more: a piece is let
go as soon as the bucket is not in debt, and puts it into debt. So a piece larger than a second's share goes, too, and
what comes after it waits for it to be paid.
"""

from typing import Final

from attrs import evolve, frozen

from tierfs.policy.classes import DAY_S
from tierfs.units import NS_PER_S

UNLIMITED: Final = 0.0


@frozen
class Rate:
    """`per_s` 0: no limit."""

    per_s: float
    tokens: float = 0.0
    as_of_ns: int = 0

    def at(self, now_ns: int) -> "Rate":
        """With what has come since. A clock that was set back brings nothing."""
        came = max(0, now_ns - self.as_of_ns) / NS_PER_S * self.per_s if self.as_of_ns else self.per_s
        return evolve(self, tokens=min(self.per_s, self.tokens + came), as_of_ns=now_ns)

    def wait_s(self, now_ns: int) -> float:
        """Until the next piece may go."""
        if self.per_s == UNLIMITED:
            return 0.0
        return max(0.0, -self.at(now_ns).tokens / self.per_s)

    def take(self, amount: float, now_ns: int) -> "Rate":
        """After a piece of this size went."""
        now = self.at(now_ns)
        return evolve(now, tokens=now.tokens - amount) if self.per_s != UNLIMITED else self


@frozen
class Purse:
    """What was spent on the day that `day` counts from 1970, in UTC. `per_day` 0: no limit."""

    per_day: float
    day: int = 0
    spent: float = 0.0

    def at(self, now_ns: int) -> "Purse":
        """A later day begins with nothing spent; a clock that was set back gives nothing back."""
        day = now_ns // NS_PER_S // DAY_S
        return evolve(self, day=day, spent=0.0) if day > self.day else self

    def allows(self, amount: float, now_ns: int) -> bool:
        """Is there enough left today?"""
        return self.per_day == UNLIMITED or self.at(now_ns).spent + amount <= self.per_day

    def take(self, amount: float, now_ns: int) -> "Purse":
        """After it was spent."""
        now = self.at(now_ns)
        return evolve(now, spent=now.spent + amount)
