"""How much to fetch around a read of a file that is not whole in the hot tier.

Pure. A file has several streams (threads, or the kernel's parallel readahead); each remembers how many bytes
were read in sequence. The window ahead of a stream is twice that run, so that at most two bytes are fetched
in vain for each byte read; it shrinks by what the reader skips, and a read that continues no stream begins one
without a window. Small random reads therefore fetch small aligned blocks, a long sequential read keeps many
parts in flight.

`Streams` is small and immutable: the caller keeps it with the file and gives it back with the next read.
"""

from typing import Final, TypeAlias

from attrs import evolve, frozen

from tierfs.units import KIB, MIB

_STREAMS_MAX: Final = 8
_RUN_SHARE: Final = 2  # window = this many times the run
_PIECES_PER_WINDOW: Final = 4  # in flight at the same time, until a piece is as big as a part


@frozen
class ReadaheadSettings:
    """Sizes in bytes. `slack_bytes`: the kernel sends the reads of one stream in parallel and out of order."""

    block_bytes: int = 64 * KIB
    part_size_bytes: int = 8 * MIB
    max_window_bytes: int = 32 * MIB
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
    window = min(settings.max_window_bytes, new.run_bytes * _RUN_SHARE)
    ahead: tuple[tuple[int, int], ...] = ()
    is_sequential = start == 0 if old is None else new.position > old.position
    # extended in steps of half a window: one decision for many small reads
    if is_sequential and new.ahead - new.position < window // 2:
        target = min(size_bytes, _round_up(new.position + window, block))
        begin = max(new.ahead, demand[1])
        ahead = _pieces(begin, target, _piece_bytes(window, settings), settings.part_size_bytes)
        new = evolve(new, ahead=max(new.ahead, target))
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
    piece = max(settings.block_bytes, window // _PIECES_PER_WINDOW // settings.block_bytes * settings.block_bytes)
    return min(piece, settings.part_size_bytes)


def _pieces(start: int, stop: int, piece_bytes: int, part_size_bytes: int) -> tuple[tuple[int, int], ...]:
    """[start, stop) in pieces that never cross a part boundary."""
    pieces = []
    while start < stop:
        part_end = (start // part_size_bytes + 1) * part_size_bytes
        end = min(stop, part_end, start + piece_bytes)
        pieces.append((start, end))
        start = end
    return tuple(pieces)
