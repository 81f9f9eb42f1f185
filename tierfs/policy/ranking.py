"""Which files of the hot tier are worth their room, and which that come in are worth more than one that is there.

Pure. Two ideas, since opening a small file brings it in, wanted or not:

- **Rank.** Each use of a file counts, and a count halves with every `_HALF_LIFE` of a tier that came in after it
  (exponential decay, as in LRFU: Lee et al., IEEE Trans. Computers 50(12), 2001). The rank is that sum as a point of
  time: when one single use would have had to be, to count as much today. So ranks never have to be recomputed, and
  who is worth least is the first in their order.
- **Admission.** Once the tier is full, a file that comes in is on *probation*: it leaves, oldest first, after 4 % of a
  tier has come in behind it. It is *settled* (its rank decides) at once where its uses before this one outrank the
  weakest settled file clearly, or when it is used anew during probation. A tie is no reason to replace anything: so a
  loop larger than the tier keeps what it has of it, in whatever order it goes, and a scan passes through.

Time is neither seconds nor requests but the **clock**: bytes that have come into the tier since it exists. It stands
while all is found here, runs as fast as room is wanted, and a share of the tier is the natural unit of it. A lead is
bounded, so that a set that was used a thousand times gives way to the next one after some two turns of the tier. Where
even that is too slow, since files are used for a while and never again, `policy.duel` finds out.

The shares were chosen by tests/bench/eviction.py; its table is in README.md.
"""

import math
from typing import Final

from attrs import frozen

# shares of the tier's size
_HALF_LIFE: Final = 2.0
_LEAD: Final = 2.0
_MARGIN: Final = 1.0
_PROBATION: Final = 0.04
_STEP: Final = 1 / 64
BATCH_SHARE: Final = 1 / 128
"""Room is made for at least so much at a time."""
_NEGLIGIBLE_HALVINGS: Final = 40


@frozen
class Ranking:
    """The rule for a tier of `tier_bytes`. Ranks and clocks are in bytes."""

    tier_bytes: int

    @property
    def probation_bytes(self) -> int:
        """So much comes in behind a file before its probation ends."""
        return int(self.tier_bytes * _PROBATION)

    def raised(self, rank: int | None, clock_bytes: int) -> int:
        """The rank after a use at `clock_bytes` of a file that had `rank`; None: it was not used before."""
        if rank is None:
            return clock_bytes
        half_life_bytes = self.tier_bytes * _HALF_LIFE
        halvings = (clock_bytes - rank) / half_life_bytes
        if halvings > _NEGLIGIBLE_HALVINGS:
            return clock_bytes
        lead = min(self.tier_bytes * _LEAD, half_life_bytes * math.log2(1 + 2.0**-halvings))
        return clock_bytes + int(lead)

    def highest(self, clock_bytes: int) -> int:
        """The highest rank that a file can have."""
        return clock_bytes + int(self.tier_bytes * _LEAD)

    def is_new_use(self, used_at_bytes: int, clock_bytes: int, size_bytes: int) -> bool:
        """Does a use count again? Not while the clock has hardly moved but by the file's own bytes: programs open a
        file several times in a row, and read a large one while it comes in."""
        return clock_bytes - used_at_bytes >= size_bytes + self.tier_bytes * _STEP

    def admits(self, history: int | None, weakest: int | None) -> bool:
        """Is a file of the rank `history` before this use (None: unknown) settled where the weakest settled one has
        `weakest` (None: there is none)?"""
        return history is not None and (weakest is None or history >= weakest + self.tier_bytes * _MARGIN)

    def is_over(self, entered_at_bytes: int, clock_bytes: int) -> bool:
        """Has the probation of a file ended that came in at `entered_at_bytes`?"""
        return clock_bytes - entered_at_bytes > self.probation_bytes
