"""Versions of files in a bucket that keeps them, for `tierctl versions` and `undelete`. See `sync.history`."""

from collections.abc import Callable
from typing import Final

from tierfs.control.protocol import Json
from tierfs.objectstore.base import ObjectVersion
from tierfs.sync.history import History, KeyHistory

_ANSWER_ROWS: Final = 100  # a key has at most 1 KiB, escaped 6: far below the protocol's limit
_VERSIONS_SHOWN: Final = 100


class Versions:
    """The verbs of one mount."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def page(self, path: bytes, after: str | None, *, everything: bool) -> Json:
        """A page of {"files": [...], "next": `after` of the next page, or None}.

        The first one (`after` None) is what is at `path`, the others what is below it: deleted files, or `everything`.
        """
        key = self._history.key_of(path)
        if after is None and key:
            return {"files": [_described(found) for found in await self._history.of_key(key)], "next": ""}
        found, next_key = await self._history.below(key, after=after or "", limit=_ANSWER_ROWS)
        shown = [_described(one) for one in found if everything or one.deletions]
        return {"files": shown, "next": next_key or None}

    async def undelete(self, path: bytes, tell: Callable[[int], None], *, dry_run: bool) -> Json:
        """{"files": how many, "bytes", "examples": [keys], "dry_run"}. ENOENT, EROFS."""
        done = await self._history.undelete(path, tell, dry_run=dry_run)
        return {"files": done.files, "bytes": done.size_bytes, "examples": done.examples, "dry_run": dry_run}


def _described(found: KeyHistory) -> Json:
    return {
        "key": found.key,
        "deleted": bool(found.deletions),
        "versions": [_version(version) for version in found.versions[:_VERSIONS_SHOWN]],
        "more": max(0, len(found.versions) - _VERSIONS_SHOWN),
    }


def _version(version: ObjectVersion) -> Json:
    return {
        "id": version.version_id,
        "time_ns": version.last_modified_ns,
        "state": "deletion" if version.is_deletion else "current" if version.is_latest else "old",
        "size_bytes": version.size_bytes,
        "etag": version.etag,
        "storage_class": version.storage_class,
    }
