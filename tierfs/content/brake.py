"""Writers past us are out of sight (lending.py): their growth is charged here, and they wait while the tier is full.

They are held by the borrower's brake, which no write passes; between two looks they may go beyond the tier by what
the disk takes in that time. Where nothing is freed for as long as other writers would wait, they go on: the disk
itself then says when it is full.

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
_log: Final = logging.getLogger(__name__)


class Brake:
    """Watches files while somebody writes them past us."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._watched: dict[int, LiveFile] = {}
        self._has_work = trio.Event()

    def watch(self, live: LiveFile) -> None:
        """From now on, until its writers have gone. Repeatable."""
        self._watched[live.ino] = live
        self._has_work.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._has_work = trio.Event()
            while self._watched:
                if self._charge() > 0 and self._ledger.space.is_full:
                    await self._hold_writers()
                await trio.sleep(_LOOK_S)
            await self._has_work.wait()

    def _charge(self) -> int:
        """How much the watched files grew since the last look."""
        grown = 0
        for ino, live in list(self._watched.items()):
            if live.is_dead or live.backing is None or not live.writers:
                del self._watched[ino]
                continue
            before = live.charged_bytes
            self._ledger.recharge(live)
            grown += live.charged_bytes - before
        return grown

    async def _hold_writers(self) -> None:
        lending, space = self._ledger.lending, self._ledger.space
        await lending.brake(on=True)
        try:
            async with space.reserved(min(_ROOM_MAX_BYTES, space.limit_bytes // 32)):
                pass
        except FsError as error:
            _log.warning("programs that write in place go on although the hot tier is full: %s", error)
        finally:
            with trio.CancelScope(shield=True):
                await lending.brake(on=False)
