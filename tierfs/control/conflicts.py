"""Recorded conflicts for those who look after them: which there are, how their versions differ, an end to them.

A conflict is resolved by the verbs that every program has, a rename or an unlink: so the bucket follows, and what
changed meanwhile is met by the export like any other change. Whoever does the same by hand has resolved it, too: what
is found is the index as it is now, and a conflict whose copy is gone is not open any more.

Looking reads the index only. Checkpoints: `diff` and `resolve`, as the verbs of the file system; the record goes last,
so a conflict that was resolved halfway is found again.
"""

import errno
import logging
import stat
from typing import Final

from tierfs.control.comparing import compare
from tierfs.control.inspector import TYPE_NAMES
from tierfs.control.protocol import Json
from tierfs.errors import FsError
from tierfs.filesystem import FileSystem
from tierfs.index import conflicts as rows
from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag
from tierfs.namespace.changes import RenameMode
from tierfs.namespace.notify import Notify
from tierfs.policy import resolution
from tierfs.policy.resolution import Keep, Kind, Side, Step, UnresolvableError
from tierfs.sync.standing import LOOK_ROWS, Found, Version, look, path_of

_ANSWER_ROWS: Final = 50  # an answer with the longest paths stays below the protocol's limit
_log: Final = logging.getLogger(__name__)


class Conflicts:
    """The conflicts of one mount."""

    def __init__(self, *, index: Index, fs: FileSystem, notify: Notify) -> None:
        self._index = index
        self._fs = fs
        self._notify = notify

    def page(self, *, after: int, path: bytes, uid: int | None) -> Json:
        """A page of {"conflicts": [...], "next": `after` of the next page, or None}, oldest first.

        Only those at or below `path`, and (unless None) of files that all belong to `uid`.
        """
        described: list[Json] = []
        scanned = rows.page(self._index, after, LOOK_ROWS)
        for number, conflict in scanned:
            found = look(self._index, number, conflict)
            if (uid is None or self._owners(found) == {uid}) and self._is_below(found, path):
                described.append(found.described(self._index))
            if len(described) == _ANSWER_ROWS:
                return {"conflicts": described, "next": number}
        return {"conflicts": described, "next": scanned[-1][0] if len(scanned) == LOOK_ROWS else None}

    def owners(self, number: int) -> set[int]:
        """Whose the versions are that are there. ENOENT."""
        return self._owners(self._find(number))

    async def diff(self, number: int) -> Json:
        """Both versions, {"bucket": ..., "local": ...}, and their "content": see `comparing.compare`.

        None: it is not there, or (content) there are not two versions that can be read whole.
        """
        found = self._find(number)
        bucket, local = await self._inode(found.of(Side.BUCKET)), await self._inode(found.of(Side.LOCAL))
        content: Json | None = None
        if bucket is not None and local is not None and found.conflict.kind is not Kind.BASE_LOST:
            content = await compare(self._fs, bucket, local)
        return {
            "conflict": found.described(self._index),
            "bucket": _facts(bucket),
            "local": _facts(local),
            "content": content,
        }

    async def _inode(self, version: Version | None) -> Inode | None:
        return await self._fs.getattr(version.ino) if version is not None and version.ino is not None else None

    async def resolve(self, number: int, keep: Keep, *, dry_run: bool) -> Json:
        """Does what `policy.resolution` says and forgets the conflict; with `dry_run` only says it.

        ENOENT: there is no such conflict, or what is to be kept is gone. EIO: it has gaps. EROFS.
        """
        found = self._find(number)
        try:
            step = resolution.step(found.conflict.kind, keep, has_file=found.has_file, has_copy=found.has_copy)
        except UnresolvableError as error:
            raise FsError(error.errno, str(error)) from None
        if not dry_run:
            await self._carry_out(step, found)
            with self._index.transaction() as txn:
                rows.delete(txn, number)
            _log.info("conflict %d about %r is resolved, kept: %s", number, found.conflict.path, keep.value)
        return {"id": number, "keep": keep.value, "dry_run": dry_run, "action": self._action(step, found)}

    async def _carry_out(self, step: Step, found: Found) -> None:
        file, copy, parent = found.file, found.copy, found.parent
        if step is Step.COPY_OVER_FILE and copy is not None and file is not None:
            await self._fs.rename(parent, copy.name, parent, file.name, RenameMode.REPLACE)
            self._notify.entry_changed(parent, file.name)
            self._notify.entry_changed(parent, copy.name)
        elif step is Step.REMOVE_COPY and copy is not None:
            await self._fs.unlink(parent, copy.name)
            self._notify.entry_changed(parent, copy.name)
        elif step is Step.REMOVE_FILE and file is not None:
            await self._fs.unlink(parent, file.name)
            self._notify.entry_changed(parent, file.name)

    def _find(self, number: int) -> Found:
        conflict = rows.get(self._index, number)
        if conflict is None:
            raise FsError(errno.ENOENT, f"there is no conflict {number}")
        return look(self._index, number, conflict)

    def _owners(self, found: Found) -> set[int]:
        known = (inodes.get(self._index, ino) for ino in found.inos)
        return {inode.uid for inode in known if inode is not None}

    def _is_below(self, found: Found, path: bytes) -> bool:
        """Whether one of the versions is at `path` (relative to the root of the mount) or below it."""
        if not path:
            return True
        wanted = path.decode(errors="surrogateescape")
        paths = (version.path(self._index) for version in (found.file, found.copy) if version is not None)
        return any(own == wanted or own.startswith(wanted + "/") for own in paths)

    def _action(self, step: Step, found: Found) -> Json | None:
        """{"verb": "unlink", "path": ...} or {"verb": "rename", "path": ..., "to": ...}; None: nothing is done."""
        file, copy = path_of(self._index, found.file), path_of(self._index, found.copy)
        return {
            Step.NOTHING: None,
            Step.REMOVE_COPY: {"verb": "unlink", "path": copy},
            Step.REMOVE_FILE: {"verb": "unlink", "path": file},
            Step.COPY_OVER_FILE: {"verb": "rename", "path": copy, "to": file},
        }[step]


def _facts(inode: Inode | None) -> Json | None:
    """What a version is; ETag and checksum are those of its object, None while it is not in the bucket as it is."""
    if inode is None:
        return None
    base = inode.base if InodeFlag.DATA_DIRTY not in inode.flags else None
    return {
        "type": TYPE_NAMES.get(stat.S_IFMT(inode.mode), "not known yet"),
        "mode": inode.mode,
        "uid": inode.uid,
        "gid": inode.gid,
        "size_bytes": inode.size_bytes,
        "mtime_ns": inode.mtime_ns,
        "etag": base.etag if base is not None else None,
        "last_modified_ns": base.last_modified_ns if base is not None else None,
        "checksum": (base.content or None) if base is not None else None,
    }
