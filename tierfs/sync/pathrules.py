"""Where and when changes are taken: `policy.prefixes` with the tree as it is now. Sync code only.

A file of several names has the rule of its first one, and may not be changed where one of them may not. What is
ignored is as another file system to directories and to files of several names: they are not moved across (EXDEV).
"""

import errno
import os
from collections.abc import Callable, Collection
from typing import Final

from tierfs.errors import FsError
from tierfs.index import inodes, links
from tierfs.index.env import Index, Reader
from tierfs.model import HIDDEN_PREFIX, Inode
from tierfs.namespace.access import OpenFile
from tierfs.policy.prefixes import Mode, Rule, Rules
from tierfs.sync.paths import key_path, text_path

_ACROSS: Final = "a rule of the settings keeps one of the two paths out of the bucket"


class PathRules:
    """The rules of one mount. `check...`: FsError(EROFS), where that is said EXDEV."""

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

    def check_link(self, ino: int, parent: int, name: bytes) -> None:
        """May the inode get this further name? EXDEV."""
        self.check_name(parent, name)
        self.check_inode(ino)
        inode = inodes.get(self._index, ino)
        if inode is not None and self.ignores(self._index, inode) != self.ignores_name(self._index, parent, name):
            raise FsError(errno.EXDEV, _ACROSS)

    def check_move(self, inode: Inode, places: Collection[tuple[int, bytes]]) -> None:
        """May the inode, and all below it, go from one of these names (parent, name) to the other? EXDEV."""
        if not self.rules.rules or (not inode.is_dir and inode.nlink == 1):
            return
        if len({self.ignores_name(self._index, *place) for place in places}) > 1:
            raise FsError(errno.EXDEV, _ACROSS)
        for parent, name in places if inode.is_dir else ():
            path = _path(self._index, parent, name)
            if self.rules.has_below(path, Mode.READ_ONLY):
                raise FsError(errno.EROFS, "a rule of the settings makes something below this directory read-only")
            if self.rules.has_below(path, Mode.IGNORE):
                raise FsError(errno.EXDEV, _ACROSS)

    # ---- what is ignored ----

    def ignores(self, reader: Reader, inode: Inode) -> bool:
        """Does the inode stay here, and what others put into the bucket there?"""
        return self.rules.ignores_some and self.of(reader, inode).mode is Mode.IGNORE

    def ignores_name(self, reader: Reader, parent: int, name: bytes) -> bool:
        """The same of what has, or will have, the name."""
        return self.rules.ignores_some and self._at(reader, parent, name).mode is Mode.IGNORE

    def ignored_in(self, reader: Reader, directory: int) -> Callable[[bytes], bool]:
        """The same of names in one directory."""
        inode = inodes.get(reader, directory) if self.rules.ignores_some else None
        if inode is None:
            return lambda name: False
        above, rules = _path(reader, inode.parent, inode.name), self.rules
        return lambda name: rules.of((*above, os.fsdecode(name))).mode is Mode.IGNORE

    def ignores_key(self, reader: Reader, key: str) -> bool:
        """The same of the object at a key; tierfs's own are none of the tree's."""
        if not self.rules.ignores_some or key.startswith(HIDDEN_PREFIX):
            return False
        return self.rules.of(_names(key_path(reader, key))).mode is Mode.IGNORE

    def is_local(self, ino: int) -> bool:
        """`ignores` by number."""
        inode = inodes.get(self._index, ino) if self.rules.ignores_some else None
        return inode is not None and self.ignores(self._index, inode)

    def _check_mount(self) -> None:
        if self.is_read_only:
            raise FsError(errno.EROFS)

    def _at(self, reader: Reader, parent: int, name: bytes) -> Rule:
        # without rules no path has to be looked for
        return self.rules.of(_path(reader, parent, name)) if self.rules.rules else self.rules.default


def _path(reader: Reader, parent: int, name: bytes) -> tuple[str, ...]:
    return _names(text_path(reader, parent, name))


def _names(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix("/").split("/")) if path != "/" else ()
