"""The object store interface: what tierfs asks of a bucket, and nothing else.

Keys are `str` of at most 1,024 bytes of UTF-8, relative to the prefix that the store was opened
with. All methods are trio-async and raise only `StoreError`; a method may be cancelled at any
time, and then its effect on the bucket is unclear. Every implementation passes
`tests/conformance/test_objectstore.py`.

"Repeatable" below means: sending the same call again after an unclear answer has no further
effect. `retrying.RetryingStore` repeats what may be repeated; callers do not.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from attrs import field, frozen

from tierfs.errors import StoreError

Buffer: TypeAlias = bytes | bytearray | memoryview


class StorageClass(enum.StrEnum):
    """The classes of S3, as the API spells them."""

    STANDARD = "STANDARD"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    GLACIER_IR = "GLACIER_IR"
    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"
    EXPRESS_ONEZONE = "EXPRESS_ONEZONE"


class RestoreSpeed(enum.StrEnum):
    """How much is paid for an archived object to be readable sooner, as the API spells it."""

    EXPEDITED = "Expedited"
    STANDARD = "Standard"
    BULK = "Bulk"


EXPIRES_UNKNOWN: Final = "?"


@frozen
class ObjectMeta:
    """What travels with a body and is replaced as a whole: S3's system headers and user metadata.

    `user` has lower-case keys without the `x-amz-meta-` prefix; S3 limits the sum of its key and
    value bytes to 2,048. Empty strings mean "not set".

    `expires` may be EXPIRES_UNKNOWN in what a GET of a known version answers: a store's fast client
    may hide that header. `put` over a version, `begin_upload` and `copy` then keep the object's own.
    """

    user: Mapping[str, str] = field(factory=dict)
    content_type: str = ""
    cache_control: str = ""
    content_encoding: str = ""
    content_disposition: str = ""
    content_language: str = ""
    expires: str = ""


@frozen
class ObjectInfo:
    """One object as HEAD, GET or LIST shows it. LIST leaves `meta` None: it returns no metadata.

    A GET with `if_match` may leave `storage_class` "": not said, the caller knows it from a LIST or HEAD.
    """

    key: str
    size_bytes: int
    etag: str  # without the quotes; opaque
    last_modified_ns: int  # whole seconds on S3
    version_id: str = ""
    storage_class: str = StorageClass.STANDARD
    meta: ObjectMeta | None = None
    restore: str = ""  # S3's x-amz-restore header as sent; "" when there is none
    archive_status: str = ""  # of Intelligent-Tiering: ARCHIVE_ACCESS or DEEP_ARCHIVE_ACCESS; a LIST does not say it
    archived: bool = False  # a GET would fail with ARCHIVED
    content: str = ""  # "crc64nvme:<16 hex digits>" of the body, where the server made it; of a HEAD alone


@frozen
class ListPage:
    """One page of a listing. `prefixes` ("a/b/") are only filled with a delimiter.

    `token` continues the listing; "" at the end. Objects and prefixes are each in UTF-8 binary
    order on S3; directory buckets (S3 Express) and some servers keep no order.
    """

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[str]
    token: str = ""


@frozen
class ObjectVersion:
    """One row of a key's history: a version of its object, or (`is_deletion`) that it was deleted.

    The object is what is the latest, if that is no deletion.
    """

    key: str
    version_id: str
    last_modified_ns: int  # whole seconds on S3
    is_latest: bool
    is_deletion: bool = False
    size_bytes: int = 0
    etag: str = ""
    storage_class: str = ""


@frozen
class VersionPage:
    """The history of some keys, each key's newest first. `after` goes on with the next key; "" at the end."""

    versions: Sequence[ObjectVersion]
    after: str = ""


@frozen
class Body:
    """The bytes of a GET and the object that they came from; `data` has exactly the asked length."""

    data: Buffer
    info: ObjectInfo


@frozen
class IfMatch:
    """Write only over the object version with this ETag."""

    etag: str


@frozen
class IfAbsent:
    """Write only where no object is (If-None-Match: *)."""


@frozen
class Always:
    """Write whatever is there. Only for tierfs's own keys under .tierfs/."""


Condition: TypeAlias = IfMatch | IfAbsent | Always


@frozen
class Written:
    """What a successful write left in the bucket."""

    etag: str
    version_id: str = ""
    last_modified_ns: int = 0  # 0: the answer did not say (S3's PUT); a HEAD would


@frozen
class Capabilities:
    """What this server was seen to do; filled by `probe.py`, shown by doctor and status."""

    conditional_put: bool = True
    conditional_delete: bool = True
    conditional_copy: bool = True
    upload_part_copy: bool = True
    checksums: bool = True
    versioning: bool = False
    tags: bool = True
    storage_classes: bool = True  # a PUT's class is kept and shown
    class_changes: bool = True  # a copy of an object onto itself changes its class
    restores: bool = True  # archived objects can be made readable again
    # a key that ends with a slash keeps metadata and can be copied; else `.tierfs/markers/` stands in
    marker_metadata: bool = True
    live_prefixes: bool = True  # a prefix is listed only while an object lies below it
    ordered_listing: bool = True  # keys are listed in the order of their bytes, not directory by directory
    read_only: bool = False  # the probe's first write was refused: nothing else is known
    warnings: Sequence[str] = ()  # for people: what is missing, and what that means


class Upload(Protocol):
    """A multipart upload in progress: nothing is visible under the key before `complete`.

    Parts are numbered from 1, at least 5 MiB each but the last, at most 10,000. Parts may be sent
    in parallel and in any order; sending a number again replaces it (repeatable).
    """

    @property
    def upload_id(self) -> str:
        """What `abort_upload` knows it by, also in another process."""
        ...

    async def put_part(self, number: int, data: Buffer) -> None:
        """Sends the bytes of a part. Repeatable. INVALID for a number out of range."""
        ...

    async def copy_part(self, number: int, source_key: str, start: int, stop: int, *, if_match: str) -> None:
        """Bytes [start, stop) of another object as a part, copied by the server.

        PRECONDITION_FAILED when the source is no longer `if_match`.
        """
        ...

    async def complete(self, condition: Condition) -> Written:
        """Publishes the object. Not repeatable: after an unclear answer HEAD the key for the op id."""
        ...

    async def abort(self) -> None:
        """Drops the parts. Repeatable; never raises for an upload that is gone."""
        ...


class ObjectStore(Protocol):
    """A bucket (and a prefix in it)."""

    @property
    def source(self) -> str:
        """The URL that a user gave, without secrets: s3://bucket/prefix or file:///directory."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the server does, as far as it was found out; see `probe.py`."""
        ...

    @property
    def part_size_bytes(self) -> int:
        """The part size for multipart uploads and parallel ranged GETs."""
        ...

    async def check(self) -> None:
        """Proves that bucket, credentials and endpoint work (one LIST of one key).

        NO_SUCH_BUCKET, ACCESS_DENIED, BAD_CREDENTIALS, UNAVAILABLE with a message for people.
        """
        ...

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = 1000
    ) -> ListPage:
        """One page of the keys under `prefix`. Repeatable.

        `start_after` skips keys up to and including it; ignored when `token` is given.
        """
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Metadata of one object, `meta` filled. Repeatable. NOT_FOUND."""
        ...

    async def get(self, key: str, start: int, stop: int, *, if_match: str) -> Body:
        """Bytes [start, stop), `start < stop`, of the version with ETag `if_match` ("" = whatever
        is there). Repeatable.

        PRECONDITION_FAILED when the object changed, NOT_FOUND, ARCHIVED; CORRUPT when the body is
        shorter or longer than asked.
        """
        ...

    async def get_whole(self, key: str, *, if_match: str, limit_bytes: int) -> Body:
        """The whole object, also an empty one, with its metadata, in one request. Repeatable.

        TOO_LARGE when it has more than `limit_bytes` (the caller guessed wrong, nothing is lost).
        """
        ...

    async def put(
        self, key: str, data: Buffer, meta: ObjectMeta, condition: Condition, *, storage_class: str = ""
    ) -> Written:
        """One object from memory. Atomic. Not repeatable: after an unclear answer HEAD for the op id
        that the caller put into `meta.user["tierfs-op"]`.

        `storage_class` "" leaves the bucket's default.
        """
        ...

    async def begin_upload(self, key: str, meta: ObjectMeta, *, storage_class: str = "") -> Upload:
        """Starts a multipart upload. Each call starts another one."""
        ...

    async def copy(
        self,
        source_key: str,
        key: str,
        *,
        if_match: str,
        condition: Condition,
        meta: ObjectMeta | None = None,
        storage_class: str = "",
    ) -> Written:
        """A server-side copy; `meta` None keeps the source's metadata, else replaces all of it.

        Tags are kept. `source_key == key` with `meta` is a change of metadata. Any size: over 5 GiB it
        is an UploadPartCopy inside. An empty `storage_class` keeps the source's class.
        ARCHIVED when the source is archived; PRECONDITION_FAILED when the source is no longer
        `if_match` or the target does not meet `condition`.
        """
        ...

    async def restore(self, key: str, *, if_match: str, days: int, speed: RestoreSpeed) -> None:
        """Asks for a copy of an archived object that can be read for `days`; HEAD shows when it is there.

        An archive tier of Intelligent-Tiering gives the object itself back, whatever `days` says. Repeatable: one that
        is under way, or done, is not asked for again. NOT_FOUND; PRECONDITION_FAILED when it is no longer `if_match`;
        INVALID for an object that is not archived, and for a speed that its class does not have; UNSUPPORTED where the
        store cannot.
        """
        ...

    async def delete(self, key: str, *, if_match: str) -> None:
        """Deletes the version with ETag `if_match` ("" = whatever is there). Repeatable: a missing
        key is success. PRECONDITION_FAILED when it changed.
        """
        ...

    async def delete_many(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Unconditional batch delete, for tierfs's own keys; returns the failures. Repeatable."""
        ...

    async def list_versions(self, prefix: str, *, after: str = "", limit: int = 1000) -> VersionPage:
        """The history of the keys under `prefix` and behind `after`, some `limit` rows of it. Repeatable.

        Of a key with more than 1,000 versions the newest ones. Empty in a bucket that never kept versions;
        UNSUPPORTED where the store does not know such a thing.
        """
        ...

    async def undelete(self, key: str, deletion_id: str) -> None:
        """Takes the deletion with this version id back: what was before it, metadata and all, is the object again.

        Repeatable; no bytes are moved. Nothing happens where something was written since. UNSUPPORTED as above.
        """
        ...

    async def list_uploads(self, prefix: str) -> Sequence[tuple[str, str, int]]:
        """Unfinished multipart uploads: (key, upload id, started_ns)."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drops an unfinished upload of an earlier life. Repeatable."""
        ...

    async def aclose(self) -> None:
        """Frees connections and threads."""
        ...
