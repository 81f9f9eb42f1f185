"""Notifications of object stores as values: what arrived in a message, whatever it was wrapped in. Pure.

| form | who sends it | where the key is | written how |
|---|---|---|---|
| S3 records | S3 and servers like it | `Records[].s3.object.key` | URL-encoded, `+` for a space |
| MinIO's webhook | MinIO | the same, beside `EventName` and `Key` | the same |
| EventBridge | S3 through EventBridge | `detail.object.key` | as it is |
| SNS | any of these in `Message` | as there | as there |
| test event | S3, when a notification is set up | nowhere | |

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html and ev-events.html there.

An event says where to look, not what is there: events come late, twice and out of order. What it says of the
version serves to recognise what is known already. What cannot be read is told as such and never raises.
"""

import enum
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_plus

from attrs import frozen

from tierfs.units import NS_PER_S

BODY_MAX_BYTES: Final = 1 << 20  # what SQS takes, and more than S3 sends
_WRAPS_MAX: Final = 4
_RECORDS_MAX: Final = 10_000


class EventKind(enum.Enum):
    """What happened to the object."""

    CREATED = enum.auto()  # it was written: new, over another version, or onto itself
    REMOVED = enum.auto()
    CHANGED = enum.auto()  # its class, or whether it can be read


# the part between "s3:" and the second colon. What is not here changes nothing that a mount shows: tags, access
# control lists, replication, reads
_KIND_OF_NAME: Final = {
    "ObjectCreated": EventKind.CREATED,
    "ObjectRemoved": EventKind.REMOVED,
    "LifecycleExpiration": EventKind.REMOVED,
    "LifecycleTransition": EventKind.CHANGED,
    "IntelligentTiering": EventKind.CHANGED,
    "ObjectRestore": EventKind.CHANGED,
}
_KIND_OF_DETAIL: Final = {
    "Object Created": EventKind.CREATED,
    "Object Deleted": EventKind.REMOVED,
    "Object Storage Class Changed": EventKind.CHANGED,
    "Object Access Tier Changed": EventKind.CHANGED,
    "Object Restore Completed": EventKind.CHANGED,
    "Object Restore Expired": EventKind.CHANGED,
}


@frozen
class ObjectEvent:
    """One change of one object. What the sender left out is "" or 0."""

    kind: EventKind
    bucket: str
    key: str  # as in the bucket, with the prefix of a mount
    etag: str = ""
    version_id: str = ""
    sequencer: str = ""  # hexadecimal; orders the events of one key, and only those
    size_bytes: int = 0
    time_ns: int = 0  # by the server's clock


@frozen
class Parsed:
    """What a message held. `malformed` says what is wrong with each part that could not be read."""

    events: tuple[ObjectEvent, ...] = ()
    ignored: int = 0
    malformed: tuple[str, ...] = ()


class _MalformedError(Exception):
    """Not what the senders are known to send."""


def parse(body: str | bytes) -> Parsed:
    """The events of a message. Never raises."""
    events: list[ObjectEvent] = []
    malformed: list[str] = []
    ignored = 0
    try:
        for read in _readers(_decoded(body)):
            try:
                event = read()
            except _MalformedError as error:
                malformed.append(str(error))
                continue
            if event is None:
                ignored += 1
            else:
                events.append(event)
    except _MalformedError as error:
        malformed.append(str(error))
    return Parsed(tuple(events), ignored, tuple(malformed))


def _decoded(body: str | bytes) -> Any:
    if len(body) > BODY_MAX_BYTES:
        raise _MalformedError(f"longer than {BODY_MAX_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # of UTF-8, too
        raise _MalformedError(f"no JSON: {type(error).__name__}") from None


def _readers(message: Any) -> Iterator[Callable[[], ObjectEvent | None]]:
    """A function for each part of the message, which gives its event, or None for one that says nothing to us."""
    for _ in range(_WRAPS_MAX):
        match message:
            case {"Type": "Notification", "Message": str() as inner}:
                message = _decoded(inner)
            case {"Event": "s3:TestEvent"} | {"Type": "SubscriptionConfirmation" | "UnsubscribeConfirmation"}:
                yield lambda: None
                return
            case {"Records": list() as records}:
                if len(records) > _RECORDS_MAX:
                    raise _MalformedError(f"more than {_RECORDS_MAX} records")
                yield from (partial(_of_record, record) for record in records)
                return
            case {"detail-type": str() as name, "detail": dict() as detail}:
                yield partial(_of_detail, name, detail, message)
                return
            case _:
                raise _MalformedError("neither records of S3 nor an event of EventBridge")
    raise _MalformedError("wrapped too often")


def _of_record(record: Any) -> ObjectEvent | None:
    match record:
        case {"eventName": str() as name, "s3": {"bucket": {"name": str() as bucket}, "object": dict() as found}}:
            kind = _KIND_OF_NAME.get(name.removeprefix("s3:").partition(":")[0])
            if kind is None:
                return None
            try:
                key = unquote_plus(_text(found, "key"), errors="strict")
            except UnicodeDecodeError:
                raise _MalformedError("a key that is not UTF-8") from None
            return _event(kind, bucket, key, found, etag="eTag", version="versionId", time=record.get("eventTime"))
        case _:
            raise _MalformedError("a record without a name, a bucket or an object")


def _of_detail(name: str, detail: Mapping[str, Any], message: Mapping[str, Any]) -> ObjectEvent | None:
    kind = _KIND_OF_DETAIL.get(name)
    if kind is None or message.get("source", "aws.s3") != "aws.s3":
        return None
    match detail:
        case {"bucket": {"name": str() as bucket}, "object": dict() as found}:
            key = _text(found, "key")
            return _event(kind, bucket, key, found, etag="etag", version="version-id", time=message.get("time"))
        case _:
            raise _MalformedError("an event without a bucket or an object")


def _event(
    kind: EventKind, bucket: str, key: str, found: Mapping[str, Any], *, etag: str, version: str, time: Any
) -> ObjectEvent:
    if not key:
        raise _MalformedError("an object without a key")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise _MalformedError("a key that is not UTF-8") from None
    size = found.get("size", 0)
    return ObjectEvent(
        kind=kind,
        bucket=bucket,
        key=key,
        etag=_text(found, etag).strip('"'),
        version_id=_text(found, version),
        sequencer=_text(found, "sequencer"),
        size_bytes=size if isinstance(size, int) and size >= 0 else 0,
        time_ns=_time_ns(time),
    )


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name, "")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _MalformedError(f"{name} is no text")
    return value


def _time_ns(value: Any) -> int:
    """Of an ISO 8601 time; 0 for what is none. A time only tells how late an event is, so it fails nothing."""
    if not isinstance(value, str):
        return 0
    try:
        return max(0, int(datetime.fromisoformat(value).timestamp() * 1_000_000) * (NS_PER_S // 1_000_000))
    except (ValueError, OverflowError):
        return 0
