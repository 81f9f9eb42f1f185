"""What a user of the bucket may do there, found out by doing it: one small object, written, read and deleted.

For `tierctl doctor`. Everything happens on keys that begin with `.tierfs/probe-`, as in `probe`; what cannot be deleted
stays there, small and hidden. Nothing is repeated: one answer says enough, and somebody waits for it.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import trio
from attrs import define, field, frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import Always, Capabilities, ObjectMeta, ObjectStore
from tierfs.objectstore.probe import BODY
from tierfs.objectstore.retrying import RetryingStore

VERB_LIMIT_S: Final = 15.0
# what tells of the way to the bucket rather than of rights in it: the other verbs would fail alike
_SPEAKS_FOR_ALL: Final = frozenset(
    {
        StoreErrorKind.NO_SUCH_BUCKET,
        StoreErrorKind.BAD_CREDENTIALS,
        StoreErrorKind.UNAVAILABLE,
        StoreErrorKind.TIMEOUT,
        StoreErrorKind.THROTTLED,
    }
)
_Verb: TypeAlias = Callable[[], Awaitable[object]]


@runtime_checkable
class Dated(Protocol):
    """A store whose server has a clock that can be asked."""

    async def server_time_s(self) -> float | None:
        """Seconds since 1970, to the second; None where the server does not say. StoreError."""
        ...


@frozen
class Tried:
    """One verb, and how it ended: `error` is the name of a StoreErrorKind, "" when it was allowed."""

    verb: str
    error: str = ""
    message: str = ""


@define
class Examination:
    """What was found. `ahead_s`: how far the clock of this machine is before the server's; None: not known."""

    tried: list[Tried] = field(factory=list)
    ahead_s: float | None = None
    warnings: list[str] = field(factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the control socket; `from_json` is the way back."""
        return {
            "tried": [{"verb": one.verb, "error": one.error, "message": one.message} for one in self.tried],
            "ahead_s": self.ahead_s,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Examination":
        """What `as_json` made."""
        return cls([Tried(**one) for one in values["tried"]], values["ahead_s"], list(values["warnings"]))


async def examine(
    store: ObjectStore, op_id: str, *, read_only: bool, capabilities: Capabilities | None = None
) -> Examination:
    """Tries verb by verb what a mount needs; with `read_only` only what reads. Raises nothing.

    `capabilities` is what the probe found; its warnings are handed on.
    """
    target = store.inner if isinstance(store, RetryingStore) else store
    found = Examination(warnings=list(capabilities.warnings) if capabilities is not None else [])
    await _ask_for_time(target, found)
    verbs = _reading(target) if read_only else _writing(target, f"{HIDDEN_PREFIX}probe-{op_id}-doctor", op_id)
    is_there = True
    for name, verb in verbs:
        if name in ("head", "get") and not is_there:
            continue  # of an object that could not be written nothing can be said
        tried = await _try(name, verb)
        found.tried.append(tried)
        is_there &= name != "put" or not tried.error
        if any(tried.error == kind.name for kind in _SPEAKS_FOR_ALL):
            break
    return found


async def _ask_for_time(store: ObjectStore, found: Examination) -> None:
    if not isinstance(store, Dated):
        return
    before_s = time.time()
    try:
        with trio.fail_after(VERB_LIMIT_S):
            server_s = await store.server_time_s()
    except (StoreError, trio.TooSlowError):
        return  # the verbs that follow say why the server cannot be reached
    if server_s is not None:
        # its Date is cut to the second
        found.ahead_s = (before_s + time.time()) / 2 - (server_s + 0.5)


async def _try(name: str, verb: _Verb) -> Tried:
    try:
        with trio.fail_after(VERB_LIMIT_S):
            await verb()
    except StoreError as error:
        return Tried(name, error.kind.name, str(error))
    except trio.TooSlowError:
        return Tried(name, StoreErrorKind.TIMEOUT.name, f"no answer within {VERB_LIMIT_S:g} s")
    return Tried(name)


def _writing(store: ObjectStore, key: str, op_id: str) -> list[tuple[str, _Verb]]:
    meta = ObjectMeta(user={"tierfs-op": f"{op_id}-doctor"})

    async def multipart() -> None:
        upload = await store.begin_upload(f"{key}-parts", meta)
        try:
            await upload.put_part(1, BODY)
        finally:
            await upload.abort()

    return [
        ("list", store.check),
        ("put", lambda: store.put(key, BODY, meta, Always())),
        ("head", lambda: store.head(key)),
        ("get", lambda: store.get(key, 0, len(BODY), if_match="")),
        ("multipart", multipart),
        ("delete", lambda: store.delete(key, if_match="")),
    ]


def _reading(store: ObjectStore) -> list[tuple[str, _Verb]]:
    """On whatever object comes first; in an empty bucket there is nothing to ask for, and nothing to read either."""
    keys: list[tuple[str, int]] = []

    async def look() -> None:
        page = await store.list("", delimited=False, limit=10)
        keys.extend((info.key, info.size_bytes) for info in page.objects if not info.key.endswith("/"))

    async def head() -> None:
        for key, _size in keys[:1]:
            await store.head(key)

    async def get() -> None:
        for key, _size in [pair for pair in keys if pair[1]][:1]:
            await store.get(key, 0, 1, if_match="")

    return [("list", look), ("head", head), ("get", get)]
