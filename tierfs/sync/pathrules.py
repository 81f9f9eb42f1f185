"""Where and when changes are taken: `policy.prefixes` with the tree as it is now. Sync code only.

A file of several names has the rule of its first one, and may not be changed where one of them may not.
"""

import errno
from collections.abc import Iterable

from tierfs.errors import FsError
from tierfs.index import inodes, links
from tierfs.index.env import Index, Reader
from tierfs.model import Inode
from tierfs.namespace.access import OpenFile
from tierfs.policy.prefixes import Mode, Rule, Rules
from tierfs.sync.paths import text_path


class PathRules:
    """The rules of one mount. `check...`: FsError(EROFS)."""

    def __init__(self, index: Index, rules: Rules, *, read_only: bool = False) -> None:
        """`read_only`: nothing may be changed, whatever the rules say."""
        self._index = index
        self.rules = rules
        self.is_read_only = read_only

    def of(self, reader: Reader, inode: Inode) -> Rule:
        """The rule of an inode; of one without a name the mount's own."""
        return self._at(reader, inode.parent, inode.name) if inode.parent else self.rules.default

    def quiet_s(self, reader: Reader, inode: Inode) -> float:
        """How long a changed inode rests before it is exported."""
        return self.of(reader, inode).quiet_s

    def waits_at_close(self, ino: int) -> bool:
        """Whether close(2) of a file that was written waits until it is in the bucket."""
        inode = inodes.get(self._index, ino) if self.rules.rules else None
        return inode is not None and self.of(self._index, inode).mode is Mode.ON_CLOSE

    def opened(self, ino: int, flags: int) -> OpenFile:
        """What a handle means that open(2) with these flags gave out."""
        return OpenFile.of(ino, flags, read_only=self.is_read_only, waits_at_close=self.waits_at_close(ino))

    def check_inode(self, ino: int) -> None:
        """May the inode be changed?"""
        self._check_mount()
        inode = inodes.get(self._index, ino)
        if not self.rules.rules or inode is None or not inode.parent:
            return
        self.check_name(inode.parent, inode.name)
        for link in links.all(self._index, ino) if inode.nlink > 1 and not inode.is_dir else ():
            self.check_name(link.parent, link.name)

    def check_name(self, parent: int, name: bytes) -> None:
        """May the name be made, removed, or given to something else?"""
        self._check_mount()
        if self._at(self._index, parent, name).mode is Mode.READ_ONLY:
            raise FsError(errno.EROFS, "a rule of the settings makes this part of the mount read-only")

    def check_below(self, places: Iterable[tuple[int, bytes]]) -> None:
        """May all that is below directories of these names (parent, name) get another path?"""
        for parent, name in places if self.rules.rules else ():
            if self.rules.has_read_only_below(_path(self._index, parent, name)):
                raise FsError(errno.EROFS, "a rule of the settings makes something below this directory read-only")

    def _check_mount(self) -> None:
        if self.is_read_only:
            raise FsError(errno.EROFS)

    def _at(self, reader: Reader, parent: int, name: bytes) -> Rule:
        # without rules no path has to be looked for
        return self.rules.of(_path(reader, parent, name)) if self.rules.rules else self.rules.default


def _path(reader: Reader, parent: int, name: bytes) -> tuple[str, ...]:
    path = text_path(reader, parent, name).removeprefix("/")
    return tuple(path.split("/")) if path else ()
