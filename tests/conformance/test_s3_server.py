"""S3Store against servers, beyond the interface: what the probe finds, markers, tags, identities, lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.support.s3double import Fault, S3Double
from tests.support.weed import READER, WeedServer
from tierfs import native
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import EXPIRES_UNKNOWN, Always, Capabilities, IfAbsent, IfMatch, ObjectMeta
from tierfs.objectstore.opening import open_store
from tierfs.objectstore.probe import probe
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.s3_markers import MARKERS_PREFIX
from tierfs.objectstore.settings import RetrySettings, S3Settings
from tierfs.units import MIB

Kind = StoreErrorKind
# characters that one client or server might quote in another way
ODD_KEYS = ["a b", "a+b", "a%2Fb", "é/e\u0301", "~*'()!", "a#b?c=d&e", '"<>&', "[{|}]^`", "=:;,@$", "x/" + "🙂" * 60]


def failing(kind: StoreErrorKind) -> Any:
    return pytest.raises(StoreError, check=lambda error: error.kind is kind)


def settings_for(server: WeedServer | S3Double, **changes: Any) -> S3Settings:
    return S3Settings(endpoint_url=server.endpoint_url, region="us-east-1", **changes)


def run(store: RetryingStore, test: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            with trio.fail_after(60):
                await test(store)
        finally:
            await store.aclose()

    trio.run(main)


@pytest.fixture
def on_weed(weed: WeedServer, weed_bucket: str, monkeypatch: pytest.MonkeyPatch) -> RetryingStore:
    """A store on a fresh bucket of the real server, below a prefix."""
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{weed_bucket}/some/prefix", settings_for(weed))


def bucket_of(store: RetryingStore) -> str:
    return store.source.removeprefix("s3://").partition("/")[0]


# -- the real server


def test_what_the_real_server_does(on_weed: RetryingStore) -> None:
    async def test(store: RetryingStore) -> None:
        found = await probe(store, "1-1-1")
        lacks = {"live_prefixes": False, "ordered_listing": False, "marker_metadata": False}
        # nobody is warned of what only those need who archive
        assert found == Capabilities(warnings=found.warnings, restores=False, **lacks)  # type: ignore[arg-type]
        told = [warning.partition(":")[0] for warning in found.warnings]
        assert told == [f"no {name.replace('_', ' ')}" for name in lacks]
        assert store.capabilities == found
        assert list((await store.list("", delimited=False)).objects) == []

    run(on_weed, test)


def test_markers_keep_their_metadata_on_a_server_that_forgets_it(weed: WeedServer, on_weed: RetryingStore) -> None:
    async def test(store: RetryingStore) -> None:
        await probe(store, "1-1-1")
        first = ObjectMeta(
            user={"file-permissions": "0040750", "tierfs-op": "1"}, content_type="application/x-directory"
        )
        second = ObjectMeta(
            user={"file-permissions": "0040700", "tierfs-op": "2"}, content_type="application/x-directory"
        )
        written = await store.put("d/", b"", first, IfAbsent())
        assert (await store.head("d/")).meta == first
        await store.copy("d/", "d/", if_match=written.etag, condition=Always(), meta=second)
        await store.copy("d/", "e/", if_match="", condition=IfAbsent())
        assert [(await store.head(key)).meta for key in ("d/", "e/")] == [second] * 2
        assert (await store.get_whole("d/", if_match="", limit_bytes=0)).info.meta == second
        with failing(Kind.PRECONDITION_FAILED):
            await store.put("d/", b"", ObjectMeta(user={"tierfs-op": "3"}), IfAbsent())
        # a directory of the server's that nobody made is no marker
        await store.put("made/by/file", b"x", first, IfAbsent())
        with failing(Kind.NOT_FOUND):
            await store.head("made/by/")
        # another store on the same bucket reads them, other tools see plain markers
        listed = weed.client().list_objects_v2(Bucket=bucket_of(store), Prefix="some/prefix/")["Contents"]
        keys = {found["Key"].removeprefix("some/prefix/") for found in listed}
        assert {"d/", "e/", "made/by/file"} <= keys
        assert sum(key.startswith(MARKERS_PREFIX) for key in keys) == 2
        await store.delete("d/", if_match=written.etag)
        assert dict(await store.delete_many(["e/", "made/by/file"])) == {}
        assert list((await store.list("", delimited=False)).objects) == []

    run(on_weed, test)


def test_a_flat_listing_goes_on_below_a_marker_that_ends_a_page(on_weed: RetryingStore) -> None:
    async def test(store: RetryingStore) -> None:
        await probe(store, "1-1-1")
        keys = ["d/", "d/e/", "d/e/f", "d/e/g"]
        for number, key in enumerate(keys):
            await store.put(key, b"", ObjectMeta(user={"tierfs-op": str(number)}), IfAbsent())
        for limit in range(1, 6):
            listed: list[str] = []
            token = ""
            while True:
                page = await store.list("d/", delimited=False, token=token, limit=limit)
                assert len(page.objects) <= limit
                listed += [info.key for info in page.objects]
                token = page.token
                if not token:
                    break
            assert listed == keys

    run(on_weed, test)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_all_clients_mean_the_same_key(weed: WeedServer, on_weed: RetryingStore, key: str) -> None:
    async def test(store: RetryingStore) -> None:
        await store.put(key, b"body", ObjectMeta(), IfAbsent())  # obstore
        bucket, full = bucket_of(store), f"some/prefix/{key}"
        other = weed.client()
        assert other.get_object(Bucket=bucket, Key=full)["Body"].read() == b"body"  # boto3
        assert (await store.head(key)).size_bytes == 4  # Wire
        (found,) = (await store.list("", delimited=False)).objects
        assert found.key == key
        await store.delete(key, if_match=found.etag)
        assert "Contents" not in other.list_objects_v2(Bucket=bucket)

    run(on_weed, test)


@pytest.mark.parametrize("size_bytes", [10, 6 * MIB])
def test_a_rewrite_keeps_tags_and_expiry_of_others(weed: WeedServer, on_weed: RetryingStore, size_bytes: int) -> None:
    expires = "Wed, 21 Oct 2026 07:28:00 GMT"

    async def test(store: RetryingStore) -> None:
        other, place = weed.client(), {"Bucket": bucket_of(store), "Key": "some/prefix/k"}
        other.put_object(**place, Body=b"theirs", Tagging="cost%20centre=a%26b", Expires=expires, ContentType="a/b")
        etag = (await store.head("k")).etag
        meta = (await store.get_whole("k", if_match=etag, limit_bytes=10)).info.meta
        assert meta is not None
        assert meta.expires == EXPIRES_UNKNOWN
        if size_bytes < MIB:
            await store.put("k", bytes(size_bytes), meta, IfMatch(etag))
        else:
            upload = await store.begin_upload("k", meta)
            await upload.put_part(1, bytes(size_bytes))
            await upload.complete(IfMatch(etag))
        head = await store.head("k")
        assert head.meta is not None
        assert (head.size_bytes, head.meta.content_type, head.meta.expires) == (size_bytes, "a/b", expires)
        assert other.get_object_tagging(**place)["TagSet"] == [{"Key": "cost centre", "Value": "a&b"}]

    run(on_weed, test)


def test_a_large_copy_is_made_of_parts(weed: WeedServer, weed_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    settings = settings_for(weed, copy_limit_bytes=6 * MIB, copy_part_bytes=5 * MIB)

    async def test(store: RetryingStore) -> None:
        data = bytes(range(256)) * (12 * MIB // 256)
        source = await store.put("source", data, ObjectMeta(user={"a": "b"}, content_type="x/y"), IfAbsent())
        weed.client().put_object_tagging(
            Bucket=weed_bucket, Key="source", Tagging={"TagSet": [{"Key": "t", "Value": "v"}]}
        )
        await store.copy("source", "copy", if_match=source.etag, condition=IfAbsent())
        body = await store.get_whole("copy", if_match="", limit_bytes=len(data))
        assert bytes(body.data) == data
        assert body.info.meta == ObjectMeta(user={"a": "b"}, content_type="x/y")
        assert weed.client().get_object_tagging(Bucket=weed_bucket, Key="copy")["TagSet"] == [
            {"Key": "t", "Value": "v"}
        ]
        with failing(Kind.PRECONDITION_FAILED):
            await store.copy("source", "copy", if_match=source.etag, condition=IfAbsent())
        assert list(await store.list_uploads("")) == []

    run(open_store(f"s3://{weed_bucket}", settings), test)


def test_an_identity_that_may_only_read(
    weed: WeedServer, on_weed: RetryingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    weed.client().put_object(Bucket=bucket_of(on_weed), Key="some/prefix/k", Body=b"body")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])

    async def test(store: RetryingStore) -> None:
        found = await probe(store, "1-1-1")
        assert found.read_only
        assert "access denied" in found.warnings[0]
        assert bytes((await store.get("k", 0, 4, if_match="")).data) == b"body"
        with failing(Kind.ACCESS_DENIED):
            await store.put("new", b"", ObjectMeta(), Always())

    run(on_weed, test)


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_SECRET_ACCESS_KEY", "wrong-secret"), ("AWS_ACCESS_KEY_ID", "nobody-known")]
)
def test_wrong_credentials(on_weed: RetryingStore, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    async def test(store: RetryingStore) -> None:
        for call in (store.check, lambda: store.head("k"), lambda: store.get("k", 0, 1, if_match="")):
            with pytest.raises(StoreError) as caught:
                await call()
            assert caught.value.kind is Kind.BAD_CREDENTIALS
            assert "wrong-secret" not in str(caught.value)

    run(on_weed, test)


def test_no_credentials_at_all(on_weed: RetryingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    async def test(store: RetryingStore) -> None:
        with failing(Kind.BAD_CREDENTIALS):
            await store.check()

    run(on_weed, test)


def test_a_bucket_that_does_not_exist(weed: WeedServer, on_weed: RetryingStore) -> None:
    async def test(store: RetryingStore) -> None:
        with failing(Kind.NO_SUCH_BUCKET):
            await store.check()
        with failing(Kind.NO_SUCH_BUCKET):
            await store.get("k", 0, 1, if_match="")

    run(open_store("s3://no-such-bucket-here", settings_for(weed)), test)


def test_a_server_that_is_not_there(on_weed: RetryingStore) -> None:
    settings = S3Settings(endpoint_url="http://127.0.0.1:9", region="us-east-1", retry=RetrySettings(budget_s=0))

    async def test(store: RetryingStore) -> None:
        calls = (
            store.check,
            lambda: store.get("k", 0, 1, if_match=""),
            lambda: store.put("k", b"", ObjectMeta(), Always()),
            lambda: store.begin_upload("k", ObjectMeta()),
        )
        for call in calls:
            with failing(Kind.UNAVAILABLE):  # and not UNCLEAR: nothing was sent
                await call()

    run(open_store("s3://bucket", settings), test)


# -- lost answers, with the double


@pytest.mark.parametrize("client", ["obstore", "boto3"])
def test_a_put_whose_answer_was_lost_is_ours(double: S3Double, client: str) -> None:
    bucket = double.create_bucket()
    # Expires sends a PUT through boto3
    meta = ObjectMeta(user={"tierfs-op": "7"}, expires="0" if client == "boto3" else "")
    double.fail_next("PutObject", "k", Fault(drop=True, applied=True))

    async def test(store: RetryingStore) -> None:
        written = await store.put("k", b"body", meta, IfAbsent())
        head = await store.head("k")
        assert (head.etag, head.meta and head.meta.expires) == (written.etag, meta.expires)
        assert double.count("PutObject") == 1
        with failing(Kind.PRECONDITION_FAILED):
            await store.put("k", b"other", ObjectMeta(user={"tierfs-op": "8"}), IfAbsent())

    run(open_store(f"s3://{bucket}", settings_for(double)), test)


def test_a_completion_whose_answer_was_lost_is_ours(double: S3Double) -> None:
    bucket = double.create_bucket()
    double.fail_next("CompleteMultipartUpload", "k", Fault(drop=True, applied=True))

    async def test(store: RetryingStore) -> None:
        upload = await store.begin_upload("k", ObjectMeta(user={"tierfs-op": "7"}))
        await upload.put_part(1, b"body")
        written = await upload.complete(IfAbsent())
        assert written.etag == (await store.head("k")).etag

    run(open_store(f"s3://{bucket}", settings_for(double)), test)


@pytest.mark.parametrize("size_bytes", [9, 11 * MIB])
def test_the_server_tells_the_checksum_that_it_made(double: S3Double, size_bytes: int) -> None:
    """Whoever wrote the object: so bytes of others are checked as our own are."""
    store = open_store(f"s3://{double.create_bucket()}", settings_for(double))
    body = b"x" * size_bytes

    async def test(store: RetryingStore) -> None:
        if size_bytes < MIB:
            await store.put("k", body, ObjectMeta(), Always())
        else:
            upload = await store.begin_upload("k", ObjectMeta())
            for number, start in enumerate(range(0, size_bytes, 6 * MIB), start=1):
                await upload.put_part(number, body[start : start + 6 * MIB])
            await upload.complete(Always())
        assert (await store.head("k")).content == f"crc64nvme:{native.crc64nvme(body):016x}"

    run(store, test)


def test_metadata_that_is_not_ascii_comes_back(double: S3Double) -> None:
    bucket = double.create_bucket()
    meta = ObjectMeta(user={"title": "größe 日本", "blank": " x ", "plain": "=?UTF-8?B?aGk=?="}, content_type="a/b")

    async def test(store: RetryingStore) -> None:
        written = await store.put("k", b"body", meta, IfAbsent())
        assert (await store.head("k")).meta == meta
        body = await store.get_whole("k", if_match=written.etag, limit_bytes=9)
        assert body.info.meta is not None
        assert body.info.meta.user == meta.user

    run(open_store(f"s3://{bucket}", settings_for(double)), test)


def test_without_conditional_requests_a_head_goes_before(double: S3Double) -> None:
    bucket = double.create_bucket()

    async def test(store: RetryingStore) -> None:
        assert isinstance(store.inner, S3Store)
        store.inner.adopt(Capabilities(conditional_put=False, conditional_copy=False, conditional_delete=False))
        old = await store.put("k", b"old", ObjectMeta(user={"tierfs-op": "1"}), IfAbsent())
        new = await store.put("k", b"new", ObjectMeta(user={"tierfs-op": "2"}), IfMatch(old.etag))
        for condition in (IfAbsent(), IfMatch(old.etag)):
            with failing(Kind.PRECONDITION_FAILED):
                await store.put("k", b"x", ObjectMeta(user={"tierfs-op": "3"}), condition)
            with failing(Kind.PRECONDITION_FAILED):
                await store.copy("k", "k", if_match=new.etag, condition=condition, meta=ObjectMeta())
        with failing(Kind.PRECONDITION_FAILED):
            await store.delete("k", if_match=old.etag)
        await store.delete("k", if_match=new.etag)

    run(open_store(f"s3://{bucket}", settings_for(double)), test)
