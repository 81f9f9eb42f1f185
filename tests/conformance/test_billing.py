"""What is told of requests is what S3 has received: each once, by kind, with its bytes, key and class."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
import trio

from tests.support.s3double import Fault, S3Double
from tierfs.errors import StoreError
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta, RestoreSpeed
from tierfs.objectstore.opening import open_store
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.settings import RetrySettings, S3Settings
from tierfs.policy.cost import RequestKind, Traffic, Use
from tierfs.units import MIB

Kind = RequestKind
KIND_OF: Final = {
    "GetObject": Kind.GET,
    "HeadObject": Kind.HEAD,
    "ListObjectsV2": Kind.LIST,
    "ListMultipartUploads": Kind.LIST,
    "PutObject": Kind.PUT,
    "UploadPart": Kind.PUT,
    "CopyObject": Kind.COPY,
    "UploadPartCopy": Kind.COPY,
    "CreateMultipartUpload": Kind.POST,
    "CompleteMultipartUpload": Kind.POST,
    "AbortMultipartUpload": Kind.DELETE,
    "DeleteObject": Kind.DELETE,
    "DeleteObjects": Kind.DELETE,
    "GetObjectTagging": Kind.OTHER,
    "RestoreObject": Kind.RESTORE,
}


class Bill:
    """What was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Use, Traffic]] = []

    def __call__(self, key: str, use: Use, traffic: Traffic) -> None:
        self.told.append((key, use, traffic))

    def requests(self) -> Counter[Kind]:
        return Counter(use.kind for _, use, traffic in self.told if traffic.requests)

    def of(self, kind: Kind) -> list[tuple[str, Use, Traffic]]:
        return [row for row in self.told if row[1].kind is kind]


def run(double: S3Double, work: Callable[[RetryingStore], Awaitable[None]], **changes: Any) -> Bill:
    """Carries out `work` on a store below a prefix; what was told agrees with what the server has seen."""
    bill, bucket = Bill(), double.create_bucket()
    settings = S3Settings(endpoint_url=double.endpoint_url, region="us-east-1", **changes)
    store = open_store(f"s3://{bucket}/some/prefix", settings, tell=bill)

    async def main() -> None:
        try:
            await work(store)
        finally:
            await store.aclose()

    double.forget_requests()
    trio.run(main)
    assert bill.requests() == Counter(KIND_OF[request.op] for request in double.requests if request.op in KIND_OF)
    return bill


def test_each_kind_of_request_is_told_once(double: S3Double) -> None:
    async def work(store: RetryingStore) -> None:
        etag = (await store.put("d/a", b"12345", ObjectMeta(), IfAbsent())).etag
        await store.head("d/a")
        await store.list("d/", delimited=True)
        await store.get("d/a", 1, 3, if_match=etag)
        await store.get_whole("d/a", if_match=etag, limit_bytes=10)
        await store.get_whole("d/a", if_match="", limit_bytes=10)
        await store.copy("d/a", "d/b", if_match=etag, condition=IfAbsent())
        await store.list_uploads("")
        await store.delete("d/a", if_match=etag)
        await store.delete_many(["d/b"])

    bill = run(double, work)
    assert bill.of(Kind.PUT) == [("d/a", Use(Kind.PUT), Traffic(1, 5, 0))]
    assert bill.of(Kind.LIST)[0] == ("d/", Use(Kind.LIST), Traffic(1))
    assert bill.of(Kind.GET) == [
        ("d/a", Use(Kind.GET, ""), Traffic(1, 0, 2)),
        ("d/a", Use(Kind.GET, ""), Traffic(1, 0, 5)),
        ("d/a", Use(Kind.GET), Traffic(1, 0, 5)),
    ]
    assert bill.of(Kind.COPY) == [("d/b", Use(Kind.COPY), Traffic(1)), ("d/a", Use(Kind.COPY), Traffic(0, 0, 5))]
    assert [key for key, _, _ in bill.of(Kind.DELETE)] == ["d/a", ""]


def test_a_rewrite_tells_of_what_is_asked_before_it(double: S3Double) -> None:
    async def work(store: RetryingStore) -> None:
        etag = (await store.put("a", b"1", ObjectMeta(), IfAbsent())).etag
        await store.put("a", b"22", ObjectMeta(), IfMatch(etag), storage_class="STANDARD_IA")

    bill = run(double, work)
    assert bill.of(Kind.PUT)[1] == ("a", Use(Kind.PUT, "STANDARD_IA"), Traffic(1, 2, 0))
    assert bill.of(Kind.HEAD)[0] == ("a", Use(Kind.HEAD), Traffic(1))


def test_parts_are_puts_in_standard_whatever_the_class(double: S3Double) -> None:
    async def work(store: RetryingStore) -> None:
        upload = await store.begin_upload("big", ObjectMeta(), storage_class="GLACIER")
        await upload.put_part(1, memoryview(bytes(5 * MIB)))
        await upload.put_part(2, b"end")
        await upload.complete(Always())
        dropped = await store.begin_upload("dropped", ObjectMeta())
        await dropped.abort()

    bill = run(double, work)
    assert bill.of(Kind.PUT) == [
        ("big", Use(Kind.PUT), Traffic(1, 5 * MIB, 0)),
        ("big", Use(Kind.PUT), Traffic(1, 3, 0)),
    ]
    assert [use.storage_class for _, use, _ in bill.of(Kind.POST)] == ["GLACIER", "STANDARD", "STANDARD"]
    assert bill.of(Kind.DELETE) == [("dropped", Use(Kind.DELETE), Traffic(1))]


def test_moves_and_restores_tell_of_the_bytes_that_they_read(double: S3Double) -> None:
    async def work(store: RetryingStore) -> None:
        etag = (await store.put("a", b"12345", ObjectMeta(), IfAbsent(), storage_class="STANDARD_IA")).etag
        moved = await store.copy("a", "a", if_match=etag, condition=IfMatch(etag), storage_class="GLACIER")
        await store.restore("a", if_match=moved.etag, days=2, speed=RestoreSpeed.BULK)

    bill = run(double, work)
    assert bill.of(Kind.COPY) == [
        ("a", Use(Kind.COPY, "GLACIER"), Traffic(1)),
        ("a", Use(Kind.COPY, "STANDARD_IA"), Traffic(0, 0, 5)),
    ]
    assert bill.of(Kind.RESTORE) == [("a", Use(Kind.RESTORE, "GLACIER", "bulk"), Traffic(1, 0, 5))]


@pytest.mark.parametrize(("way", "kind"), [("wire", Kind.HEAD), ("obstore", Kind.GET), ("boto", Kind.COPY)])
def test_what_the_server_refuses_is_billed_and_what_it_fails_at_is_not(double: S3Double, way: str, kind: Kind) -> None:
    bill, bucket = Bill(), double.create_bucket()
    settings = S3Settings(endpoint_url=double.endpoint_url, region="us-east-1", retry=RetrySettings(budget_s=0))
    store = open_store(f"s3://{bucket}", settings, tell=bill)

    async def ask() -> int:
        """How many were told of after a request that cannot succeed."""
        with pytest.raises(StoreError):
            if way == "wire":
                await store.head("none")
            elif way == "obstore":
                await store.get("none", 0, 1, if_match="etag")
            else:
                upload = await store.begin_upload("a", ObjectMeta())
                await upload.copy_part(1, "none", 0, 1, if_match="etag")
        return len(bill.of(kind))

    async def main() -> None:
        try:
            assert await ask() == 1
            double.fail_next("UploadPartCopy" if way == "boto" else "*", "*", Fault(status=500))
            assert await ask() == 1
        finally:
            await store.aclose()

    trio.run(main)
