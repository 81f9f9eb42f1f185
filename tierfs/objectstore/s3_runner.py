"""Where the blocking requests of an S3 store run, and what is asked before a write.

`Runner` opens the connection on first use and runs requests in worker threads: at most
`connections` at once, and of those at most three quarters writes, so that a slow upload of many
parts leaves room for the reads that programs wait for. A cancelled read leaves its thread behind,
which holds its slot until the request ends; a cancelled write is waited for, since whoever cancels
must know whether the body is still being read.

Tasks share the runner; its only state is the open `Requests`, set once under a lock.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import trio
from attrs import evolve, field, frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import (
    EXPIRES_UNKNOWN,
    Capabilities,
    Condition,
    IfAbsent,
    IfMatch,
    ObjectInfo,
    ObjectMeta,
)
from tierfs.objectstore.s3_billing import Billing, Tell, tell_nobody
from tierfs.objectstore.s3_connection import connect
from tierfs.objectstore.s3_keys import full_key
from tierfs.objectstore.s3_requests import Requests
from tierfs.objectstore.settings import S3Settings

T = TypeVar("T")


class Runner:
    """Runs requests for one store. `capabilities` is what the server is believed to do."""

    def __init__(self, settings: S3Settings, tell: Tell = tell_nobody) -> None:
        self.settings = settings
        self.billing = Billing(tell, settings.prefix)
        self._tell = tell
        self.capabilities = Capabilities()
        # whether a HEAD without a count means no tags (see probe)
        self.heads_count_tags = False
        self._slots = trio.CapacityLimiter(settings.connections)
        self._write_slots = trio.CapacityLimiter(max(1, settings.connections * 3 // 4))
        self._requests: Requests | None = None
        self._opening = trio.Lock()

    def full(self, key: str) -> str:
        """The key in the bucket. KEY_TOO_LONG, INVALID."""
        return full_key(self.settings.prefix, key)

    def adopt(self, capabilities: Capabilities) -> None:
        """Takes over what the probe saw."""
        self.capabilities = capabilities
        if self._requests is not None:
            self._requests.set_checksums(capabilities.checksums)

    async def read(self, call: Callable[[Requests], T]) -> T:
        """Runs a request that changes nothing. Checkpoint; cancellation returns at once."""
        requests = self._requests or await self._open()
        return await trio.to_thread.run_sync(call, requests, limiter=self._slots, abandon_on_cancel=True)

    async def write(self, call: Callable[[Requests], T]) -> T:
        """Runs a request that may change the bucket. Checkpoint before it starts."""
        requests = self._requests or await self._open()
        async with self._write_slots:
            return await trio.to_thread.run_sync(call, requests, limiter=self._slots)

    async def aclose(self) -> None:
        requests, self._requests = self._requests, None
        if requests is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(requests.close)

    async def _open(self) -> Requests:
        async with self._opening:
            if self._requests is None:
                checksums = self.capabilities.checksums

                def open_requests() -> Requests:
                    return Requests(connect(self.settings, self._tell), checksums=checksums)

                self._requests = await trio.to_thread.run_sync(
                    open_requests, limiter=self._slots, abandon_on_cancel=True
                )
            return self._requests


@frozen
class Kept:
    """What others put on an object and a rewrite has to send again."""

    expires: str = ""
    tags: Mapping[str, str] = field(factory=dict)

    def completes(self, meta: ObjectMeta) -> ObjectMeta:
        """`meta` as it is to be sent."""
        return evolve(meta, expires=self.expires) if meta.expires == EXPIRES_UNKNOWN else meta


def _changed(key: str, text: str) -> StoreError:
    return StoreError(StoreErrorKind.PRECONDITION_FAILED, text, key=key)


def require(key: str, found: ObjectInfo | None, condition: Condition) -> None:
    """PRECONDITION_FAILED when an object as found by HEAD does not meet the condition."""
    if isinstance(condition, IfAbsent) and found is not None:
        raise _changed(key, "there is an object")
    if isinstance(condition, IfMatch):
        if found is None:
            raise _changed(key, "the object is gone")
        if found.etag != condition.etag:
            raise _changed(key, "the object has changed")


async def head_or_none(runner: Runner, full: str) -> ObjectInfo | None:
    """HEAD of a full key; None where there is no object."""
    try:
        return await runner.read(lambda requests: requests.head(full))
    except StoreError as error:
        if error.kind is StoreErrorKind.NOT_FOUND:
            return None
        raise


async def require_by_head(runner: Runner, key: str, condition: Condition) -> None:
    """Stands in for a precondition that the server does not know.

    A change between this HEAD and the write goes unseen: a window of one round trip, which README
    names and doctor warns of.
    """
    if isinstance(condition, IfAbsent | IfMatch):
        require(key, await head_or_none(runner, runner.full(key)), condition)


async def kept_of(runner: Runner, key: str, *, tag_count: int | None, expires: str) -> Kept:
    """What a HEAD said of expiry and tags, the tags themselves read where there may be some."""
    has_none = tag_count == 0 or (tag_count is None and runner.heads_count_tags)
    if has_none or not runner.capabilities.tags:
        return Kept(expires)
    full = runner.full(key)
    try:
        return Kept(expires, await runner.read(lambda requests: requests.read_tags(full)))
    except StoreError as error:
        # without the right to read tags, or on a server without them, there is nothing to keep
        if error.kind in (StoreErrorKind.ACCESS_DENIED, StoreErrorKind.UNSUPPORTED, StoreErrorKind.NOT_FOUND):
            return Kept(expires)
        raise


async def kept_by_rewrite(runner: Runner, key: str, condition: Condition | None) -> Kept:
    """What a rewrite of `key` has to carry over; `condition` None: not known yet (multipart).

    PRECONDITION_FAILED when the HEAD already shows that `condition` does not hold: the body need
    not be sent. Tags that change between here and the write are lost: S3 cannot condition on them.
    """
    if not runner.settings.keep_foreign or not (condition is None or isinstance(condition, IfMatch)):
        return Kept()
    full = runner.full(key)
    try:
        found, tag_count = await runner.read(lambda requests: requests.head_and_tag_count(full))
    except StoreError as error:
        if error.kind is not StoreErrorKind.NOT_FOUND:
            raise
        if condition is not None:
            raise _changed(key, "the object is gone") from error
        return Kept()
    if condition is not None:
        require(key, found, condition)
    return await kept_of(runner, key, tag_count=tag_count, expires=found.meta.expires if found.meta else "")
