"""What the S3 store makes of answers that are lost, late, cut short, wrong or refused: over the strict double."""

import threading
from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import evolve

from tests.conformance.test_objectstore import NO_META, Kind, raises
from tests.support.backends import MIB, Backend, all_keys, get_text, put_text, put_texts
from tests.support.s3double import Fault, S3Double
from tests.support.s3double_state import GIB
from tierfs.errors import StoreError
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta, ObjectStore, StorageClass
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.settings import S3Settings

PART = 5 * MIB
LOST = Fault(drop=True, applied=True)
NEVER_SEEN = Fault(drop=True)
OP = ObjectMeta(user={"tierfs-op": "1-1-7"})


def prefixed(store: ObjectStore, key: str) -> str:
    """The key in the bucket: the stores of the suite have a prefix."""
    return store.source.partition("://")[2].partition("/")[2] + "/" + key


# -- lost answers: the write has happened, or has not, and the store cannot know


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize("size_bytes", [10, 2 * MIB])
def test_a_put_without_an_answer_is_unclear(
    double: S3Double, double_backend: Backend, is_applied: bool, size_bytes: int
) -> None:
    async def test(store: ObjectStore) -> None:
        double.fail_next("PutObject", "*", LOST if is_applied else NEVER_SEEN)
        with raises(Kind.UNCLEAR, key="k"):
            await store.put("k", b"x" * size_bytes, OP, IfAbsent())
        assert double.count("PutObject") == 1  # nobody repeated it: a repeat would see 412 on its own success
        if is_applied:
            head = await store.head("k")
            assert head.meta is not None
            assert head.meta.user["tierfs-op"] == "1-1-7"
        else:
            with raises(Kind.NOT_FOUND):
                await store.head("k")

    double_backend.run(test)


Write = Callable[[ObjectStore], Awaitable[object]]


async def _complete(store: ObjectStore) -> None:
    upload = await store.begin_upload("target", OP)
    await upload.put_part(1, b"x")
    await upload.complete(IfAbsent())


WRITES: dict[str, Write] = {
    "CopyObject": lambda store: store.copy("source", "target", if_match="", condition=IfAbsent(), meta=OP),
    "CompleteMultipartUpload": _complete,
}


@pytest.mark.parametrize("op", WRITES)
@pytest.mark.parametrize(
    "fault", [LOST, NEVER_SEEN, Fault(status=500, applied=True), Fault(status=500), Fault(late_error="InternalError")]
)
def test_other_writes_without_an_answer_are_unclear(
    double: S3Double, double_backend: Backend, op: str, fault: Fault
) -> None:
    async def test(store: ObjectStore) -> None:
        await put_text(store, "source", "x")
        double.fail_next(op, "*", fault)
        with raises(Kind.UNCLEAR):
            await WRITES[op](store)
        assert double.count(op) == 1
        is_there = "target" in (await all_keys(store))[0]
        assert is_there == (fault.applied or bool(fault.late_error))

    double_backend.run(test)


def test_a_delete_without_an_answer_can_be_repeated(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = await put_text(store, "k", "x")
        double.fail_next("DeleteObject", "*", LOST)
        with raises(Kind.UNCLEAR):
            await store.delete("k", if_match=etag)
        await store.delete("k", if_match=etag)
        assert await all_keys(store) == ([], [])

    double_backend.run(test)


@pytest.mark.parametrize("fault", [NEVER_SEEN, Fault(status=503, code="ServiceUnavailable")])
def test_reads_that_fail_may_be_repeated(double: S3Double, double_backend: Backend, fault: Fault) -> None:
    async def test(store: ObjectStore) -> None:
        await put_text(store, "k", "text")
        for op in ("GetObject", "HeadObject", "ListObjectsV2"):
            double.fail_next(op, "*", fault, times=0)
        for read in (
            lambda: store.get("k", 0, 4, if_match=""),
            lambda: store.get_whole("k", if_match="", limit_bytes=10),
            lambda: store.head("k"),
            lambda: store.list("", delimited=False),
        ):
            with pytest.raises(StoreError) as caught:
                await read()
            assert caught.value.retryable
            assert caught.value.kind is not Kind.UNCLEAR
        double.clear_faults()
        assert await get_text(store, "k") == "text"

    double_backend.run(test)


# -- refusals


def test_one_key_that_is_forbidden(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_texts(store, ["secret", "open"])
        for op in ("GetObject", "HeadObject", "PutObject", "DeleteObject"):
            double.fail_next(op, "*secret", Fault(status=403, code="AccessDenied"), times=0)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.get("secret", 0, 1, if_match=""),
            lambda: store.get_whole("secret", if_match="", limit_bytes=10),
            lambda: store.head("secret"),
            lambda: store.put("secret", b"", NO_META, Always()),
            lambda: store.delete("secret", if_match=""),
        ]
        for call in calls:
            with raises(Kind.ACCESS_DENIED, key="secret"):
                await call()
        assert await get_text(store, "open") == "open"
        failures = await store.delete_many(["secret", "open"])
        assert [(key, error.kind) for key, error in failures.items()] == [("secret", Kind.ACCESS_DENIED)]
        assert (await all_keys(store))[0] == ["secret"]

    double_backend.run(test)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", Kind.THROTTLED),
        (429, "TooManyRequests", Kind.THROTTLED),
        (503, "ServiceUnavailable", Kind.UNAVAILABLE),
        (403, "ExpiredToken", Kind.BAD_CREDENTIALS),
        (403, "RequestTimeTooSkewed", Kind.BAD_CREDENTIALS),
        (409, "ConditionalRequestConflict", Kind.PRECONDITION_FAILED),
        (412, "PreconditionFailed", Kind.PRECONDITION_FAILED),
        (400, "RequestTimeout", Kind.TIMEOUT),
        (501, "NotImplemented", Kind.UNSUPPORTED),
    ],
)
@pytest.mark.parametrize("op", ["PutObject", "GetObject", "CopyObject", "CreateMultipartUpload", "ListObjectsV2"])
def test_codes_have_one_meaning_whichever_client_meets_them(
    double: S3Double, double_backend: Backend, op: str, status: int, code: str, kind: Kind
) -> None:
    async def test(store: ObjectStore) -> None:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "PutObject": lambda: store.put("k2", b"x", NO_META, IfAbsent()),
            "GetObject": lambda: store.get("k", 0, 1, if_match=""),
            "CopyObject": lambda: store.copy("k", "k2", if_match="", condition=IfAbsent()),
            "CreateMultipartUpload": lambda: store.begin_upload("k2", NO_META),
            "ListObjectsV2": lambda: store.list("", delimited=True),
        }
        await put_text(store, "k", "x")
        double.forget_requests()
        double.fail_next(op, "*", Fault(status=status, code=code))
        with raises(kind):
            await calls[op]()
        assert double.count(op) == 1

    double_backend.run(test)


def test_errors_carry_the_request_id(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        with pytest.raises(StoreError) as caught:
            await store.head("missing")
        assert caught.value.request_id.startswith("DOUBLE")
        assert caught.value.http_status == 404

    double_backend.run(test)


def test_a_check_says_what_is_wrong(double: S3Double, double_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = S3Settings(bucket=double_backend.bucket, endpoint_url=double.endpoint_url, region="us-east-1")

    async def failure(settings: S3Settings) -> Kind:
        store = S3Store(settings)
        try:
            with pytest.raises(StoreError) as caught:
                await store.check()
            return caught.value.kind
        finally:
            await store.aclose()

    assert trio.run(failure, evolve(settings, bucket="no-such-bucket")) is Kind.NO_SUCH_BUCKET
    assert trio.run(failure, evolve(settings, endpoint_url="http://127.0.0.1:1")) is Kind.UNAVAILABLE
    double.fail_next("ListObjectsV2", "*", Fault(status=403, code="AccessDenied"))
    assert trio.run(failure, settings) is Kind.ACCESS_DENIED
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert trio.run(failure, settings) is Kind.BAD_CREDENTIALS


# -- bodies


@pytest.mark.parametrize("size_bytes", [1000, 3 * MIB])
def test_a_body_that_is_cut_short_is_never_served(double: S3Double, double_backend: Backend, size_bytes: int) -> None:
    async def test(store: ObjectStore) -> None:
        await store.put("k", bytes(size_bytes), NO_META, Always())
        double.fail_next("GetObject", "*", Fault(truncate_body=True), times=0)
        with pytest.raises(StoreError) as first:
            await store.get("k", 0, size_bytes, if_match="")
        with pytest.raises(StoreError) as second:
            await store.get_whole("k", if_match="", limit_bytes=size_bytes)
        assert first.value.retryable
        assert second.value.retryable

    double_backend.run(test)


def test_an_upload_whose_bytes_change_on_the_way_is_refused_by_the_checksum(double_backend: Backend) -> None:
    """The double verifies what the store sends: here that it sends something to verify at all."""

    async def test(store: ObjectStore) -> None:
        assert double_backend.double is not None
        await store.put("small", b"x" * 100, NO_META, IfAbsent())
        upload = await store.begin_upload("big", NO_META)
        await upload.put_part(1, b"x" * PART)
        await upload.complete(IfAbsent())
        for request in double_backend.double.requests:
            if request.op in ("PutObject", "UploadPart"):
                names = {name for name in request.headers if name.startswith("x-amz-checksum-")}
                sha256 = request.headers.get("x-amz-content-sha256", "")
                assert names or "content-md5" in request.headers or len(sha256) == 64, request.op

    double_backend.run(test)


# -- S3's rules that the test server does not have


def test_an_archived_object(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        written = await store.put("cold", b"body", NO_META, IfAbsent(), storage_class=StorageClass.DEEP_ARCHIVE)
        head = await store.head("cold")
        assert (head.storage_class, head.archived) == (StorageClass.DEEP_ARCHIVE, True)
        assert (await store.list("", delimited=False)).objects[0].archived
        with raises(Kind.ARCHIVED, key="cold"):
            await store.get("cold", 0, 4, if_match=written.etag)
        with raises(Kind.ARCHIVED):
            await store.get_whole("cold", if_match="", limit_bytes=4)
        with raises(Kind.ARCHIVED):
            await store.copy("cold", "cold", if_match=written.etag, condition=Always(), meta=NO_META)
        double.client().restore_object(
            Bucket=double_backend.bucket, Key=prefixed(store, "cold"), RestoreRequest={"Days": 1}
        )
        assert (await store.head("cold")).archived
        double.finish_restore(double_backend.bucket, prefixed(store, "cold"))
        head = await store.head("cold")
        assert not head.archived
        assert 'ongoing-request="false"' in head.restore
        assert await get_text(store, "cold") == "body"

    double_backend.run(test)


def test_a_copy_over_five_gib(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        size_bytes = 5 * GIB + 12_345
        user = {"file-permissions": "0100600", "tierfs-op": "1"}
        double.put_sparse(double_backend.bucket, prefixed(store, "huge"), size_bytes, user=user, tags={"team": "a b"})
        source = await store.head("huge")
        written = await store.copy("huge", "moved", if_match=source.etag, condition=IfAbsent())
        head = await store.head("moved")
        assert (head.size_bytes, head.etag, head.meta) == (size_bytes, written.etag, source.meta)
        assert double.object(double_backend.bucket, prefixed(store, "moved")).tags == {"team": "a b"}
        changed = ObjectMeta(user={"file-permissions": "0100644"}, content_type="text/plain")
        again = await store.copy("moved", "moved", if_match=written.etag, condition=Always(), meta=changed)
        head = await store.head("moved")
        assert (head.size_bytes, head.etag, head.meta) == (size_bytes, again.etag, changed)
        assert await store.list_uploads("") == []

    double_backend.run(test)


def test_tags_of_others_survive(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = await put_text(store, "k", "x")
        full = prefixed(store, "k")
        tags = [{"Key": "cost centre", "Value": "a+b=c/d"}, {"Key": "é", "Value": ""}]
        double.client().put_object_tagging(Bucket=double_backend.bucket, Key=full, Tagging={"TagSet": tags})
        expected = {tag["Key"]: tag["Value"] for tag in tags}
        copied = await store.copy("k", "copy", if_match=etag, condition=IfAbsent(), meta=OP)
        assert double.object(double_backend.bucket, prefixed(store, "copy")).tags == expected
        await store.put("copy", b"rewritten", NO_META, IfMatch(copied.etag))
        assert double.object(double_backend.bucket, prefixed(store, "copy")).tags == expected

    double_backend.run(test)


def test_a_write_that_races_another_is_a_conflict(double: S3Double, double_backend: Backend) -> None:
    """409: the condition held when the request began, and somebody wrote while it was under way."""

    async def test(store: ObjectStore) -> None:
        hold = threading.Event()
        double.fail_next("PutObject", "*", Fault(hold=hold))

        async def conditional() -> None:
            with raises(Kind.PRECONDITION_FAILED):
                await store.put("k", b"slow", NO_META, IfAbsent())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(conditional)
            await trio.to_thread.run_sync(double.wait_for, "PutObject")
            client = double.client()
            await trio.to_thread.run_sync(
                lambda: client.put_object(Bucket=double_backend.bucket, Key=prefixed(store, "k"), Body=b"fast")
            )
            await trio.to_thread.run_sync(
                lambda: client.delete_object(Bucket=double_backend.bucket, Key=prefixed(store, "k"))
            )
            hold.set()
        assert await all_keys(store) == ([], [])

    double_backend.run(test)


# -- cancellation


def test_a_cancelled_read_returns_at_once(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_text(store, "k", "text")
        hold = threading.Event()
        double.fail_next("*", "*k", Fault(hold=hold), times=0)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.get("k", 0, 4, if_match=""),
            lambda: store.get_whole("k", if_match="", limit_bytes=4),
            lambda: store.head("k"),
        ]
        for call in calls:
            started = trio.current_time()
            with trio.move_on_after(0.05) as scope:
                await call()
            assert scope.cancelled_caught
            assert trio.current_time() - started < 5
        hold.set()
        double.clear_faults()
        assert await get_text(store, "k") == "text"

    double_backend.run(test)


def test_a_server_that_comes_back_is_found_again(
    double: S3Double, double_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with S3Double() as server:
        bucket = server.create_bucket()
        settings = S3Settings(bucket=bucket, endpoint_url=server.endpoint_url, region="us-east-1")

        async def main() -> None:
            store = S3Store(settings)
            await put_text(store, "k", "text")
            server.stop()
            for call in (lambda: store.head("k"), lambda: store.get("k", 0, 4, if_match="")):
                with pytest.raises(StoreError) as caught:
                    await call()
                assert caught.value.retryable
            server.start()
            assert await get_text(store, "k") == "text"
            await store.aclose()

        trio.run(main)
