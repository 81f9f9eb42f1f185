"""From keys to inodes by the tree as it is now, and from inodes to paths for people. Sync code only."""

import errno
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from tierfs.errors import FsError
from tierfs.index import dirents, inodes
from tierfs.index.env import Reader
from tierfs.model import ROOT_INO, Dirent, Inode
from tierfs.namespace.keys import part_to_names

_DEPTH_MAX: Final = 2048


@frozen
class Place:
    """A name in a directory."""

    parent: int
    name: bytes


def find_entry(reader: Reader, parent: int, part: str) -> Dirent | None:
    """The entry of a directory whose key part is `part`: the plain name, or the raw one that escapes to it."""
    for name in part_to_names(part):
        entry = dirents.get(reader, parent, name)
        if entry is not None:
            return entry
    return None


def find_place(reader: Reader, key: str, *, top: int = ROOT_INO) -> Place | None:
    """The directory and name that `key`, relative to the directory `top`, stands for; None when a parent is missing.

    The name need not exist. Locations and overrides play no part: this is where the key *belongs*.
    """
    *parents, last = key.rstrip("/").split("/")
    directory = top
    for part in parents:
        entry = find_entry(reader, directory, part)
        if entry is None:
            return None
        directory = entry.ino
    entry = find_entry(reader, directory, last)
    return Place(directory, entry.name if entry is not None else last.encode())


def key_path(reader: Reader, key: str) -> str:
    """The path that `key` stands for, as `text_path`; the key itself where its directory is not there."""
    place = find_place(reader, key)
    if place is None:
        return "/" + key.rstrip("/")
    is_there = dirents.get(reader, place.parent, place.name) is not None
    names = () if is_there else part_to_names(place.name.decode())
    return text_path(reader, place.parent, names[0] if names else place.name)


def find_owner(reader: Reader, key: str) -> Inode | None:
    """The live inode whose path gives `key` (a directory for one that ends in "/")."""
    place = find_place(reader, key)
    entry = dirents.get(reader, place.parent, place.name) if place is not None else None
    inode = inodes.get(reader, entry.ino) if entry is not None else None
    return inode if inode is not None and inode.is_dir == key.endswith("/") else None


def class_of_key(reader: Reader, key: str) -> str:
    """The storage class of the object under a key; "" where the index does not know it."""
    owner = find_owner(reader, key)
    return owner.base.storage_class if owner is not None and owner.base is not None else ""


def walk(reader: Reader, path: bytes) -> Inode:
    """The inode at a path relative to the root of the mount; symlinks are not followed. ENOENT, ENOTDIR."""
    inode = inodes.get(reader, ROOT_INO)
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if inode is not None and not inode.is_dir:
            raise FsError(errno.ENOTDIR)
        entry = dirents.get(reader, inode.ino, part) if inode is not None else None
        inode = inodes.get(reader, entry.ino) if entry is not None else None
    if inode is None:
        raise FsError(errno.ENOENT)
    return inode


def ancestors(reader: Reader, inode: Inode) -> Iterator[int]:
    """The directories above an inode's first link, nearest first; nothing for an unlinked one."""
    current, depth = inode, 0
    while current.parent != 0 and current.ino != ROOT_INO and depth < _DEPTH_MAX:
        yield current.parent
        parent = inodes.get(reader, current.parent)
        if parent is None:
            return
        current, depth = parent, depth + 1


def display_path(reader: Reader, ino: int) -> str:
    """The path in the mount, for logs and status; "(unlinked)" where there is none."""
    parts: list[bytes] = []
    current = inodes.get(reader, ino)
    while current is not None and current.ino != ROOT_INO and current.parent != 0 and len(parts) < _DEPTH_MAX:
        parts.append(current.name)
        current = inodes.get(reader, current.parent)
    if current is None or current.ino != ROOT_INO:
        return "(unlinked)"
    return "/" + b"/".join(reversed(parts)).decode(errors="backslashreplace")


def text_path(reader: Reader, parent: int, name: bytes) -> str:
    """The path of a name in a directory, from the root of the mount, lossless (surrogateescape)."""
    parts = [name]
    current = inodes.get(reader, parent)
    while current is not None and current.ino != ROOT_INO and current.parent != 0 and len(parts) < _DEPTH_MAX:
        parts.append(current.name)
        current = inodes.get(reader, current.parent)
    return "/" + b"/".join(reversed(parts)).decode(errors="surrogateescape")
