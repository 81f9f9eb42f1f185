"""The history of keys in buckets that keep versions, over every store that can."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.support.s3double import S3Double
from tests.support.versioned_store import VersionedStore
from tests.support.weed import WeedServer
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Always, ObjectMeta, ObjectStore
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.opening import open_store
from tierfs.objectstore.probe import probe
from tierfs.objectstore.settings import S3Settings

Test = Callable[[ObjectStore], Awaitable[None]]


def keep_versions(server: S3Double | WeedServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return open_store(f"s3://{bucket}/some/prefix", S3Settings(endpoint_url=server.endpoint_url, region="us-east-1"))


@pytest.fixture(params=["memory", "s3-double", "s3-weed"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "memory":
        return VersionedStore()
    if request.param == "s3-double":
        double: S3Double = request.getfixturevalue("double")
        return keep_versions(double, double.create_bucket(), monkeypatch)
    weed: WeedServer = request.getfixturevalue("weed")
    return keep_versions(weed, weed.create_bucket(), monkeypatch)


def run(store: ObjectStore, test: Test) -> None:
    async def main() -> None:
        try:
            with trio.fail_after(60):
                await test(store)
        finally:
            await store.aclose()

    trio.run(main)


async def put(store: ObjectStore, key: str, data: bytes) -> None:
    await store.put(key, data, ObjectMeta(user={"of": data.decode()}, content_type="text/x-test"), Always())


def test_a_deleted_object_is_listed_and_comes_back_as_it_was(store: ObjectStore) -> None:
    async def test(store: ObjectStore) -> None:
        for body in (b"first", b"second"):
            await put(store, "dir/a b+c", body)
        await put(store, "dir/stays", b"x")
        await put(store, "dir-beside", b"x")
        await store.delete("dir/a b+c", if_match="")
        page = await store.list_versions("dir/")
        assert page.after == ""
        rows = [version for version in page.versions if version.key == "dir/a b+c"]
        assert [(row.is_latest, row.is_deletion, row.size_bytes) for row in rows] == [
            (True, True, 0),
            (False, False, 6),
            (False, False, 5),
        ]
        assert {version.key for version in page.versions} == {"dir/a b+c", "dir/stays"}
        for _ in range(2):
            await store.undelete("dir/a b+c", rows[0].version_id)
        body = await store.get_whole("dir/a b+c", if_match="", limit_bytes=100)
        assert bytes(body.data) == b"second" and body.info.etag == rows[1].etag
        assert body.info.meta is not None
        assert (body.info.meta.user["of"], body.info.meta.content_type) == ("second", "text/x-test")

    run(store, test)


def test_a_deletion_that_something_was_written_over_takes_nothing_away(store: ObjectStore) -> None:
    async def test(store: ObjectStore) -> None:
        await put(store, "f", b"old")
        await store.delete("f", if_match="")
        deletion = (await store.list_versions("f")).versions[0]
        await put(store, "f", b"new")
        await store.undelete("f", deletion.version_id)
        assert bytes((await store.get_whole("f", if_match="", limit_bytes=9)).data) == b"new"

    run(store, test)


def test_pages_hold_the_whole_history_of_their_keys(store: ObjectStore) -> None:
    async def test(store: ObjectStore) -> None:
        keys = [f"k{number}" for number in range(4)]
        for key in keys:
            for body in (b"1", b"22", b"333"):
                await put(store, key, body)
        seen: list[tuple[str, int]] = []
        after, pages = "", 0
        while True:
            page = await store.list_versions("", after=after, limit=5)
            seen += [(version.key, version.size_bytes) for version in page.versions]
            pages, after = pages + 1, page.after
            if not after:
                break
        assert seen == [(key, size) for key in keys for size in (3, 2, 1)]
        assert pages > 1

    run(store, test)


def test_the_probe_sees_that_versions_are_kept(store: ObjectStore) -> None:
    async def test(store: ObjectStore) -> None:
        if isinstance(store, VersionedStore):
            assert store.capabilities.versioning
        else:
            assert (await probe(store, "versions")).versioning

    run(store, test)


def test_a_bucket_without_versions(double: S3Double) -> None:
    async def test(store: ObjectStore) -> None:
        assert not (await probe(store, "versions")).versioning
        await put(store, "f", b"x")
        await store.delete("f", if_match="")
        assert not (await store.list_versions("f")).versions

    bucket = double.create_bucket()
    run(open_store(f"s3://{bucket}", S3Settings(endpoint_url=double.endpoint_url, region="us-east-1")), test)


def test_a_directory_keeps_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(store: ObjectStore) -> None:
        for call in (lambda: store.list_versions(""), lambda: store.undelete("f", "1")):
            with pytest.raises(StoreError) as caught:
                await call()
            assert caught.value.kind is StoreErrorKind.UNSUPPORTED

    run(DirectoryStore(tmp_path_factory.mktemp("bucket")), test)
