"""What goes over the control socket: one JSON object a line, UTF-8, in both directions.

    request   {"v": 1, "id": 7, "verb": "info", "args": {"path": "a/b"}}
    progress  {"v": 1, "id": 7, "progress": {"files": 12, "bytes": 4096}}        any number of times
    answer    {"v": 1, "id": 7, "ok": true, "result": {...}}
    refusal   {"v": 1, "id": 7, "ok": false, "error": {"code": "not_found", "message": "...", "errno": 2}}

| field | meaning |
|---|---|
| v | version of this protocol; another one is refused with code "version" |
| id | chosen by the client, 0 to 2**53 - 1, comes back with each line; null where a request had none |
| verb, args | see `service`; `args` may be missing |
| progress | only of verbs that take long; an empty one is a sign of life. Fields differ by verb |
| error | `code` is one of `ErrorCode`, `message` one line for people, `errno` what a system call would say |

A connection carries any number of requests, one at a time. A path is relative to the root of the
mount, without a leading slash, "" for the root; bytes that are not UTF-8 are lone surrogates
U+DC80..U+DCFF, as everywhere in Python (PEP 383), in JSON `\\udc80`. A field that is not known is
passed over by both sides, so fields can be added within a version.

Pure: no I/O, no checkpoints. Imports nothing that is slow to load.
"""

import enum
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

VERSION: Final = 1
REQUEST_LIMIT_BYTES: Final = 64 * 1024
ANSWER_LIMIT_BYTES: Final = 1024 * 1024
ID_MAX: Final = 2**53 - 1

Json: TypeAlias = dict[str, Any]


class ErrorCode(enum.StrEnum):
    """Why a request was refused or failed."""

    BAD_REQUEST = "bad_request"  # not JSON, a field is missing or of the wrong type, too long
    VERSION = "version"
    UNKNOWN_VERB = "unknown_verb"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    BUSY = "busy"  # the mount is in use; or too many clients
    TIMEOUT = "timeout"
    FAILED = "failed"  # `errno` and `message` say how
    INTERNAL = "internal"  # a fault of tierfs; its log has the details


class Request(NamedTuple):
    """One request as it came, its types checked."""

    id: int
    verb: str
    args: Mapping[str, Any]


class ProtocolError(Exception):
    """A line that is no message of this protocol. `id` is that of the request where it could be read."""

    def __init__(self, code: ErrorCode, message: str, request_id: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as one line. ASCII only, so that lone surrogates travel and no line break can hide in it."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> Json:
    """The object in a line; raises ProtocolError for anything else."""
    try:
        # as text: for bytes the JSON reader would guess UTF-16 and UTF-32 too
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "not a line of JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "not a JSON object")
    return message


def parse_request(line: bytes) -> Request:
    """A request from a line; raises ProtocolError with the request's id where it has one."""
    message = decode(line)
    request_id = message.get("id")
    # bool is an int in Python
    if type(request_id) is not int or not 0 <= request_id <= ID_MAX:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "id must be a whole number from 0 to 2**53 - 1")
    version = message.get("v")
    if version != VERSION:
        raise ProtocolError(
            ErrorCode.VERSION, f"this daemon speaks version {VERSION} of the protocol, not {version!r:.20}", request_id
        )
    verb, args = message.get("verb"), message.get("args", {})
    if not isinstance(verb, str):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "verb must be a text", request_id)
    if not isinstance(args, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "args must be an object", request_id)
    return Request(request_id, verb, args)


def request(request_id: int, verb: str, args: Mapping[str, Any]) -> bytes:
    """The line of a request."""
    return encode({"v": VERSION, "id": request_id, "verb": verb, "args": dict(args)})


def progress(request_id: int, fields: Mapping[str, Any]) -> bytes:
    """The line that reports progress."""
    return encode({"v": VERSION, "id": request_id, "progress": dict(fields)})


def answer(request_id: int, result: Mapping[str, Any]) -> bytes:
    """The line of a good end. One that would be too long for a client becomes a failure."""
    line = encode({"v": VERSION, "id": request_id, "ok": True, "result": dict(result)})
    if len(line) > ANSWER_LIMIT_BYTES:
        return failure(request_id, ErrorCode.INTERNAL, f"the answer is longer than {ANSWER_LIMIT_BYTES} bytes")
    return line


def failure(request_id: int | None, code: ErrorCode, message: str, errno: int = 0) -> bytes:
    """The line of a bad end."""
    error = {"code": code.value, "message": message[:4096], "errno": errno}
    return encode({"v": VERSION, "id": request_id, "ok": False, "error": error})


def path_to_json(path: bytes) -> str:
    """Bytes of a path as they travel in JSON."""
    return path.decode("utf-8", "surrogateescape")


def path_from_json(text: str) -> bytes:
    """The way back; raises UnicodeEncodeError for surrogates that no path can have given."""
    return text.encode("utf-8", "surrogateescape")
