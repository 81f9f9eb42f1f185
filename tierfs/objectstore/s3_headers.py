"""Object metadata as HTTP headers, both ways. Pure functions.

Header values are ASCII. A value that is not (or that HTTP would trim or refuse) travels as one
RFC 2047 encoded word, which S3 decodes when it stores and encodes when it returns; other servers keep
the word. Both come back as the text. A word that holds plain ASCII was put there by its writer and is
left alone, so that what others wrote goes back as it came.
"""

import base64
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime
from typing import Final

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import ObjectInfo, ObjectMeta, StorageClass
from tierfs.objectstore.s3_xml import ARCHIVED_CLASSES
from tierfs.units import NS_PER_S

USER_PREFIX: Final = "x-amz-meta-"
# field of ObjectMeta: header
SYSTEM_HEADERS: Final = {
    "content_type": "Content-Type",
    "cache_control": "Cache-Control",
    "content_encoding": "Content-Encoding",
    "content_disposition": "Content-Disposition",
    "content_language": "Content-Language",
    "expires": "Expires",
}
_PLAIN: Final = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")  # printable ASCII, no blank at either end
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, lower case
_RESTORED: Final = 'ongoing-request="false"'


def encode_value(text: str) -> str:
    """A header value that any server takes: `text` itself, or one RFC 2047 word."""
    if _PLAIN.fullmatch(text):
        return text
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(StoreErrorKind.INVALID, f"metadata value {text!r} is not Unicode") from error
    return f"=?UTF-8?B?{base64.b64encode(raw).decode()}?="


def _decode_words(text: str) -> str:
    try:
        parts = decode_header(text)
        decoded = "".join(part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in parts)
    except (HeaderParseError, LookupError, UnicodeDecodeError, ValueError):
        return text
    return text if _PLAIN.fullmatch(decoded) else decoded


def decode_value(value: str) -> str:
    """The text of a header value as an HTTP client in Python hands it out (bytes as Latin-1)."""
    if not value.isascii():
        try:
            value = value.encode("latin-1").decode()
        except UnicodeError:
            return value
    return _decode_words(value) if "=?" in value else value


def encode_user(user: Mapping[str, str]) -> dict[str, str]:
    """User metadata as values for headers; INVALID for a key that no header can have."""
    for name in user:
        if not _TOKEN.fullmatch(name):
            raise StoreError(StoreErrorKind.INVALID, f"{name!r} cannot be the name of user metadata")
    return {name: encode_value(value) for name, value in user.items()}


def encode_system(meta: ObjectMeta) -> dict[str, str]:
    """The system headers that are set, by header name."""
    values = {header: getattr(meta, name) for name, header in SYSTEM_HEADERS.items()}
    return {header: encode_value(value) for header, value in values.items() if value}


def decode_meta(headers: Mapping[str, str]) -> ObjectMeta:
    """The metadata in an answer's headers; `headers` has lower-case names."""
    system = {name: decode_value(headers.get(header.lower(), "")) for name, header in SYSTEM_HEADERS.items()}
    user = {
        name.removeprefix(USER_PREFIX): decode_value(value)
        for name, value in headers.items()
        if name.startswith(USER_PREFIX)
    }
    return ObjectMeta(user=user, **system)


def parse_http_date_ns(text: str) -> int:
    """ "Sun, 22 Nov 2026 19:43:38 GMT" as ns; CORRUPT when it is no date."""
    try:
        time_ns = int(parsedate_to_datetime(text).timestamp()) * NS_PER_S
        if not -(1 << 63) <= time_ns < 1 << 63:
            raise ValueError("beyond 64 bits of nanoseconds")
        return time_ns
    except (TypeError, ValueError) as error:
        raise StoreError(StoreErrorKind.CORRUPT, f"Last-Modified {text!r} is no date") from error


def is_archived(storage_class: str, restore: str, archive_status: str) -> bool:
    """Whether a GET would be refused; `archive_status` is that of Intelligent-Tiering."""
    return (storage_class in ARCHIVED_CLASSES or bool(archive_status)) and _RESTORED not in restore


def decode_info(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """The object that a HEAD or a GET answered with; `headers` has lower-case names.

    The size is that of the whole object, also of a ranged GET.
    """
    whole = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
    if not whole.isdecimal():
        raise StoreError(StoreErrorKind.CORRUPT, "the answer does not say how long the object is", key=key)
    storage_class = headers.get("x-amz-storage-class") or StorageClass.STANDARD.value
    restore = headers.get("x-amz-restore", "")
    archive_status = headers.get("x-amz-archive-status", "")
    return ObjectInfo(
        key=key,
        size_bytes=int(whole),
        etag=headers.get("etag", "").strip('"'),
        last_modified_ns=parse_http_date_ns(headers.get("last-modified", "")),
        version_id=decode_version_id(headers.get("x-amz-version-id")),
        storage_class=storage_class,
        meta=decode_meta(headers),
        restore=restore,
        archive_status=archive_status,
        archived=is_archived(storage_class, restore, archive_status),
        content=decode_checksum(headers.get("x-amz-checksum-crc64nvme", "")),
    )


def decode_checksum(value: str) -> str:
    """S3's base64 of a CRC-64/NVME, which always is of the whole object, as in ObjectInfo.content; "" for no such."""
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        return ""
    return f"crc64nvme:{raw.hex()}" if len(raw) == 8 else ""


def decode_version_id(value: str | None) -> str:
    """ "" in a bucket without versions; S3 calls the version of an object from before them "null"."""
    return "" if value in (None, "null") else str(value)
