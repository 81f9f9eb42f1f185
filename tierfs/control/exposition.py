"""The figures of a mount in the text format of Prometheus, by its own client library. Pure.

Names, units and help are as https://prometheus.io/docs/practices/naming/ asks: base units, `_total` for what only
rises. They are part of the interface: alert rules and dashboards of others know them (deploy/prometheus,
deploy/grafana).
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from tierfs.units import NS_PER_S

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_GAUGES: Final = (
    # name, help, where it is in the figures
    ("tierfs_hot_tier_size_bytes", "What the hot tier may hold.", ("tier", "size_bytes")),
    ("tierfs_hot_tier_used_bytes", "What the hot tier holds.", ("tier", "used_bytes")),
    ("tierfs_hot_tier_dirty_bytes", "What of it the bucket does not have yet.", ("tier", "dirty_bytes")),
    ("tierfs_pending_exports", "Changes that the bucket has not seen.", ("metrics", "PendingExports")),
    ("tierfs_export_age_seconds", "Time since the oldest of them; 0 without any.", ("metrics", "ExportAge")),
    ("tierfs_failing_exports", "Changes whose last attempt to export failed.", ("metrics", "ExportFailures")),
    (
        "tierfs_import_age_seconds",
        "How long the oldest event waits to be applied or, without events, since the last sweep; absent before it.",
        ("metrics", "ImportAge"),
    ),
    ("tierfs_conflicts", "Conflicts that are open.", ("metrics", "Conflicts")),
    ("tierfs_held_removals", "Names that the bucket has lost and that wait for a decision.", ("held",)),
    ("tierfs_degraded", "1 while the store or the index does not work as it should.", ("degraded",)),
    ("tierfs_index_entries", "Files and directories that the index knows.", ("index", "entries")),
    ("tierfs_index_size_bytes", "Disk space of the index.", ("index", "bytes")),
    ("tierfs_resident_anonymous_bytes", "Memory of the daemon that is its own.", ("rss_anon_bytes",)),
)
_COUNTERS: Final = (
    ("tierfs_written_bytes", "Bytes that programs wrote, as far as the daemon saw it.", ("written_bytes",)),
    ("tierfs_store_received_bytes", "Bytes of objects received from the store.", ("received_bytes",)),
    ("tierfs_store_sent_bytes", "Bytes of objects sent to the store.", ("sent_bytes",)),
    ("tierfs_kernel_opens", "Opens of hot files that were answered without the daemon.", ("kernel_opens",)),
    ("tierfs_cpu_seconds", "Processor time of the daemon.", ("cpu_s",)),
)


class _Figures(Collector):
    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        yield _info(figures)
        started_s = figures["time_ns"] / NS_PER_S - figures["uptime_s"]
        yield GaugeMetricFamily("tierfs_start_time_seconds", "When the daemon started, since the epoch.", started_s)
        for name, text, path in _GAUGES:
            if (value := _at(figures, path)) is not None:
                yield GaugeMetricFamily(name, text, value)
        for name, text, path in _COUNTERS:
            yield CounterMetricFamily(name, text, _at(figures, path))
        yield _by("tierfs_reads", "Reads, by what they waited for.", "tier", figures["reads"])
        yield _by("tierfs_read_bytes", "Bytes read, by what the reads waited for.", "tier", figures["read_bytes"])
        answered = figures["holder"]
        by_whom = {"holder": answered.get("answered_here", 0), "daemon": answered.get("forwarded", 0)}
        yield _by("tierfs_holder_requests", "Requests of the kernel, by who answers them.", "answered_by", by_whom)
        bounds_s = figures["bounds_s"]
        yield from _timings(
            "tierfs_operation", "operation", "operations of the file system", figures["operations"], bounds_s
        )
        yield from _timings("tierfs_store_request", "request", "requests to the store", figures["requests"], bounds_s)


def exposition(figures: Mapping[str, Any]) -> bytes:
    """What a scrape gets, from `Metering.figures`."""
    registry = CollectorRegistry()
    registry.register(_Figures(figures))
    return generate_latest(registry)


def _at(figures: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = figures
    for name in path:
        value = value[name]
    return value if value is None else float(value)


def _info(figures: Mapping[str, Any]) -> Metric:
    labels = ("version", "mode", "source", "mountpoint")
    family = GaugeMetricFamily("tierfs_mount_info", "Of which mount these figures are; always 1.", labels=labels)
    family.add_metric([_label(figures[name]) for name in labels], 1)
    return family


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _timings(
    name: str, label: str, what: str, timings: Mapping[str, Mapping[str, Any]], bounds_s: list[float]
) -> Iterator[Metric]:
    durations = HistogramMetricFamily(f"{name}_duration_seconds", f"How long {what} took.", labels=(label,))
    failures = CounterMetricFamily(f"{name}_failures", f"Failed {what}, by error.", labels=(label, "error"))
    for kind, timing in timings.items():
        cumulated = list(itertools.accumulate(timing["buckets"]))
        # every second bound: a factor of four is as fine as anybody draws it, at half the series
        bounds = [(repr(bounds_s[n]), float(cumulated[n])) for n in range(0, len(bounds_s), 2)]
        durations.add_metric([kind], [*bounds, ("+Inf", float(cumulated[-1]))], timing["sum_s"])
        for error, count in timing["failures"].items():
            failures.add_metric([kind, error], count)
    yield durations
    yield failures


def _label(text: str) -> str:
    """A label is UTF-8, and a path need not be."""
    return text.encode("utf-8", "backslashreplace").decode()
