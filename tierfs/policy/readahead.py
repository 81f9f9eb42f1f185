"""How much to fetch around a read of a file that is not whole in the hot tier.

Pure. A file has several streams (threads, or the kernel's parallel readahead); each remembers how many bytes
were read in sequence. The window ahead of a stream is twice that run, four times once the run is long, so that
at most so many bytes are fetched in vain for each byte read; it shrinks by what the reader skips, and a read that
continues no stream begins one without a window. Small random reads therefore fetch small aligned blocks, a long
sequential read keeps many requests in flight: a store is fast only over many connections (S3 carries some
90 MB/s on each), and a reader waits for the whole of a piece.

`Streams` is small and immutable: the caller keeps it with the file and gives it back with the next read.
"""

from typing import Final, TypeAlias

from attrs import evolve, frozen

from tierfs.units import KIB, MIB

_STREAMS_MAX: Final = 8
_RUN_SHARE: Final = 2  # window = this many times the run
_LONG_RUN_BYTES: Final = MIB
_LONG_RUN_SHARE: Final = 4
_PIECES_PER_WINDOW: Final = 4  # in flight at the same time while the window grows; a full one has more


@frozen
class ReadaheadSettings:
    """Sizes in bytes. `slack_bytes`: the kernel sends the reads of one stream in parallel and out of order."""

    block_bytes: int = 64 * KIB
    part_size_bytes: int = 8 * MIB
    max_window_bytes: int = 32 * MIB
    max_parts_in_flight: int = 16  # a full window is fetched in so many pieces at the same time
    slack_bytes: int = MIB


@frozen
class Stream:
    """One sequence of reads: it ends at `position`, `run_bytes` long; what lies before `ahead` was asked for."""

    position: int
    run_bytes: int
    ahead: int
    owed_bytes: int = 0  # skipped on the way here


Streams: TypeAlias = tuple[Stream, ...]
"""Most recently used first."""


@frozen
class Advice:
    """Fetch `demand` now, `ahead` (in pieces, nearest first) with lower priority."""

    streams: Streams
    demand: tuple[int, int]
    ahead: tuple[tuple[int, int], ...]


def advise(streams: Streams, start: int, stop: int, size_bytes: int, settings: ReadaheadSettings) -> Advice:
    """What a read of [start, stop) of a file of `size_bytes` asks for; `stop` is at most the size."""
    block = settings.block_bytes
    demand = (start // block * block, min(size_bytes, _round_up(stop, block)))
    old = _find(streams, start, settings.slack_bytes)
    new = _advance(old, start, stop)
    share = _RUN_SHARE if new.run_bytes < _LONG_RUN_BYTES else _LONG_RUN_SHARE
    window = min(settings.max_window_bytes, new.run_bytes * share)
    ahead: tuple[tuple[int, int], ...] = ()
    is_sequential = start == 0 if old is None else new.position > old.position
    end, piece = new.position + window, _piece_bytes(window, settings)
    # extended by whole pieces as they are read: what is in flight hardly shrinks, and no request is a crumb
    target = size_bytes if end >= size_bytes else end // piece * piece
    begin = max(new.ahead, demand[1])
    if is_sequential and target > begin:
        ahead = _pieces(begin, target, piece, settings.part_size_bytes)
        new = evolve(new, ahead=target)
    others = tuple(stream for stream in streams if stream is not old)
    return Advice((new, *others)[:_STREAMS_MAX], demand, ahead)


def _round_up(offset: int, block: int) -> int:
    return -(-offset // block) * block


def _find(streams: Streams, start: int, slack_bytes: int) -> Stream | None:
    """The stream that the read continues: the nearest one within the slack."""
    near = [stream for stream in streams if abs(start - stream.position) <= slack_bytes]
    return min(near, key=lambda stream: abs(start - stream.position), default=None)


def _advance(old: Stream | None, start: int, stop: int) -> Stream:
    if old is None:
        return Stream(stop, stop - start, stop)
    # what is skipped shrinks the run until a read that comes late, from behind, fills it
    skipped_bytes = max(0, start - old.position)
    late_bytes = min(old.owed_bytes, max(0, min(stop, old.position) - start))
    position = max(old.position, stop)
    run_bytes = max(0, old.run_bytes - skipped_bytes) + late_bytes + position - max(start, old.position)
    return Stream(position, run_bytes, max(old.ahead, position), old.owed_bytes + skipped_bytes - late_bytes)


def _piece_bytes(window: int, settings: ReadaheadSettings) -> int:
    """A power of two times the block, so that pieces of a growing window end where larger ones begin."""
    limit = min(
        window // _PIECES_PER_WINDOW,
        settings.part_size_bytes,
        settings.max_window_bytes // settings.max_parts_in_flight,
    )
    blocks = max(1, limit // settings.block_bytes)
    return settings.block_bytes << (blocks.bit_length() - 1)


def _pieces(start: int, stop: int, piece_bytes: int, part_size_bytes: int) -> tuple[tuple[int, int], ...]:
    """[start, stop) cut at multiples of the piece, and where a part ends."""
    pieces = []
    while start < stop:
        end = min(stop, *((start // step + 1) * step for step in (piece_bytes, part_size_bytes)))
        pieces.append((start, end))
        start = end
    return tuple(pieces)
