"""Checksums of the ranges of a file as they were fetched, to be compared with the object's when all are there."""

from bisect import bisect_left
from typing import Final

from tierfs import native

_PREFIX: Final = "crc64nvme:"


def expected_crc(content: str) -> int | None:
    """The CRC-64/NVME of `Base.content`, None where that is another checksum or not known."""
    if not content.startswith(_PREFIX):
        return None
    try:
        return int(content[len(_PREFIX) :], 16)
    except ValueError:
        return None


class RangeChecks:
    """CRC-64/NVME of disjoint ranges; neighbours are combined, so a file read in sequence needs one entry."""

    __slots__ = ("_crcs", "_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._crcs: list[int] = []

    def add(self, start: int, stop: int, crc: int) -> None:
        """The bytes of [start, stop), which is not in any range yet, have this checksum."""
        if start >= stop:
            return
        slot = bisect_left(self._starts, start)
        if slot < len(self._starts) and self._starts[slot] == stop:
            crc = native.crc64nvme_combine(crc, self._crcs[slot], self._stops[slot] - stop)
            stop = self._stops[slot]
            self._drop(slot)
        if slot and self._stops[slot - 1] == start:
            slot -= 1
            crc = native.crc64nvme_combine(self._crcs[slot], crc, stop - start)
            start = self._starts[slot]
            self._drop(slot)
        self._starts.insert(slot, start)
        self._stops.insert(slot, stop)
        self._crcs.insert(slot, crc)

    def _drop(self, slot: int) -> None:
        del self._starts[slot], self._stops[slot], self._crcs[slot]

    def discard(self, start: int, stop: int) -> None:
        """Bytes of [start, stop) are gone: a CRC cannot be cut, so every range that loses some goes whole."""
        for slot in range(len(self._starts) - 1, -1, -1):
            if self._starts[slot] < stop and start < self._stops[slot]:
                self._drop(slot)

    def whole(self, size_bytes: int) -> int | None:
        """The checksum of [0, size_bytes), None if some of it was not fetched under this account."""
        if len(self._starts) == 1 and self._starts[0] == 0 and self._stops[0] == size_bytes:
            return self._crcs[0]
        return None
