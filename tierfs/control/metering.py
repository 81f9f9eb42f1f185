"""All figures of one mount at one moment, as JSON values: of which `tierctl top` takes differences.

Prometheus scrapes them. Numbers only, no name of a file: anybody may have them. Checkpoint: the answer of the holder.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tierfs.control import scrape
from tierfs.control.protocol import Json
from tierfs.sync.webhook import parse_address
from tierfs.telemetry.meters import BOUNDS_S, Meters, Timing


class HolderCounts(Protocol):
    """What the native holder has counted."""

    async def holder_counts(self) -> Mapping[str, int]:
        """By name; nothing without a holder, or when it is about to end."""
        ...


class Metering:
    """Of one mount. `status`: see `Inspector.status`."""

    def __init__(self, meters: Meters, holder: HolderCounts, status: Callable[[], Json]) -> None:
        self._meters = meters
        self._holder = holder
        self._status = status
        self._local_reads = self._local_read_bytes = 0
        self._before_us: Mapping[str, int] | None = None  # what the holder had counted for the daemon before this one

    async def figures(self) -> Json:
        """
        time_ns, uptime_s, version, source, mountpoint, mode; bounds_s: of the histograms' buckets; operations and
        requests: {name: {count, sum_s, buckets, failures {error: count}}}; reads {local, bucket}, read_bytes (the
        same), written_bytes, received_bytes (from the store), sent_bytes, kernel_opens: since the daemon's start;
        holder {name: count}; tier {size_bytes, used_bytes, dirty_bytes}; metrics and the rest as in `status`.
        """
        holder = await self._holder.holder_counts()
        if self._before_us is None and holder:
            self._before_us = holder if holder.get("restarts") else {}
        served = {name: count - (self._before_us or {}).get(name, 0) for name, count in holder.items()}
        self._count_local(served)
        status, meters = self._status(), self._meters
        removals = status["removals"]
        return {
            "time_ns": time.time_ns(),
            **{name: status[name] for name in ("uptime_s", "version", "source", "mountpoint", "mode", "tier")},
            "bounds_s": list(BOUNDS_S),
            "operations": _timings(meters.operations),
            "requests": _timings(meters.requests),
            "reads": {"local": self._local_reads, "bucket": meters.cold_reads},
            "read_bytes": {"local": self._local_read_bytes, "bucket": meters.cold_read_bytes},
            "written_bytes": meters.written_bytes + served.get("served_write_bytes", 0),
            "received_bytes": meters.received_bytes,
            "sent_bytes": meters.sent_bytes,
            "kernel_opens": meters.kernel_opens,
            "holder": holder,
            "metrics": status["metrics"],
            "degraded": status["degraded"] is not None,
            "held": removals["names"] if removals else 0,
            "index": status["index"],
            "rss_anon_bytes": status["rss_anon_bytes"],
            "cpu_s": time.process_time(),
        }

    def _count_local(self, served: Mapping[str, int]) -> None:
        """Reads that waited for nothing, by the daemon and the holder.

        What was brought for a read is counted a moment before the holder counts the read, and a count that goes back
        would be taken for a new beginning.
        """
        meters = self._meters
        reads = meters.hot_reads + served.get("served_reads", 0) - meters.brought_reads
        read_bytes = meters.hot_read_bytes + meters.holder_read_bytes - meters.brought_read_bytes
        self._local_reads = max(self._local_reads, reads)
        self._local_read_bytes = max(self._local_read_bytes, read_bytes + served.get("served_read_bytes", 0))

    async def serve(self, listen: str) -> None:
        """For Prometheus, at an address of `[metrics] listen`, until it is cancelled. ConfigError."""
        from tierfs.control import exposition

        async def tell() -> bytes:
            return exposition.exposition(await self.figures())

        await scrape.serve(*parse_address(listen, "[metrics] listen"), exposition.CONTENT_TYPE, tell)


def _timings(timings: Mapping[str, Timing]) -> Mapping[str, Any]:
    return {name: timing.as_json() for name, timing in sorted(timings.items())}
