"""What boto3 calls take: preconditions, metadata, checksums and bodies as parameters. Pure functions."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from tierfs import native
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Buffer, Condition, IfAbsent, IfMatch, ObjectMeta, StorageClass
from tierfs.objectstore.s3_headers import SYSTEM_HEADERS, encode_system, encode_user

CHECKSUM: Final = "CRC64NVME"
_BOTO_NAMES: Final = {header: header.replace("-", "") for header in SYSTEM_HEADERS.values() if header != "Expires"}


@frozen
class Part:
    """A part that the server has; `crc` is None when nobody here saw its bytes."""

    etag: str
    length_bytes: int
    crc: int | None = None


@frozen
class PutExtras:
    """What a PUT carries beside body and metadata."""

    storage_class: str = ""
    tags: Mapping[str, str] = field(factory=dict)
    crc: int | None = None  # sent instead of that of the body: the probe tells a lie


def quoted(etag: str) -> str:
    """An ETag as a header has it."""
    return f'"{etag}"'


def encode_crc(crc: int) -> str:
    """As S3 wants it: big endian, base64."""
    return base64.b64encode(crc.to_bytes(8, "big")).decode()


def conditions(condition: Condition) -> dict[str, str]:
    """For boto3: preconditions on the key that is written."""
    match condition:
        case IfMatch(etag):
            return {"IfMatch": quoted(etag)}
        case IfAbsent():
            return {"IfNoneMatch": "*"}
        case _:
            return {}


def class_parameter(storage_class: str) -> dict[str, str]:
    """The storage class as a parameter, if it is worth naming."""
    # S3's default; a server that knows no classes may refuse its name
    return {"StorageClass": storage_class} if storage_class not in ("", StorageClass.STANDARD) else {}


def meta_parameters(meta: ObjectMeta) -> tuple[dict[str, Any], dict[str, str]]:
    """For boto3: parameters, and the headers that it would not send as they are."""
    system = encode_system(meta)
    raw = {"Expires": system.pop("Expires")} if "Expires" in system else {}
    parameters: dict[str, Any] = {_BOTO_NAMES[header]: value for header, value in system.items()}
    return {**parameters, "Metadata": encode_user(meta.user)}, raw


def body_of(data: Buffer) -> bytes | bytearray:
    """The bytes as boto3 takes them."""
    # botocore takes bytes and bytearray, or a file
    return bytes(data) if isinstance(data, memoryview) else data


def combined_crc(parts: Sequence[Part]) -> int | None:
    """The CRC of the whole object, where every part's is known."""
    crc = 0
    for part in parts:
        if part.crc is None:
            return None
        crc = native.crc64nvme_combine(crc, part.crc, part.length_bytes)
    return crc


def without_target(error: StoreError, condition: Condition) -> StoreError:
    """S3 answers If-Match on a missing key with 404: for the caller the version is gone, too."""
    is_missing_key = error.kind is StoreErrorKind.NOT_FOUND and not str(error.args[0]).startswith("NoSuchUpload")
    if isinstance(condition, IfMatch) and is_missing_key:
        return StoreError(
            StoreErrorKind.PRECONDITION_FAILED,
            "the object is gone",
            key=error.key,
            request_id=error.request_id,
            http_status=error.http_status,
        )
    return error
