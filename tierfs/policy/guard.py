"""How many entries the bucket may take from a mount before somebody is asked: one pure function and its window.

Who empties a bucket by mistake, mounts the wrong prefix, or forgets the disk under a directory that serves as a bucket,
would empty the mount as well. So removals are counted, and too many of them stop. Too many are

    more than `entries_max`                                           whatever the size of the mount, or
    more than `share_max` of what the mount knew, and `entries_min`   a few files are a large share of a small mount

among those of the last `window_s` and those that are about to go, together: small steps add up.
"""

import enum
from typing import Final

from attrs import evolve, frozen

from tierfs.units import NS_PER_S

_STEPS: Final = 12  # of a window: it ends between its length and a twelfth more


class Verdict(enum.StrEnum):
    """What somebody decided about names that the bucket has no more."""

    APPROVE = "approve"  # they go
    REJECT = "reject"  # they stay


@frozen
class Limits:
    """When to ask. Entries are files and directories."""

    entries_max: int = 1000
    share_max: float = 0.2
    entries_min: int = 10
    window_s: float = 3600.0


@frozen
class Recent:
    """Removals of late: the entries of each step in which there were some, as (number of the step, entries)."""

    steps: tuple[tuple[int, int], ...] = ()

    def within(self, limits: Limits, now_ns: int) -> int:
        """Entries that went within the window."""
        return sum(entries for _, entries in self._kept(limits, now_ns))

    def plus(self, entries: int, limits: Limits, now_ns: int) -> "Recent":
        """These and `entries` that go now; what is older than the window is left out."""
        steps = dict(self._kept(limits, now_ns))
        now = _step(limits, now_ns)
        steps[now] = steps.get(now, 0) + entries
        return evolve(self, steps=tuple(sorted(steps.items())))

    def _kept(self, limits: Limits, now_ns: int) -> list[tuple[int, int]]:
        now = _step(limits, now_ns)
        return [(step, entries) for step, entries in self.steps if now - _STEPS <= step <= now]


def _step(limits: Limits, now_ns: int) -> int:
    return now_ns * _STEPS // max(1, int(limits.window_s * NS_PER_S))


def is_too_many(limits: Limits, *, new: int, recent: int, known: int) -> bool:
    """The table above. `known`: entries of the mount now, the `new` ones among them and the `recent` ones not."""
    lost = new + recent
    if lost > limits.entries_max:
        return True
    return lost >= limits.entries_min and lost > limits.share_max * (known + recent)
