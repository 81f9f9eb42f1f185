"""The time that files age by (`policy.ageclock`), kept in the index over restarts."""

import json
import logging
import time
from collections.abc import Callable
from typing import Final

import attrs

from tierfs.clock import Clock
from tierfs.index import settings as stored
from tierfs.index.env import Index
from tierfs.policy.ageclock import AgeClock, advanced, started
from tierfs.units import NS_PER_S

_ROW: Final = "age-clock"
_log: Final = logging.getLogger(__name__)


def uptime_s() -> float:
    """Of this machine. Also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Ages:
    """Tells the time by which ages count. No checkpoints."""

    def __init__(self, index: Index, clock: Clock, uptime_s: Callable[[], float] = uptime_s) -> None:
        self._index = index
        self._clock = clock
        self._uptime_s = uptime_s
        kept = stored.get(index, _ROW)
        self._state = started(*self._look()) if kept is None else AgeClock(**json.loads(kept))

    def _look(self) -> tuple[float, float, int]:
        return self._clock.now_ns() / NS_PER_S, self._uptime_s(), self._index.boot_id

    def now_s(self) -> float:
        """Seconds since the epoch."""
        before, self._state = self._state, advanced(self._state, *self._look())
        if self._state.has_jumped and not before.has_jumped:
            away_s = self._state.wall_s - self._state.now_s
            _log.warning(
                "the wall clock was set by %+.0f s: files age as if it had not been, until it goes steadily for a day",
                away_s,
                extra={"event": "TFS3010"},
            )
        return self._state.now_s

    @property
    def has_jumped(self) -> bool:
        """Is the wall clock not believed?"""
        return self._state.has_jumped

    def keep(self) -> None:
        """Writes it down for the next start. FsError."""
        with self._index.transaction() as txn:
            stored.put(txn, _ROW, json.dumps(attrs.asdict(self._state)).encode())
