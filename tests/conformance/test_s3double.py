"""The rules that the S3 double has and the test server lacks, met with a plain boto3 client."""

import base64
import hashlib
import http.client
import io
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from tests.support.s3double import Fault, S3Double
from tests.support.s3double_state import GIB, MIB

PART = 5 * MIB


@pytest.fixture
def client(double: S3Double) -> Any:
    return double.client()


@pytest.fixture
def bucket(double: S3Double) -> str:
    return double.create_bucket()


def refused(code: str, call: Callable[[], object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value
    assert error.response["Error"]["Code"] == code
    return error


def multipart(client: Any, bucket: str, key: str, sizes: list[int], **condition: str) -> Any:
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)
    where = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**where, PartNumber=n, Body=bytes([n]) * size)["ETag"]}
        for n, size in enumerate(sizes, 1)
    ]
    return client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **condition)


def test_etags(client: Any, bucket: str) -> None:
    simple = client.put_object(Bucket=bucket, Key="simple", Body=b"body")
    assert simple["ETag"] == f'"{hashlib.md5(b"body").hexdigest()}"'
    joined = multipart(client, bucket, "multi", [PART, 10])["ETag"]
    md5s = hashlib.md5(bytes([1]) * PART).digest() + hashlib.md5(bytes([2]) * 10).digest()
    assert joined == f'"{hashlib.md5(md5s).hexdigest()}-2"'
    source = {"Bucket": bucket, "Key": "multi"}
    copied = client.copy_object(Bucket=bucket, Key="copy", CopySource=source)["CopyObjectResult"]["ETag"]
    assert copied == f'"{hashlib.md5(bytes([1]) * PART + bytes([2]) * 10).hexdigest()}"'
    same = client.copy_object(Bucket=bucket, Key="s2", CopySource={"Bucket": bucket, "Key": "simple"})
    assert same["CopyObjectResult"]["ETag"] == simple["ETag"]


def test_user_metadata_is_limited(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="k", Metadata={"a": "x" * 2047})
    refused("MetadataTooLarge", lambda: client.put_object(Bucket=bucket, Key="k", Metadata={"a": "x" * 2048}))


def test_copies_are_limited_to_five_gib(client: Any, double: S3Double, bucket: str) -> None:
    for key, size_bytes in (("fits", 5 * GIB), ("large", 5 * GIB + 1)):
        double.put_sparse(bucket, key, size_bytes)
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "fits"})
    refused(
        "InvalidRequest",
        lambda: client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large"}),
    )
    assert client.head_object(Bucket=bucket, Key="copy")["ContentLength"] == 5 * GIB
    tail = client.get_object(Bucket=bucket, Key="large", Range=f"bytes={5 * GIB - 1}-")["Body"].read()
    assert tail == bytes(2)


def test_last_modified_has_whole_seconds(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="k")
    listed = client.list_objects_v2(Bucket=bucket)["Contents"][0]["LastModified"]
    assert listed.microsecond == 0
    assert listed == client.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert abs(listed.timestamp() - time.time()) < 60


def test_a_copy_keeps_neither_class_nor_what_replace_does_not_name(client: Any, bucket: str) -> None:
    client.put_object(
        Bucket=bucket,
        Key="k",
        StorageClass="STANDARD_IA",
        ContentType="text/plain",
        CacheControl="no-store",
        Tagging="a=b",
    )
    source = {"Bucket": bucket, "Key": "k"}
    client.copy_object(Bucket=bucket, Key="plain", CopySource=source)
    plain = client.head_object(Bucket=bucket, Key="plain")
    assert ("StorageClass" not in plain, plain["CacheControl"]) == (True, "no-store")
    client.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"x": "y"})
    replaced = client.head_object(Bucket=bucket, Key="k")
    assert (replaced["ContentType"], "CacheControl" in replaced) == ("binary/octet-stream", False)
    assert client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "b"}]
    refused("InvalidRequest", lambda: client.copy_object(Bucket=bucket, Key="k", CopySource=source))


def test_archived_objects(client: Any, double: S3Double, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="GLACIER")
    source = {"Bucket": bucket, "Key": "k"}
    refused("InvalidObjectState", lambda: client.get_object(Bucket=bucket, Key="k"))
    refused("InvalidObjectState", lambda: client.copy_object(Bucket=bucket, Key="c", CopySource=source))
    client.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 1})
    assert client.head_object(Bucket=bucket, Key="k")["Restore"] == 'ongoing-request="true"'
    refused(
        "RestoreAlreadyInProgress", lambda: client.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 1})
    )
    double.finish_restore(bucket, "k")
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    client.put_object(Bucket=bucket, Key="warm")
    refused("InvalidObjectState", lambda: client.restore_object(Bucket=bucket, Key="warm", RestoreRequest={"Days": 1}))


def test_parts(client: Any, bucket: str) -> None:
    refused("EntityTooSmall", lambda: multipart(client, bucket, "k", [PART - 1, 1]))
    upload = client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    one = {"PartNumber": 1, "ETag": client.upload_part(**where, PartNumber=1, Body=b"1")["ETag"]}
    two = {"PartNumber": 2, "ETag": client.upload_part(**where, PartNumber=2, Body=b"2")["ETag"]}

    def complete(parts: list[dict[str, object]]) -> object:
        return client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})

    refused("InvalidPartOrder", lambda: complete([two, one]))
    refused("InvalidPart", lambda: complete([one | {"ETag": '"0"'}]))
    refused("InvalidPart", lambda: complete([one | {"PartNumber": 3}]))
    refused("InvalidArgument", lambda: client.upload_part(**where, PartNumber=10_001, Body=b""))
    complete([two])
    refused("NoSuchUpload", lambda: complete([two]))
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"


def test_conditions(client: Any, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    put = client.put_object
    refused("PreconditionFailed", lambda: put(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*"))
    refused("PreconditionFailed", lambda: put(Bucket=bucket, Key="k", Body=b"2", IfMatch='"0"'))
    refused("NoSuchKey", lambda: put(Bucket=bucket, Key="none", Body=b"2", IfMatch=etag))
    refused("PreconditionFailed", lambda: multipart(client, bucket, "k", [1], IfNoneMatch="*"))
    refused("PreconditionFailed", lambda: client.delete_object(Bucket=bucket, Key="k", IfMatch='"0"'))
    source = {"Bucket": bucket, "Key": "k"}
    refused(
        "PreconditionFailed",
        lambda: client.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch='"0"'),
    )
    refused("PreconditionFailed", lambda: client.get_object(Bucket=bucket, Key="k", IfMatch='"0"'))
    assert refused("304", lambda: client.head_object(Bucket=bucket, Key="k", IfNoneMatch=etag))
    client.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_versions(client: Any, double: S3Double) -> None:
    bucket = double.create_bucket(versioned=True)
    first = client.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    second = client.put_object(Bucket=bucket, Key="k", Body=b"2")["VersionId"]
    assert client.delete_object(Bucket=bucket, Key="k")["DeleteMarker"] is True
    refused("NoSuchKey", lambda: client.get_object(Bucket=bucket, Key="k"))
    assert client.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    found = client.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in found["Versions"]] == [second, first]
    client.delete_object(Bucket=bucket, Key="k", VersionId=found["DeleteMarkers"][0]["VersionId"])
    assert client.get_object(Bucket=bucket, Key="k")["VersionId"] == second


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256", "SHA1"])
def test_bodies_in_chunks_with_a_checksum_after_them(
    client: Any, double: S3Double, bucket: str, algorithm: str
) -> None:
    body = bytes(range(256)) * 1000
    client.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
    stored = double.object(bucket, "k")
    assert stored.blob.read() == body
    assert list(stored.checksums) == [algorithm.lower()]
    assert "content-encoding" not in stored.system
    answer = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert answer["Body"].read() == body
    assert answer[f"Checksum{algorithm}"] == stored.checksums[algorithm.lower()]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()}, "BadDigest"),
        ({"content-md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}, "BadDigest"),
        ({"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}, "XAmzContentSHA256Mismatch"),
        ({"x-amz-storage-class": "CHEAPEST"}, "InvalidStorageClass"),
        ({"if-none-match": '"0"'}, "NotImplemented"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=nobody/x"}, "InvalidAccessKeyId"),
        ({"authorization": ""}, "AccessDenied"),
    ],
)
def test_refusals(double: S3Double, bucket: str, headers: dict[str, str], code: str) -> None:
    connection = http.client.HTTPConnection(double.endpoint_url.removeprefix("http://"))
    known = {"authorization": "AWS4-HMAC-SHA256 Credential=double/20260101/us-east-1/s3/aws4_request"}
    connection.request("PUT", f"/{bucket}/k", body=b"body", headers=known | headers)
    answer = connection.getresponse()
    assert f"<Code>{code}</Code>" in answer.read().decode()
    assert double.count("PutObject") == 1
    connection.close()
    with pytest.raises(KeyError):
        double.object(bucket, "k")


def test_listings_have_a_thousand_keys_at_most_and_encode_them(client: Any, double: S3Double, bucket: str) -> None:
    for number in range(1001):
        double.put_sparse(bucket, f"k{number:04d} +%\x01", 0)
    page = client.list_objects_v2(Bucket=bucket, MaxKeys=5000)
    assert (page["KeyCount"], page["IsTruncated"]) == (1000, True)
    assert page["Contents"][0]["Key"] == "k0000 +%\x01"
    rest = client.list_objects_v2(Bucket=bucket, ContinuationToken=page["NextContinuationToken"])
    assert [found["Key"] for found in rest["Contents"]] == ["k1000 +%\x01"]


def test_faults_hit_the_request_that_they_are_for(client: Any, double: S3Double, bucket: str) -> None:
    double.fail_next("PutObject", "a/*", Fault(status=503, code="SlowDown"), times=2)
    client.put_object(Bucket=bucket, Key="b/x")
    for _ in range(2):
        refused("SlowDown", lambda: client.put_object(Bucket=bucket, Key="a/x"))
    client.put_object(Bucket=bucket, Key="a/x", Body=b"12345")
    assert (double.count("PutObject"), double.count("PutObject", "a/*")) == (4, 3)
    double.fail_next("GetObject", "*", Fault(corrupt_body=True))
    assert client.get_object(Bucket=bucket, Key="a/x", Range="bytes=0-4")["Body"].read() != b"12345"
    double.fail_next("PutObject", "*", Fault(drop=True, applied=True))
    with pytest.raises(HTTPClientError):
        client.put_object(Bucket=bucket, Key="lost", Body=b"x")
    assert double.object(bucket, "lost").blob.read() == b"x"
    request = next(r for r in double.requests if r.key == "a/x" and r.op == "GetObject")
    assert (request.method, request.status, request.sent_bytes) == ("GET", 206, 5)
    assert request.headers["range"] == "bytes=0-4"
