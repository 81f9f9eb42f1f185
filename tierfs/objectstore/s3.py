"""An S3 bucket as an object store (see base.ObjectStore), for any server that speaks S3.

It promises what the interface does. What S3 or the server cannot do in one step leaves a window,
each one request long:

- A server without conditional PUT, COPY or DELETE (see `Capabilities`): HEAD decides before the write.
- Tags and the Expires header that change between the HEAD before a rewrite and the rewrite are lost:
  S3 has no condition for them. Access control lists of a single object are not kept.

A GET of a version that the caller names says nothing of the storage class ("") and of Expires
(EXPIRES_UNKNOWN): the client that moves data (obstore) hides both headers.

Nothing is repeated here; `retrying.RetryingStore` does that. Any number of tasks may call; `Runner`
bounds what runs at once. Every method is a checkpoint.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve

from tierfs import native
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.archives import restore_state
from tierfs.objectstore.base import (
    Always,
    Body,
    Buffer,
    Capabilities,
    Condition,
    IfMatch,
    ListPage,
    ObjectInfo,
    ObjectMeta,
    RestoreSpeed,
    StorageClass,
    VersionPage,
    Written,
)
from tierfs.objectstore.s3_billing import Tell, tell_nobody
from tierfs.objectstore.s3_markers import Markers, metadata_key
from tierfs.objectstore.s3_parameters import PutExtras
from tierfs.objectstore.s3_requests import Requests
from tierfs.objectstore.s3_runner import Kept, Runner, head_or_none, kept_by_rewrite, kept_of, require, require_by_head
from tierfs.objectstore.s3_upload import S3Upload, begin_upload, copy_by_parts
from tierfs.objectstore.settings import S3Settings
from tierfs.policy.cost import RequestKind, Use

DELETES_AT_ONCE: Final = 1000
UPLOADS_LISTED_MAX: Final = 10_000
# begins a token of our own: the key after which the listing goes on. No server's token has a NUL
_AFTER: Final = "\0"


class S3Store:
    """A bucket and a prefix in it."""

    def __init__(self, settings: S3Settings, tell: Tell = tell_nobody) -> None:
        """`tell`: of each request, in the thread that made it; see `s3_billing`."""
        self._settings = settings
        self._runner = Runner(settings, tell)
        self._markers = Markers(self._runner)

    def __repr__(self) -> str:
        return f"S3Store({self.source})"

    @property
    def source(self) -> str:
        return f"s3://{self._settings.bucket}/{self._settings.prefix}".rstrip("/")

    @property
    def capabilities(self) -> Capabilities:
        return self._runner.capabilities

    @property
    def part_size_bytes(self) -> int:
        return self._settings.part_size_bytes

    def adopt(self, capabilities: Capabilities) -> None:
        """Believes what the probe saw. Before that the server is believed to do everything."""
        self._runner.adopt(capabilities)

    async def check(self) -> None:
        try:
            await self.list("", delimited=False, limit=1)
        except StoreError as error:
            if error.kind in (StoreErrorKind.NO_SUCH_BUCKET, StoreErrorKind.NOT_FOUND):
                raise StoreError(
                    StoreErrorKind.NO_SUCH_BUCKET,
                    f"there is no bucket {self._settings.bucket!r}",
                    request_id=error.request_id,
                    http_status=error.http_status,
                ) from error
            raise

    # reading

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = 1000
    ) -> ListPage:
        below = self._settings.prefix
        if token.startswith(_AFTER):
            token, start_after = "", token.removeprefix(_AFTER)
        page = await self._runner.read(
            lambda requests: requests.list_page(
                below + prefix,
                delimited=delimited,
                token=token,
                start_after=below + start_after if start_after else "",
                limit=limit,
            )
        )
        is_believed = delimited or page.token or self.capabilities.live_prefixes or len(page.objects) < limit
        if is_believed or not page.objects or not page.objects[-1].key.endswith("/"):
            return page
        # SeaweedFS forgets what lies below a marker that ends a page, when nothing lies beside it (seen with 4.48)
        return evolve(page, token=_AFTER + page.objects[-1].key)

    async def head(self, key: str) -> ObjectInfo:
        full = self._runner.full(key)
        if self._markers.handles(key):
            return await self._markers.head(key)
        return await self._runner.read(lambda requests: requests.head(full))

    async def get(self, key: str, start: int, stop: int, *, if_match: str) -> Body:
        full = self._runner.full(key)
        if not 0 <= start < stop:
            raise StoreError(StoreErrorKind.INVALID, f"[{start}, {stop}) is no range", key=key)
        if self._markers.handles(key):
            await self._markers.head(key)
            raise StoreError(StoreErrorKind.INVALID, "a marker has no bytes", key=key)
        return await self._runner.read(lambda requests: requests.get_range(full, start, stop, if_match=if_match))

    async def get_whole(self, key: str, *, if_match: str, limit_bytes: int) -> Body:
        full = self._runner.full(key)
        if self._markers.handles(key):
            return await self._markers.get_whole(key, if_match=if_match)
        return await self._runner.read(
            lambda requests: requests.get_whole(full, if_match=if_match, limit_bytes=limit_bytes)
        )

    async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
        below = self._settings.prefix
        return await self._runner.read(
            lambda requests: requests.list_versions(below + prefix, after=below + after if after else "", limit=limit)
        )

    async def list_uploads(self, prefix: str) -> Sequence[tuple[str, str, int]]:
        below = self._settings.prefix + prefix
        return await self._runner.read(lambda requests: requests.list_uploads(below, UPLOADS_LISTED_MAX))

    # writing

    async def put(
        self, key: str, data: Buffer, meta: ObjectMeta, condition: Condition, *, storage_class: str = ""
    ) -> Written:
        full = self._runner.full(key)
        if self._markers.handles(key) and not len(data):
            return await self._markers.put(key, meta, condition)
        kept = await kept_by_rewrite(self._runner, key, condition)
        if not self.capabilities.conditional_put:
            await require_by_head(self._runner, key, condition)
        sent = kept.completes(meta)
        extras = PutExtras(storage_class=storage_class, tags=kept.tags)
        return await self._runner.write(lambda requests: requests.put(full, data, sent, condition, extras))

    async def begin_upload(self, key: str, meta: ObjectMeta, *, storage_class: str = "") -> S3Upload:
        kept = await kept_by_rewrite(self._runner, key, None)
        return await begin_upload(self._runner, key, meta, storage_class=storage_class, kept=kept)

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
        """One HEAD and one copy: S3 does not keep the class by itself, and the size decides how."""
        source_full, full = self._runner.full(source_key), self._runner.full(key)
        if self._markers.handles(source_key):
            return await self._markers.copy(source_key, key, if_match=if_match, condition=condition, meta=meta)
        source, tag_count = await self._runner.read(lambda requests: requests.head_and_tag_count(source_full))
        _require_readable(source_key, source, if_match)
        wanted_class = storage_class or source.storage_class
        if wanted_class != source.storage_class and source_full == full and not self.capabilities.class_changes:
            raise StoreError(StoreErrorKind.UNSUPPORTED, "the server does not change an object's class", key=key)
        is_same_key = source_full == full
        if is_same_key:
            if meta is None and wanted_class == source.storage_class:
                raise StoreError(StoreErrorKind.INVALID, "a copy onto itself that changes nothing", key=key)
            # what is required of the target is required of the source
            require(key, source, condition)
            condition = Always()
            # S3 takes a change of class alone; SeaweedFS does not see the one to STANDARD
            meta = source.meta if meta is None else meta
        elif not self.capabilities.conditional_copy:
            await require_by_head(self._runner, key, condition)
        old_meta = source.meta or ObjectMeta()
        if meta is not None:
            meta = Kept(expires=old_meta.expires).completes(meta)
        not_default = wanted_class != StorageClass.STANDARD
        if source.size_bytes > self._settings.copy_limit_bytes:
            kept = await kept_of(self._runner, source_key, tag_count=tag_count, expires=old_meta.expires)
            written = await copy_by_parts(
                self._runner,
                source,
                key,
                old_meta if meta is None else meta,
                IfMatch(source.etag) if is_same_key else condition,
                storage_class=wanted_class,
                kept=kept,
            )
            return self._copied(source, written)
        written = await self._runner.write(
            lambda requests: requests.copy(
                source_full,
                full,
                if_match=source.etag,
                condition=condition,
                meta=meta,
                # a server that knows no classes may refuse the name of the default
                storage_class=wanted_class if wanted_class != source.storage_class or not_default else "",
            )
        )
        return self._copied(source, written)

    def _copied(self, source: ObjectInfo, written: Written) -> Written:
        self._runner.billing.read(source.key, Use(RequestKind.COPY, source.storage_class), source.size_bytes)
        return written

    async def restore(self, key: str, *, if_match: str, days: int, speed: RestoreSpeed) -> None:
        full = self._runner.full(key)
        if not self.capabilities.restores:
            raise StoreError(StoreErrorKind.UNSUPPORTED, "the server restores no archived objects", key=key)
        found = await self.head(key)
        if if_match:
            require(key, found, IfMatch(if_match))
        state = restore_state(found)
        if state is not None and (state.is_ongoing or not found.archived):
            return
        if not found.archived:
            raise StoreError(StoreErrorKind.INVALID, "the object is not archived", key=key)
        is_given_back = found.storage_class == StorageClass.INTELLIGENT_TIERING
        await self._runner.write(
            lambda requests: requests.restore(
                full, version_id=found.version_id, days=None if is_given_back else days, speed=speed
            )
        )
        use = Use(RequestKind.RESTORE, found.storage_class, speed.value.lower())
        self._runner.billing.restored(key, use, found.size_bytes)

    async def delete(self, key: str, *, if_match: str) -> None:
        full = self._runner.full(key)
        if self._markers.handles(key):
            return await self._markers.delete(key, if_match=if_match)
        is_conditional = bool(if_match) and self.capabilities.conditional_delete
        if if_match and not is_conditional:
            found = await head_or_none(self._runner, full)
            if found is None:
                return
            require(key, found, IfMatch(if_match))
        try:
            await self._runner.write(
                lambda requests: requests.delete(full, if_match=if_match if is_conditional else "")
            )
        except StoreError as error:
            if error.kind is not StoreErrorKind.PRECONDITION_FAILED:
                raise
            # servers answer 412 for a missing key, too, and missing is what was wanted
            if await head_or_none(self._runner, full) is not None:
                raise

    async def undelete(self, key: str, deletion_id: str) -> None:
        full = self._runner.full(key)
        await self._runner.write(lambda requests: requests.delete(full, if_match="", version_id=deletion_id))

    async def delete_many(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        beside = [metadata_key(key) for key in keys if self._markers.handles(key)]
        fulls = [self._runner.full(key) for key in (*keys, *beside)]
        failed: dict[str, StoreError] = {}
        for first in range(0, len(fulls), DELETES_AT_ONCE):
            batch = fulls[first : first + DELETES_AT_ONCE]
            failed |= await self._runner.write(functools.partial(Requests.delete_many, fulls=batch))
        return failed

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await S3Upload(self._runner, key, upload_id).abort()

    async def aclose(self) -> None:
        await self._runner.aclose()

    async def server_time_s(self) -> float | None:
        """See examination.Dated."""
        return await self._runner.read(Requests.server_time_s)

    # the probe's questions that the interface has no words for

    async def probe_extras(self, key: str, op_id: str) -> Mapping[str, bool]:
        """Whether the server checks checksums, keeps tags, knows and changes classes, and restores; three small PUTs
        and a copy on `key`.

        Intelligent-Tiering is the class that costs nothing for an object that lives a second.
        """
        full = self._runner.full(key)
        meta = ObjectMeta(user={"tierfs-op": op_id})
        body = f"probe {time.time_ns()}".encode()

        async def put(extras: PutExtras) -> StoreErrorKind | None:
            try:
                await self._runner.write(lambda requests: requests.put(full, body, meta, Always(), extras))
            except StoreError as error:
                if error.retryable and error.kind is not StoreErrorKind.CORRUPT:
                    raise
                return error.kind
            return None

        lie = native.crc64nvme(body) ^ 1
        checksums = await put(PutExtras(crc=lie)) in (StoreErrorKind.CORRUPT, StoreErrorKind.INVALID)
        tags, wanted = False, {"tierfs": "probe"}
        if await put(PutExtras(tags=wanted)) is None:
            kept = await kept_by_rewrite(self._runner, key, None)
            tags = kept.tags == wanted
            _found, count = await self._runner.read(lambda requests: requests.head_and_tag_count(full))
            self._runner.heads_count_tags = tags and count == 1
        classes = changes = False
        if await put(PutExtras(storage_class=StorageClass.INTELLIGENT_TIERING)) is None:
            before = await self.head(key)
            classes = before.storage_class == StorageClass.INTELLIGENT_TIERING
            changes = classes and await self._leaves_class(before)
        asked = {"storage_classes": classes, "class_changes": changes, "restores": await self._restores(full)}
        return {"checksums": checksums, "tags": tags, **asked}

    async def _leaves_class(self, info: ObjectInfo) -> bool:
        try:
            await self.copy(
                info.key, info.key, if_match=info.etag, condition=Always(), storage_class=StorageClass.STANDARD
            )
        except StoreError as error:
            if error.retryable:
                raise
            return False
        return (await self.head(info.key)).storage_class == StorageClass.STANDARD

    async def _restores(self, full: str) -> bool:
        """S3 says of an object that is not archived that it is not: who knows no restore says something else."""
        try:
            await self._runner.write(
                lambda requests: requests.restore(full, version_id="", days=1, speed=RestoreSpeed.STANDARD)
            )
        except StoreError as error:
            if error.retryable:
                raise
            return error.kind is StoreErrorKind.ARCHIVED
        return False


def _require_readable(key: str, source: ObjectInfo, if_match: str) -> None:
    if if_match:
        require(key, source, IfMatch(if_match))
    if source.archived:
        raise StoreError(StoreErrorKind.ARCHIVED, "the source is archived: restore it first", key=key)
