"""One S3 request a method: blocking, stateless, on whole keys. Raises only `StoreError`.

Called in worker threads, several at a time. Which client sends what, and why:

- obstore: ranged GETs, whole GETs of a version that the caller knows, and PUTs of ordinary keys.
- `Wire`: HEAD, LIST, DELETE, tags, GETs that obstore cannot do or would tell too little of.
- boto3: everything with a body of XML, and PUTs that obstore cannot do.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import obstore

from tierfs import native
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import (
    EXPIRES_UNKNOWN,
    Body,
    Buffer,
    Condition,
    IfAbsent,
    IfMatch,
    ListPage,
    ObjectInfo,
    ObjectMeta,
    RestoreSpeed,
    VersionPage,
    Written,
)
from tierfs.objectstore.s3_connection import Answer, Connection
from tierfs.objectstore.s3_errors import Effect, from_answer, translating
from tierfs.objectstore.s3_headers import (
    SYSTEM_HEADERS,
    decode_info,
    decode_value,
    decode_version_id,
    encode_system,
    encode_user,
)
from tierfs.objectstore.s3_keys import fits_obstore, fits_xml
from tierfs.objectstore.s3_parameters import (
    CHECKSUM,
    Part,
    PutExtras,
    body_of,
    class_parameter,
    combined_crc,
    conditions,
    encode_crc,
    meta_parameters,
    quoted,
    without_target,
)
from tierfs.objectstore.s3_xml import HistoryPage, parse_listing, parse_tags, parse_versions
from tierfs.units import NS_PER_S

CONTENT_KEY: Final = "tierfs-content"
_PAGE_MAX: Final = 1000
_TELLS_CHECKSUM: Final = {"x-amz-checksum-mode": "ENABLED"}
_CONTENT_PREFIX: Final = "crc64nvme:"
_SYSTEM_NAMES: Final = {header: name for name, header in SYSTEM_HEADERS.items()}
_OBSTORE_NAMES: Final = frozenset(header.lower() for header in SYSTEM_HEADERS.values()) | {"storage-class"}


def check_content(info: ObjectInfo, data: Buffer) -> None:
    """CORRUPT when the body is not the one that its `tierfs-content` was made of."""
    stated = info.meta.user.get(CONTENT_KEY, "") if info.meta else ""
    if stated.startswith(_CONTENT_PREFIX):
        actual = f"{_CONTENT_PREFIX}{native.crc64nvme(data):016x}"
        if stated.lower() != actual:
            raise StoreError(StoreErrorKind.CORRUPT, f"the body is {actual}, stored was {stated}", key=info.key)


def _check_version(info: ObjectInfo, if_match: str) -> None:
    """A server that ignores If-Match must not bring bytes of another version."""
    if if_match and info.etag != if_match:
        raise StoreError(StoreErrorKind.PRECONDITION_FAILED, "the object has changed", key=info.key)


def _check_length(key: str, actual: int, asked: int) -> None:
    if actual != asked:
        raise StoreError(StoreErrorKind.CORRUPT, f"the body has {actual} bytes instead of {asked}", key=key)


class Requests:
    """The requests to one bucket. `connection` may be swapped between requests."""

    def __init__(self, connection: Connection, *, checksums: bool) -> None:
        self._connection = connection.with_checksums(checksums)
        self._bucket = connection.settings.bucket
        self._prefix = connection.settings.prefix
        self._checksums = checksums

    def set_checksums(self, wanted: bool) -> None:
        """Whether to send checksums from now on (the server was seen to check them)."""
        self._connection = self._connection.with_checksums(wanted)
        self._checksums = wanted

    def close(self) -> None:
        self._connection.close()

    def server_time_s(self) -> float | None:
        """See Wire."""
        return self._connection.wire.server_time_s()

    def _shown(self, full: str) -> str:
        return full[len(self._prefix) :]

    # reading

    def list_page(self, prefix: str, *, delimited: bool, token: str, start_after: str, limit: int) -> ListPage:
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(limit), "prefix": prefix}
        if delimited:
            query["delimiter"] = "/"
        if token:
            query["continuation-token"] = token
        elif start_after:
            query["start-after"] = start_after
        # S3 then tells of archived objects that have a readable copy; others ignore it
        headers = {"x-amz-optional-object-attributes": "RestoreStatus"}
        answer = self._wire("GET", "", query=query, headers=headers)
        return parse_listing(answer.body, self._prefix)

    def list_versions(self, prefix: str, *, after: str, limit: int) -> VersionPage:
        """What a page of the server cuts off of its last key's history comes with one more request."""
        page = self._version_page(prefix, {"key-marker": after} if after else {}, limit)
        if not page.cut_at:
            return VersionPage(page.versions, page.next_key)
        rest = self._version_page(prefix, {"key-marker": page.next_full, "version-id-marker": page.cut_at}, _PAGE_MAX)
        more = [version for version in rest.versions if version.key == page.next_key]
        return VersionPage([*page.versions, *more], page.next_key)

    def _version_page(self, prefix: str, position: Mapping[str, str], limit: int) -> HistoryPage:
        query = {"versions": "", "encoding-type": "url", "max-keys": str(limit), "prefix": prefix, **position}
        return parse_versions(self._wire("GET", "", query=query).body, self._prefix)

    def head(self, full: str) -> ObjectInfo:
        return self.head_and_tag_count(full)[0]

    def head_and_tag_count(self, full: str) -> tuple[ObjectInfo, int | None]:
        """The object, and how many tags it has; None where the server did not say (S3 leaves the
        header out when there are none, older servers always)."""
        try:
            answer = self._wire("HEAD", full, headers=_TELLS_CHECKSUM if self._checksums else None)
        except StoreError as error:
            if error.http_status not in (400, 403):
                raise
            # a HEAD has no body to tell bad credentials from a missing right; a GET has
            self._wire("GET", full, headers={"Range": "bytes=0-0"})
            raise
        count = answer.headers.get("x-amz-tagging-count", "")
        return decode_info(self._shown(full), answer.headers), int(count) if count.isdecimal() else None

    def get_range(self, full: str, start: int, stop: int, *, if_match: str) -> Body:
        if fits_obstore(full):
            try:
                return self._get_obstore(full, if_match=if_match, limit_bytes=stop - start, range_=(start, stop))
            except StoreError as error:
                if error.kind is not StoreErrorKind.PERMANENT or error.http_status:
                    raise
                # obstore did not understand the answer, say for metadata that is no ASCII
        return self._get_wire(full, if_match=if_match, range_=(start, stop))

    def get_whole(self, full: str, *, if_match: str, limit_bytes: int) -> Body:
        """`if_match` "": the caller knows nothing of the object and gets all headers. Otherwise it
        knows the version's class from a LIST or HEAD, and gets the body at a quarter of the cost."""
        if if_match and fits_obstore(full):
            try:
                body = self._get_obstore(full, if_match=if_match, limit_bytes=limit_bytes, range_=None)
            except StoreError as error:
                if error.kind is not StoreErrorKind.PERMANENT or error.http_status:
                    raise
            else:
                check_content(body.info, body.data)
                return body
        body = self._get_whole_wire(full, if_match=if_match, limit_bytes=limit_bytes)
        check_content(body.info, body.data)
        return body

    def _get_obstore(self, full: str, *, if_match: str, limit_bytes: int, range_: tuple[int, int] | None) -> Body:
        key = self._shown(full)
        options: dict[str, Any] = {"if_match": quoted(if_match)} if if_match else {}
        if range_:
            options["range"] = range_
        with self._connection.billing.get(full) as received, translating(key, Effect.READS):
            result = obstore.get(self._connection.objects, full, options=options or None)  # type: ignore[arg-type]
            info = self._info_of_result(key, result)
            _check_version(info, if_match)
            if range_ is None and info.size_bytes > limit_bytes:
                # the body is still on its way: dropping the result closes the connection
                raise StoreError(StoreErrorKind.TOO_LARGE, f"the object has {info.size_bytes} bytes", key=key)
            data = memoryview(result.bytes())
            received.size_bytes = len(data)
        _check_length(key, len(data), range_[1] - range_[0] if range_ else info.size_bytes)
        return Body(data, info)

    def _info_of_result(self, key: str, result: "obstore.GetResult") -> ObjectInfo:
        seen = result.meta
        system: dict[str, str] = {}
        user: dict[str, str] = {}
        for name, value in result.attributes.items():
            # a user key "content-type" differs from the header only by its case
            if name in _SYSTEM_NAMES:
                system[_SYSTEM_NAMES[name]] = decode_value(value)
            elif name != "Storage-Class":
                user[name] = decode_value(value)
        return ObjectInfo(
            key=key,
            size_bytes=seen["size"],
            etag=(seen["e_tag"] or "").strip('"'),
            last_modified_ns=int(seen["last_modified"].timestamp()) * NS_PER_S,
            version_id=decode_version_id(seen["version"]),
            storage_class="",
            meta=ObjectMeta(user=user, expires=EXPIRES_UNKNOWN, **system),
        )

    def _get_wire(self, full: str, *, if_match: str, range_: tuple[int, int] | None) -> Body:
        headers = {"If-Match": quoted(if_match)} if if_match else {}
        if range_:
            headers["Range"] = f"bytes={range_[0]}-{range_[1] - 1}"
        answer = self._wire("GET", full, headers=headers)
        info = decode_info(self._shown(full), answer.headers)
        _check_version(info, if_match)
        _check_length(info.key, len(answer.body), range_[1] - range_[0] if range_ else info.size_bytes)
        return Body(answer.body, info)

    def _get_whole_wire(self, full: str, *, if_match: str, limit_bytes: int) -> Body:
        """One request: a range that ends one byte beyond the limit. An empty object has no range
        (416), and only then a second request is needed."""
        headers = {"Range": f"bytes=0-{limit_bytes}"}
        if if_match:
            headers["If-Match"] = quoted(if_match)
        try:
            answer = self._wire("GET", full, headers=headers)
        except StoreError as error:
            if error.http_status != 416:
                raise
            info = self.head(full)
            _check_version(info, if_match)
            _check_length(info.key, 0, info.size_bytes)
            return Body(b"", info)
        info = decode_info(self._shown(full), answer.headers)
        _check_version(info, if_match)
        if info.size_bytes > limit_bytes:
            raise StoreError(StoreErrorKind.TOO_LARGE, f"the object has {info.size_bytes} bytes", key=info.key)
        _check_length(info.key, len(answer.body), info.size_bytes)
        return Body(answer.body, info)

    def read_tags(self, full: str) -> dict[str, str]:
        return parse_tags(self._wire("GET", full, query={"tagging": ""}).body)

    def list_uploads(self, prefix: str, limit: int) -> Sequence[tuple[str, str, int]]:
        found: list[tuple[str, str, int]] = []
        position: dict[str, str] = {}
        while len(found) < limit:
            with translating(self._shown(prefix), Effect.READS):
                page = self._connection.client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix, **position)
            for upload in page.get("Uploads", []):
                started_ns = int(upload["Initiated"].timestamp()) * NS_PER_S
                found.append((self._shown(upload["Key"]), upload["UploadId"], started_ns))
            if not page.get("IsTruncated"):
                break
            position = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        return found[:limit]

    # writing

    def put(self, full: str, data: Buffer, meta: ObjectMeta, condition: Condition, extras: PutExtras) -> Written:
        is_plain = (
            fits_obstore(full)
            and not meta.expires
            and extras.crc is None
            and _OBSTORE_NAMES.isdisjoint(meta.user)  # obstore would take such a user key for the header
        )
        try:
            if is_plain:
                return self._put_obstore(full, data, meta, condition, extras)
            return self._put_boto(full, data, meta, condition, extras)
        except StoreError as error:
            raise without_target(error, condition) from error

    def _put_obstore(
        self, full: str, data: Buffer, meta: ObjectMeta, condition: Condition, extras: PutExtras
    ) -> Written:
        attributes = {**encode_user(meta.user), **encode_system(meta)}
        if class_parameter(extras.storage_class):
            attributes["Storage-Class"] = extras.storage_class
        mode: Any = "overwrite"
        if isinstance(condition, IfMatch):
            mode = {"e_tag": quoted(condition.etag)}
        elif isinstance(condition, IfAbsent):
            mode = "create"
        billed = self._connection.billing.put(full, len(data), extras.storage_class)
        with billed, translating(self._shown(full), Effect.WRITES):
            result = obstore.put(
                self._connection.objects,
                full,
                data,
                attributes=attributes,
                tags=dict(extras.tags) or None,
                mode=mode,
                use_multipart=False,
            )
        return Written(etag=(result["e_tag"] or "").strip('"'), version_id=decode_version_id(result["version"]))

    def _put_boto(self, full: str, data: Buffer, meta: ObjectMeta, condition: Condition, extras: PutExtras) -> Written:
        parameters, raw = meta_parameters(meta)
        if extras.tags:
            parameters["Tagging"] = urlencode(extras.tags)
        with translating(self._shown(full), Effect.WRITES), self._connection.raw_headers(raw):
            answer = self._connection.client.put_object(
                Bucket=self._bucket,
                Key=full,
                Body=body_of(data),
                **parameters,
                **conditions(condition),
                **class_parameter(extras.storage_class),
                **self._checksum(native.crc64nvme(data) if extras.crc is None else extras.crc),
            )
        return Written(etag=answer["ETag"].strip('"'), version_id=decode_version_id(answer.get("VersionId")))

    def copy(
        self,
        source_full: str,
        full: str,
        *,
        if_match: str,
        condition: Condition,
        meta: ObjectMeta | None,
        storage_class: str,
    ) -> Written:
        """Up to 5 GiB in one request. `storage_class` "": S3's default, not the source's."""
        parameters, raw = meta_parameters(meta) if meta is not None else ({}, {})
        with translating(self._shown(full), Effect.WRITES), self._connection.raw_headers(raw):
            answer = self._connection.client.copy_object(
                Bucket=self._bucket,
                Key=full,
                CopySource={"Bucket": self._bucket, "Key": source_full},
                CopySourceIfMatch=quoted(if_match),
                MetadataDirective="REPLACE" if meta is not None else "COPY",
                **parameters,
                **conditions(condition),
                **({"StorageClass": storage_class} if storage_class else {}),
            )
        result = answer["CopyObjectResult"]
        return Written(
            etag=result["ETag"].strip('"'),
            version_id=decode_version_id(answer.get("VersionId")),
            last_modified_ns=int(result["LastModified"].timestamp()) * NS_PER_S if "LastModified" in result else 0,
        )

    def restore(self, full: str, *, version_id: str, days: int | None, speed: RestoreSpeed) -> None:
        """`days` None: for good, which only Intelligent-Tiering knows."""
        asked: dict[str, Any] = {"GlacierJobParameters": {"Tier": speed.value}}
        if days is not None:
            asked["Days"] = days
        version = {"VersionId": version_id} if version_id else {}
        try:
            with translating(self._shown(full), Effect.WRITES):
                self._connection.client.restore_object(Bucket=self._bucket, Key=full, RestoreRequest=asked, **version)
        except StoreError as error:
            if not str(error.args[0]).startswith("RestoreAlreadyInProgress"):
                raise

    def delete(self, full: str, *, if_match: str, version_id: str = "") -> None:
        """The object, or for good one row of its history: in a bucket with versions a deletion is such a row."""
        headers = {"If-Match": quoted(if_match)} if if_match else {}
        query = {"versionId": version_id} if version_id else {}
        try:
            self._wire("DELETE", full, query=query, headers=headers, effect=Effect.WRITES)
        except StoreError as error:
            if error.kind is not StoreErrorKind.NOT_FOUND:
                raise

    def delete_many(self, fulls: Sequence[str]) -> dict[str, StoreError]:
        """At most 1,000 keys; returns the failures by the key without the prefix."""
        failed: dict[str, StoreError] = {}
        named = [full for full in fulls if fits_xml(full)]
        for full in set(fulls).difference(named):
            try:
                self.delete(full, if_match="")
            except StoreError as error:
                failed[self._shown(full)] = error
        if not named:
            return failed
        with translating("", Effect.WRITES):
            answer = self._connection.client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": full} for full in named], "Quiet": True}
            )
        for refusal in answer.get("Errors", []):
            key = self._shown(refusal["Key"])
            code, message = str(refusal.get("Code", "")), str(refusal.get("Message", ""))
            if code not in ("NoSuchKey", "NotFound"):
                failed[key] = from_answer(200, code, message, key=key, effect=Effect.WRITES)
        return failed

    # multipart

    def create_upload(self, full: str, meta: ObjectMeta, extras: PutExtras) -> str:
        parameters, raw = meta_parameters(meta)
        if extras.tags:
            parameters["Tagging"] = urlencode(extras.tags)
        if self._checksums:
            parameters |= {"ChecksumAlgorithm": CHECKSUM, "ChecksumType": "FULL_OBJECT"}
        with translating(self._shown(full), Effect.WRITES), self._connection.raw_headers(raw):
            answer = self._connection.client.create_multipart_upload(
                Bucket=self._bucket, Key=full, **parameters, **class_parameter(extras.storage_class)
            )
        return str(answer["UploadId"])

    def put_part(self, full: str, upload_id: str, number: int, data: Buffer) -> Part:
        crc = native.crc64nvme(data) if self._checksums else None
        with translating(self._shown(full), Effect.WRITES):
            answer = self._connection.client.upload_part(
                Bucket=self._bucket,
                Key=full,
                UploadId=upload_id,
                PartNumber=number,
                Body=body_of(data),
                **self._checksum(crc),
            )
        return Part(etag=answer["ETag"], length_bytes=len(data), crc=crc)

    def copy_part(
        self, full: str, upload_id: str, number: int, *, source_full: str, start: int, stop: int, if_match: str
    ) -> Part:
        with translating(self._shown(full), Effect.WRITES):
            answer = self._connection.client.upload_part_copy(
                Bucket=self._bucket,
                Key=full,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": source_full},
                CopySourceRange=f"bytes={start}-{stop - 1}",
                CopySourceIfMatch=quoted(if_match),
            )
        return Part(etag=answer["CopyPartResult"]["ETag"], length_bytes=stop - start)

    def complete_upload(self, full: str, upload_id: str, parts: Mapping[int, Part], condition: Condition) -> Written:
        listed = [{"PartNumber": number, "ETag": parts[number].etag} for number in sorted(parts)]
        crc = combined_crc([parts[number] for number in sorted(parts)])
        checksum = {**self._checksum(crc), "ChecksumType": "FULL_OBJECT"} if self._checksum(crc) else {}
        try:
            with translating(self._shown(full), Effect.WRITES):
                answer = self._connection.client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=full,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": listed},
                    **checksum,
                    **conditions(condition),
                )
        except StoreError as error:
            raise without_target(error, condition) from error
        return Written(etag=answer["ETag"].strip('"'), version_id=decode_version_id(answer.get("VersionId")))

    def abort_upload(self, full: str, upload_id: str) -> None:
        try:
            with translating(self._shown(full), Effect.WRITES):
                self._connection.client.abort_multipart_upload(Bucket=self._bucket, Key=full, UploadId=upload_id)
        except StoreError as error:
            if error.kind is not StoreErrorKind.NOT_FOUND:
                raise

    # helpers

    def _wire(
        self,
        method: str,
        full: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        effect: Effect = Effect.READS,
    ) -> Answer:
        return self._connection.wire.request(
            method, full, key=self._shown(full), effect=effect, query=query, headers=headers
        )

    def _checksum(self, crc: int | None) -> dict[str, str]:
        return {f"Checksum{CHECKSUM}": encode_crc(crc)} if self._checksums and crc is not None else {}
