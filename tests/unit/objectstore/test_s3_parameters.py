"""Preconditions, metadata and checksums as boto3 takes them."""

import pytest

from tierfs import native
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Always, Condition, IfAbsent, IfMatch, ObjectMeta
from tierfs.objectstore.s3_parameters import (
    Part,
    body_of,
    class_parameter,
    combined_crc,
    conditions,
    encode_crc,
    meta_parameters,
    without_target,
)

Kind = StoreErrorKind


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(IfMatch("abc-2"), {"IfMatch": '"abc-2"'}), (IfAbsent(), {"IfNoneMatch": "*"}), (Always(), {})],
)
def test_conditions(condition: Condition, expected: dict[str, str]) -> None:
    assert conditions(condition) == expected


def test_the_default_class_is_not_named() -> None:
    assert [class_parameter(name) for name in ("", "STANDARD", "GLACIER")] == [{}, {}, {"StorageClass": "GLACIER"}]


def test_an_expiry_that_is_no_date_goes_as_it_is() -> None:
    parameters, raw = meta_parameters(ObjectMeta(user={"a": "é"}, cache_control="no-cache", expires="0"))
    assert parameters == {"CacheControl": "no-cache", "Metadata": {"a": "=?UTF-8?B?w6k=?="}}
    assert raw == {"Expires": "0"}


def test_a_checksum_as_s3_writes_it() -> None:
    # the check value of the CRC catalogue, in the form of S3's documentation
    assert encode_crc(native.crc64nvme(b"123456789")) == "rosUhgp5mIg="


def test_the_checksum_of_parts_is_that_of_the_whole() -> None:
    bodies = [b"first " * 100, b"second", b""]
    parts = [Part("e", len(body), native.crc64nvme(body)) for body in bodies]
    assert combined_crc(parts) == native.crc64nvme(b"".join(bodies))
    assert combined_crc([*parts, Part("copied", 5)]) is None


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bodies(data: bytes | bytearray | memoryview) -> None:
    assert isinstance(body_of(data), bytes | bytearray)


def test_a_version_that_is_gone_is_a_failed_condition() -> None:
    gone = StoreError(Kind.NOT_FOUND, "NoSuchKey: gone", key="k", request_id="R", http_status=404)
    changed = without_target(gone, IfMatch("e"))
    assert (changed.kind, changed.key, changed.request_id) == (Kind.PRECONDITION_FAILED, "k", "R")
    assert without_target(gone, IfAbsent()) is gone
    no_upload = StoreError(Kind.NOT_FOUND, "NoSuchUpload: gone")
    assert without_target(no_upload, IfMatch("e")) is no_upload
    no_bucket = StoreError(Kind.NO_SUCH_BUCKET, "NoSuchBucket")
    assert without_target(no_bucket, IfMatch("e")) is no_bucket
