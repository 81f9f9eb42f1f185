"""Objects go down the classes of the bucket when their rule says so, each by a move that has its budgets elsewhere.

All files of the index are looked at, a few times a day and at leisure: of what is cold nothing is ordered by age, and
a class is a matter of weeks. A file that is used while its move waits for its turn is moved all the same.

One task. Checkpoints: between pages of files, and the moves.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from tierfs.content.ledger import is_clean
from tierfs.errors import TierfsError
from tierfs.index import inodes, residency
from tierfs.index.env import Index
from tierfs.policy.placement import Action, Decision, decisions
from tierfs.policy.tasks import FileError
from tierfs.tiering.placements import Placements

_SWEEP_S: Final = 6 * 3600.0
_PAGE_INODES: Final = 256
_IDLE_SHARE: Final = 20  # looking takes at most a twentieth of the time
_log: Final = logging.getLogger(__name__)

Move: TypeAlias = Callable[[int, str, str], Awaitable[FileError | None]]
"""Moves the object of an inode to a class, for a rule: see `mover.Mover.move`."""


class Demotions:
    """See the module. `run` once in a nursery."""

    def __init__(self, *, index: Index, placements: Placements, move: Move) -> None:
        self._index = index
        self._placements = placements
        self._move = move

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.sweep()
            await trio.sleep(_SWEEP_S)

    async def sweep(self) -> int:
        """Moves what is due by now; returns how many moves succeeded."""
        moved, after = 0, 0
        while self._may_demote() and (page := inodes.page(self._index, after, _PAGE_INODES)):
            began_s, after = time.perf_counter(), page[-1].ino
            due = self._due([inode.ino for inode in page])
            looked_s = time.perf_counter() - began_s
            async with trio.open_nursery() as nursery:
                outcomes: list[bool] = []
                for ino, decision in due:
                    nursery.start_soon(self._demote, ino, decision, outcomes)
            moved += sum(outcomes)
            await trio.sleep(looked_s * _IDLE_SHARE)
        return moved

    def _may_demote(self) -> bool:
        return self._placements.rulebook.rules.demotes_some or self._placements.view().reads_tree

    def _due(self, inos: list[int]) -> list[tuple[int, Decision]]:
        view, now_s = self._placements.view(), self._placements.ages.now_s()
        found: list[tuple[int, Decision]] = []
        for ino in inos:
            inode = inodes.get(self._index, ino)
            if inode is None or not inode.is_regular or inode.base is None or not is_clean(inode):
                continue
            record = residency.hot_get(self._index, ino)
            placed = self._placements.of(inode, record, view=view)
            if record is not None and record.pinned:
                continue
            found += [
                (ino, decision)
                for decision in decisions(placed.placement, placed.file)
                if decision.action is Action.DEMOTE and decision.at_s <= now_s
            ]
        return found

    async def _demote(self, ino: int, decision: Decision, outcomes: list[bool]) -> None:
        try:
            left = await self._move(ino, decision.storage_class, decision.rule)
        except TierfsError as error:  # the mover counts it against the rule, and tells when that is stopped
            _log.debug("inode %#x does not get the class %s: %s", ino, decision.storage_class, error)
            return
        outcomes.append(left is None)
