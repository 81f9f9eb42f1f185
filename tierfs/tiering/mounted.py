"""The rules of one mount, put together: what the daemon hands to those who ask them."""

from collections.abc import Callable

import trio

from tierfs.clock import Clock
from tierfs.config import Settings
from tierfs.content.handles import Files
from tierfs.hottier.space import Space
from tierfs.index import intents
from tierfs.index.env import Index
from tierfs.tiering import ages
from tierfs.tiering import rulebook as rulebooks
from tierfs.tiering.admission import Admission
from tierfs.tiering.ages import Ages
from tierfs.tiering.engine import Engine, Watermarks
from tierfs.tiering.explaining import Explainer
from tierfs.tiering.placements import Placements
from tierfs.tiering.rulebook import Rulebook


class Tiering:
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        *,
        index: Index,
        space: Space,
        clock: Clock,
        quiet_s: intents.QuietTime,
        is_same_mount: bool,
        uptime_s: Callable[[], float] = ages.uptime_s,
    ) -> None:
        """`quiet_s`: what the export has for an inode. `is_same_mount`: this daemon goes on with another's mount."""
        self._index = index
        self._space = space
        self._watermarks = Watermarks(settings.hot_tier.evict_start, settings.hot_tier.evict_stop)
        self.rulebook = Rulebook(settings.tiering)
        rulebooks.take_up(index, self.rulebook, is_same_mount=is_same_mount)
        self.placements = Placements(index, self.rulebook, Ages(index, clock, uptime_s), space, quiet_s)
        self.admission = Admission(index, self.rulebook, monotonic_s=trio.current_time)

    def engine(self, files: Files) -> Engine:
        """What evicts in the background."""
        return Engine(
            index=self._index, files=files, space=self._space, placements=self.placements, watermarks=self._watermarks
        )

    def explainer(self, files: Files) -> Explainer:
        """What says why."""
        return Explainer(index=self._index, files=files, placements=self.placements)
