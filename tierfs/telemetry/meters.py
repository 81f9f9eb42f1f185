"""How long operations and object requests take, and which bytes came from where: what `tierctl top` and metrics tell.

Everything here only rises, so that whoever asks twice has the rates of the time between. A histogram is a fixed list
of numbers and nothing is allocated by operation: noting one costs less than a microsecond. Only the event loop's
thread comes here. Pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from tierfs.units import NS_PER_S

# powers of two from 4 us to 137 s: a percentile is known within its factor of two, at any scale
_FIRST_BITS: Final = 12
_LAST_BITS: Final = 37
_OVERFLOW: Final = _LAST_BITS - _FIRST_BITS + 1
BOUNDS_S: Final = tuple((1 << bits) / NS_PER_S for bits in range(_FIRST_BITS, _LAST_BITS + 1))
"""The upper bound of each bucket of a histogram but the last one, which takes what is longer."""
_BUCKETS: Final = tuple(min(max(0, bits - _FIRST_BITS), _OVERFLOW) for bits in range(65))


class Histogram:
    """Durations, counted by bucket."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (_OVERFLOW + 1)
        self.sum_ns = 0

    def note(self, duration_ns: int) -> None:
        """One more."""
        self.counts[_BUCKETS[(duration_ns - 1).bit_length()]] += 1
        self.sum_ns += duration_ns

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.counts)


@define
class Timing:
    """One kind of work: how long it took, and what it failed with."""

    durations: Histogram = field(factory=Histogram)
    failures: dict[str, int] = field(factory=dict)
    """By error: the name of an errno, or of a kind of store error."""

    def note(self, duration_ns: int, error: str = "") -> None:
        """One has ended; "" is success."""
        self.durations.note(duration_ns)
        if error:
            self.failures[error] = self.failures.get(error, 0) + 1

    def as_json(self) -> Mapping[str, Any]:
        """{count, sum_s, buckets [by bucket, not cumulated], failures {error: count}}."""
        return {
            "count": self.durations.count,
            "sum_s": self.durations.sum_ns / NS_PER_S,
            "buckets": list(self.durations.counts),
            "failures": dict(self.failures),
        }


@define
class Meters:
    """Of one mount."""

    operations: dict[str, Timing] = field(factory=dict)
    """By the name of the operation that a program waited for: lookup, open, read ..."""
    requests: dict[str, Timing] = field(factory=dict)
    """By the method of the object store: each attempt, as the server sees it."""
    hot_reads: int = 0
    hot_read_bytes: int = 0
    cold_reads: int = 0
    """Reads that waited for the bucket."""
    cold_read_bytes: int = 0
    brought_reads: int = 0
    """Of those, the ones that the holder answered, when their bytes were here, and counts, too."""
    brought_read_bytes: int = 0
    written_bytes: int = 0
    received_bytes: int = 0
    """Bodies from the store, also of what was read ahead."""
    sent_bytes: int = 0
    kernel_opens: int = 0
    """Opens of hot files that the holder answered."""
    holder_read_bytes: int = 0
    """Of hot files, by the holder; what the kernel reads by itself nobody sees."""

    def operation(self, name: str, duration_ns: int, error: str = "") -> None:
        """A program has its answer."""
        timing = self.operations.get(name)
        if timing is None:
            timing = self.operations[name] = Timing()
        timing.note(duration_ns, error)

    def request(self, verb: str, duration_ns: int, error: str = "") -> None:
        """The store has answered one attempt."""
        timing = self.requests.get(verb)
        if timing is None:
            timing = self.requests[verb] = Timing()
        timing.note(duration_ns, error)

    def read(self, size_bytes: int, *, waited: bool) -> None:
        """A read of a file, answered by the daemon. `waited`: for the bucket."""
        if waited:
            self.cold_reads += 1
            self.cold_read_bytes += size_bytes
        else:
            self.hot_reads += 1
            self.hot_read_bytes += size_bytes

    def brought(self, size_bytes: int) -> None:
        """What a read waited for is here: the holder answers it."""
        self.read(size_bytes, waited=True)
        self.brought_reads += 1
        self.brought_read_bytes += size_bytes

    def used(self, opens: int, size_bytes: int) -> None:
        """The holder has answered opens and reads of a hot file."""
        self.kernel_opens += opens
        self.holder_read_bytes += size_bytes

    def wrote(self, size_bytes: int) -> None:
        """A write of a file, answered by the daemon."""
        self.written_bytes += size_bytes

    def received(self, size_bytes: int) -> None:
        """The body of a GET."""
        self.received_bytes += size_bytes

    def sent(self, size_bytes: int) -> None:
        """The body of a PUT, or a part of an upload."""
        self.sent_bytes += size_bytes
