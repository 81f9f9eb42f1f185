"""The bucket of a history: slow, faulty, and with events that wait to be delivered."""

import contextlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from attrs import evolve

from tests.support.event_rig import BUCKET, PREFIX
from tests.support.memstore import MemoryStore, MemoryUpload
from tests.support.notifications import record, records
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import Buffer, Condition, ObjectMeta, Written
from tierfs.units import NS_PER_S

PART_BYTES = 32
"""So that a file of some tags is uploaded in parts, and what did not change of it is copied by the server."""

_LATE_S = 7.0
_KINDS = {
    "refused": StoreErrorKind.UNAVAILABLE,
    "throttled": StoreErrorKind.THROTTLED,
    "timeout": StoreErrorKind.TIMEOUT,
}


class SharedBucket(MemoryStore):
    """A store whose LastModified never stands still, and that knows which bytes each ETag is of."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(part_size_bytes=PART_BYTES, part_min_bytes=1)
        self.bodies: dict[str, bytes] = {}
        self.listeners: list[deque[str]] = []
        self.changes = 0
        self.latency_s = 0.0
        self._nursery = nursery
        self._unanswered: defaultdict[str, deque[str]] = defaultdict(deque)
        self._modified_ns = 0

    # ---- faults ----

    def fail(self, method: str, how: str, times: int) -> None:
        """See steps.Fail."""
        if how == "cut":
            self.spoil_next(method, lambda data: data[:-1], times=times)
        elif how in _KINDS:
            self.fail_next(method, _KINDS[how], times=times)
        else:
            self._unanswered[method].extend([how] * times)

    def calm(self) -> None:
        """Everything works from now on."""
        self.clear_faults()
        self._unanswered.clear()
        self.latency_s = 0.0

    async def _request(self, method: str, key: str, start: int = 0, stop: int = 0) -> None:
        await trio.sleep(self.latency_s / 2)
        await super()._request(method, key, start, stop)

    async def _answer(self, method: str, key: str, act: Callable[[], Awaitable[Written | None]]) -> Written | None:
        """The effect of a request, and its answer."""
        how = self._unanswered[method].popleft() if self._unanswered[method] else ""
        if how == "late":
            self._nursery.start_soon(self._act_late, act)
            await trio.sleep(self.latency_s)
            raise StoreError(StoreErrorKind.UNCLEAR, "no answer in time", key=key)
        answer = await act()
        await trio.sleep(self.latency_s / 2)
        if how == "lost":
            raise StoreError(StoreErrorKind.UNCLEAR, "the answer got lost", key=key)
        return answer

    async def _act_late(self, act: Callable[[], Awaitable[Written | None]]) -> None:
        await trio.sleep(_LATE_S)
        with contextlib.suppress(StoreError):
            await act()

    # ---- what changes ----

    def remove(self, key: str) -> None:
        """As another client would."""
        if self.objects.pop(key, None) is not None:
            self._changed("ObjectRemoved:Delete", key)

    def _changed(self, name: str, key: str) -> None:
        self.changes += 1
        if not key.startswith(HIDDEN_PREFIX):
            etag = self.objects[key].info.etag if key in self.objects else ""
            body = records(record(name, BUCKET, PREFIX + key, etag=etag))
            for listener in self.listeners:
                listener.append(body)

    def _store(self, key: str, data: bytes, meta: ObjectMeta, storage_class: str, *, etag: str = "") -> Written:
        written = super()._store(key, data, meta, storage_class, etag=etag)
        self._modified_ns = max(self._modified_ns + NS_PER_S, int(trio.current_time()) * NS_PER_S)
        there = self.objects[key]
        self.objects[key] = evolve(there, info=evolve(there.info, last_modified_ns=self._modified_ns))
        self.bodies[written.etag] = data
        self._changed("ObjectCreated:Put", key)
        return written

    # ---- the requests that change something ----

    async def put(self, key: str, data: Buffer, meta: ObjectMeta, condition: Condition, **kwargs: Any) -> Written:
        body, send = bytes(data), super().put
        written = await self._answer("put", key, lambda: send(key, body, meta, condition, **kwargs))
        assert written is not None
        return written

    async def copy(self, source_key: str, key: str, **kwargs: Any) -> Written:
        send = super().copy
        written = await self._answer("copy", key, lambda: send(source_key, key, **kwargs))
        assert written is not None
        return written

    async def delete(self, key: str, *, if_match: str) -> None:
        send = super().delete

        async def act() -> None:
            is_there = key in self.objects
            await send(key, if_match=if_match)
            if is_there:
                self._changed("ObjectRemoved:Delete", key)

        await self._answer("delete", key, act)

    async def begin_upload(self, key: str, meta: ObjectMeta, **kwargs: Any) -> MemoryUpload:
        upload = await super().begin_upload(key, meta, **kwargs)
        return _Upload(self, upload._id, key, meta, upload._storage_class)


class _Upload(MemoryUpload):
    _store: SharedBucket

    async def complete(self, condition: Condition) -> Written:
        send = super().complete
        written = await self._store._answer("complete", self._key, lambda: send(condition))
        assert written is not None
        return written
