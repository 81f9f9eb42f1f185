"""A store that repeats what failed for a while, and finds out whose write it was.

It promises what the interface says of each method, and no more: what is repeatable is repeated; a
put, completion or copy is repeated only after a HEAD has shown that it did not happen. Such a write
carries `user["tierfs-op"]`. After an answer that got lost, and after any PRECONDITION_FAILED (a client
or proxy that repeats inside reports 412 on its own success, seen with both clients), the HEAD's op id
decides: ours, and the write succeeded; another's, and the error stands. Repeating a conditional write
is safe even if the first is still on its way: whichever comes second meets the precondition.

Between two attempts lies a pause of exponential length with full jitter, at least until the shared
token bucket has a token (see `RetrySettings`). A pause that would end after the call's budget is
not begun: the last error is raised at once.

Tasks share the token bucket, which is only touched in sync code. Every await is a checkpoint; a call
may be cancelled in a pause, and then what its last attempt did stands.
"""

import functools
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import trio
from attrs import evolve, frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import (
    Always,
    Body,
    Buffer,
    Capabilities,
    Condition,
    ListPage,
    ObjectInfo,
    ObjectMeta,
    ObjectStore,
    RestoreSpeed,
    Upload,
    VersionPage,
    Written,
)
from tierfs.objectstore.settings import RetrySettings

T = TypeVar("T")
Kind = StoreErrorKind
OP_KEY: Final = "tierfs-op"
CONTENT_KEY: Final = "tierfs-content"
_CONFLICT_409: Final = 409

# the server did not act: any call may be repeated
_REFUSED: Final = frozenset({Kind.THROTTLED, Kind.UNAVAILABLE, Kind.CORRUPT})
# no call succeeds, whatever it asks for
_AWAY: Final = frozenset({Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.BAD_CREDENTIALS, Kind.NO_SUCH_BUCKET})
# the write may have happened
_UNCLEAR: Final = frozenset({Kind.UNCLEAR, Kind.TIMEOUT})


@frozen
class Outage:
    """The store does not answer, or answers nobody: since when (trio's clock), and with which error."""

    since_s: float
    reason: str


class TokenBucket:
    """Who may repeat when. Not more than `burst` at once, and then a steady trickle."""

    def __init__(self, settings: RetrySettings) -> None:
        self._settings = settings
        self._tokens = settings.burst_tokens
        self._as_of_s: float | None = None

    def take(self, now_s: float) -> float:
        """Takes a token, also one that is still to come; returns the seconds until it is there."""
        if self._as_of_s is not None:
            self._add((now_s - self._as_of_s) * self._settings.tokens_per_s)
        self._as_of_s = now_s
        self._tokens -= 1
        return max(0.0, -self._tokens / self._settings.tokens_per_s)

    def give_back(self) -> None:
        """The token of a repeat that was not made."""
        self._add(1)

    def succeeded(self) -> None:
        self._add(self._settings.tokens_per_success)

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._settings.burst_tokens, self._tokens + tokens)


class _Attempts:
    """The attempts of one call: counts failures and makes the pauses between them."""

    def __init__(self, settings: RetrySettings, bucket: TokenBucket, uniform: Callable[[float, float], float]) -> None:
        self._settings = settings
        self._bucket = bucket
        self._uniform = uniform
        self._deadline_s = trio.current_time() + settings.budget_s
        self._failures = 0
        self._corrupt = 0

    async def pause(self, error: StoreError) -> None:
        """Waits until the next attempt may be made, or raises `error` because there is to be none."""
        self._failures += 1
        if error.kind is Kind.CORRUPT:
            self._corrupt += 1
            if self._corrupt >= self._settings.corrupt_attempts:
                raise error
        ceiling_s = min(self._settings.max_backoff_s, self._settings.first_backoff_s * 2 ** (self._failures - 1))
        now_s = trio.current_time()
        pause_s = max(self._uniform(0, ceiling_s), self._bucket.take(now_s))
        if now_s + pause_s > self._deadline_s:
            self._bucket.give_back()
            raise error
        await trio.sleep(pause_s)

    def succeeded(self) -> None:
        self._bucket.succeeded()


class RetryingStore:
    """An ObjectStore over another one (see base.ObjectStore)."""

    def __init__(
        self,
        inner: ObjectStore,
        settings: RetrySettings,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        on_call: Callable[[str], None] | None = None,
        on_received: Callable[[int], None] | None = None,
        on_answer: Callable[[str, int, str], None] | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        """To be counted: `on_call` is told the interface's method name of each attempt, `on_answer` also how long it
        took, in ns, and the kind of its error, if any; `on_received` the bytes of each body that a get brought,
        `on_sent` those of each put and part."""
        self.inner = inner
        self._on_call = on_call or (lambda verb: None)
        self._on_received = on_received or (lambda size_bytes: None)
        self._on_answer = on_answer or (lambda verb, duration_ns, error: None)
        self._on_sent = on_sent or (lambda size_bytes: None)
        self._settings = settings
        self._uniform = uniform
        self._bucket = TokenBucket(settings)
        self.outage: Outage | None = None  # from the first attempt that failed so to the next answer

    def __repr__(self) -> str:
        return f"RetryingStore({self.inner!r})"

    @property
    def source(self) -> str:
        return self.inner.source

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def part_size_bytes(self) -> int:
        return self.inner.part_size_bytes

    # how calls are repeated

    def _sending(self, send: Callable[..., object]) -> tuple[str, int]:
        """One attempt begins: its verb, and when."""
        verb = _verb_of(send)
        self._on_call(verb)
        return verb, time.monotonic_ns()

    def _answered(self, sent: tuple[str, int], error: StoreError | None) -> None:
        """One attempt has ended."""
        verb, began_ns = sent
        self._on_answer(verb, time.monotonic_ns() - began_ns, error.kind.name.lower() if error is not None else "")
        if error is None or not (error.retryable or error.kind in _AWAY):
            self.outage = None
        elif error.kind in _AWAY and self.outage is None:
            self.outage = Outage(trio.current_time(), str(error))

    def _attempts(self, budget_s: float | None = None) -> _Attempts:
        settings = self._settings if budget_s is None else _with_budget(self._settings, budget_s)
        return _Attempts(settings, self._bucket, self._uniform)

    async def repeat(self, send: Callable[[], Awaitable[T]], *, budget_s: float | None = None) -> T:
        """Runs a repeatable call until it succeeds, fails for good, or its budget is spent."""
        attempts = self._attempts(budget_s)
        while True:
            sent = self._sending(send)
            try:
                result = await send()
            except StoreError as error:
                self._answered(sent, error)
                if not error.retryable:
                    raise
                await attempts.pause(error)
            else:
                self._answered(sent, None)
                attempts.succeeded()
                return result

    async def write(
        self,
        send: Callable[[], Awaitable[Written]],
        find: Callable[[], Awaitable[Written | None]] | None,
        *,
        is_repeatable: bool,
        unclear: frozenset[StoreErrorKind] = _UNCLEAR,
    ) -> Written:
        """Runs a write that `find` can look for: it returns what the write left, or None.

        Without `find` an unclear answer stays unclear, unless the write is repeatable as it is.
        """
        attempts = self._attempts()
        while True:
            sent = self._sending(send)
            try:
                result = await send()
            except StoreError as failure:
                error = failure
                self._answered(sent, error)
            else:
                self._answered(sent, None)
                attempts.succeeded()
                return result
            if error.kind is Kind.PRECONDITION_FAILED or error.kind in unclear:
                if find is not None:
                    found = await self._found(find, error)
                    if found is not None:
                        return found
                elif not is_repeatable or error.kind is Kind.PRECONDITION_FAILED:
                    raise error
                # 409: another write was under way; whether it won is seen when this one is sent again
                is_race = error.kind is Kind.PRECONDITION_FAILED and error.http_status == _CONFLICT_409
                if not is_race and error.kind not in _UNCLEAR:
                    raise error
            elif error.kind not in _REFUSED:
                raise error
            await attempts.pause(error)

    async def _found(self, find: Callable[[], Awaitable[Written | None]], error: StoreError) -> Written | None:
        try:
            return await find()
        except StoreError as other:
            # nobody can tell: the write's own error says more than the HEAD's
            raise error from other

    def _finder(self, key: str, meta: ObjectMeta | None) -> Callable[[], Awaitable[Written | None]] | None:
        """What looks for a write of `meta` under `key`; None when the write carries no op id."""
        op_id = meta.user.get(OP_KEY, "") if meta is not None else ""
        if not op_id:
            return None

        async def find() -> Written | None:
            found = await self._head_or_none(key)
            if found is None or found.meta is None or found.meta.user.get(OP_KEY) != op_id:
                return None
            return _written(found)

        return find

    async def _head_or_none(self, key: str) -> ObjectInfo | None:
        try:
            return await self.head(key)
        except StoreError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise

    # the interface

    async def check(self) -> None:
        await self.repeat(self.inner.check, budget_s=self._settings.check_budget_s)

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = 1000
    ) -> ListPage:
        return await self.repeat(
            functools.partial(
                self.inner.list, prefix, delimited=delimited, token=token, start_after=start_after, limit=limit
            )
        )

    async def head(self, key: str) -> ObjectInfo:
        return await self.repeat(functools.partial(self.inner.head, key))

    async def get(self, key: str, start: int, stop: int, *, if_match: str) -> Body:
        return self._received(await self.repeat(functools.partial(self.inner.get, key, start, stop, if_match=if_match)))

    async def get_whole(self, key: str, *, if_match: str, limit_bytes: int) -> Body:
        return self._received(
            await self.repeat(functools.partial(self.inner.get_whole, key, if_match=if_match, limit_bytes=limit_bytes))
        )

    def _received(self, body: Body) -> Body:
        self._on_received(len(body.data))
        return body

    async def put(
        self, key: str, data: Buffer, meta: ObjectMeta, condition: Condition, *, storage_class: str = ""
    ) -> Written:
        send = functools.partial(self.inner.put, key, data, meta, condition, storage_class=storage_class)
        written = await self.write(send, self._finder(key, meta), is_repeatable=isinstance(condition, Always))
        self._on_sent(len(data))
        return written

    async def begin_upload(self, key: str, meta: ObjectMeta, *, storage_class: str = "") -> Upload:
        # one whose answer got lost leaves an upload without parts, which list_uploads shows
        send = functools.partial(self.inner.begin_upload, key, meta, storage_class=storage_class)
        return RetryingUpload(self, await self.repeat(send), self._finder(key, meta))

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
        send = functools.partial(
            self.inner.copy,
            source_key,
            key,
            if_match=if_match,
            condition=condition,
            meta=meta,
            storage_class=storage_class,
        )
        if meta is not None:
            find = self._finder(key, meta)
        else:
            find = functools.partial(self._find_plain_copy, source_key, key, if_match, storage_class)
        return await self.write(send, find, is_repeatable=isinstance(condition, Always))

    async def _find_plain_copy(self, source_key: str, key: str, if_match: str, storage_class: str) -> Written | None:
        """A copy that keeps the metadata has no op id of its own: the same content with the same
        metadata is what it would have left, whoever made it."""
        found, source = await self._head_or_none(key), await self._head_or_none(source_key)
        if found is None or source is None:
            return None
        if source_key == key:
            return _written(found) if storage_class and found.storage_class == storage_class else None
        if if_match and source.etag != if_match:
            return None
        has_same_content = found.etag == source.etag or (
            found.meta is not None and CONTENT_KEY in found.meta.user  # equal metadata: the same checksum
        )
        is_same = found.meta == source.meta and found.size_bytes == source.size_bytes and has_same_content
        return _written(found) if is_same else None

    async def restore(self, key: str, *, if_match: str, days: int, speed: RestoreSpeed) -> None:
        await self.repeat(functools.partial(self.inner.restore, key, if_match=if_match, days=days, speed=speed))

    async def delete(self, key: str, *, if_match: str) -> None:
        await self.repeat(functools.partial(self.inner.delete, key, if_match=if_match))

    async def delete_many(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Keys whose deletion failed for a reason that may pass are sent again."""
        attempts = self._attempts()
        failed: dict[str, StoreError] = {}
        left = list(keys)
        while True:
            now_failed = await self.repeat(functools.partial(self.inner.delete_many, left))
            failed |= {key: error for key, error in now_failed.items() if not error.retryable}
            again = {key: error for key, error in now_failed.items() if error.retryable}
            if not again:
                attempts.succeeded()
                return failed
            try:
                await attempts.pause(next(iter(again.values())))
            except StoreError:
                return failed | again
            left = list(again)

    async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
        return await self.repeat(functools.partial(self.inner.list_versions, prefix, after=after, limit=limit))

    async def undelete(self, key: str, deletion_id: str) -> None:
        await self.repeat(functools.partial(self.inner.undelete, key, deletion_id))

    async def list_uploads(self, prefix: str) -> Sequence[tuple[str, str, int]]:
        return await self.repeat(functools.partial(self.inner.list_uploads, prefix))

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self.repeat(functools.partial(self.inner.abort_upload, key, upload_id))

    async def aclose(self) -> None:
        await self.inner.aclose()


class RetryingUpload:
    """An upload whose parts are repeated (see base.Upload)."""

    def __init__(
        self, store: RetryingStore, inner: Upload, find: Callable[[], Awaitable[Written | None]] | None
    ) -> None:
        self._store = store
        self._inner = inner
        self._find = find

    @property
    def upload_id(self) -> str:
        return self._inner.upload_id

    async def put_part(self, number: int, data: Buffer) -> None:
        await self._store.repeat(functools.partial(self._inner.put_part, number, data))
        self._store._on_sent(len(data))

    async def copy_part(self, number: int, source_key: str, start: int, stop: int, *, if_match: str) -> None:
        await self._store.repeat(
            functools.partial(self._inner.copy_part, number, source_key, start, stop, if_match=if_match)
        )

    async def complete(self, condition: Condition) -> Written:
        # NOT_FOUND: the upload is gone, as it is after a completion whose answer got lost
        return await self._store.write(
            functools.partial(self._inner.complete, condition),
            self._find,
            is_repeatable=False,
            unclear=_UNCLEAR | {Kind.NOT_FOUND},
        )

    async def abort(self) -> None:
        await self._store.repeat(self._inner.abort)


def _verb_of(send: Callable[..., object]) -> str:
    """The method that a call is: put, get_whole, copy_part."""
    return str(getattr(send.func if isinstance(send, functools.partial) else send, "__name__", "other"))


def _with_budget(settings: RetrySettings, budget_s: float) -> RetrySettings:
    return evolve(settings, budget_s=min(budget_s, settings.budget_s))


def _written(found: ObjectInfo) -> Written:
    return Written(etag=found.etag, version_id=found.version_id, last_modified_ns=found.last_modified_ns)
