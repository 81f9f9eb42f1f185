"""Which clean bytes leave the hot tier: of files in the order that `policy.ranking` gives them, those that may.

Pure. Whole closed files are chosen by `choose`; of a file that is open for reading, `choose_ranges` gives up
what its readers have passed before what lies ahead of them.
"""

from collections.abc import Iterable, Sequence

from attrs import frozen


@frozen
class Candidate:
    """A file in the hot tier, as far as eviction is concerned."""

    ino: int
    size_bytes: int  # what its eviction gives back
    used_at_bytes: int = 0  # when it was used last, by the clock of `policy.ranking`
    is_dirty: bool = False  # has bytes that are not in the bucket
    is_written: bool = False  # somebody has it open for writing
    is_pinned: bool = False

    @property
    def is_evictable(self) -> bool:
        return self.size_bytes > 0 and not (self.is_dirty or self.is_written or self.is_pinned)


def choose(candidates: Iterable[Candidate], need_bytes: int) -> list[Candidate]:
    """The fewest candidates, first ones first, that together give `need_bytes`; all that may go if they do not."""
    victims = []
    for candidate in candidates:
        if need_bytes <= 0:
            break
        if candidate.is_evictable:
            victims.append(candidate)
            need_bytes -= candidate.size_bytes
    return victims


def choose_ranges(
    present: Iterable[tuple[int, int]], positions: Sequence[int], need_bytes: int
) -> list[tuple[int, int]]:
    """Parts of the present ranges of an open file that give `need_bytes`, or all of them.

    `positions` are where its readers are. What lies before all of them goes first, from the file's
    beginning; then what lies after, from the end backwards: what is read next goes last.
    """
    front = min(positions, default=0)
    behind: list[tuple[int, int]] = []
    beyond: list[tuple[int, int]] = []
    for start, stop in present:
        if start < front:
            behind.append((start, min(stop, front)))
        if stop > front:
            beyond.append((max(start, front), stop))
    victims: list[tuple[int, int]] = []
    for start, stop in sorted(behind):
        if need_bytes <= 0:
            return victims
        end = min(stop, start + need_bytes)
        victims.append((start, end))
        need_bytes -= end - start
    for start, stop in sorted(beyond, reverse=True):
        if need_bytes <= 0:
            return victims
        begin = max(start, stop - need_bytes)
        victims.append((begin, stop))
        need_bytes -= stop - begin
    return victims
