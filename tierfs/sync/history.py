"""Deleted files of a bucket that keeps versions: which there are below a path, and having them back.

A deletion in such a bucket is a row of its own above the versions of a key. Taking it back moves no bytes and leaves
metadata, tags and class as they were. The path need not exist in the mount; what comes back is shown at once.

Checkpoints: every request. Both may be repeated, and stop at any point without harm.
"""

import errno
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import Final

from attrs import define, field, frozen

from tierfs.errors import FsError
from tierfs.index import dirents, inodes
from tierfs.index.env import Index
from tierfs.model import HIDDEN_PREFIX, ROOT_INO
from tierfs.namespace.keys import name_to_part
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore, ObjectVersion
from tierfs.sync.importer import Importer
from tierfs.sync.looking import directory_above

_EXAMPLES_KEPT: Final = 50
_PAGE_ROWS: Final = 1000


@frozen
class KeyHistory:
    """What the bucket keeps of one key, newest first."""

    key: str
    versions: tuple[ObjectVersion, ...]

    @property
    def deletions(self) -> tuple[ObjectVersion, ...]:
        """Those above the newest version, if there is one: who deletes a key twice leaves two."""
        for number, version in enumerate(self.versions):
            if not version.is_deletion:
                return self.versions[:number]
        return ()

    @property
    def last(self) -> ObjectVersion | None:
        """The newest version."""
        return next((version for version in self.versions if not version.is_deletion), None)


@define
class Undeleted:
    """What was brought back."""

    files: int = 0
    size_bytes: int = 0
    examples: list[str] = field(factory=list)  # keys, the first few


class History:
    """The versions of one mount's bucket."""

    def __init__(
        self, *, index: Index, store: ObjectStore, locations: Locations, importer: Importer, read_only: bool
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._importer = importer
        self._read_only = read_only

    def key_of(self, path: bytes) -> str:
        """The key that a path leads to, or would, without a slash at its end; "" is the root."""
        directory, parts = ROOT_INO, [part for part in path.split(b"/") if part]
        while parts[1:]:
            entry = dirents.get(self._index, directory, parts[0])
            inode = inodes.get(self._index, entry.ino) if entry is not None else None
            if inode is None or not inode.is_dir:
                break
            directory = inode.ino
            del parts[0]
        return self._locations.actual_prefix(self._index, directory) + "/".join(map(name_to_part, parts))

    async def of_key(self, key: str) -> list[KeyHistory]:
        """The key itself, if there is something of it. StoreError."""
        page = await self._store.list_versions(key)
        return _histories(version for version in page.versions if version.key == key)

    async def below(self, key: str, *, after: str = "", limit: int = _PAGE_ROWS) -> tuple[list[KeyHistory], str]:
        """A page of what lies below it, and the `after` of the next one ("": there is none). StoreError."""
        page = await self._store.list_versions(key and key + "/", after=after, limit=limit)
        shown = (version for version in page.versions if not version.key.startswith(HIDDEN_PREFIX))
        return _histories(shown), page.after

    async def undelete(self, path: bytes, tell: Callable[[int], None], *, dry_run: bool) -> Undeleted:
        """Takes back the deletion of what is at a path and of all below it; `dry_run`: only says of what.

        `tell` is given how many files came back so far. FsError(ENOENT: nothing is deleted there; EROFS), StoreError.
        """
        if self._read_only and not dry_run:
            raise FsError(errno.EROFS)
        done = Undeleted()

        async def take(found: list[KeyHistory]) -> None:
            back = await self._take_back(found, done, dry_run=dry_run)
            if not dry_run:
                await self._show(back)
            tell(done.files)

        await self._each_page(self.key_of(path), take)
        if not done.files:
            why = "" if self._store.capabilities.versioning else ": the bucket keeps no versions"
            raise FsError(errno.ENOENT, f"there is no deleted file to bring back{why}")
        return done

    async def restore(self, key: str, came_back: Callable[[str], None]) -> None:
        """The same for names that the mount still has, so that nothing has to be shown. StoreError.

        `came_back` is told each key. Nothing happens in a bucket without versions.
        """
        if self._read_only or not self._store.capabilities.versioning:
            return

        async def take(found: list[KeyHistory]) -> None:
            for back in await self._take_back(found, Undeleted(), dry_run=False):
                came_back(back)

        await self._each_page(key.rstrip("/"), take)

    async def _each_page(self, key: str, take: Callable[[list[KeyHistory]], Awaitable[None]]) -> None:
        """What is at a key and below it."""
        if key:
            await take(await self.of_key(key))
        after: str | None = ""
        while after is not None:
            found, next_key = await self.below(key, after=after)
            await take(found)
            after = next_key or None

    async def _take_back(self, found: list[KeyHistory], done: Undeleted, *, dry_run: bool) -> list[str]:
        """The keys that came back, or with `dry_run` would."""
        back: list[str] = []
        for history in found:
            if not history.deletions or history.last is None:
                continue
            for deletion in () if dry_run else history.deletions:
                await self._store.undelete(history.key, deletion.version_id)
            back.append(history.key)
            done.files += 1
            done.size_bytes += history.last.size_bytes
        done.examples += back[: _EXAMPLES_KEPT - len(done.examples)]
        return back

    async def _show(self, keys: list[str]) -> None:
        """Directories that were listed hear of their keys; the others list them when they are used."""
        by_directory: dict[int, list[str]] = {}
        for key in keys:
            by_directory.setdefault(directory_above(self._index, key).ino, []).append(key)
        for directory, below in by_directory.items():
            await self._importer.look(directory, below)


def _histories(versions: Iterable[ObjectVersion]) -> list[KeyHistory]:
    return [KeyHistory(key, tuple(rows)) for key, rows in groupby(versions, key=lambda version: version.key)]
