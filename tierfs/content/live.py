"""The state of one inode's bytes while somebody uses them: memory only, no I/O. Rules: see the package."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tierfs.content.checks import RangeChecks
from tierfs.content.flights import Flight
from tierfs.hottier.extents import ExtentSet
from tierfs.hottier.files import BackingFile
from tierfs.model import HotRecord, Inode, Residency, Spill
from tierfs.policy.readahead import Streams


class LiveFile:
    """One for each inode in use: by open handles, flights, snapshots or a single call (`references`)."""

    __slots__ = (
        "alterations",
        "backing",
        "carried",
        "charged_bytes",
        "checks",
        "content_version",
        "ctime_ns",
        "flights",
        "guards",
        "has_news",
        "ino",
        "is_dead",
        "is_marked",
        "is_read_past",
        "is_spilling",
        "marked_version",
        "mtime_ns",
        "mutate",
        "part_writes",
        "passers",
        "present",
        "readers",
        "record",
        "references",
        "resizes",
        "seen",
        "size_bytes",
        "spill_not_before_s",
        "spills",
        "streams",
        "verify_failures",
        "writers",
    )

    def __init__(
        self,
        ino: int,
        size_bytes: int,
        *,
        record: HotRecord | None = None,
        backing: BackingFile | None = None,
        present: ExtentSet | None = None,
        spills: list[Spill] | None = None,
    ) -> None:
        self.ino = ino
        self.size_bytes = size_bytes
        # what the index has; None: COLD, and then there is no backing file
        self.record = record
        self.backing = backing
        # None: all of [0, size) is valid here (FULL, or an empty file)
        self.present = present
        # as they were last read: an export may have released them; ask Ledger.spills
        self.spills: list[Spill] = spills or []
        self.charged_bytes = record.bytes_charged if record is not None else 0
        self.references = 0
        self.readers = 0
        self.passers = 0  # readers who shall leave nothing of it in the tier
        self.writers = 0
        self.is_dead = False  # forgotten, or its base was replaced: no result may be published any more
        self.mutate = trio.Lock()
        self.guards: list[tuple[int, int]] = []
        self.flights: list[Flight] = []
        # bodies for which the tier had no room, for the next reads (fetch.py bounds them)
        self.carried: list[Flight] = []
        self.is_read_past = False  # the last body was not admitted
        self.streams: Streams = ()
        self.checks: RangeChecks | None = RangeChecks()
        self.verify_failures = 0
        # rises before and after each change of the file's content
        self.content_version = 0
        # rises when we ourselves touch the backing file without changing the content: its ctime moves, too
        self.alterations = 0
        # DATA_DIRTY and the intent are in the index since the last snapshot began
        self.is_marked = False
        self.marked_version = 0  # content_version at that moment
        # size and times that the index does not have yet
        self.has_news = False
        self.mtime_ns = 0
        self.ctime_ns = 0
        self.seen = (-1, -1)  # size and mtime of the backing file when we looked last
        # spill part -> its last write: (trio time, content_version)
        self.part_writes: dict[int, tuple[float, int]] = {}
        self.resizes = 0  # truncations: what a part was before one says nothing of what it is after
        self.is_spilling = False
        self.spill_not_before_s = 0.0  # trio time; after a failure, or when nothing was stable

    @property
    def residency(self) -> Residency:
        return self.record.residency if self.record is not None else Residency.COLD

    @property
    def is_whole(self) -> bool:
        """Every byte is valid in the backing file (which an empty file need not have)."""
        return self.present is None

    @property
    def is_for_passers(self) -> bool:
        """Is it open for those alone who shall leave nothing of it in the tier?"""
        return 0 < self.passers == self.readers and not self.writers

    @property
    def open_backing(self) -> BackingFile:
        """The backing file of a file that is known to have one."""
        assert self.backing is not None, "a file with bytes in the tier has its backing file open while it is in use"
        return self.backing

    def covers(self, start: int, stop: int) -> bool:
        return self.present is None or self.present.covers(start, stop)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        return [] if self.present is None else self.present.missing(start, stop)

    def local_ranges(self) -> list[tuple[int, int]]:
        """What is valid in the backing file."""
        if self.present is not None:
            return list(self.present)
        return [(0, self.size_bytes)] if self.size_bytes and self.record is not None else []

    @contextmanager
    def guarded(self, start: int, stop: int) -> Iterator[None]:
        """[start, stop) is being read: it is not evicted before the end of the context."""
        guard = (start, stop)
        self.guards.append(guard)
        try:
            yield
        finally:
            self.guards.remove(guard)

    def unguarded(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The parts of `ranges` that nobody is reading."""
        free = ExtentSet(ranges)
        for start, stop in self.guards:
            free.remove(start, stop)
        return list(free)

    def flight_at(self, offset: int) -> Flight | None:
        """The flight that will bring the byte at `offset`, or has brought it past the tier."""
        for flights in (self.flights, self.carried):
            for flight in flights:
                if flight.start <= offset < flight.stop:
                    return flight
        return None


def cold(inode: Inode) -> LiveFile:
    """Of a file that has nothing here."""
    return LiveFile(inode.ino, inode.size_bytes, present=ExtentSet() if inode.size_bytes else None)
