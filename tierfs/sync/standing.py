"""How recorded conflicts stand: what of them is there now, by the index alone. Sync code only.

Nothing is told when somebody removes or renames a version by hand; whoever asks finds out.
"""

from typing import Any, Final

from attrs import frozen

from tierfs.index import conflicts as rows
from tierfs.index import dirents, inodes
from tierfs.index.conflicts import Conflict
from tierfs.index.env import Reader
from tierfs.model import InodeFlag
from tierfs.policy import resolution
from tierfs.policy.resolution import COPY_SIDE, FILE_SIDE, Side
from tierfs.sync.paths import find_place, text_path

LOOK_ROWS: Final = 128
"""How many conflicts are looked at in one go: some milliseconds, without a checkpoint."""


@frozen
class Version:
    """One of the two names of a conflict. `ino` None: it is not there."""

    parent: int
    name: bytes
    recorded: str  # its path when the conflict was found
    ino: int | None

    def path(self, reader: Reader) -> str:
        """As it is now, where its directory is there; relative to the root of the mount."""
        is_there = inodes.get(reader, self.parent) is not None
        now = text_path(reader, self.parent, self.name) if is_there else self.recorded
        return now.removeprefix("/")


@frozen
class Found:
    """A conflict and what of it is there now."""

    number: int
    conflict: Conflict
    parent: int
    file: Version | None
    copy: Version | None
    is_listed: bool  # else a name that is not there may be in the bucket

    @property
    def has_file(self) -> bool:
        return self.file is not None and (self.file.ino is not None or not self.is_listed)

    @property
    def has_copy(self) -> bool:
        return self.copy is not None and self.copy.ino is not None

    @property
    def is_open(self) -> bool:
        return resolution.is_open(self.conflict.kind, has_file=self.has_file, has_copy=self.has_copy)

    @property
    def inos(self) -> list[int]:
        return [version.ino for version in (self.file, self.copy) if version is not None and version.ino is not None]

    def of(self, side: Side) -> Version | None:
        """The version of one side, None where it never had a name."""
        kind = self.conflict.kind
        return self.file if FILE_SIDE[kind] is side else self.copy if COPY_SIDE[kind] is side else None

    def described(self, reader: Reader) -> dict[str, Any]:
        """As values of JSON."""
        return {
            "id": self.number,
            "time_ns": self.conflict.time_ns,
            "kind": self.conflict.kind.value,
            "path": path_of(reader, self.file) or self.conflict.path.removeprefix("/"),
            "winner": path_of(reader, self.file),
            "loser": path_of(reader, self.copy),
            "bucket": path_of(reader, self.of(Side.BUCKET)),
            "local": path_of(reader, self.of(Side.LOCAL)),
            "state": "open" if self.is_open else "gone",
        }


def path_of(reader: Reader, version: Version | None) -> str | None:
    """None for what never had a name."""
    return version.path(reader) if version is not None else None


def _last_name(path: str) -> bytes:
    return path.rpartition("/")[2].encode(errors="surrogateescape")


def look(reader: Reader, number: int, conflict: Conflict) -> Found:
    """What of a conflict is there now."""
    parent = conflict.parent
    if not parent:
        place = find_place(reader, conflict.path.removeprefix("/"))
        parent = place.parent if place is not None else 0

    def version(path: str) -> Version | None:
        if not path:
            return None
        name = _last_name(path)
        entry = dirents.get(reader, parent, name)
        return Version(parent, name, path, entry.ino if entry is not None else None)

    directory = inodes.get(reader, parent)
    is_listed = directory is None or InodeFlag.LISTED in directory.flags
    return Found(number, conflict, parent, version(conflict.winner), version(conflict.loser), is_listed)


class OpenCount:
    """How many conflicts somebody has to see to.

    Each call looks at so many and goes on where the last one ended; those that it has not come to count as open.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._after = 0
        self._gone: set[int] = set()  # of the round before
        self._found_gone: set[int] = set()  # in this round

    def now(self) -> int:
        """Exact for up to LOOK_ROWS conflicts; with more, what changed is seen within two rounds of calls."""
        page = rows.page(self._reader, self._after, LOOK_ROWS)
        for number, conflict in page:
            if not look(self._reader, number, conflict).is_open:
                self._found_gone.add(number)
        self._after = page[-1][0] if len(page) == LOOK_ROWS else 0
        if self._after == 0:
            self._gone, self._found_gone = self._found_gone, set()
        return max(0, rows.count(self._reader) - len(self._gone | self._found_gone))
