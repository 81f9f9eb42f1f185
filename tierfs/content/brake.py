"""Writers past us are out of sight (lending.py): what they do is looked at here, and they wait while the tier is full.

Those whose files are served have a budget of bytes, which is reserved in the tier: who goes beyond it comes through us
and waits like any writer. Those whose files are lent are held by the borrower's brake, which no write passes; between
two looks they may go beyond the tier by what the disk takes in that time. Where nothing is freed for as long as other
writers would wait, they go on: the disk itself then says when it is full.

One task, `run`; it sleeps while nobody writes past us.
"""

import logging
from typing import Final

import trio

from tierfs.content.ledger import Ledger
from tierfs.content.live import LiveFile
from tierfs.errors import FsError
from tierfs.units import MIB

_LOOK_S: Final = 0.1
_ROOM_MAX_BYTES: Final = MIB  # to be free before they go on; of a small tier a 32nd
# more than a disk takes between two looks; two budgets may be spent before the first is charged
_BUDGET_MAX_BYTES: Final = 512 * MIB
_BUDGET_SHARE: Final = 8  # of the room that is left
_log: Final = logging.getLogger(__name__)


class Brake:
    """Watches files while somebody writes them past us."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._watched: dict[int, LiveFile] = {}
        self._budget_bytes = 0
        self._has_work = trio.Event()

    def watch(self, live: LiveFile) -> None:
        """From now on, until its writers have gone. Repeatable."""
        self._watched[live.ino] = live
        if not self._budget_bytes and self._ledger.lending.serves_writes(live.ino):
            self._set_budget()
        self._has_work.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._has_work = trio.Event()
                while self._watched:
                    if self._look() and self._ledger.space.is_full:
                        await self._hold_writers()
                    self._set_budget()
                    await trio.sleep(_LOOK_S)
                await self._has_work.wait()
        finally:
            self._end_budget()

    def _look(self) -> bool:
        """Charges what the watched files grew by. Did one grow that the brake has to hold?"""
        has_grown = False
        for ino, live in list(self._watched.items()):
            if live.is_dead or live.backing is None or not live.writers:
                del self._watched[ino]
                continue
            before = live.charged_bytes
            self._ledger.recharge(live)
            self._ledger.publish(live)
            has_grown = has_grown or (live.charged_bytes > before and self._ledger.lending.has(ino))
        return has_grown

    def _set_budget(self) -> None:
        """What was charged since the last one counts against the room of the next. None is kept for nobody."""
        had_budget = self._budget_bytes > 0
        self._end_budget()
        lending, space = self._ledger.lending, self._ledger.space
        if any(lending.serves_writes(ino) for ino in self._watched):
            self._budget_bytes = min(_BUDGET_MAX_BYTES, space.room_bytes // _BUDGET_SHARE)
            space.promise(self._budget_bytes)
        if had_budget or self._budget_bytes:
            lending.budget(self._budget_bytes)

    def _end_budget(self) -> None:
        if self._budget_bytes:
            self._ledger.space.unreserve(self._budget_bytes)
            self._budget_bytes = 0

    async def _hold_writers(self) -> None:
        lending, space = self._ledger.lending, self._ledger.space
        await lending.brake(on=True)
        try:
            async with space.reserved(min(_ROOM_MAX_BYTES, space.limit_bytes // 32)):
                pass
        except FsError as error:
            _log.warning(
                "programs that write in place go on although the hot tier is full: %s",
                error,
                extra={"event": "TFS3006"},
            )
        finally:
            with trio.CancelScope(shield=True):
                await lending.brake(on=False)
