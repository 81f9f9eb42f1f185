"""What a server does, found out by asking it: a dozen small requests at mount.

Every answer is seen, not looked up: a precondition counts as known only when a write that must fail
fails. All happens on keys that begin with `.tierfs/probe-<op id>` and are deleted at the end. What
could not be found out counts as missing, since each fallback is safe where the feature exists, too.

A store that has `adopt` believes the result from then on. Bounded by `timeout_s`; every request is a
checkpoint.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, cast, runtime_checkable

import trio
from attrs import evolve

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import Always, Capabilities, Condition, IfAbsent, IfMatch, ObjectMeta, ObjectStore, Written
from tierfs.objectstore.retrying import RetryingStore

TIMEOUT_S: Final = 30.0
CLEANUP_TIMEOUT_S: Final = 10.0
BODY: Final = b"tierfs probe"
NO_ETAG: Final = "00000000000000000000000000000000"
_NOT_KNOWN: Final = frozenset({StoreErrorKind.UNSUPPORTED, StoreErrorKind.INVALID, StoreErrorKind.PERMANENT})
_MEANINGS: Final = {
    "conditional_put": "writes are checked by a HEAD before: a change within one round trip is overwritten",
    "conditional_copy": "renames are checked by a HEAD before: a change within one round trip is overwritten",
    "conditional_delete": "deletes are checked by a HEAD before: a change within one round trip is deleted",
    "upload_part_copy": "large files are uploaded whole after a small change, and cannot be copied over 5 GiB",
    "checksums": "the server does not check what it is sent, beyond the signature and TLS",
    "live_prefixes": "a new directory is shown only after a look for an object in it: one more request for each",
    "ordered_listing": "a scan and a sweep list each directory by itself, not 1,000 keys of many at once",
    "marker_metadata": "attributes of directories are kept under .tierfs/markers/: other tools do not see them",
}

_log: Final = logging.getLogger(__name__)


@runtime_checkable
class Probed(Protocol):
    """A store that answers more than the interface asks, and lives by what was found."""

    def adopt(self, capabilities: Capabilities) -> None:
        """Believes `capabilities` from now on. Repeatable."""
        ...

    async def probe_extras(self, key: str, op_id: str) -> Mapping[str, bool]:
        """Fields of Capabilities that the interface has no words for, found out on `key`. Repeatable."""
        ...


class _Probe:
    """One run over one store: the questions, and the keys to clean up."""

    def __init__(self, store: ObjectStore, op_id: str) -> None:
        self._store = store
        self._op_id = op_id
        self._key = f"{HIDDEN_PREFIX}probe-{op_id}"
        self._count = 0
        self._keys: list[str] = []
        self.has_written = False
        self.found = evolve(
            store.capabilities,
            conditional_put=False,
            conditional_delete=False,
            conditional_copy=False,
            upload_part_copy=False,
            marker_metadata=False,
            live_prefixes=False,
            ordered_listing=False,
        )

    def _new_key(self, end: str = "") -> str:
        self._count += 1
        self._keys.append(f"{self._key}-{self._count}{end}")
        return self._keys[-1]

    def _meta(self) -> ObjectMeta:
        # an op id of its own for each write: a refusal must not look like a lost answer
        self._count += 1
        return ObjectMeta(user={"tierfs-op": f"{self._op_id}-probe-{self._count}"})

    async def _put(self, key: str, condition: Condition) -> Written:
        return await self._store.put(key, BODY, self._meta(), condition)

    async def run(self) -> None:
        key, etag = await self._puts()
        await self._ask("conditional_copy", lambda: self._copies(key, etag))
        await self._ask("upload_part_copy", lambda: self._part_copies(key, etag))
        await self._ask("marker_metadata", self._marker)
        await self._ask("live_prefixes", self._prefixes)
        await self._ask("ordered_listing", self._order)
        await self._ask("conditional_delete", lambda: self._deletes(key))

    async def _ask(self, name: str, question: Callable[[], Awaitable[bool]]) -> None:
        try:
            answer = await question()
        except StoreError as error:
            _log.debug("probe: %s is missing: %s", name, error)
            if error.retryable:
                raise
            answer = False
        self._note({name: answer})

    def _note(self, answers: Mapping[str, bool]) -> None:
        self.found = evolve(self.found, **cast(dict[str, Any], answers))

    async def _puts(self) -> tuple[str, str]:
        """A key with a body, and its ETag; finds out about conditional PUTs and versions."""
        key = self._new_key()
        try:
            written = await self._put(key, IfAbsent())
        except StoreError as error:
            if error.kind not in _NOT_KNOWN:
                raise
            written = await self._put(key, Always())
            is_known = False
        else:
            is_known = await self._is_refused(lambda: self._put(key, IfAbsent())) and await self._is_refused(
                lambda: self._put(key, IfMatch(NO_ETAG))
            )
            if is_known:
                written = await self._put(key, IfMatch(written.etag))
        self.has_written = True
        self.found = evolve(self.found, conditional_put=is_known, versioning=bool(written.version_id))
        return key, (await self._store.head(key)).etag

    async def _is_refused(self, write: Callable[[], Awaitable[object]]) -> bool:
        try:
            await write()
        except StoreError as error:
            if error.retryable:
                raise
            return error.kind is StoreErrorKind.PRECONDITION_FAILED
        return False

    async def _copies(self, key: str, etag: str) -> bool:
        target = self._new_key()

        async def copy(condition: Condition) -> Written:
            return await self._store.copy(key, target, if_match=etag, condition=condition, meta=self._meta())

        await copy(IfAbsent())
        return await self._is_refused(lambda: copy(IfAbsent())) and await self._is_refused(
            lambda: copy(IfMatch(NO_ETAG))
        )

    async def _part_copies(self, key: str, etag: str) -> bool:
        target = self._new_key()
        upload = await self._store.begin_upload(target, self._meta())
        try:
            await upload.copy_part(1, key, 1, len(BODY), if_match=etag)
            is_guarded = await self._is_refused(lambda: upload.copy_part(2, key, 0, len(BODY), if_match=NO_ETAG))
            if not is_guarded:
                await upload.abort()
                return False
            await upload.complete(Always())
        except BaseException:
            with trio.move_on_after(CLEANUP_TIMEOUT_S, shield=True), contextlib.suppress(StoreError):
                await upload.abort()
            raise
        body = await self._store.get_whole(target, if_match="", limit_bytes=2 * len(BODY))
        return bytes(body.data) == BODY[1:]

    async def _marker(self) -> bool:
        marker, copied, meta = self._new_key("/"), self._new_key("/"), self._meta()
        written = await self._store.put(marker, b"", meta, Always())
        found = (await self._store.head(marker)).meta
        if found is None or found.user != meta.user:
            return False
        await self._store.copy(marker, copied, if_match=written.etag, condition=Always(), meta=self._meta())
        return (await self._store.head(copied)).size_bytes == 0

    async def _prefixes(self) -> bool:
        key = self._new_key("/below/object")
        prefix = key.removesuffix("object")
        parent = prefix.removesuffix("below/")
        self._keys += [prefix, parent]  # the folders that SeaweedFS keeps
        await self._put(key, Always())
        await self._store.delete(key, if_match="")
        return prefix not in (await self._store.list(parent, delimited=True)).prefixes

    async def _order(self) -> bool:
        """As bytes "-" is before "/", as names "a" is before "a-"."""
        parent = self._new_key("/")
        keys = [parent + "a-", parent + "a/below"]
        self._keys += [*reversed(keys), parent + "a/"]
        for key in keys:
            await self._put(key, Always())
        return [info.key for info in (await self._store.list(parent, delimited=False)).objects] == keys

    async def _deletes(self, key: str) -> bool:
        return await self._is_refused(lambda: self._store.delete(key, if_match=NO_ETAG))

    async def extras(self, store: Probed) -> None:
        key = self._new_key()
        answers = await store.probe_extras(key, f"{self._op_id}-probe-extras")
        self._note(answers)

    async def clean_up(self) -> None:
        """Deletes what the probe made; what remains is small and hidden."""
        with trio.move_on_after(CLEANUP_TIMEOUT_S, shield=True) as scope:
            try:
                failed = await self._store.delete_many(self._keys)
            except StoreError as error:
                failed = {self._key: error}
            for key, reason in failed.items():
                _log.info("probe: %s remains: %s", key, reason)
        if scope.cancelled_caught:
            _log.info("probe: objects under %s remain", self._key)


def _warnings(found: Capabilities, *, is_server: bool) -> list[str]:
    return [
        f"no {name.replace('_', ' ')}: {meaning}"
        for name, meaning in _MEANINGS.items()
        if not getattr(found, name) and (is_server or name != "checksums")
    ]


async def probe(store: ObjectStore, op_id: str, *, timeout_s: float = TIMEOUT_S) -> Capabilities:
    """Asks the server behind `store`, has the store adopt the answer, and returns it.

    A bucket that refuses the first write is `read_only`, with everything else False. When time runs
    out, what was not asked counts as missing. Raises StoreError when the store fails otherwise.
    """
    target = store.inner if isinstance(store, RetryingStore) else store
    probed = target if isinstance(target, Probed) else None
    run = _Probe(store, op_id)
    notes: list[str] = []
    try:
        if probed is not None:
            # believed to do all, or its fallbacks would answer for the server
            probed.adopt(Capabilities())
        with trio.move_on_after(timeout_s) as scope:
            await run.run()
            if probed is not None:
                await run.extras(probed)
        if scope.cancelled_caught:
            notes.append(f"the server took more than {timeout_s:g} s to answer the probe")
    except StoreError as error:
        if error.kind is not StoreErrorKind.ACCESS_DENIED or run.has_written:
            raise
        run.found = _read_only(error)
    else:
        run.found = evolve(run.found, warnings=[*notes, *_warnings(run.found, is_server=probed is not None)])
    finally:
        if probed is not None:
            probed.adopt(run.found)
        await run.clean_up()
    return run.found


def believe(store: ObjectStore, capabilities: Capabilities) -> None:
    """Has `store` live by what was found out before. Repeatable."""
    target = store.inner if isinstance(store, RetryingStore) else store
    if isinstance(target, Probed):
        target.adopt(capabilities)


def _read_only(error: StoreError) -> Capabilities:
    return Capabilities(
        conditional_put=False,
        conditional_delete=False,
        conditional_copy=False,
        upload_part_copy=False,
        checksums=False,
        tags=False,
        storage_classes=False,
        class_changes=False,
        restores=False,
        marker_metadata=False,
        live_prefixes=False,
        ordered_listing=False,
        read_only=True,
        warnings=[f"the bucket cannot be written: {error}"],
    )
