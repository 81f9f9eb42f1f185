"""Combining checksums of ranges in any order."""

import os
import random

from tierfs import native
from tierfs.content.checks import RangeChecks, expected_crc

DATA = os.urandom(4096)


def pieces(cuts: list[int]) -> list[tuple[int, int]]:
    return list(zip([0, *cuts], [*cuts, len(DATA)], strict=True))


def test_ranges_in_any_order_give_the_checksum_of_the_whole() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        ranges = pieces(sorted(chance.sample(range(1, len(DATA)), 7)))
        chance.shuffle(ranges)
        checks = RangeChecks()
        for start, stop in ranges:
            assert checks.whole(len(DATA)) is None
            checks.add(start, stop, native.crc64nvme(DATA[start:stop]))
        assert checks.whole(len(DATA)) == native.crc64nvme(DATA)


def test_a_discarded_byte_makes_the_whole_unknown_until_it_is_fetched_again() -> None:
    checks = RangeChecks()
    checks.add(0, 100, native.crc64nvme(DATA[:100]))
    checks.add(200, len(DATA), native.crc64nvme(DATA[200:]))
    checks.discard(99, 100)
    checks.add(100, 200, native.crc64nvme(DATA[100:200]))
    assert checks.whole(len(DATA)) is None
    checks.add(0, 100, native.crc64nvme(DATA[:100]))
    assert checks.whole(len(DATA)) == native.crc64nvme(DATA)


def test_discarding_beside_a_range_leaves_it() -> None:
    checks = RangeChecks()
    checks.add(0, len(DATA), 5)
    checks.discard(len(DATA), len(DATA) + 10)
    assert checks.whole(len(DATA)) == 5


def test_expected_crc_reads_only_its_own_kind() -> None:
    assert expected_crc("crc64nvme:00000000000000ff") == 255
    assert expected_crc("md5:00ff") is None
    assert expected_crc("crc64nvme:zz") is None
    assert expected_crc("") is None
