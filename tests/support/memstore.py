"""An object store in memory, with S3's rules, for tests of what uses a store. It passes the conformance suite.

Faults are asked for beforehand and hit the requests that come:

    store.hold("get")            GETs wait until store.release("get")
    store.fail_next("get", StoreErrorKind.UNAVAILABLE, times=2)
    store.spoil_next("get", lambda data: data[:-1])      a body that is not what it should be
    store.finish_restore(key)      a restore takes until then

`store.requests` counts by method; `store.log` has (method, key, start, stop) of every GET.
"""

import hashlib
import itertools
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio
from attrs import define, evolve, frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import KEY_MAX_BYTES
from tierfs.objectstore.base import (
    Body,
    Buffer,
    Capabilities,
    Condition,
    IfAbsent,
    IfMatch,
    ListPage,
    ObjectInfo,
    ObjectMeta,
    RestoreSpeed,
    StorageClass,
    VersionPage,
    Written,
)

_USER_META_MAX_BYTES: Final = 2048
_PART_MIN_BYTES: Final = 5 << 20
_ARCHIVE_CLASSES: Final = (StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE)
Kind = StoreErrorKind


@frozen
class _Object:
    data: bytes
    info: ObjectInfo


@define
class _UploadState:
    key: str
    started_ns: int


class MemoryStore:
    """The ObjectStore protocol over a dict."""

    def __init__(self, *, part_size_bytes: int = 8 << 20, part_min_bytes: int = _PART_MIN_BYTES) -> None:
        self.objects: dict[str, _Object] = {}
        self.requests: Counter[str] = Counter()
        self.log: list[tuple[str, str, int, int]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.delay_s: Callable[[], float] = lambda: 0.0  # what each request takes
        self._part_size_bytes = part_size_bytes
        self._part_min_bytes = part_min_bytes
        self._uploads: dict[str, _UploadState] = {}
        self._numbers = itertools.count(1)
        self._held: dict[str, trio.Event] = {}
        self._failures: defaultdict[str, deque[StoreErrorKind]] = defaultdict(deque)
        self._spoilers: defaultdict[str, deque[Callable[[bytes], bytes]]] = defaultdict(deque)

    # ---- faults ----

    def hold(self, method: str) -> None:
        """Requests of this method wait from now on."""
        self._held.setdefault(method, trio.Event())

    def release(self, method: str) -> None:
        """Requests of this method go on."""
        self._held.pop(method).set()

    def fail_next(self, method: str, kind: StoreErrorKind, *, times: int = 1) -> None:
        """The next requests of this method fail before they have any effect."""
        self._failures[method].extend([kind] * times)

    def spoil_next(self, method: str, change: Callable[[bytes], bytes], *, times: int = 1) -> None:
        """The next bodies of this method arrive changed."""
        self._spoilers[method].extend([change] * times)

    def clear_faults(self) -> None:
        """What was asked for and has not hit a request is forgotten."""
        self._failures.clear()
        self._spoilers.clear()

    async def _request(self, method: str, key: str, start: int = 0, stop: int = 0) -> None:
        self.requests[method] += 1
        self.log.append((method, key, start, stop))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(self.delay_s())
            if method in self._held:
                await self._held[method].wait()
        finally:
            self.in_flight -= 1
        if self._failures[method]:
            kind = self._failures[method].popleft()
            raise StoreError(kind, f"a fault that the test asked for in {method}", key=key)

    # ---- what is there ----

    def content(self, key: str) -> bytes:
        """The bytes of an object, for assertions."""
        return self.objects[key].data

    def place(self, key: str, data: bytes) -> ObjectInfo:
        """Puts an object without a request, as another client would."""
        self._store(key, data, ObjectMeta(), "")
        return self.objects[key].info

    def _store(self, key: str, data: bytes, meta: ObjectMeta, storage_class: str, *, etag: str = "") -> Written:
        storage_class = storage_class or StorageClass.STANDARD
        info = ObjectInfo(
            key=key,
            size_bytes=len(data),
            etag=etag or hashlib.md5(data).hexdigest(),
            last_modified_ns=time.time_ns() // 1_000_000_000 * 1_000_000_000,
            storage_class=storage_class,
            meta=meta,
            archived=storage_class in _ARCHIVE_CLASSES,
        )
        self.objects[key] = _Object(data, info)
        return Written(etag=info.etag)

    def _find(self, key: str, if_match: str) -> _Object:
        found = self.objects.get(key)
        if found is None:
            raise StoreError(Kind.NOT_FOUND, "no such object", key=key, http_status=404)
        if if_match and found.info.etag != if_match:
            raise StoreError(Kind.PRECONDITION_FAILED, "another ETag", key=key, http_status=412)
        return found

    def _check(self, key: str, condition: Condition) -> None:
        found = self.objects.get(key)
        if isinstance(condition, IfAbsent) and found is not None:
            raise StoreError(Kind.PRECONDITION_FAILED, "there is an object", key=key, http_status=412)
        if isinstance(condition, IfMatch):
            self._find(key, condition.etag)

    @staticmethod
    def _check_request(key: str, meta: ObjectMeta | None) -> None:
        if len(key.encode()) > KEY_MAX_BYTES:
            raise StoreError(Kind.KEY_TOO_LONG, "the key is too long", key=key, http_status=400)
        size = sum(len(name.encode()) + len(value.encode()) for name, value in meta.user.items()) if meta else 0
        if size > _USER_META_MAX_BYTES:
            raise StoreError(Kind.INVALID, "too much user metadata", key=key, http_status=400)

    # ---- the protocol ----

    @property
    def source(self) -> str:
        return "memory://"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    @property
    def part_size_bytes(self) -> int:
        return self._part_size_bytes

    async def check(self) -> None:
        await self._request("check", "")

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = 1000
    ) -> ListPage:
        await self._request("list", prefix)
        after = (token or start_after).encode()
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last = ""
        for key in sorted(self.objects, key=str.encode):
            if not key.startswith(prefix):
                continue
            head, slash, _ = key[len(prefix) :].partition("/")
            rolled = prefix + head + "/" if delimited and slash and key != prefix else ""
            name = rolled or key
            if name.encode() <= after or (prefixes and prefixes[-1] == rolled):
                continue
            if len(objects) + len(prefixes) == limit:
                return ListPage(objects, prefixes, token=last)
            if rolled:
                prefixes.append(rolled)
            else:
                objects.append(evolve(self.objects[key].info, meta=None))
            last = name
        return ListPage(objects, prefixes)

    async def head(self, key: str) -> ObjectInfo:
        await self._request("head", key)
        return self._find(key, "").info

    async def get(self, key: str, start: int, stop: int, *, if_match: str) -> Body:
        await self._request("get", key, start, stop)
        found = self._readable(key, if_match)
        if start >= len(found.data):
            raise StoreError(Kind.INVALID, "the range is not satisfiable", key=key, http_status=416)
        data = self._spoiled("get", found.data[start:stop])
        if len(data) != stop - start:
            raise StoreError(Kind.CORRUPT, "the body has another length", key=key)
        return Body(data, found.info)

    async def get_whole(self, key: str, *, if_match: str, limit_bytes: int) -> Body:
        await self._request("get_whole", key)
        found = self._readable(key, if_match)
        if len(found.data) > limit_bytes:
            raise StoreError(Kind.TOO_LARGE, f"more than {limit_bytes} bytes", key=key)
        return Body(self._spoiled("get_whole", found.data), found.info)

    def _readable(self, key: str, if_match: str) -> _Object:
        found = self._find(key, if_match)
        if found.info.archived:
            raise StoreError(Kind.ARCHIVED, "the object is archived", key=key, http_status=403)
        return found

    def _spoiled(self, method: str, data: bytes) -> bytes:
        return self._spoilers[method].popleft()(data) if self._spoilers[method] else data

    async def put(
        self, key: str, data: Buffer, meta: ObjectMeta, condition: Condition, *, storage_class: str = ""
    ) -> Written:
        body = bytes(data)
        await self._request("put", key)
        self._check_request(key, meta)
        self._check(key, condition)
        return self._store(key, body, meta, storage_class)

    async def begin_upload(self, key: str, meta: ObjectMeta, *, storage_class: str = "") -> "MemoryUpload":
        await self._request("begin_upload", key)
        self._check_request(key, meta)
        upload_id = str(next(self._numbers))
        self._uploads[upload_id] = _UploadState(key, time.time_ns())
        return MemoryUpload(self, upload_id, key, meta, storage_class)

    async def copy(
        self,
        source_key: str,
        key: str,
        *,
        if_match: str,
        condition: Condition,
        meta: ObjectMeta | None = None,
        storage_class: str = "",
    ) -> Written:
        await self._request("copy", key)
        self._check_request(key, meta)
        source = self._readable(source_key, if_match)
        self._check(key, condition)
        if source_key == key and meta is None and not storage_class:
            raise StoreError(Kind.INVALID, "a copy onto itself that changes nothing", key=key, http_status=400)
        kept = source.info.meta if meta is None else meta
        return self._store(key, source.data, kept or ObjectMeta(), storage_class or source.info.storage_class)

    async def restore(self, key: str, *, if_match: str, days: int, speed: RestoreSpeed) -> None:
        await self._request("restore", key)
        found = self._find(key, if_match)
        if found.info.restore:
            return
        if not found.info.archived:
            raise StoreError(Kind.INVALID, "the object is not archived", key=key, http_status=403)
        self._restoring(key, 'ongoing-request="true"', is_archived=True)

    def finish_restore(self, key: str, *, succeeds: bool = True) -> None:
        """A restore that was asked for ends: for assertions, no request."""
        done = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"'
        self._restoring(key, done if succeeds else "", is_archived=not succeeds)

    def _restoring(self, key: str, header: str, *, is_archived: bool) -> None:
        found = self.objects[key]
        self.objects[key] = evolve(found, info=evolve(found.info, restore=header, archived=is_archived))

    async def delete(self, key: str, *, if_match: str) -> None:
        await self._request("delete", key)
        if key in self.objects:
            self._find(key, if_match)
            del self.objects[key]

    async def delete_many(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        await self._request("delete_many", "")
        for key in keys:
            self.objects.pop(key, None)
        return {}

    async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
        raise StoreError(Kind.UNSUPPORTED, "no versions are kept", key=prefix)

    async def undelete(self, key: str, deletion_id: str) -> None:
        raise StoreError(Kind.UNSUPPORTED, "no versions are kept", key=key)

    async def list_uploads(self, prefix: str) -> Sequence[tuple[str, str, int]]:
        await self._request("list_uploads", prefix)
        return [(state.key, upload_id, state.started_ns) for upload_id, state in self._uploads.items()
                if state.key.startswith(prefix)]  # fmt: skip

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self._request("abort_upload", key)
        self._uploads.pop(upload_id, None)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class MemoryUpload:
    """A multipart upload of a MemoryStore."""

    def __init__(self, store: MemoryStore, upload_id: str, key: str, meta: ObjectMeta, storage_class: str) -> None:
        self._store = store
        self._id = upload_id
        self._key = key
        self._meta = meta
        self._storage_class = storage_class
        self._parts: dict[int, bytes] = {}

    @property
    def upload_id(self) -> str:
        return self._id

    def _check_open(self) -> None:
        if self._id not in self._store._uploads:
            raise StoreError(Kind.NOT_FOUND, "the upload is gone", key=self._key, http_status=404)

    async def put_part(self, number: int, data: Buffer) -> None:
        body = bytes(data)
        await self._store._request("put_part", self._key)
        self._check_open()
        if not 1 <= number <= 10_000:
            raise StoreError(Kind.INVALID, f"no part {number}", key=self._key, http_status=400)
        self._parts[number] = body

    async def copy_part(self, number: int, source_key: str, start: int, stop: int, *, if_match: str) -> None:
        await self._store._request("copy_part", self._key)
        self._check_open()
        data = self._store._readable(source_key, if_match).data
        if not 0 <= start < stop <= len(data):
            raise StoreError(Kind.INVALID, "the range is not in the source", key=source_key, http_status=400)
        self._parts[number] = data[start:stop]

    async def complete(self, condition: Condition) -> Written:
        await self._store._request("complete", self._key)
        self._check_open()
        parts = [self._parts[number] for number in sorted(self._parts)]
        if not parts or any(len(part) < self._store._part_min_bytes for part in parts[:-1]):
            raise StoreError(Kind.INVALID, "a part is too small", key=self._key, http_status=400)
        self._store._check(self._key, condition)
        del self._store._uploads[self._id]
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        return self._store._store(
            self._key, b"".join(parts), self._meta, self._storage_class, etag=f"{digest}-{len(parts)}"
        )

    async def abort(self) -> None:
        await self._store._request("abort", self._key)
        self._store._uploads.pop(self._id, None)
