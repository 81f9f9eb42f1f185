"""Readahead decisions on made-up access patterns."""

import random

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tierfs.policy.readahead import Advice, ReadaheadSettings, Streams, advise
from tierfs.units import GIB, KIB, MIB

SETTINGS = ReadaheadSettings()
READ = 128 * KIB


def read_all(offsets: list[int], size_bytes: int, read_bytes: int = READ) -> list[Advice]:
    streams: Streams = ()
    advices = []
    for offset in offsets:
        advice = advise(streams, offset, min(offset + read_bytes, size_bytes), size_bytes, SETTINGS)
        streams = advice.streams
        advices.append(advice)
    return advices


def ahead_bytes(advices: list[Advice]) -> int:
    return sum(stop - start for advice in advices for start, stop in advice.ahead)


def test_a_sequential_read_grows_to_the_full_window_in_many_pieces() -> None:
    advices = read_all(list(range(0, 64 * MIB, READ)), GIB)
    assert ahead_bytes(advices[:4]) <= 4 * MIB
    piece = SETTINGS.max_window_bytes // SETTINGS.max_parts_in_flight
    full = [advice for advice in advices if advice.streams[0].position >= 16 * MIB]
    assert {stop - start for advice in full for start, stop in advice.ahead} == {piece}
    for advice in full:  # what is ahead never shrinks by more than the piece that is being read
        window = advice.streams[0].ahead - advice.streams[0].position
        assert SETTINGS.max_window_bytes - piece < window <= SETTINGS.max_window_bytes


def test_no_piece_is_larger_than_a_part() -> None:
    settings = evolve(SETTINGS, max_window_bytes=GIB, part_size_bytes=5 * MIB)
    streams: Streams = ()
    for offset in range(0, 256 * MIB, READ):
        advice = advise(streams, offset, offset + READ, GIB, settings)
        streams = advice.streams
        assert all(start // (5 * MIB) == (stop - 1) // (5 * MIB) for start, stop in advice.ahead)


def test_what_is_ahead_is_asked_for_once_and_without_gaps() -> None:
    advices = read_all(list(range(0, 64 * MIB, READ)), GIB)
    ranges = [piece for advice in advices for piece in advice.ahead]
    assert all(ranges[i][1] == ranges[i + 1][0] for i in range(len(ranges) - 1))


def test_never_more_than_a_small_multiple_of_what_was_read_is_fetched_in_vain() -> None:
    for reads, multiple in ((1, 2), (2, 2), (3, 2), (7, 2), (8, 4), (10, 4), (50, 4)):
        streams = read_all([i * READ for i in range(reads)], GIB)[-1].streams
        assert streams[0].ahead - reads * READ <= multiple * reads * READ


def test_random_reads_fetch_small_blocks_and_nothing_ahead() -> None:
    chance = random.Random(1)
    offsets = [chance.randrange(1, 1000) * 16 * MIB + 5000 for _ in range(200)]
    advices = read_all(offsets, 16 * GIB, read_bytes=4096)
    assert ahead_bytes(advices) == 0
    assert all(advice.demand[1] - advice.demand[0] == 64 * KIB for advice in advices)
    assert all(advice.demand[0] <= offset < advice.demand[1] for advice, offset in zip(advices, offsets, strict=True))


def test_four_streams_in_one_file_each_get_a_window() -> None:
    starts = [i * 256 * MIB for i in range(4)]
    offsets = [start + i * READ for i in range(64) for start in starts]
    streams = read_all(offsets, GIB)[-1].streams
    assert sorted(stream.position for stream in streams) == [start + 64 * READ for start in starts]
    assert all(stream.ahead - stream.position >= 4 * MIB for stream in streams)


def test_the_kernels_parallel_reads_are_one_stream() -> None:
    offsets = [i * READ for group in range(16) for i in (group * 4 + 1, group * 4, group * 4 + 3, group * 4 + 2)]
    advices = read_all([0, *offsets], GIB)
    assert len(advices[-1].streams) == 1
    assert advices[-1].streams[0].run_bytes >= 4 * MIB // 2


def test_a_skip_shrinks_the_window() -> None:
    before = read_all(list(range(0, 2 * MIB, READ)), GIB)[-1].streams
    after = advise(before, 2 * MIB + 512 * KIB, 2 * MIB + 640 * KIB, GIB, SETTINGS).streams
    assert after[0].run_bytes == before[0].run_bytes - 512 * KIB + READ


def test_reading_the_same_range_again_and_again_is_no_sequence() -> None:
    advices = read_all([16 * MIB] * 100, GIB)
    assert advices[-1].streams[0].run_bytes == READ
    assert ahead_bytes(advices) == 0


def test_strides_within_the_slack_fetch_nothing_ahead() -> None:
    assert ahead_bytes(read_all(list(range(MIB, GIB, 512 * KIB)), GIB, read_bytes=4096)) <= 64 * KIB


@given(
    size=st.integers(1, 100 * MIB),
    accesses=st.lists(st.tuples(st.integers(0, 100 * MIB), st.integers(1, MIB)), min_size=1, max_size=40),
)
def test_advice_stays_within_the_file_and_parts(size: int, accesses: list[tuple[int, int]]) -> None:
    streams: Streams = ()
    for offset, length in accesses:
        start = offset % size
        stop = min(size, start + length)
        advice = advise(streams, start, stop, size, SETTINGS)
        streams = advice.streams
        assert advice.demand[0] <= start < stop <= advice.demand[1] <= size
        assert advice.demand[0] % SETTINGS.block_bytes == 0
        assert 1 <= len(streams) <= 8
        for begin, end in advice.ahead:
            assert 0 <= begin < end <= size
            assert begin // SETTINGS.part_size_bytes == (end - 1) // SETTINGS.part_size_bytes
