"""The clock that files age by: a wall clock that jumps makes no file old.

It advances with the wall clock while that goes as fast as the machine's own count of time (CLOCK_BOOTTIME). Where the
two part, the wall clock was set: ages go on by the machine's count, as if nothing had happened. Somebody has to be
right in the end, so a wall clock that has gone steadily for a day is believed. Over a restart of the machine its count
begins anew: up to a week that the wall clock says has passed is believed at once, what is more is a jump.

Pure. A clock that was set back only makes files younger, and one that was set forward and later right again is believed
as soon as the two agree.
"""

from typing import Final

from attrs import frozen

TOLERANCE_S: Final = 600.0  # between two looks; a clock that is slewed or stepped by minutes ages nobody
BELIEVED_AFTER_S: Final = 86_400.0
_AWAY_MAX_S: Final = 7 * 86_400.0


@frozen
class AgeClock:
    """As it was at one look. `boot_id`: of the count `uptime_s`; `apart_since_s`: by that count, when the wall
    clock was seen at another time than ours, None while they agree."""

    now_s: float
    wall_s: float
    uptime_s: float
    boot_id: int
    apart_since_s: float | None = None

    @property
    def has_jumped(self) -> bool:
        """Is the wall clock not believed?"""
        return self.apart_since_s is not None


def started(wall_s: float, uptime_s: float, boot_id: int) -> AgeClock:
    """Of a cache that has none yet: there is nothing to doubt the wall clock with."""
    return AgeClock(wall_s, wall_s, uptime_s, boot_id)


def advanced(clock: AgeClock, wall_s: float, uptime_s: float, boot_id: int) -> AgeClock:
    """The next look. Time never goes back in it, but where a wall clock is believed."""
    is_same_boot = boot_id == clock.boot_id
    passed_s = max(0.0, uptime_s - clock.uptime_s) if is_same_boot else 0.0
    by_count_s = clock.now_s + passed_s
    slack_s = TOLERANCE_S if is_same_boot else _AWAY_MAX_S
    if -TOLERANCE_S <= wall_s - by_count_s <= slack_s:
        return AgeClock(max(wall_s, clock.now_s), wall_s, uptime_s, boot_id)
    is_steady = is_same_boot and clock.has_jumped and abs(wall_s - clock.wall_s - passed_s) <= TOLERANCE_S
    since_s = clock.apart_since_s if is_steady and clock.apart_since_s is not None else uptime_s
    if uptime_s - since_s >= BELIEVED_AFTER_S:
        return AgeClock(wall_s, wall_s, uptime_s, boot_id)
    return AgeClock(by_count_s, wall_s, uptime_s, boot_id, since_s)
