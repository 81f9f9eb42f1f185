"""What one listing of a directory is, for whom it is made, and what it has seen so far."""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import xxhash
from attrs import define, field, frozen

from tierfs.sync.guard import Gate

_NEW_DIRECTORIES_KEPT: Final = 8


class MovedError(Exception):
    """The directory's objects lie under another prefix now."""


class SeenNames:
    """Hashes of names, to be asked once all are there. A collision only delays a removal to the next listing."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, name: bytes) -> None:
        self._hashes.append(xxhash.xxh3_64_intdigest(name))
        self._is_sorted = False

    def __contains__(self, name: bytes) -> bool:
        if not self._is_sorted:
            self._hashes = array("Q", sorted(self._hashes))
            self._is_sorted = True
        wanted = xxhash.xxh3_64_intdigest(name)
        at = bisect_left(self._hashes, wanted)
        return at < len(self._hashes) and self._hashes[at] == wanted


def nobody(_key: str) -> None:
    """Listens to no difference."""


def nothing() -> None:
    """Counts no pages."""


@frozen
class Visit:
    """For whom directories are listed: who hears of what, and decides about names that are gone."""

    found: Callable[[str], None] = nobody  # is told the key of each difference between bucket and index
    gate: Gate | None = None  # None: the guard
    paged: Callable[[], None] = nothing  # is told of each page, one LIST


@frozen
class Picture:
    """When a page of many directories was asked for: the time, and the marks of `Activity` and of `Turns`."""

    began_ns: int
    mark: int
    turns: int


@define
class Listing:
    """The state of one listing. `found` is told the key of each difference between bucket and index.

    `is_flat`: keys of many directories are listed at once (see flat.py), so each prefix has an object below it.
    """

    ino: int
    prefix: str
    began_ns: int
    mark: int
    is_first: bool
    seen: SeenNames | None = None
    assume: bool | None = None  # no object of the directory has POSIX attributes; None: not known yet
    is_flat: bool = False
    has_marker: bool = False
    added: int = 0
    removed: int = 0
    found: Callable[[str], None] = nobody
    new_directories: list[bytes] = field(factory=list)  # the first few that were added

    @property
    def leaves_sample(self) -> bool:
        """Whether the entries have POSIX attributes is for whoever uses the directory first to find out."""
        return self.is_flat and self.is_first and self.assume is None

    def note_directory(self, name: bytes) -> None:
        """A directory was added."""
        if len(self.new_directories) < _NEW_DIRECTORIES_KEPT:
            self.new_directories.append(name)
