"""Where the object of an inode is in the bucket, and where it should be.

*Desired* is the key that follows from the inode's path. *Actual* is where its base object lies now. The
two differ after a rename until the exporter has moved the object:

- A renamed file has a location row with its old key.
- A renamed directory has an override row with its old prefix. What lies below it is still there, unless
  it has a location row of its own (it was moved already, or was written after the rename).
- The marker of a directory is an object like any other: a location row on the directory says where the
  marker is, the override where its children are.

Keys are relative to the store's prefix; those of directories end with "/". The root's attributes are
kept under `.tierfs/root`, since the empty key cannot be an object.
"""

import errno
from collections.abc import Callable, Iterator
from typing import Final

from tierfs.errors import FsError
from tierfs.index import dirents, inodes, links
from tierfs.index import locations as rows
from tierfs.index.env import Reader, Txn
from tierfs.index.links import Link
from tierfs.model import HIDDEN_PREFIX, ROOT_INO, Inode
from tierfs.namespace.keys import name_to_part, part_to_names

ROOT_KEY: Final = HIDDEN_PREFIX + "root"
_DEPTH_MAX: Final = 2048  # a key has at most 1,024 bytes, so a deeper chain of parents is damage
_PREFIX_CACHE_ENTRIES: Final = 16_384


class Locations:
    """Key resolution with a cache of directory prefixes. Raises FsError(ESTALE) for an inode without a path."""

    def __init__(self) -> None:
        # emptied when full: to keep an order of use would cost more than to find a prefix again
        self._desired: dict[int, str] = {}
        self._actual: dict[int, str] = {}

    def forget_prefixes(self) -> None:
        """A directory moved, was removed, or its override changed: every cached prefix may be wrong."""
        self._desired.clear()
        self._actual.clear()

    def desired_prefix(self, reader: Reader, ino: int) -> str:
        """The key prefix of a directory by its path: "" for the root, else with a trailing slash."""
        return self._prefix(reader, ino, self._desired, follow_overrides=False)

    def actual_prefix(self, reader: Reader, ino: int) -> str:
        """The key prefix under which the objects of a directory's children lie now."""
        return self._prefix(reader, ino, self._actual, follow_overrides=True)

    def _prefix(self, reader: Reader, ino: int, cache: dict[int, str], *, follow_overrides: bool) -> str:
        known = cache.get(ino)
        if known is not None:
            return known
        if len(cache) >= _PREFIX_CACHE_ENTRIES:
            cache.clear()
        chain: list[tuple[int, str]] = []  # (directory, its own part), innermost first
        current, prefix = ino, ""
        while current != ROOT_INO:
            cached = cache.get(current)
            if cached is None and follow_overrides:
                cached = rows.override(reader, current)
            if cached is not None:
                prefix = cached
                break
            inode = inodes.get(reader, current)
            if inode is None or inode.parent == 0 or len(chain) > _DEPTH_MAX:
                raise FsError(errno.ESTALE, f"directory {ino:#x} has no path")
            chain.append((current, name_to_part(inode.name) + "/"))
            current = inode.parent
        if not chain:
            cache[ino] = prefix
        for directory, part in reversed(chain):
            prefix += part
            cache[directory] = prefix
        return prefix

    def desired_key(self, reader: Reader, inode: Inode) -> str:
        """The key at which the object of the inode's first link belongs."""
        return self._key(inode, self.desired_prefix, reader)

    def derived_key(self, reader: Reader, inode: Inode) -> str:
        """Where the object is if the inode has no location row."""
        return self._key(inode, self.actual_prefix, reader)

    def actual_key(self, reader: Reader, inode: Inode) -> str:
        """Where the inode's base object is now (meaningful only when it has a base)."""
        return rows.location(reader, inode.ino) or self.derived_key(reader, inode)

    @staticmethod
    def _key(inode: Inode, prefix_of: Callable[[Reader, int], str], reader: Reader) -> str:
        if inode.ino == ROOT_INO:
            return ROOT_KEY
        if inode.parent == 0:
            raise FsError(errno.ESTALE, f"inode {inode.ino:#x} has no name any more")
        part = name_to_part(inode.name)
        return prefix_of(reader, inode.parent) + (part + "/" if inode.is_dir else part)

    def link_key(self, reader: Reader, parent: int, name: bytes) -> str:
        """The key of a file's link by its path."""
        return self.desired_prefix(reader, parent) + name_to_part(name)

    def actual_link_key(self, reader: Reader, parent: int, name: bytes) -> str:
        """Where the object of a further link is, if it has one: a link has no location row."""
        return self.actual_prefix(reader, parent) + name_to_part(name)

    def occupant(self, reader: Reader, key: str) -> int | None:
        """The live inode whose base object lies at `key`, but which belongs elsewhere; else None.

        Whoever is about to write to `key` has to move that object first.
        """
        located = rows.located_at(reader, key)
        if located is not None:
            return located
        for inode, parent, name in self._found_below(reader, key):
            is_first = (inode.parent, inode.name) == (parent, name)
            if is_first and inode.base is not None and rows.location(reader, inode.ino) is None:
                return inode.ino
        return None

    def link_occupant(self, reader: Reader, key: str) -> tuple[Inode, Link] | None:
        """The further link whose object lies at `key` while its directory is being moved; else None."""
        for inode, parent, name in self._found_below(reader, key):
            link = links.get(reader, inode.ino, parent, name)
            if link is not None and self.link_key(reader, parent, name) != key:
                return inode, link
        return None

    def _found_below(self, reader: Reader, key: str) -> Iterator[tuple[Inode, int, bytes]]:
        """What the directories that have an override have at `key`: the inode, and the name that led to it.

        Their own markers are not below them: a marker that lies elsewhere than its path says has a location row.
        """
        for directory, prefix in rows.overrides(reader):
            if key.startswith(prefix) and key != prefix:
                found = self._walk(reader, directory, key[len(prefix) :])
                if found is not None:
                    yield found

    def _walk(self, reader: Reader, directory: int, rest: str) -> tuple[Inode, int, bytes] | None:
        """The inode at the path `rest` below a directory, as the tree has it now, with its parent and name there."""
        ino, parent, name = directory, 0, b""
        for part in rest.rstrip("/").split("/"):
            entry = next((found for raw in part_to_names(part) if (found := dirents.get(reader, ino, raw))), None)
            # below a directory that has an override of its own, keys are not derived from this one
            if entry is None or rows.override(reader, entry.ino) is not None:
                return None
            ino, parent, name = entry.ino, ino, entry.name
        inode = inodes.get(reader, ino)
        return (inode, parent, name) if inode is not None and inode.is_dir == rest.endswith("/") else None

    def settle(self, txn: Txn, inode: Inode, key: str) -> None:
        """Records that the inode's base object is at `key` from now on.

        Under an override it is written down also where it follows from that: a write that was under way when the
        directory was renamed may end after the old prefix was listed, and the override with it.
        """
        if self.derived_key(txn, inode) == key == self.desired_key(txn, inode):
            rows.clear_location(txn, inode.ino)
        else:
            rows.set_location(txn, inode.ino, key)
