"""How the writers of POSIX metadata spell numbers, modes and times. Pure; None for what cannot be read."""

import re
import stat
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from tierfs.units import NS_PER_S

_ID_MAX: Final = (1 << 32) - 2  # (uid_t)-1 means "leave it" to chown(2)
_TIME_MAX_NS: Final = (1 << 63) - 1
_TYPES: Final = frozenset(
    {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK}
)
_DECIMAL: Final = re.compile(r"[0-9]{1,20}")
_OCTAL: Final = re.compile(r"[0-7]{1,8}")
_FILE_TIME: Final = re.compile(r"(-?[0-9]{1,20})(ns)?")
_SECONDS: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]*))?")
_DATE: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))? ?(Z|[+-][0-9]{2}:?[0-9]{2})"
)


def number(text: str | None) -> int | None:
    """A uid, gid or device number. DataSync from HDFS, and people, write names."""
    if text is None or not _DECIMAL.fullmatch(text):
        return None
    found = int(text)
    return found if found <= _ID_MAX else None


def hexadecimal(text: str | None) -> int | None:
    """rclone's device numbers: `1abc`, without a prefix."""
    try:
        return int(text, 16) if text and text.isalnum() else None
    except ValueError:
        return None


def _valid(mode: int | None) -> int | None:
    """A mode with a known type, or without a type."""
    if mode is None or mode > 0o177777:
        return None
    return mode if stat.S_IFMT(mode) in _TYPES or not stat.S_IFMT(mode) else None


def octal_mode(text: str | None) -> int | None:
    """`0100664` and `100755`: st_mode in octal, with or without the leading 0 and the type."""
    return _valid(int(text, 8)) if text and _OCTAL.fullmatch(text) else None


def decimal_mode(text: str | None) -> int | None:
    """`33188` and `420`: s3sync."""
    return _valid(int(text)) if text and _DECIMAL.fullmatch(text) else None


def is_octal_mode(text: str) -> bool:
    """Whether the key `mode`, which two writers use, is rclone's octal and not s3fs's and geesefs's decimal.

    A leading 0, a number above 65535, or one that is no mode with a type when read as decimal.
    """
    if not _OCTAL.fullmatch(text):
        return False
    return (text.startswith("0") and len(text) > 1) or int(text) > 0xFFFF or stat.S_IFMT(int(text)) not in _TYPES


def mixed_mode(text: str | None) -> int | None:
    """The key `mode`: see `is_octal_mode`."""
    if text is None:
        return None
    return octal_mode(text) if is_octal_mode(text) else decimal_mode(text)


def _bounded(time_ns: int) -> int | None:
    return time_ns if abs(time_ns) <= _TIME_MAX_NS else None


def file_time_ns(text: str | None) -> int | None:
    """`1595002920000000000ns`; without the unit it is milliseconds."""
    found = _FILE_TIME.fullmatch(text) if text else None
    return _bounded(int(found[1]) * (1 if found[2] else 1_000_000)) if found else None


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "")[:9].ljust(9, "0"))


def time_ns(text: str | None) -> int | None:
    """`1595002920.123456789` (seconds, exact, without floats) or an RFC 3339 date."""
    if text is None:
        return None
    if seconds := _SECONDS.fullmatch(text):
        magnitude = int(seconds[2]) * NS_PER_S + _nanoseconds(seconds[3])
        return _bounded(-magnitude if seconds[1] else magnitude)
    if date := _DATE.fullmatch(text):
        try:
            moment = datetime.fromisoformat(date[1] + date[3])
        except ValueError:
            return None
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return _bounded((since.days * 86_400 + since.seconds) * NS_PER_S + _nanoseconds(date[2]))
    return None


def percent_decoded(text: str) -> bytes:
    """geesefs escapes bytes that a header cannot hold; a stray `%` stands for itself."""
    return unquote_to_bytes(text)
