"""Figures of a mount as `Metering.figures` has them, for tests of those who show them."""

from typing import Any

from tierfs.telemetry.meters import BOUNDS_S, Timing


def timing(*durations_ns: int, errors: tuple[str, ...] = ()) -> Any:
    """Of one kind of work: `errors` belong to the first ones."""
    made = Timing()
    for number, duration_ns in enumerate(durations_ns):
        made.note(duration_ns, errors[number] if number < len(errors) else "")
    return made.as_json()


def figures(**others: Any) -> dict[str, Any]:
    """Of a mount that did a little of everything."""
    return {
        "time_ns": 1_700_000_000_000_000_000,
        "uptime_s": 100.0,
        "version": "0.1.0",
        "source": "s3://bucket/prefix",
        "mountpoint": "/mnt/data",
        "mode": "holder",
        "tier": {"size_bytes": 10 << 30, "used_bytes": 5 << 30, "dirty_bytes": 1 << 20},
        "bounds_s": list(BOUNDS_S),
        "operations": {"lookup": timing(50_000, 70_000, errors=("ENOENT",)), "read": timing(2_000_000)},
        "requests": {"get": timing(20_000_000, 40_000_000, errors=("timeout",))},
        "reads": {"local": 90, "bucket": 10},
        "read_bytes": {"local": 9 << 20, "bucket": 1 << 20},
        "written_bytes": 3 << 20,
        "received_bytes": 2 << 20,
        "sent_bytes": 4 << 20,
        "kernel_opens": 12,
        "holder": {"answered_here": 300, "forwarded": 100},
        "metrics": {"PendingExports": 3, "ExportAge": 61.5, "ExportFailures": 1, "ImportAge": None, "Conflicts": 2},
        "degraded": False,
        "held": 0,
        "index": {"entries": 5, "bytes": 40960},
        "rss_anon_bytes": 50 << 20,
        "cpu_s": 1.25,
        **others,
    }
