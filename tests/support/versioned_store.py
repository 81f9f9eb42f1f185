"""A store in memory that keeps versions, as a bucket does after PutBucketVersioning."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from tests.support.memstore import MemoryStore
from tierfs.errors import StoreError
from tierfs.objectstore.base import Capabilities, ObjectInfo, ObjectMeta, ObjectVersion, VersionPage, Written


@frozen
class _Row:
    """One row of a history; `data` None for a deletion."""

    version_id: str
    data: bytes | None
    info: ObjectInfo | None


class VersionedStore(MemoryStore):
    """`remove` deletes without a request, as another client would."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._history: defaultdict[str, list[_Row]] = defaultdict(list)
        self._ids = itertools.count(1)

    @property
    def capabilities(self) -> Capabilities:
        return evolve(super().capabilities, versioning=True)

    def _store(self, key: str, data: bytes, meta: ObjectMeta, storage_class: str, *, etag: str = "") -> Written:
        written = super()._store(key, data, meta, storage_class, etag=etag)
        row = _Row(f"v{next(self._ids)}", data, self.objects[key].info)
        self._history[key].append(row)
        return evolve(written, version_id=row.version_id)

    def remove(self, key: str) -> None:
        del self.objects[key]
        self._history[key].append(_Row(f"d{next(self._ids)}", None, None))

    async def delete(self, key: str, *, if_match: str) -> None:
        was_there = key in self.objects
        await super().delete(key, if_match=if_match)
        if was_there:
            self._history[key].append(_Row(f"d{next(self._ids)}", None, None))

    async def delete_many(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        gone = [key for key in keys if key in self.objects]
        failed = await super().delete_many(keys)
        for key in gone:
            self._history[key].append(_Row(f"d{next(self._ids)}", None, None))
        return failed

    async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
        await self._request("list_versions", prefix)
        found: list[ObjectVersion] = []
        keys = sorted((key for key in self._history if key.startswith(prefix) and key > after), key=str.encode)
        for key in keys:
            if len(found) >= limit:
                return VersionPage(found, found[-1].key)
            found += self._rows(key)
        return VersionPage(found)

    def _rows(self, key: str) -> list[ObjectVersion]:
        newest = self._history[key][-1] if self._history[key] else None
        return [
            ObjectVersion(key, row.version_id, 0, row is newest, is_deletion=True)
            if row.info is None
            else ObjectVersion(
                key, row.version_id, row.info.last_modified_ns, row is newest, size_bytes=row.info.size_bytes,
                etag=row.info.etag, storage_class=row.info.storage_class,
            )
            for row in reversed(self._history[key])
        ]  # fmt: skip

    async def undelete(self, key: str, deletion_id: str) -> None:
        await self._request("undelete", key)
        history = self._history[key]
        history[:] = [row for row in history if row.version_id != deletion_id]
        if history and history[-1].data is not None and key not in self.objects:
            row = history.pop()
            assert row.data is not None and row.info is not None
            super()._store(key, row.data, row.info.meta or ObjectMeta(), row.info.storage_class, etag=row.info.etag)
            history.append(row)
