"""Directory markers on servers that forget their metadata.

SeaweedFS keeps a tree of directories behind its S3: a key that ends with a slash becomes a directory,
its user metadata is dropped, a copy of it is NoSuchKey, and a HEAD finds directories that nobody made
(all seen with 4.48). Modes, owners and times of directories would be lost. Where the probe sees this
(`marker_metadata` False), an object under `.tierfs/markers/` carries the metadata of a marker:

| part | is |
|---|---|
| key | `.tierfs/markers/` + SHA-256 of the marker's key below the store's prefix, in hex |
| metadata | that of the marker |
| body | the marker's key in UTF-8, for people and for fsck |

The marker exists when a LIST shows it. It is written after its metadata and deleted before them, so
what a crash leaves is metadata without a marker, which says nothing. Preconditions are checked before
the write: two writers of one marker within that window both succeed, and the later metadata stay.

SeaweedFS makes the directories above an object that it is given. When that happens beside the write of their
marker, it may put its directory over the marker, which is none then (seen: 2 of 600). So a marker is looked for
after it was written, and written again.
"""

import hashlib
from typing import Final

from attrs import evolve

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import Always, Body, Condition, IfAbsent, IfMatch, ObjectInfo, ObjectMeta, Written
from tierfs.objectstore.s3_parameters import PutExtras
from tierfs.objectstore.s3_runner import Runner, head_or_none, require

DIRECTORY_TYPE: Final = "application/x-directory"  # SeaweedFS lists no marker of type octet-stream
MARKERS_PREFIX: Final = HIDDEN_PREFIX + "markers/"
_WRITES_MAX: Final = 3


def metadata_key(key: str) -> str:
    """Where the metadata of a marker are."""
    return MARKERS_PREFIX + hashlib.sha256(key.encode()).hexdigest()


class Markers:
    """The operations of a store on keys that end with a slash."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def handles(self, key: str) -> bool:
        return key.endswith("/") and not self._runner.capabilities.marker_metadata

    async def find(self, key: str) -> ObjectInfo | None:
        """The marker with its metadata, or None."""
        found = await self._listed(key)
        if found is None:
            return None
        metadata = await head_or_none(self._runner, self._runner.full(metadata_key(key)))
        meta = metadata.meta if metadata is not None and metadata.meta is not None else ObjectMeta()
        return evolve(found, meta=meta)

    async def _listed(self, key: str) -> ObjectInfo | None:
        """The marker without its metadata."""
        full = self._runner.full(key)
        page = await self._runner.read(
            lambda requests: requests.list_page(full, delimited=False, token="", start_after="", limit=1)
        )
        return page.objects[0] if page.objects and page.objects[0].key == key else None

    async def head(self, key: str) -> ObjectInfo:
        found = await self.find(key)
        if found is None:
            raise StoreError(StoreErrorKind.NOT_FOUND, "no such marker", key=key)
        return found

    async def get_whole(self, key: str, *, if_match: str) -> Body:
        found = await self.head(key)
        if if_match:
            require(key, found, IfMatch(if_match))
        return Body(b"", found)

    async def put(self, key: str, meta: ObjectMeta, condition: Condition) -> Written:
        if "//" in f"/{key}":
            raise StoreError(StoreErrorKind.INVALID, "this server folds slashes: it would be another marker", key=key)
        full, metadata_full = self._runner.full(key), self._runner.full(metadata_key(key))
        if isinstance(condition, IfAbsent | IfMatch):
            require(key, await self.find(key), condition)
        plain = PutExtras()
        await self._runner.write(lambda requests: requests.put(metadata_full, key.encode(), meta, Always(), plain))
        marker_meta = ObjectMeta(content_type=DIRECTORY_TYPE)
        for _ in range(_WRITES_MAX):
            written = await self._runner.write(lambda requests: requests.put(full, b"", marker_meta, Always(), plain))
            if await self._listed(key) is not None:
                return evolve(written, last_modified_ns=0)
        raise StoreError(StoreErrorKind.UNCLEAR, "the server does not list the marker that it was given", key=key)

    async def copy(
        self, source_key: str, key: str, *, if_match: str, condition: Condition, meta: ObjectMeta | None
    ) -> Written:
        """A marker from a marker; the metadata is all there is to copy."""
        source = await self.head(source_key)
        if if_match:
            require(source_key, source, IfMatch(if_match))
        if not key.endswith("/"):
            raise StoreError(StoreErrorKind.INVALID, "a marker is copied to a marker only", key=key)
        return await self.put(key, source.meta or ObjectMeta() if meta is None else meta, condition)

    async def delete(self, key: str, *, if_match: str) -> None:
        if if_match:
            found = await self.find(key)
            if found is None:
                return
            require(key, found, IfMatch(if_match))
        full, metadata_full = self._runner.full(key), self._runner.full(metadata_key(key))
        await self._runner.write(lambda requests: requests.delete(full, if_match=""))
        await self._runner.write(lambda requests: requests.delete(metadata_full, if_match=""))
