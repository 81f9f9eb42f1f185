"""A strict double of S3: the limits and rules that the test server (SeaweedFS) does not have.

    with S3Double() as double:
        bucket = double.create_bucket()
        double.fail_next("PutObject", "a/*", Fault(drop=True, applied=True))   # a lost answer
        ...
        assert double.count("GetObject") == 1

It serves HTTP on 127.0.0.1, path-style, and keeps objects in memory. It has: 2 KB of user metadata,
MD5 ETags, `-N` ETags of multipart objects that change on copy, copies of at most 5 GiB, 412 and 409
for conditional writes, LastModified in whole seconds, InvalidObjectState for archived objects,
versioning, parts of at least 5 MiB, 1,000 keys a page, verified checksums (also in trailers).
An access key that it does not know is refused; signatures are not computed (the real test server does).

What a client says is strictly read; where S3's documentation leaves a choice open, the double takes
the answer that is harder for the client.
"""

import fnmatch
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.support import s3double_buckets as buckets
from tests.support import s3double_ops as ops
from tests.support.s3double_ops import xml_reply
from tests.support.s3double_state import KEY_MAX_BYTES, Blob, Bucket, S3Error, Version
from tests.support.s3double_wire import Fault, Reply, Request, Server, error_reply, wait_as_told

__all__ = ["Fault", "Request", "S3Double"]

WAIT_MAX_S = 30.0
_SUBRESOURCES = ("uploadId", "tagging", "restore", "uploads", "versioning", "versions", "delete", "location")
# (method, is it an object, subresource or "list-type"): operation
_OPERATIONS = {
    ("PUT", False, ""): "CreateBucket",
    ("HEAD", False, ""): "HeadBucket",
    ("DELETE", False, ""): "DeleteBucket",
    ("GET", False, "list-type"): "ListObjectsV2",
    ("GET", False, "location"): "GetBucketLocation",
    ("GET", False, "versioning"): "GetBucketVersioning",
    ("PUT", False, "versioning"): "PutBucketVersioning",
    ("GET", False, "versions"): "ListObjectVersions",
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("POST", False, "delete"): "DeleteObjects",
    ("GET", True, ""): "GetObject",
    ("HEAD", True, ""): "HeadObject",
    ("PUT", True, ""): "PutObject",
    ("DELETE", True, ""): "DeleteObject",
    ("GET", True, "tagging"): "GetObjectTagging",
    ("PUT", True, "tagging"): "PutObjectTagging",
    ("DELETE", True, "tagging"): "DeleteObjectTagging",
    ("POST", True, "restore"): "RestoreObject",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("PUT", True, "uploadId"): "UploadPart",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
    ("GET", True, "uploadId"): "ListParts",
}
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
# query parameters that only say how to do the same operation
_HARMLESS = frozenset({"versionId", "x-id", "partNumber", "encoding-type", "prefix", "delimiter", "max-keys"})


def operation(method: str, is_object: bool, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """S3's name of the operation; "" for one that the double does not have."""
    subresource = next((name for name in _SUBRESOURCES if name in query), "")
    if "list-type" in query and not is_object:
        subresource = "list-type"
    found = _OPERATIONS.get((method, is_object, subresource), "")
    if not subresource and set(query) - _HARMLESS:
        return ""
    return _COPIES.get(found, found) if "x-amz-copy-source" in headers else found


class _Planned:
    """A fault that waits for its request."""

    def __init__(self, op: str, key_pattern: str, fault: Fault, times: int) -> None:
        self.op, self.key_pattern, self.fault, self.times = op, key_pattern, fault, times

    def fits(self, op: str, key: str) -> bool:
        return fnmatch.fnmatchcase(op, self.op) and fnmatch.fnmatchcase(key, self.key_pattern)


class S3Double:
    """The server; a context manager. `stop` and `start` keep the objects and the port."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._buckets: dict[str, Bucket] = {}
        self._planned: list[_Planned] = []
        self._requests: list[Request] = []
        self._access_keys = {"double": "double-secret"}
        self._server: Server | None = None
        self._port = 0

    # -- life

    def start(self) -> None:
        self._server = Server(self._port, self._identify, self._serve)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Closes the port and every connection, as when the server dies."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut_all()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment to reach the double."""
        (access_key, secret_key) = next(iter(self._access_keys.items()))
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """A plain boto3 client, for what a test does beside the code under test."""
        (access_key, secret_key) = next(iter(self._access_keys.items()))
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    # -- hooks for tests

    def create_bucket(self, name: str = "", *, versioned: bool = False) -> str:
        name = name or f"b-{os.urandom(6).hex()}"
        with self._lock:
            self._buckets[name] = Bucket(name)
            self._buckets[name].is_versioned = versioned
        return name

    def fail_next(self, op: str, key_pattern: str, fault: Fault, *, times: int = 1) -> None:
        """Plans a fault for the next `times` requests of that operation (`times=0`: for all).

        `op` and `key_pattern` are patterns as in fnmatch; the key of a bucket operation is "".
        """
        with self._lock:
            self._planned.append(_Planned(op, key_pattern, fault, times))

    def clear_faults(self) -> None:
        with self._lock:
            self._planned.clear()

    def put_sparse(self, bucket: str, key: str, size_bytes: int, **details: Any) -> str:
        """An object of so many zeros that takes no memory; `details` are fields of Version. Returns the ETag."""
        blob = Blob([size_bytes] if size_bytes else [])
        version = Version(blob, blob.md5().hex(), modified_s=int(self._clock()), **details)
        version.system.setdefault("content-type", "binary/octet-stream")
        with self._lock:
            self._buckets[bucket].put(key, version)
        return version.etag

    def object(self, bucket: str, key: str) -> Version:
        """The current version as the server has it; KeyError."""
        with self._lock:
            version = self._buckets[bucket].current(key)
        if version is None:
            raise KeyError(key)
        return version

    def finish_restore(self, bucket: str, key: str, days: int = 1) -> None:
        """The restored copy of an archived object is there from now on."""
        expiry = self._clock() + days * 86_400
        date = time.strftime("%a, %d %b %Y 00:00:00 GMT", time.gmtime(expiry))
        self.object(bucket, key).restore = f'ongoing-request="false", expiry-date="{date}"'

    @property
    def requests(self) -> list[Request]:
        """Every request since `forget_requests`, the oldest first."""
        with self._lock:
            return list(self._requests)

    def count(self, op: str, key_pattern: str = "*") -> int:
        return sum(fnmatch.fnmatchcase(r.op, op) and fnmatch.fnmatchcase(r.key, key_pattern) for r in self.requests)

    def wait_for(self, op: str, key_pattern: str = "*") -> None:
        """Blocks until such a request has begun to arrive; TimeoutError."""
        with self._lock:
            if not self._arrived.wait_for(lambda: self.count(op, key_pattern) > 0, WAIT_MAX_S):
                raise TimeoutError(f"no {op} came")

    def forget_requests(self) -> None:
        with self._lock:
            self._requests.clear()

    # -- serving

    def _identify(self, method: str, bucket: str, key: str, query: dict[str, str], headers: dict[str, str]) -> Request:
        """Called when the headers of a request have arrived."""
        op = operation(method, bool(key), query, headers) if bucket else "ListBuckets"
        request = Request(op, method, bucket, key, query, headers)
        with self._lock:
            self._requests.append(request)
            self._arrived.notify_all()
            if bucket in self._buckets:
                request.change_count = self._buckets[bucket].changes.get(key, 0)
        return request

    def _serve(self, request: Request) -> tuple[Reply, Fault | None]:
        """Called when the body has arrived too."""
        fault = self._take_fault(request)
        if fault is not None:
            wait_as_told(fault)
            if not fault.applied and (fault.drop or fault.status):
                return self._refuse(request, fault), fault
        with self._lock:
            try:
                reply = self._apply(request)
            except S3Error as error:
                reply = error_reply(error, request, "DOUBLE")
        if fault is not None and fault.applied and fault.status:
            return self._refuse(request, fault), fault
        if fault is not None and fault.late_error:
            late = error_reply(S3Error(200, fault.late_error), request, "DOUBLE")
            return late, fault
        return reply, fault

    def _take_fault(self, request: Request) -> Fault | None:
        with self._lock:
            planned = next((p for p in self._planned if p.fits(request.op, request.key)), None)
            if planned is None:
                return None
            planned.times -= 1
            if planned.times == 0:
                self._planned.remove(planned)
            return planned.fault

    @staticmethod
    def _refuse(request: Request, fault: Fault) -> Reply:
        return error_reply(S3Error(fault.status or 500, fault.code or "InternalError"), request, "DOUBLE")

    def _bucket(self, name: str) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist")
        return bucket

    def _authorize(self, request: Request) -> None:
        authorization = request.headers.get("authorization", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 "):
            raise S3Error(403, "AccessDenied", "Access Denied")
        access_key = authorization.partition("Credential=")[2].partition("/")[0]
        if access_key not in self._access_keys:
            message = "The AWS Access Key Id you provided does not exist in our records."
            raise S3Error(403, "InvalidAccessKeyId", message)

    def _apply(self, request: Request) -> Reply:
        self._authorize(request)
        if not request.op:
            raise S3Error(501, "NotImplemented", f"{request.method} with {sorted(request.query)}")
        if len(request.key.encode()) > KEY_MAX_BYTES:
            raise S3Error(400, "KeyTooLongError", "Your key is too long")
        if request.op == "ListBuckets":
            inner = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in sorted(self._buckets))
            return xml_reply("ListAllMyBucketsResult", f"<Buckets>{inner}</Buckets>")
        if request.op == "CreateBucket":
            if request.bucket in self._buckets:
                raise S3Error(409, "BucketAlreadyOwnedByYou")
            self._buckets[request.bucket] = Bucket(request.bucket)
            return Reply(200)
        bucket = self._bucket(request.bucket)
        return self._on_bucket(bucket, request) or self._on_upload(bucket, request) or self._on_object(bucket, request)

    def _on_bucket(self, bucket: Bucket, request: Request) -> Reply | None:
        match request.op:
            case "HeadBucket":
                return Reply(200, {"x-amz-bucket-region": "us-east-1"})
            case "DeleteBucket":
                if not bucket.is_empty:
                    raise S3Error(409, "BucketNotEmpty")
                del self._buckets[bucket.name]
                return Reply(204)
            case "GetBucketLocation":
                return xml_reply("LocationConstraint", "")
            case "GetBucketVersioning":
                return buckets.get_versioning(bucket)
            case "PutBucketVersioning":
                return buckets.put_versioning(bucket, request)
            case "ListObjectsV2":
                return buckets.list_objects_v2(bucket, request)
            case "ListObjectVersions":
                return buckets.list_object_versions(bucket, request)
            case "ListMultipartUploads":
                return buckets.list_uploads(bucket, request)
            case "DeleteObjects":
                return ops.delete_objects(bucket, request, self._is_delete_denied)
        return None

    def _is_delete_denied(self, key: str) -> bool:
        """Whether a planned fault refuses this key of a batch: plan it for DeleteObject."""
        return any(p.fits("DeleteObject", key) and p.fault.status == 403 for p in self._planned)

    def _on_upload(self, bucket: Bucket, request: Request) -> Reply | None:
        now_s = int(self._clock())
        match request.op:
            case "CreateMultipartUpload":
                return buckets.create_upload(bucket, request, self._clock())
            case "UploadPart":
                return buckets.upload_part(bucket, request, now_s)
            case "UploadPartCopy":
                return buckets.upload_part_copy(bucket, request, now_s, self._bucket)
            case "CompleteMultipartUpload":
                return buckets.complete_upload(bucket, request, now_s)
            case "AbortMultipartUpload":
                return buckets.abort_upload(bucket, request)
            case "ListParts":
                return buckets.list_parts(bucket, request)
        return None

    def _on_object(self, bucket: Bucket, request: Request) -> Reply:
        now_s = int(self._clock())
        match request.op:
            case "GetObject":
                return ops.get_object(bucket, request)
            case "HeadObject":
                return ops.head_object(bucket, request)
            case "PutObject":
                return ops.put_object(bucket, request, now_s)
            case "CopyObject":
                return ops.copy_object(bucket, request, now_s, self._bucket)
            case "DeleteObject":
                return ops.delete_object(bucket, request)
            case "GetObjectTagging":
                return ops.get_tagging(bucket, request)
            case "PutObjectTagging":
                return ops.put_tagging(bucket, request)
            case "DeleteObjectTagging":
                return ops.delete_tagging(bucket, request)
            case "RestoreObject":
                return ops.restore_object(bucket, request)
        raise S3Error(501, "NotImplemented", request.op)
