"""When a rule's moves are stopped because they fail. Pure.

    CLOSED ── half of the last moves failed ──> OPEN ── after `pause_s` ──> one trial ── it succeeds ──> CLOSED
                                                 ^                              │
                                                 └────────── it fails ──────────┘

The last 20 moves count, once there were 10 of them: what fails now and then stops nothing.
"""

from typing import Final

from attrs import evolve, frozen

from tierfs.units import NS_PER_S

_LOOKED_AT: Final = 20
_AT_LEAST: Final = 10
PAUSE_S: Final = 3600


@frozen
class Breaker:
    """Of one rule. `opened_ns` 0: closed."""

    failed: tuple[bool, ...] = ()
    opened_ns: int = 0
    reason: str = ""
    pause_s: int = PAUSE_S

    def lets_through(self, now_ns: int) -> bool:
        """Also the trial after the pause."""
        return not self.opened_ns or now_ns - self.opened_ns >= self.pause_s * NS_PER_S

    def tried(self, now_ns: int) -> "Breaker":
        """A trial begins: others wait for how it ends."""
        return evolve(self, opened_ns=now_ns) if self.opened_ns else self

    def succeeded(self) -> "Breaker":
        """A move did; a trial closes it."""
        return Breaker(pause_s=self.pause_s) if self.opened_ns else self._noted(False)

    def failed_with(self, reason: str, now_ns: int) -> "Breaker":
        """A move failed."""
        noted = self._noted(True)
        is_open = self.opened_ns or (len(noted.failed) >= _AT_LEAST and 2 * sum(noted.failed) >= len(noted.failed))
        return evolve(noted, opened_ns=now_ns, reason=reason) if is_open else noted

    def _noted(self, has_failed: bool) -> "Breaker":
        return evolve(self, failed=(*self.failed, has_failed)[-_LOOKED_AT:])
