"""Byte ranges of a file as a set: sorted, apart from each other, half-open [start, stop).

Pure values without I/O; every operation costs O(log n + ranges touched).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class ExtentSet:
    """A set of bytes kept as the fewest ranges. Ranges that touch are one range; empty ranges vanish."""

    __slots__ = ("_starts", "_stops", "_total_bytes")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._total_bytes = 0
        for start, stop in ranges:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __len__(self) -> int:
        """How many ranges."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExtentSet):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"ExtentSet({list(self)})"

    @property
    def total_bytes(self) -> int:
        return self._total_bytes

    def add(self, start: int, stop: int) -> None:
        """The bytes of [start, stop) are in the set afterwards."""
        if start >= stop:
            return
        first = bisect_left(self._stops, start)  # the first range that ends at or after start
        last = bisect_right(self._starts, stop)  # one past the last range that begins at or before stop
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._splice(first, last, [(start, stop)])

    def remove(self, start: int, stop: int) -> None:
        """None of the bytes of [start, stop) is in the set afterwards."""
        if start >= stop:
            return
        first = bisect_right(self._stops, start)
        last = bisect_left(self._starts, stop)
        if first >= last:
            return
        kept = []
        if self._starts[first] < start:
            kept.append((self._starts[first], start))
        if self._stops[last - 1] > stop:
            kept.append((stop, self._stops[last - 1]))
        self._splice(first, last, kept)

    def _splice(self, first: int, last: int, ranges: list[tuple[int, int]]) -> None:
        self._total_bytes -= sum(self._stops[first:last]) - sum(self._starts[first:last])
        self._total_bytes += sum(stop - start for start, stop in ranges)
        self._starts[first:last] = [start for start, _ in ranges]
        self._stops[first:last] = [stop for _, stop in ranges]

    def covers(self, start: int, stop: int) -> bool:
        """Is every byte of [start, stop) in the set? An empty range always is."""
        if start >= stop:
            return True
        slot = bisect_right(self._starts, start) - 1
        return slot >= 0 and self._stops[slot] >= stop

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of [start, stop) that are not in the set, in order."""
        gaps = []
        at = start
        for present_start, present_stop in self.within(start, stop):
            if present_start > at:
                gaps.append((at, present_start))
            at = present_stop
        if at < stop:
            gaps.append((at, stop))
        return gaps

    def within(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of [start, stop) that are in the set, in order."""
        if start >= stop:
            return []
        first = bisect_right(self._stops, start)
        last = bisect_left(self._starts, stop)
        return [(max(self._starts[slot], start), min(self._stops[slot], stop)) for slot in range(first, last)]

    def clear(self) -> None:
        self._starts.clear()
        self._stops.clear()
        self._total_bytes = 0
