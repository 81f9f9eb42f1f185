"""Numbers by name. May be touched from any thread. No checkpoints."""

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

COUNTERS_LIMIT: Final = 1024
DROPPED_COUNTER: Final = "telemetry_dropped_names"


class Counters:
    """Numbers by name, for status and metrics: counts that only rise, and gauges that are set.

    A name is lower-case words joined by underscores, with its unit: "store_get_requests",
    "store_get_bytes". Names beyond the limit are counted as dropped instead of kept.
    """

    def __init__(self, limit: int = COUNTERS_LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()  # `d[k] += n` is not atomic, and store clients count in threads
        self._values: dict[str, int | float] = {}

    def add(self, name: str, amount: int | float = 1) -> None:
        """Raises a count."""
        with self._lock:
            if name in self._values or self._has_room():
                self._values[name] = self._values.get(name, 0) + amount

    def set(self, name: str, value: int | float) -> None:
        """Sets a gauge."""
        with self._lock:
            if name in self._values or self._has_room():
                self._values[name] = value

    def get(self, name: str) -> int | float:
        """The value of one name; 0 when it was never touched."""
        with self._lock:
            return self._values.get(name, 0)

    def snapshot(self) -> Mapping[str, int | float]:
        """A copy of all values, by name."""
        with self._lock:
            return dict(sorted(self._values.items()))

    def _has_room(self) -> bool:
        if len(self._values) < self._limit:
            return True
        self._values[DROPPED_COUNTER] = self._values.get(DROPPED_COUNTER, 0) + 1
        return False


def rss_anon_bytes(status_path: Path = Path("/proc/self/status")) -> int:
    """Memory of this process that is its own: not mapped files, which the index's pages are. 0 where unknown."""
    try:
        found = re.search(r"^RssAnon:\s*(\d+) kB$", status_path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
