"""Arguments of a request, checked; and how a request is refused. Pure."""

import enum
import errno as errno_codes
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from tierfs.control import protocol
from tierfs.control.protocol import ErrorCode, Request

Progress: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Takes the latest state of long work, e.g. {"files": 3, "bytes": 4096} left; never blocks, may drop."""

WAIT_LIMIT_S: Final = 30 * 86400.0
NUMBER_MAX: Final = 2**63 - 1
_Choice = TypeVar("_Choice", bound=enum.StrEnum)


class Refusal(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, code: ErrorCode, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.errno = errno


def path_of(request: Request) -> bytes | None:
    """The path of a request, None where it has none; b"" is the root."""
    text = request.args.get("path")
    return None if text is None else _path(text, "path")


def paths_of(request: Request, name: str) -> list[bytes]:
    """A list of paths; none where the request has no such list."""
    texts = request.args.get(name, [])
    if not isinstance(texts, list):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be a list of paths", errno_codes.EINVAL)
    return [_path(text, f"each of {name}") for text in texts]


def _path(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be a text", errno_codes.EINVAL)
    try:
        path = protocol.path_from_json(text)
    except UnicodeEncodeError:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} holds characters that no path has", errno_codes.EINVAL) from None
    if b"\0" in path or path.startswith(b"/") or {b".", b".."} & set(path.split(b"/")):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be plain and relative to the mount", errno_codes.EINVAL)
    return path.rstrip(b"/")


def timeout_of(request: Request) -> float:
    """How long to wait at most."""
    value = request.args.get("timeout_s")
    if value is None:
        return WAIT_LIMIT_S
    if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value) or value < 0:
        raise Refusal(ErrorCode.BAD_REQUEST, "timeout_s must be a number of seconds", errno_codes.EINVAL)
    return min(float(value), WAIT_LIMIT_S)


def number_of(request: Request, name: str, default: int | None = None) -> int:
    """A whole number that is not negative; a missing one is `default`, unless that is None."""
    value = request.args.get(name, default)
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be a whole number", errno_codes.EINVAL)
    return value


def choice_of(request: Request, name: str, choices: type[_Choice]) -> _Choice:
    """One of the values of an enumeration."""
    try:
        return choices(request.args.get(name, ""))
    except ValueError:
        known = ", ".join(choices)
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be one of: {known}", errno_codes.EINVAL) from None


def switch_of(request: Request, name: str, default: bool) -> bool:
    """True or false."""
    value = request.args.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be true or false", errno_codes.EINVAL)
    return value
