"""The operations of the S3 double on objects: read, write, copy, delete, tags, restore.

Every function is called under the double's lock and answers with a `Reply` or raises `S3Error`.
"""

import email.utils
import hashlib
import re
from collections.abc import Callable
from email.header import decode_header
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.support import s3double_state as state
from tests.support.s3double_state import Blob, Bucket, S3Error, Version, no_such_key, precondition_failed
from tests.support.s3double_wire import Reply, Request, parse_query

USER_PREFIX = "x-amz-meta-"
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def xml_reply(root: str, inner: str, headers: dict[str, str] | None = None) -> Reply:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{root}>'
    return Reply(200, {"Content-Type": "application/xml", **(headers or {})}, Blob([text.encode()]))


def parse_xml(data: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise S3Error(400, "MalformedXML", "The XML you provided was not well-formed") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def quoted(etag: str) -> str:
    return f'"{etag}"'


def iso_time(seconds: int) -> str:
    text = email.utils.formatdate(seconds, usegmt=True)
    parsed = email.utils.parsedate_to_datetime(text)
    return parsed.strftime("%Y-%m-%dT%H:%M:%S.000Z")


# -- metadata


def decode_word(value: str) -> str:
    """S3 decodes an RFC 2047 word when it stores user metadata."""
    if not value.startswith("=?"):
        return value
    try:
        text = "".join(p if isinstance(p, str) else p.decode(charset or "ascii") for p, charset in decode_header(value))
    except (LookupError, ValueError):
        return value
    return value if text.isascii() else text


def encode_word(value: str) -> str:
    """And encodes what is not ASCII when it returns it."""
    if value.isascii():
        return value
    encoded = "".join(chr(b) if 33 <= b < 127 and b not in b"=?_" else f"={b:02X}" for b in value.encode())
    return f"=?UTF-8?Q?{encoded}?="


def parse_tags(text: str) -> dict[str, str]:
    tags = parse_query(text)
    if len(tags) > state.TAGS_MAX:
        raise S3Error(400, "BadRequest", "Object tags cannot be greater than 10")
    return tags


def describe(request: Request) -> Version:
    """The metadata, class and tags that a PUT, copy or new upload brings; no bytes yet."""
    headers = request.headers
    user = {
        name.removeprefix(USER_PREFIX): decode_word(value)
        for name, value in headers.items()
        if name.startswith(USER_PREFIX)
    }
    if sum(len(name.encode()) + len(value.encode()) for name, value in user.items()) > state.USER_META_MAX_BYTES:
        raise S3Error(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
    system = {name: headers[name] for name in state.SYSTEM_HEADERS if headers.get(name)}
    encodings = [part.strip() for part in system.pop("content-encoding", "").split(",")]
    kept = ",".join(part for part in encodings if part and part != "aws-chunked")
    if kept:
        system["content-encoding"] = kept
    system.setdefault("content-type", "binary/octet-stream")
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in state.CLASSES:
        raise S3Error(400, "InvalidStorageClass", "The storage class you specified is not valid")
    return Version(
        Blob([]),
        "",
        system=system,
        user=user,
        tags=parse_tags(headers.get("x-amz-tagging", "")),
        storage_class=storage_class,
    )


def object_headers(version: Version, *, with_checksums: bool) -> dict[str, str]:
    headers = {
        "ETag": quoted(version.etag),
        "Last-Modified": email.utils.formatdate(version.modified_s, usegmt=True),
        "Accept-Ranges": "bytes",
        **{name.title(): value for name, value in version.system.items()},
        **{USER_PREFIX + name: encode_word(value) for name, value in version.user.items()},
    }
    if version.version_id != "null":
        headers["x-amz-version-id"] = version.version_id
    if version.storage_class != "STANDARD":
        headers["x-amz-storage-class"] = version.storage_class
    if version.restore:
        headers["x-amz-restore"] = version.restore
    if version.tags:
        headers["x-amz-tagging-count"] = str(len(version.tags))
    if with_checksums:
        headers |= {f"x-amz-checksum-{name}": value for name, value in version.checksums.items()}
    return headers


# -- conditions


def _matches(header: str, version: Version) -> bool:
    wanted = {part.strip().strip('"') for part in header.split(",")}
    return "*" in wanted or version.etag in wanted


def check_read(request: Request, version: Version, prefix: str = "") -> None:
    """If-Match and If-None-Match of a read, or (with `x-amz-copy-source-`) of a copy's source."""
    match = request.headers.get(prefix + "if-match")
    if match is not None and not _matches(match, version):
        raise precondition_failed(prefix + "If-Match")
    none_match = request.headers.get(prefix + "if-none-match")
    if none_match is not None and _matches(none_match, version):
        raise precondition_failed(prefix + "If-None-Match") if prefix else S3Error(304, "NotModified")


def check_write(request: Request, bucket: Bucket) -> None:
    """If-Match and If-None-Match of a write, on what is at its key now."""
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match is None and none_match is None:
        return
    current = bucket.current(request.key)
    if none_match is not None:
        if none_match != "*":
            raise S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        if current is not None:
            raise precondition_failed("If-None-Match")
    if match is not None:
        if current is None:
            raise no_such_key()
        if not _matches(match, current):
            raise precondition_failed("If-Match")
    if bucket.changes.get(request.key, 0) != request.change_count:
        # the condition holds, and yet somebody wrote while this request was under way
        message = "The conditional request cannot succeed due to a conflicting operation against this resource."
        raise S3Error(409, "ConditionalRequestConflict", message)


# -- reads


def find(bucket: Bucket, request: Request) -> Version:
    version_id = request.query.get("versionId", "")
    version = bucket.version(request.key, version_id) if version_id else bucket.current(request.key)
    if version is None:
        raise S3Error(404, "NoSuchVersion") if version_id else no_such_key()
    if version.is_delete_marker:
        raise S3Error(405, "MethodNotAllowed")
    return version


def head_object(bucket: Bucket, request: Request) -> Reply:
    version = find(bucket, request)
    check_read(request, version)
    wants_sums = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    return Reply(200, object_headers(version, with_checksums=wants_sums), declared_bytes=version.blob.size_bytes)


def get_object(bucket: Bucket, request: Request) -> Reply:
    version = find(bucket, request)
    check_read(request, version)
    if version.is_archived:
        raise invalid_state("The operation is not valid for the object's storage class")
    wants_sums = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    bounds = _range_of(request.headers.get("range", ""), version.blob.size_bytes)
    if bounds is None:
        return Reply(200, object_headers(version, with_checksums=wants_sums), version.blob)
    start, stop = bounds
    headers = object_headers(version, with_checksums=False)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{version.blob.size_bytes}"
    return Reply(206, headers, version.blob.slice(start, stop))


def invalid_state(message: str) -> S3Error:
    return S3Error(403, "InvalidObjectState", message)


def _range_of(header: str, size_bytes: int) -> tuple[int, int] | None:
    found = _RANGE.fullmatch(header)
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:
        start, stop = max(size_bytes - int(found[2]), 0), size_bytes
    else:
        start = int(found[1])
        stop = min(int(found[2]) + 1, size_bytes) if found[2] else size_bytes
    if start >= size_bytes:
        raise S3Error(416, "InvalidRange", "The requested range is not satisfiable")
    return start, stop


# -- writes


def put_object(bucket: Bucket, request: Request, now_s: int) -> Reply:
    version = describe(request)
    check_write(request, bucket)
    version.blob = Blob([request.body])
    version.etag = hashlib.md5(request.body).hexdigest()
    version.checksums = given_checksums(request)
    version.modified_s = now_s
    bucket.put(request.key, version)
    return Reply(200, written_headers(version))


def given_checksums(request: Request) -> dict[str, str]:
    names = ((name.removeprefix("x-amz-checksum-"), value) for name, value in request.headers.items())
    return {name: value for name, value in names if name in state.CHECKSUMS}


def written_headers(version: Version) -> dict[str, str]:
    headers = {"ETag": quoted(version.etag)}
    if version.version_id != "null":
        headers["x-amz-version-id"] = version.version_id
    return headers | {f"x-amz-checksum-{name}": value for name, value in version.checksums.items()}


FindBucket = Callable[[str], Bucket]


def copy_source(request: Request, find_bucket: FindBucket) -> tuple[Bucket, str, Version]:
    """The source of a copy, its conditions checked."""
    path, _, query = request.headers["x-amz-copy-source"].partition("?")
    name, _, key = unquote(path).removeprefix("/").partition("/")
    bucket = find_bucket(name)
    version_id = parse_query(query).get("versionId", "")
    version = bucket.version(key, version_id) if version_id else bucket.current(key)
    if version is None or version.is_delete_marker:
        raise no_such_key()
    check_read(request, version, "x-amz-copy-source-")
    if version.is_archived:
        raise invalid_state("Operation is not valid for the source object's storage class")
    return bucket, key, version


def copy_object(bucket: Bucket, request: Request, now_s: int, find_bucket: FindBucket) -> Reply:
    source_bucket, source_key, source = copy_source(request, find_bucket)
    if source.blob.size_bytes > state.COPY_LIMIT_BYTES:
        message = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        raise S3Error(400, "InvalidRequest", message)
    replaces = request.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    version = describe(request)
    changes_class = "x-amz-storage-class" in request.headers and version.storage_class != source.storage_class
    if (source_bucket is bucket and source_key == request.key) and not (replaces or changes_class):
        message = (
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes."
        )
        raise S3Error(400, "InvalidRequest", message)
    check_write(request, bucket)
    if not replaces:
        version.system, version.user = dict(source.system), dict(source.user)
    if request.headers.get("x-amz-tagging-directive", "COPY").upper() != "REPLACE":
        version.tags = dict(source.tags)
    version.blob = source.blob
    # also a multipart object becomes a simple one, with another ETag
    is_simple = "-" not in source.etag
    version.etag = source.etag if is_simple else source.blob.md5().hex()
    version.checksums = dict(source.checksums) if is_simple else {}
    version.modified_s = now_s
    bucket.put(request.key, version)
    inner = f"<LastModified>{iso_time(now_s)}</LastModified><ETag>{escape(quoted(version.etag))}</ETag>"
    headers = {"x-amz-version-id": version.version_id} if bucket.is_versioned else {}
    return xml_reply("CopyObjectResult", inner, headers)


# -- deletes


def delete_object(bucket: Bucket, request: Request) -> Reply:
    match = request.headers.get("if-match")
    current = bucket.current(request.key)
    if match is not None and (current is None or not _matches(match, current)):
        raise precondition_failed("If-Match")
    if version_id := request.query.get("versionId"):
        bucket.delete_version(request.key, version_id)
        return Reply(204, {"x-amz-version-id": version_id})
    marker = bucket.delete(request.key)
    if marker is None:
        return Reply(204)
    return Reply(204, {"x-amz-delete-marker": "true", "x-amz-version-id": marker.version_id})


def delete_objects(bucket: Bucket, request: Request, denied: Callable[[str], bool]) -> Reply:
    headers = request.headers
    if "content-md5" not in headers and not given_checksums(request):
        raise S3Error(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
    root = parse_xml(request.body)
    wanted = root.findall("Object")
    if not 1 <= len(wanted) <= 1000:
        raise S3Error(400, "MalformedXML", "The XML you provided was not well-formed")
    is_quiet = root.findtext("Quiet", "").lower() == "true"
    inner = ""
    for element in wanted:
        key, etag = element.findtext("Key", ""), element.findtext("ETag")
        current = bucket.current(key)
        code = ""
        if denied(key):
            code = "AccessDenied"
        elif etag is not None and (current is None or not _matches(etag, current)):
            code = "PreconditionFailed"
        else:
            bucket.delete(key)
        if code:
            inner += f"<Error><Key>{escape(key)}</Key><Code>{code}</Code><Message>{code}</Message></Error>"
        elif not is_quiet:
            inner += f"<Deleted><Key>{escape(key)}</Key></Deleted>"
    return xml_reply("DeleteResult", inner)


# -- tags, restore


def get_tagging(bucket: Bucket, request: Request) -> Reply:
    tags = find(bucket, request).tags
    inner = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
    return xml_reply("Tagging", f"<TagSet>{inner}</TagSet>")


def put_tagging(bucket: Bucket, request: Request) -> Reply:
    tags = {e.findtext("Key", ""): e.findtext("Value", "") for e in parse_xml(request.body).iter("Tag")}
    if len(tags) > state.TAGS_MAX:
        raise S3Error(400, "BadRequest", "Object tags cannot be greater than 10")
    find(bucket, request).tags = tags
    return Reply(200)


def delete_tagging(bucket: Bucket, request: Request) -> Reply:
    find(bucket, request).tags = {}
    return Reply(204)


def restore_object(bucket: Bucket, request: Request) -> Reply:
    version = find(bucket, request)
    if version.storage_class not in state.ARCHIVED_CLASSES:
        raise invalid_state("Restore is not allowed for the object's current storage class")
    if 'ongoing-request="true"' in version.restore:
        raise S3Error(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
    was_restored = bool(version.restore)
    parse_xml(request.body)
    if not was_restored:
        version.restore = 'ongoing-request="true"'
    return Reply(200 if was_restored else 202)
