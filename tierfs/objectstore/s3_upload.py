"""Multipart uploads to S3, and copies of objects that are too large for one request.

An upload's state is the set of parts that the server has; parts are sent in parallel by as many tasks
as the caller likes. Every await is a checkpoint; a cancelled `complete` may have taken effect.
"""

from typing import Final

import trio

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Buffer, Condition, ObjectInfo, ObjectMeta, Written
from tierfs.objectstore.s3_parameters import Part, PutExtras
from tierfs.objectstore.s3_runner import Kept, Runner, require_by_head

PARTS_MAX: Final = 10_000
_COPIES_AT_ONCE: Final = 8


class S3Upload:
    """A multipart upload in progress (see base.Upload)."""

    def __init__(self, runner: Runner, key: str, upload_id: str) -> None:
        self._runner = runner
        self._key = key
        self._full = runner.full(key)
        self._upload_id = upload_id
        self._parts: dict[int, Part] = {}

    @property
    def upload_id(self) -> str:
        return self._upload_id

    async def put_part(self, number: int, data: Buffer) -> None:
        self._check_number(number)
        self._parts[number] = await self._runner.write(
            lambda requests: requests.put_part(self._full, self._upload_id, number, data)
        )

    async def copy_part(self, number: int, source_key: str, start: int, stop: int, *, if_match: str) -> None:
        self._check_number(number)
        source_full = self._runner.full(source_key)
        self._parts[number] = await self._runner.write(
            lambda requests: requests.copy_part(
                self._full,
                self._upload_id,
                number,
                source_full=source_full,
                start=start,
                stop=stop,
                if_match=if_match,
            )
        )

    async def complete(self, condition: Condition) -> Written:
        if not self._runner.capabilities.conditional_put:
            await require_by_head(self._runner, self._key, condition)
        parts = dict(self._parts)
        return await self._runner.write(
            lambda requests: requests.complete_upload(self._full, self._upload_id, parts, condition)
        )

    async def abort(self) -> None:
        await self._runner.write(lambda requests: requests.abort_upload(self._full, self._upload_id))

    def _check_number(self, number: int) -> None:
        if not 1 <= number <= PARTS_MAX:
            raise StoreError(StoreErrorKind.INVALID, f"part {number} is not within 1 and {PARTS_MAX}", key=self._key)


async def begin_upload(runner: Runner, key: str, meta: ObjectMeta, *, storage_class: str, kept: Kept) -> S3Upload:
    """Starts an upload whose object will carry `kept` beside `meta`."""
    full = runner.full(key)
    sent = kept.completes(meta)
    extras = PutExtras(storage_class=storage_class, tags=kept.tags)
    return S3Upload(runner, key, await runner.write(lambda requests: requests.create_upload(full, sent, extras)))


def part_ranges(size_bytes: int, part_bytes: int) -> list[tuple[int, int]]:
    """[0, size) in at most 10,000 parts of at least `part_bytes`, but the last."""
    step = max(part_bytes, -(-size_bytes // PARTS_MAX))
    return [(start, min(start + step, size_bytes)) for start in range(0, size_bytes, step)]


async def copy_by_parts(
    runner: Runner,
    source: ObjectInfo,
    key: str,
    meta: ObjectMeta,
    condition: Condition,
    *,
    storage_class: str,
    kept: Kept,
) -> Written:
    """Copies a version of any size; the parts that were made are dropped when it fails.

    S3 gives the copy an ETag of its own.
    """
    upload = await begin_upload(runner, key, meta, storage_class=storage_class, kept=kept)
    slots = trio.CapacityLimiter(_COPIES_AT_ONCE)
    failures: list[StoreError] = []

    async def copy_one(number: int, start: int, stop: int) -> None:
        async with slots:
            if failures:
                return
            try:
                await upload.copy_part(number, source.key, start, stop, if_match=source.etag)
            except StoreError as error:
                failures.append(error)

    try:
        async with trio.open_nursery() as nursery:
            for number, (start, stop) in enumerate(
                part_ranges(source.size_bytes, runner.settings.copy_part_bytes), start=1
            ):
                nursery.start_soon(copy_one, number, start, stop)
        if failures:
            raise failures[0]
        return await upload.complete(condition)
    except BaseException as error:
        # an answer that got lost may belong to an object that is there now; abort does it no harm
        with trio.CancelScope(shield=True):
            try:
                await upload.abort()
            except StoreError as other:
                error.add_note(f"and the unfinished upload remains: {other}")
        raise
