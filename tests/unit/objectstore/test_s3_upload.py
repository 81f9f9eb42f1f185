"""How a large object is cut into parts for a copy."""

import itertools

import pytest

from tierfs.objectstore.s3_upload import PARTS_MAX, part_ranges
from tierfs.units import GIB, MIB, TIB


@pytest.mark.parametrize("size_bytes", [1, 5 * MIB, 512 * MIB, 512 * MIB + 1, 5 * GIB + 1, 5 * TIB, 50 * 10**12])
def test_parts_cover_the_object_within_the_limits(size_bytes: int) -> None:
    ranges = part_ranges(size_bytes, 512 * MIB)
    assert len(ranges) <= PARTS_MAX
    assert ranges[0][0] == 0
    assert ranges[-1][1] == size_bytes
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(ranges))
    assert all(512 * MIB <= stop - start <= 5 * GIB for start, stop in ranges[:-1])
    assert ranges[-1][0] < ranges[-1][1]


def test_parts_are_as_large_as_asked() -> None:
    assert part_ranges(12, 5) == [(0, 5), (5, 10), (10, 12)]
