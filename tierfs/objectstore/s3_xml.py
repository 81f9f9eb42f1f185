"""The XML documents that S3 answers with. Pure functions.

A listing is the one large document, and its cost bounds the import of a bucket. expat builds the
tree in C (ElementTree); handlers in Python cost twice as much. Seen for a page of 1,000 keys: expat
and the dicts 4 ms, the `ObjectInfo` values as much again, botocore's parser 64-90 ms.
"""

import datetime
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from attrs import frozen

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import ListPage, ObjectInfo, ObjectVersion, StorageClass
from tierfs.units import NS_PER_S

ARCHIVED_CLASSES: Final = frozenset({StorageClass.GLACIER.value, StorageClass.DEEP_ARCHIVE.value})


def _parse(body: bytes, expected_root: str) -> tuple[ElementTree.Element, str]:
    """The root element and the namespace, "{...}" or "", that all tags begin with."""
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # LookupError: an encoding that nobody knows
        raise StoreError(StoreErrorKind.CORRUPT, f"an answer is not well-formed XML: {error}") from error
    namespace, brace, name = root.tag.rpartition("}")
    if name != expected_root:
        raise StoreError(StoreErrorKind.CORRUPT, f"the server answered with <{name}> instead of <{expected_root}>")
    return root, namespace + brace


def parse_time_ns(text: str) -> int:
    """ "2026-11-22T19:43:38.000Z" as ns, whole seconds: HEAD has no more, and both must agree.

    ValueError for what is no time, or one that no file can have (64 bits end in 2262).
    """
    time_ns = int(datetime.datetime.fromisoformat(text).timestamp()) * NS_PER_S
    if not -(1 << 63) <= time_ns < 1 << 63:
        raise ValueError(f"{text} is beyond 64 bits of nanoseconds")
    return time_ns


def _size_bytes(text: str) -> int:
    """ValueError for what no object can have."""
    size_bytes = int(text)
    if not 0 <= size_bytes < 1 << 63:
        raise ValueError(f"{size_bytes} bytes")
    return size_bytes


def _is_archived(row: dict[str, str], element: ElementTree.Element, namespace: str) -> bool:
    if row.get("StorageClass") not in ARCHIVED_CLASSES:
        return False
    status = element.find(f"{namespace}RestoreStatus")
    # there is a readable copy once an expiry date is set
    return status is None or status.find(f"{namespace}RestoreExpiryDate") is None


def parse_listing(body: bytes, prefix: str) -> ListPage:
    """A ListObjectsV2 answer; keys come back without the store's `prefix`.

    CORRUPT when the document is not a whole listing. A page that says "truncated" without a token
    is an error: taken for the last one it would make every later object look deleted.
    """
    root, namespace = _parse(body, "ListBucketResult")
    skip = len(namespace)
    is_encoded = root.findtext(f"{namespace}EncodingType") == "url"

    def without_prefix(key: str) -> str:
        if is_encoded and ("%" in key or "+" in key):
            key = unquote_plus(key)
        if not key.startswith(prefix):
            raise StoreError(StoreErrorKind.CORRUPT, f"a LIST below {prefix!r} brought another key", key=key)
        return key[len(prefix) :]

    def objects() -> Iterator[ObjectInfo]:
        seen_time, seen_time_ns = "", 0  # neighbours often share their second
        for element in root.iterfind(f"{namespace}Contents"):
            row = {child.tag[skip:]: child.text or "" for child in element}
            if row["LastModified"] != seen_time:
                seen_time = row["LastModified"]
                seen_time_ns = parse_time_ns(seen_time)
            yield ObjectInfo(
                key=without_prefix(row["Key"]),
                size_bytes=_size_bytes(row["Size"]),
                etag=row.get("ETag", "").strip('"'),
                last_modified_ns=seen_time_ns,
                storage_class=row.get("StorageClass") or StorageClass.STANDARD.value,
                archived=_is_archived(row, element, namespace),
            )

    try:
        found = list(objects())
    except (KeyError, ValueError) as error:
        raise StoreError(StoreErrorKind.CORRUPT, f"a listing has an entry without sense: {error!r}") from error
    found_prefixes = root.iterfind(f"{namespace}CommonPrefixes/{namespace}Prefix")
    prefixes = [without_prefix(element.text or "") for element in found_prefixes]
    token = ""
    if root.findtext(f"{namespace}IsTruncated") == "true":
        token = root.findtext(f"{namespace}NextContinuationToken") or ""
        if not token:
            raise StoreError(StoreErrorKind.PERMANENT, "the server cut a listing short and gave no token to go on")
    return ListPage(objects=found, prefixes=prefixes, token=token)


@frozen
class HistoryPage:
    """A ListObjectVersions answer. `next_key` goes on ("" at the end; `next_full`: with the store's prefix);
    `cut_at`: the version id behind which more of that key's history may come."""

    versions: list[ObjectVersion]
    next_key: str = ""
    next_full: str = ""
    cut_at: str = ""


def parse_versions(body: bytes, prefix: str) -> HistoryPage:
    """A ListObjectVersions answer, of which the keys were asked for URL-encoded. CORRUPT as for a listing."""
    root, namespace = _parse(body, "ListVersionsResult")
    skip = len(namespace)
    is_encoded = root.findtext(f"{namespace}EncodingType") == "url"

    def full_of(text: str) -> str:
        return unquote_plus(text) if is_encoded else text

    def shown(full: str) -> str:
        if not full.startswith(prefix):
            raise StoreError(StoreErrorKind.CORRUPT, f"a LIST below {prefix!r} brought another key", key=full)
        return full[len(prefix) :]

    versions = []
    try:
        for element in root:
            kind = element.tag[skip:]
            if kind not in ("Version", "DeleteMarker"):
                continue
            row = {child.tag[skip:]: child.text or "" for child in element}
            versions.append(
                ObjectVersion(
                    key=shown(full_of(row["Key"])),
                    version_id=row["VersionId"],
                    last_modified_ns=parse_time_ns(row["LastModified"]),
                    is_latest=row["IsLatest"] == "true",
                    is_deletion=kind == "DeleteMarker",
                    size_bytes=_size_bytes(row.get("Size") or "0"),
                    etag=row.get("ETag", "").strip('"'),
                    storage_class=row.get("StorageClass", ""),
                )
            )
    except (KeyError, ValueError) as error:
        raise StoreError(StoreErrorKind.CORRUPT, f"a history has an entry without sense: {error!r}") from error
    if root.findtext(f"{namespace}IsTruncated") != "true":
        return HistoryPage(versions)
    next_full = full_of(root.findtext(f"{namespace}NextKeyMarker") or "")
    if not next_full:
        raise StoreError(StoreErrorKind.PERMANENT, "the server cut a history short and gave no key to go on")
    cut_at = root.findtext(f"{namespace}NextVersionIdMarker") or ""
    return HistoryPage(versions, shown(next_full), next_full, cut_at)


def parse_tags(body: bytes) -> dict[str, str]:
    """A GetObjectTagging answer."""
    root, namespace = _parse(body, "Tagging")
    tags = root.iterfind(f"{namespace}TagSet/{namespace}Tag")
    return {tag.findtext(f"{namespace}Key") or "": tag.findtext(f"{namespace}Value") or "" for tag in tags}
