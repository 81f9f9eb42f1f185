"""What the S3 double remembers: buckets, versions of objects, uploads; and S3's errors and checksums.

Sources of the rules: the Amazon S3 API Reference and User Guide (limits, conditional requests,
multipart uploads, checking object integrity).
"""

import base64
import bisect
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tierfs import native

MIB: Final = 1 << 20
GIB: Final = 1 << 30
COPY_LIMIT_BYTES: Final = 5 * GIB
PUT_LIMIT_BYTES: Final = 5 * GIB
PART_MIN_BYTES: Final = 5 * MIB
PARTS_MAX: Final = 10_000
KEY_MAX_BYTES: Final = 1024
USER_META_MAX_BYTES: Final = 2048
TAGS_MAX: Final = 10
ARCHIVED_CLASSES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
CLASSES: Final = ARCHIVED_CLASSES | {
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "REDUCED_REDUNDANCY",
}
# the headers that S3 keeps with an object, beside x-amz-meta-*
SYSTEM_HEADERS: Final = (
    "content-type",
    "cache-control",
    "content-encoding",
    "content-disposition",
    "content-language",
    "expires",
)
CHECKSUMS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: native.crc32c(data).to_bytes(4, "big"),
    "crc64nvme": lambda data: native.crc64nvme(data).to_bytes(8, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


class S3Error(Exception):
    """An <Error> answer."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or code


def precondition_failed(header: str) -> S3Error:
    return S3Error(412, "PreconditionFailed", f"At least one of the pre-conditions did not hold: {header}")


def no_such_key() -> S3Error:
    return S3Error(404, "NoSuchKey", "The specified key does not exist.")


class Blob:
    """Bytes in pieces; an int is a run of so many zeros, so that an object of 6 GiB costs nothing."""

    def __init__(self, pieces: list[bytes | int]) -> None:
        self.pieces = pieces
        self.size_bytes = sum(piece if isinstance(piece, int) else len(piece) for piece in pieces)

    @property
    def is_sparse(self) -> bool:
        return any(isinstance(piece, int) for piece in self.pieces)

    def slice(self, start: int, stop: int) -> "Blob":
        found: list[bytes | int] = []
        at = 0
        for piece in self.pieces:
            size = piece if isinstance(piece, int) else len(piece)
            low, high = max(start - at, 0), min(stop - at, size)
            if low < high:
                found.append(high - low if isinstance(piece, int) else piece[low:high])
            at += size
        return Blob(found)

    def read(self) -> bytes:
        return b"".join(bytes(piece) for piece in self.pieces)  # bytes(int) are zeros

    def md5(self) -> bytes:
        if self.is_sparse:  # nobody wants the MD5 of gigabytes of zeros: any unique value serves
            return os.urandom(16)
        return hashlib.md5(self.read()).digest()


@dataclass
class Version:
    """One version of an object, or a delete marker."""

    blob: Blob
    etag: str
    system: dict[str, str] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    modified_s: int = 0
    version_id: str = "null"
    is_delete_marker: bool = False
    restore: str = ""  # the x-amz-restore header

    @property
    def is_archived(self) -> bool:
        return self.storage_class in ARCHIVED_CLASSES and 'ongoing-request="false"' not in self.restore


@dataclass
class Part:
    blob: Blob
    md5: bytes
    checksums: dict[str, str]
    modified_s: int

    @property
    def etag(self) -> str:
        return self.md5.hex()


@dataclass
class Upload:
    upload_id: str
    key: str
    template: Version  # everything but the bytes
    started_s: float
    checksum_algorithm: str = ""
    checksum_type: str = ""
    parts: dict[int, Part] = field(default_factory=dict)


class Bucket:
    """Objects in the order of their keys' bytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_versioned = False
        self.uploads: dict[str, Upload] = {}
        # how often a key was written or deleted: a conditional request that overlaps one of these is a conflict
        self.changes: dict[str, int] = {}
        self._versions: dict[str, list[Version]] = {}
        self._keys: list[bytes] = []

    def current(self, key: str) -> Version | None:
        versions = self._versions.get(key)
        return None if not versions or versions[-1].is_delete_marker else versions[-1]

    def version(self, key: str, version_id: str) -> Version | None:
        found = [v for v in self._versions.get(key, []) if v.version_id == version_id]
        return found[0] if found else None

    def put(self, key: str, version: Version) -> None:
        self.changes[key] = self.changes.get(key, 0) + 1
        versions = self._versions.setdefault(key, [])
        if not versions:
            bisect.insort(self._keys, key.encode())
        if not self.is_versioned:
            versions[:] = [v for v in versions if v.version_id != "null"]
        version.version_id = os.urandom(12).hex() if self.is_versioned else "null"
        versions.append(version)

    def delete(self, key: str) -> Version | None:
        """What DELETE without a version id does; returns the delete marker in a versioned bucket."""
        self.changes[key] = self.changes.get(key, 0) + 1
        if self.is_versioned:
            marker = Version(Blob([]), "", is_delete_marker=True)
            self.put(key, marker)
            return marker
        self._drop(key)
        return None

    def delete_version(self, key: str, version_id: str) -> None:
        versions = [v for v in self._versions.get(key, []) if v.version_id != version_id]
        if versions:
            self._versions[key] = versions
        else:
            self._drop(key)

    def keys_from(self, start: bytes) -> Iterator[tuple[str, Version]]:
        """Current objects with keys >= start."""
        for position in range(bisect.bisect_left(self._keys, start), len(self._keys)):
            key = self._keys[position].decode()
            version = self.current(key)
            if version is not None:
                yield key, version

    def versions(self) -> Iterator[tuple[str, Version]]:
        for encoded in self._keys:
            key = encoded.decode()
            for version in reversed(self._versions[key]):
                yield key, version

    @property
    def is_empty(self) -> bool:
        return not self._keys

    def _drop(self, key: str) -> None:
        if self._versions.pop(key, None) is not None:
            del self._keys[bisect.bisect_left(self._keys, key.encode())]


def checksum(algorithm: str, data: bytes) -> str:
    return base64.b64encode(CHECKSUMS[algorithm](data)).decode()
