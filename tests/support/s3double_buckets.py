"""The operations of the S3 double on buckets and uploads: listings, versions, multipart.

Every function is called under the double's lock and answers with a `Reply` or raises `S3Error`.
"""

import base64
import hashlib
import itertools
import os
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from tests.support import s3double_ops as ops
from tests.support import s3double_state as state
from tests.support.s3double_ops import FindBucket, iso_time, parse_xml, quoted, xml_reply
from tests.support.s3double_state import Blob, Bucket, Part, S3Error, Upload, Version
from tests.support.s3double_wire import Reply, Request

# -- listings


class _Text:
    """How keys are written into a listing: URL-encoded on request, else as XML 1.0 can (or cannot) hold them."""

    def __init__(self, encoding: str) -> None:
        self._is_url = encoding == "url"

    def __call__(self, key: str) -> str:
        if self._is_url:
            return quote_plus(key, safe="/*-._")
        # S3 sends control characters as references that no XML 1.0 parser accepts
        return "".join(f"&#x{ord(c):x};" if ord(c) < 32 else escape(c) for c in key)


def list_objects_v2(bucket: Bucket, request: Request) -> Reply:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    limit = min(_int(query.get("max-keys", "1000")), 1000)
    token = query.get("continuation-token")
    after = _open_token(token) if token is not None else query.get("start-after", "")
    text = _Text(query.get("encoding-type", ""))
    contents, prefixes, last, is_truncated = _collect(bucket, prefix, delimiter, after, limit)
    inner = f"<Name>{bucket.name}</Name><Prefix>{text(prefix)}</Prefix><MaxKeys>{limit}</MaxKeys>"
    inner += (
        f"<KeyCount>{len(contents) + len(prefixes)}</KeyCount><IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
    )
    if delimiter:
        inner += f"<Delimiter>{text(delimiter)}</Delimiter>"
    if query.get("encoding-type"):
        inner += f"<EncodingType>{query['encoding-type']}</EncodingType>"
    if is_truncated:
        inner += f"<NextContinuationToken>{_close_token(last)}</NextContinuationToken>"
    inner += "".join(f"<Contents>{_entry(text(key), version)}</Contents>" for key, version in contents)
    inner += "".join(f"<CommonPrefixes><Prefix>{text(found)}</Prefix></CommonPrefixes>" for found in prefixes)
    return xml_reply("ListBucketResult", inner)


def _collect(
    bucket: Bucket, prefix: str, delimiter: str, after: str, limit: int
) -> tuple[list[tuple[str, Version]], list[str], str, bool]:
    contents: list[tuple[str, Version]] = []
    prefixes: list[str] = []
    last = ""
    start = max(prefix.encode(), after.encode())
    for key, version in bucket.keys_from(start):
        if not key.startswith(prefix):
            if key.encode() > prefix.encode():
                break
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        rolled = prefix + head + delimiter if found else ""
        if (rolled or key).encode() <= after.encode() or (prefixes and rolled == prefixes[-1]):
            continue
        if len(contents) + len(prefixes) >= limit:
            return contents, prefixes, last, limit > 0
        if rolled:
            prefixes.append(rolled)
        else:
            contents.append((key, version))
        last = rolled or key
    return contents, prefixes, last, False


def _int(text: str) -> int:
    if not text.isdecimal():
        raise S3Error(400, "InvalidArgument", "Provided max-keys not an integer or within integer range")
    return int(text)


def _close_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _open_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError as error:
        raise S3Error(400, "InvalidArgument", "The continuation token provided is incorrect") from error


def _entry(key: str, version: Version) -> str:
    return (
        f"<Key>{key}</Key><LastModified>{iso_time(version.modified_s)}</LastModified>"
        f"<ETag>{escape(quoted(version.etag))}</ETag><Size>{version.blob.size_bytes}</Size>"
        f"<StorageClass>{version.storage_class}</StorageClass>"
    )


def list_object_versions(bucket: Bucket, request: Request) -> Reply:
    query = request.query
    text = _Text(query.get("encoding-type", ""))
    prefix, limit = query.get("prefix", ""), min(_int(query.get("max-keys", "1000")), 1000)
    rows = [(key, version) for key, version in bucket.versions() if key.startswith(prefix)]
    newest: dict[str, Version] = {}
    for key, version in rows:
        newest.setdefault(key, version)
    start = _position(rows, query.get("key-marker", ""), query.get("version-id-marker", ""))
    page = rows[start : start + limit]
    is_truncated = start + limit < len(rows)
    inner = f"<Name>{bucket.name}</Name><Prefix>{text(prefix)}</Prefix>"
    inner += f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
    if query.get("encoding-type"):
        inner += f"<EncodingType>{query['encoding-type']}</EncodingType>"
    if is_truncated:
        inner += f"<NextKeyMarker>{text(page[-1][0])}</NextKeyMarker>"
        inner += f"<NextVersionIdMarker>{page[-1][1].version_id}</NextVersionIdMarker>"
    for key, version in page:
        tag = "DeleteMarker" if version.is_delete_marker else "Version"
        inner += f"<{tag}>{_entry(text(key), version)}<VersionId>{version.version_id}</VersionId>"
        inner += f"<IsLatest>{str(version is newest[key]).lower()}</IsLatest></{tag}>"
    return xml_reply("ListVersionsResult", inner)


def _position(rows: list[tuple[str, Version]], key_marker: str, version_marker: str) -> int:
    """Where a history goes on: behind all of a key, or behind one version of it."""
    for position, (key, version) in enumerate(rows):
        if version_marker and key == key_marker and version.version_id == version_marker:
            return position + 1
        if key.encode() > key_marker.encode():
            return position
    return len(rows)


def get_versioning(bucket: Bucket) -> Reply:
    return xml_reply("VersioningConfiguration", "<Status>Enabled</Status>" if bucket.is_versioned else "")


def put_versioning(bucket: Bucket, request: Request) -> Reply:
    bucket.is_versioned = parse_xml(request.body).findtext("Status") == "Enabled"
    return Reply(200)


# -- multipart uploads


def create_upload(bucket: Bucket, request: Request, now_s: float) -> Reply:
    upload = Upload(
        os.urandom(24).hex(),
        request.key,
        ops.describe(request),
        now_s,
        checksum_algorithm=request.headers.get("x-amz-checksum-algorithm", "").lower(),
        checksum_type=request.headers.get("x-amz-checksum-type", ""),
    )
    bucket.uploads[upload.upload_id] = upload
    inner = f"<Bucket>{bucket.name}</Bucket><Key>{escape(request.key)}</Key><UploadId>{upload.upload_id}</UploadId>"
    return xml_reply("InitiateMultipartUploadResult", inner)


def _upload(bucket: Bucket, request: Request) -> Upload:
    upload = bucket.uploads.get(request.query.get("uploadId", ""))
    if upload is None or upload.key != request.key:
        raise S3Error(404, "NoSuchUpload", "The specified multipart upload does not exist.")
    return upload


def _part_number(request: Request) -> int:
    number = _int(request.query.get("partNumber", ""))
    if not 1 <= number <= state.PARTS_MAX:
        raise S3Error(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    return number


def upload_part(bucket: Bucket, request: Request, now_s: int) -> Reply:
    upload, number = _upload(bucket, request), _part_number(request)
    md5 = hashlib.md5(request.body).digest()
    part = Part(Blob([request.body]), md5, ops.given_checksums(request), now_s)
    upload.parts[number] = part
    return Reply(
        200, {"ETag": quoted(part.etag), **{f"x-amz-checksum-{name}": value for name, value in part.checksums.items()}}
    )


def upload_part_copy(bucket: Bucket, request: Request, now_s: int, find_bucket: FindBucket) -> Reply:
    upload, number = _upload(bucket, request), _part_number(request)
    _, _, source = ops.copy_source(request, find_bucket)
    blob = source.blob
    header = request.headers.get("x-amz-copy-source-range")
    if header is not None:
        first, _, last = header.removeprefix("bytes=").partition("-")
        if not (header.startswith("bytes=") and first.isdecimal() and last.isdecimal()):
            raise S3Error(
                400, "InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last"
            )
        start, stop = int(first), int(last) + 1
        if not start < stop <= blob.size_bytes:
            raise S3Error(
                400, "InvalidArgument", f"Range specified is not valid for source object of size: {blob.size_bytes}"
            )
        blob = blob.slice(start, stop)
    if blob.size_bytes > state.COPY_LIMIT_BYTES:
        raise S3Error(400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size")
    part = Part(blob, blob.md5(), {}, now_s)
    upload.parts[number] = part
    inner = f"<LastModified>{iso_time(now_s)}</LastModified><ETag>{escape(quoted(part.etag))}</ETag>"
    return xml_reply("CopyPartResult", inner)


def complete_upload(bucket: Bucket, request: Request, now_s: int) -> Reply:
    upload = _upload(bucket, request)
    parts = _chosen_parts(upload, request)
    ops.check_write(request, bucket)
    version = upload.template
    version.blob = Blob([piece for part in parts for piece in part.blob.pieces])
    version.etag = f"{hashlib.md5(b''.join(part.md5 for part in parts)).hexdigest()}-{len(parts)}"
    version.checksums = _object_checksums(upload, parts, version.blob)
    for name, value in ops.given_checksums(request).items():
        if version.checksums.get(name, value) != value:
            raise S3Error(400, "BadDigest", f"The {name} you specified did not match the calculated checksum.")
    version.modified_s = now_s
    bucket.put(upload.key, version)
    del bucket.uploads[upload.upload_id]
    inner = f"<Bucket>{bucket.name}</Bucket><Key>{escape(upload.key)}</Key><ETag>{escape(quoted(version.etag))}</ETag>"
    headers = {"x-amz-version-id": version.version_id} if bucket.is_versioned else {}
    return xml_reply("CompleteMultipartUploadResult", inner, headers)


def _chosen_parts(upload: Upload, request: Request) -> list[Part]:
    listed = [
        (int(element.findtext("PartNumber", "0")), element.findtext("ETag", "").strip('"'), element)
        for element in parse_xml(request.body).findall("Part")
    ]
    if not listed:
        raise S3Error(400, "MalformedXML", "The XML you provided was not well-formed")
    numbers = [number for number, _, _ in listed]
    if any(low >= high for low, high in itertools.pairwise(numbers)):
        raise S3Error(400, "InvalidPartOrder", "The list of parts was not in ascending order")
    parts = []
    for number, etag, element in listed:
        part = upload.parts.get(number)
        sums = {e.tag.removeprefix("Checksum").lower(): e.text for e in element if e.tag.startswith("Checksum")}
        if part is None or part.etag != etag or any(part.checksums.get(n, v) != v for n, v in sums.items()):
            raise S3Error(400, "InvalidPart", "One or more of the specified parts could not be found")
        parts.append(part)
    if any(part.blob.size_bytes < state.PART_MIN_BYTES for part in parts[:-1]):
        raise S3Error(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    return parts


def _object_checksums(upload: Upload, parts: list[Part], blob: Blob) -> dict[str, str]:
    name = upload.checksum_algorithm
    if not name or blob.is_sparse or any(name not in part.checksums for part in parts):
        return {}
    if upload.checksum_type == "FULL_OBJECT" or name == "crc64nvme":
        return {name: state.checksum(name, blob.read())}
    joined = b"".join(base64.b64decode(part.checksums[name]) for part in parts)
    return {name: f"{state.checksum(name, joined)}-{len(parts)}"}


def abort_upload(bucket: Bucket, request: Request) -> Reply:
    del bucket.uploads[_upload(bucket, request).upload_id]
    return Reply(204)


def list_parts(bucket: Bucket, request: Request) -> Reply:
    upload = _upload(bucket, request)
    inner = f"<Bucket>{bucket.name}</Bucket><Key>{escape(upload.key)}</Key><UploadId>{upload.upload_id}</UploadId>"
    inner += "<IsTruncated>false</IsTruncated>"
    for number, part in sorted(upload.parts.items()):
        inner += f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(quoted(part.etag))}</ETag>"
        inner += f"<Size>{part.blob.size_bytes}</Size><LastModified>{iso_time(part.modified_s)}</LastModified></Part>"
    return xml_reply("ListPartsResult", inner)


def list_uploads(bucket: Bucket, request: Request) -> Reply:
    text = _Text(request.query.get("encoding-type", ""))
    prefix = request.query.get("prefix", "")
    limit = min(_int(request.query.get("max-uploads", "1000")), 1000)
    mark = (request.query.get("key-marker", "").encode(), request.query.get("upload-id-marker", ""))
    found = sorted((u.key.encode(), u.upload_id) for u in bucket.uploads.values() if u.key.startswith(prefix))
    rest = [entry for entry in found if entry > mark and (mark[1] or entry[0] != mark[0])]
    page = rest[:limit]
    inner = f"<Bucket>{bucket.name}</Bucket><MaxUploads>{limit}</MaxUploads>"
    inner += f"<IsTruncated>{str(len(rest) > limit).lower()}</IsTruncated>"
    if request.query.get("encoding-type"):
        inner += f"<EncodingType>{request.query['encoding-type']}</EncodingType>"
    if len(rest) > limit:
        inner += f"<NextKeyMarker>{text(page[-1][0].decode())}</NextKeyMarker>"
        inner += f"<NextUploadIdMarker>{page[-1][1]}</NextUploadIdMarker>"
    for _, upload_id in page:
        upload = bucket.uploads[upload_id]
        inner += f"<Upload><Key>{text(upload.key)}</Key><UploadId>{upload_id}</UploadId>"
        inner += f"<StorageClass>{upload.template.storage_class}</StorageClass>"
        inner += f"<Initiated>{iso_time(int(upload.started_s))}</Initiated></Upload>"
    return xml_reply("ListMultipartUploadsResult", inner)
