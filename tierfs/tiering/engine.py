"""What leaves the hot tier in the background: for room before it is needed, and by age because a rule says so.

Room: above `hot_tier.evict_start` files go, in the order that eviction has for them, until `evict_stop` is reached. How
much the tier holds is what its size allows, or less while others fill the disk: the disk's reserve is kept free.
Age: files that rules have leave are found by the order of last use, so those that were used since cost nothing.

Two tasks. Checkpoints: between pages of files, and where files are evicted.
"""

import logging
import time
from typing import Final

import trio
from attrs import frozen

from tierfs.content.handles import Files
from tierfs.content.ledger import is_clean
from tierfs.errors import FsError
from tierfs.hottier.space import Space
from tierfs.index import inodes, residency
from tierfs.index.env import Index
from tierfs.policy.placement import NEVER
from tierfs.tiering.placements import Placements
from tierfs.units import MIB, Level

_LOOK_S: Final = 1.0
_LOOK_MAX_S: Final = 60.0  # after looks that found nothing to evict: each walks over all files
_AT_A_TIME_BYTES: Final = 64 * MIB  # writers who need room take turns with us
_SWEEP_S: Final = 60.0
_PAGE_FILES: Final = 256
_IDLE_SHARE: Final = 20  # a sweep that evicts nothing takes at most a twentieth of the time
_log: Final = logging.getLogger(__name__)


@frozen
class Watermarks:
    """How full the tier is when eviction begins, and when it ends."""

    start: Level
    stop: Level


class Engine:
    """See the module. `run` once in a nursery."""

    def __init__(
        self, *, index: Index, files: Files, space: Space, placements: Placements, watermarks: Watermarks
    ) -> None:
        self._index = index
        self._files = files
        self._space = space
        self._placements = placements
        self._watermarks = watermarks
        self.released_files = 0
        """Since the start, because a rule had them leave."""
        self.released_bytes = 0
        self.evicted_bytes = 0
        """Since the start, above the watermark."""

    async def run(self) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_room)
            nursery.start_soon(self._sweep_forever)

    # ---- room ----

    async def _keep_room(self) -> None:
        pause_s = _LOOK_S
        while True:
            await trio.sleep(pause_s)
            is_done = await self.make_room()
            pause_s = _LOOK_S if is_done else min(2 * pause_s, _LOOK_MAX_S)

    async def make_room(self) -> bool:
        """Evicts down to the lower mark if the tier is above the upper one; False where too little may go."""
        space = self._space
        capacity_bytes = space.used_bytes + space.room_bytes
        if space.used_bytes <= self._watermarks.start.bytes_of(capacity_bytes):
            return True
        stop_bytes = self._watermarks.stop.bytes_of(capacity_bytes)
        while (over_bytes := space.used_bytes - stop_bytes) > 0:
            freed_bytes = await space.shrink(min(over_bytes, _AT_A_TIME_BYTES))
            self.evicted_bytes += freed_bytes
            if not freed_bytes:
                return False
        return True

    # ---- age ----

    async def _sweep_forever(self) -> None:
        while True:
            try:
                self._placements.ages.keep()
                await self.sweep()
            except FsError as error:  # a full or broken disk, of which the index tells by itself
                _log.debug("files that rules have leave are looked for again later: %s", error)
            await trio.sleep(_SWEEP_S)

    async def sweep(self) -> int:
        """Releases what rules have leave by now; returns how many files."""
        released = 0
        after: tuple[int, int] | None = None
        while page := residency.coldest(self._index, after, _PAGE_FILES):
            began_s = time.perf_counter()
            after = page[-1]
            # asked anew for each page: the rules may be others by now
            if page[0][0] + self._shortest_stay_s() > self._placements.ages.now_s():
                break
            files, size_bytes = await self._files.keeping.release(self._due([ino for _, ino in page]))
            released += files
            self.released_files += files
            self.released_bytes += size_bytes
            # who evicts gives way at each file; who only looks would take all the time there is
            await trio.sleep(0 if files else (time.perf_counter() - began_s) * _IDLE_SHARE)
        return released

    def _shortest_stay_s(self) -> float:
        """What was used since has no rule that has it leave; of rules of the tree that is not known."""
        return 0.0 if self._placements.view().reads_tree else self._placements.rulebook.rules.shortest_stay_s

    def _due(self, inos: list[int]) -> list[int]:
        now_s, view = self._placements.ages.now_s(), self._placements.view()
        found: list[int] = []
        for ino in inos:
            inode, record = inodes.get(self._index, ino), residency.hot_get(self._index, ino)
            if inode is None or record is None or record.pinned or not is_clean(inode):
                continue
            placement = self._placements.of(inode, record, view=view).placement
            if placement.leaves_at_s <= now_s and placement.leaves_at_s < NEVER:
                found.append(ino)
        return found
