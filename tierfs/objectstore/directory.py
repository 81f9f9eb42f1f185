"""A local directory as a bucket: `file:///directory`, the embedded default.

Promises: what bucket-format.md says in "`file:///directory` as a bucket". A write is published
whole by temp file, fsync and rename, and survives power loss when it returns. Preconditions are
checked under a lock per key, so that several processes may serve one directory; writers that are
not tierfs are seen by their ETags. Nothing outside the directory is touched, whatever symlinks
were planted in it. A listing shows regular files and directories; a directory is a marker unless
it was only made for what is below it, and such a one goes with the last object in it.

Tasks share nothing but the limiter: every call is one function in a worker thread. The one
checkpoint of a call is that thread; a cancelled read is abandoned, a cancelled write is awaited.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import trio

from tierfs.clock import Clock, SystemClock
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import (
    Body,
    Buffer,
    Capabilities,
    Condition,
    ListPage,
    ObjectInfo,
    ObjectMeta,
    RestoreSpeed,
    StorageClass,
    VersionPage,
    Written,
)
from tierfs.objectstore.directory_files import DirectoryFiles
from tierfs.objectstore.directory_records import Record, Records
from tierfs.objectstore.directory_tree import (
    KeyPath,
    Root,
    invalid,
    parse_existing,
    parse_key,
    store_error,
)
from tierfs.objectstore.directory_uploads import DirectoryUploads
from tierfs.units import MIB

T = TypeVar("T")

# the same limit as S3's, so that what one store takes another takes too
USER_META_MAX_BYTES: Final = 2048
LIST_LIMIT: Final = 1000


def _check_meta(key: str, meta: ObjectMeta | None) -> None:
    size_bytes = sum(len(k.encode()) + len(v.encode()) for k, v in meta.user.items()) if meta else 0
    if size_bytes > USER_META_MAX_BYTES:
        raise invalid(f"{size_bytes} bytes of user metadata, at most {USER_META_MAX_BYTES} are stored", key)


class DirectoryUpload:
    """A multipart upload into the directory (see base.Upload)."""

    def __init__(self, store: "DirectoryStore", path: KeyPath, upload_id: str) -> None:
        self._store = store
        self._path = path
        self.upload_id = upload_id

    async def put_part(self, number: int, data: Buffer) -> None:
        key, upload_id, uploads = self._path.key, self.upload_id, self._store.uploads
        await self._store.run_write(key, lambda root: uploads.put_part(root, key, upload_id, number, data))

    async def copy_part(self, number: int, source_key: str, start: int, stop: int, *, if_match: str) -> None:
        key, upload_id, uploads = self._path.key, self.upload_id, self._store.uploads
        source = parse_existing(source_key)
        await self._store.run_write(
            key, lambda root: uploads.copy_part(root, key, upload_id, number, source, start, stop, if_match)
        )

    async def complete(self, condition: Condition) -> Written:
        path, upload_id, uploads = self._path, self.upload_id, self._store.uploads
        return await self._store.run_write(path.key, lambda root: uploads.complete(root, path, upload_id, condition))

    async def abort(self) -> None:
        await self._store.abort_upload(self._path.key, self.upload_id)


class DirectoryStore:
    """An ObjectStore on a directory (see base.ObjectStore).

    `sync` False leaves out every fsync: for tests and scratch data. `use_xattrs` False keeps
    metadata below .tierfs/meta/ even where the file system has extended attributes.
    """

    def __init__(
        self,
        root: Path,
        *,
        part_size_bytes: int = 8 * MIB,
        max_threads: int = 8,
        sync: bool = True,
        use_xattrs: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._root = Root(root, sync=sync)
        self._files = DirectoryFiles(self._root, Records(self._root, use_xattrs=use_xattrs), clock or SystemClock())
        self.uploads = DirectoryUploads(self._files)
        self._part_size_bytes = part_size_bytes
        self._limiter = trio.CapacityLimiter(max_threads)

    @property
    def source(self) -> str:
        return f"file://{self._root.path}"

    @property
    def capabilities(self) -> Capabilities:
        # a class is a label here: it is kept and shown, and no bytes move
        return Capabilities(versioning=False, tags=False, checksums=False, restores=False)

    @property
    def part_size_bytes(self) -> int:
        return self._part_size_bytes

    async def _run(self, key: str, work: Callable[[int], T], *, abandon: bool) -> T:
        def in_thread() -> T:
            try:
                with self._root.use() as root_fd:
                    return work(root_fd)
            except OSError as error:
                raise store_error(error, key) from error

        return await trio.to_thread.run_sync(in_thread, limiter=self._limiter, abandon_on_cancel=abandon)

    async def run_read(self, key: str, work: Callable[[int], T]) -> T:
        """Runs what changes nothing; when cancelled it ends by itself later."""
        return await self._run(key, work, abandon=True)

    async def run_write(self, key: str, work: Callable[[int], T]) -> T:
        """Runs what changes the directory; a cancelled caller waits for the end, so nothing happens behind its back."""
        return await self._run(key, work, abandon=False)

    async def check(self) -> None:
        """See base.ObjectStore; also removes what dead processes left below .tierfs/."""

        def sweep(root_fd: int) -> None:
            now_s = time.time()  # file times are the kernel's, whatever clock the store was given
            self._files.sweep(root_fd, now_s)
            self.uploads.sweep(root_fd, now_s)

        await self.run_write("", sweep)
        await self.list("", delimited=True, limit=1)

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = LIST_LIMIT
    ) -> ListPage:
        after = token or start_after
        count = max(1, min(limit, LIST_LIMIT))
        return await self.run_read(prefix, lambda root: self._files.page(root, prefix, after, delimited, count))

    async def head(self, key: str) -> ObjectInfo:
        path = parse_existing(key)
        return await self.run_read(key, lambda root: self._files.head(root, path))

    async def get(self, key: str, start: int, stop: int, *, if_match: str) -> Body:
        path = parse_existing(key)

        def bounds(info: ObjectInfo) -> tuple[int, int]:
            if start >= info.size_bytes:
                raise invalid(f"the range begins at {start}, the object has {info.size_bytes} bytes", key)
            if stop > info.size_bytes:
                message = f"{info.size_bytes - start} bytes from {start} on, {stop - start} were asked for"
                raise StoreError(StoreErrorKind.CORRUPT, message, key=key)
            return start, stop

        return await self.run_read(key, lambda root: self._files.read(root, path, bounds, if_match))

    async def get_whole(self, key: str, *, if_match: str, limit_bytes: int) -> Body:
        path = parse_existing(key)

        def bounds(info: ObjectInfo) -> tuple[int, int]:
            if info.size_bytes > limit_bytes:
                message = f"{info.size_bytes} bytes, at most {limit_bytes} were asked for"
                raise StoreError(StoreErrorKind.TOO_LARGE, message, key=key)
            return 0, info.size_bytes

        return await self.run_read(key, lambda root: self._files.read(root, path, bounds, if_match))

    async def put(
        self, key: str, data: Buffer, meta: ObjectMeta, condition: Condition, *, storage_class: str = ""
    ) -> Written:
        path = parse_key(key)
        _check_meta(key, meta)
        return await self.run_write(key, lambda root: self._files.put(root, path, data, meta, condition, storage_class))

    async def begin_upload(self, key: str, meta: ObjectMeta, *, storage_class: str = "") -> DirectoryUpload:
        path = parse_key(key)
        _check_meta(key, meta)
        if path.is_marker:
            raise invalid("a directory has no bytes of its own: put the marker with an empty body", key)
        record = Record(meta, storage_class or StorageClass.STANDARD)
        upload_id = await self.run_write(key, lambda root: self.uploads.begin(root, path, record))
        return DirectoryUpload(self, path, upload_id)

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
        source, path = parse_existing(source_key), parse_key(key)
        _check_meta(key, meta)
        return await self.run_write(
            key, lambda root: self._files.copy(root, source, path, if_match, condition, meta, storage_class)
        )

    async def restore(self, key: str, *, if_match: str, days: int, speed: RestoreSpeed) -> None:
        raise StoreError(StoreErrorKind.UNSUPPORTED, "a class is a label here: nothing is archived", key=key)

    async def delete(self, key: str, *, if_match: str) -> None:
        try:
            path = parse_existing(key)
        except StoreError:
            return  # what this store cannot hold is not there
        await self.run_write(key, lambda root: self._files.delete(root, path, if_match))

    async def delete_many(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        failures: dict[str, StoreError] = {}
        for key in keys:
            try:
                await self.delete(key, if_match="")
            except StoreError as error:
                failures[key] = error
        return failures

    async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
        raise StoreError(StoreErrorKind.UNSUPPORTED, "a directory keeps no versions", key=prefix)

    async def undelete(self, key: str, deletion_id: str) -> None:
        raise StoreError(StoreErrorKind.UNSUPPORTED, "a directory keeps no versions", key=key)

    async def list_uploads(self, prefix: str) -> Sequence[tuple[str, str, int]]:
        found = await self.run_read(prefix, lambda root: list(self.uploads.all(root, prefix)))
        return sorted((upload.key, upload.upload_id, upload.started_ns) for upload in found)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self.run_write(key, lambda root: self.uploads.abort(root, upload_id))

    async def aclose(self) -> None:
        self._root.close()
