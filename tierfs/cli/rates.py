"""What happened between two looks at the figures of a mount. Pure; standard library only, as all of tierctl."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

Figures = Mapping[str, Any]
"""See `control.metering.Metering.figures`."""
_NS_PER_S: Final = 1_000_000_000


class Work(NamedTuple):
    """One kind of operation or request, in the time between."""

    name: str
    number: int
    failures: int
    total_s: float
    buckets: Sequence[int]


class Rates:
    """Of the time between `before` and `after`; where the daemon began anew meanwhile, since it did."""

    def __init__(self, before: Figures, after: Figures) -> None:
        between_s = (after["time_ns"] - before["time_ns"]) / _NS_PER_S
        self._before = before if after["uptime_s"] >= between_s else _nothing(after)
        self._after = after
        self.seconds: float = max(1e-9, (after["time_ns"] - self._before["time_ns"]) / _NS_PER_S)

    def now(self, name: str) -> Any:
        """What stands at the end of it."""
        return self._after[name]

    def grown(self, *path: str) -> float:
        """By how much a number has grown."""
        return _at(self._after, path) - _at(self._before, path)

    def per_s(self, *path: str) -> float:
        """The same, by second."""
        return self.grown(*path) / float(self.seconds)

    @property
    def hit_share(self) -> float | None:
        """Of the reads, how many did not wait for the bucket; None without any."""
        local, bucket = self.grown("reads", "local"), self.grown("reads", "bucket")
        return local / (local + bucket) if local + bucket else None

    def work(self, kind: str) -> list[Work]:
        """`operations` or `requests` that were done, the one that took the most time first."""
        found = []
        for name, timing in self._after[kind].items():
            before = self._before[kind].get(name) or {"count": 0, "sum_s": 0.0, "buckets": (), "failures": {}}
            if timing["count"] > before["count"]:
                earlier = before["buckets"] or [0] * len(timing["buckets"])
                buckets = [now - then for now, then in zip(timing["buckets"], earlier, strict=True)]
                failures = sum(timing["failures"].values()) - sum(before["failures"].values())
                found.append(
                    Work(name, timing["count"] - before["count"], failures, timing["sum_s"] - before["sum_s"], buckets)
                )
        return sorted(found, key=lambda each: -each.total_s)

    def quantile_s(self, buckets: Sequence[int], share: float) -> float | None:
        """How long `share` of them took at most, by interpolation within a bucket; None without any."""
        return quantile_s(self._after["bounds_s"], buckets, share)

    def all_buckets(self, kind: str) -> list[int]:
        """Of all operations, or of all requests."""
        return [sum(counts) for counts in zip(*(each.buckets for each in self.work(kind)), strict=True)]


def since_start(figures: Figures) -> Rates:
    """Since the daemon began."""
    return Rates(_nothing(figures), figures)


def quantile_s(bounds_s: Sequence[float], buckets: Sequence[int], share: float) -> float | None:
    """The time that `share` of what is counted took at most; of what is beyond the last bound, that bound."""
    wanted, below = share * sum(buckets), 0
    if not wanted:
        return None
    for number, count in enumerate(buckets[: len(bounds_s)]):
        if count and below + count >= wanted:
            lower = bounds_s[number - 1] if number else 0.0
            return lower + (bounds_s[number] - lower) * (wanted - below) / count
        below += count
    return bounds_s[-1]


def _nothing(figures: Figures) -> Figures:
    """The figures of the same daemon at its start."""
    started_ns = figures["time_ns"] - int(figures["uptime_s"] * _NS_PER_S)
    return {"time_ns": started_ns, "uptime_s": 0.0, "operations": {}, "requests": {}}


def _at(figures: Figures, path: Sequence[str]) -> float:
    value: Any = figures
    for name in path:
        value = value.get(name, {}) if isinstance(value, Mapping) else value
    return float(value) if isinstance(value, int | float) else 0.0
