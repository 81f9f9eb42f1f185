"""Storage classes: which a store takes, how an object moves between them, and how it comes back from an archive.

Over every store of the suite, and over moto's server, where objects are archived and restored as Amazon does it.
"""

import pytest
import trio
from attrs import evolve

from tests.conformance.test_objectstore import FULL_META, NO_META, Kind, raises
from tests.support.backends import Backend, get_text, s3_backend
from tests.support.moto_server import MotoServer
from tests.support.s3double import S3Double
from tests.support.s3double_state import GIB
from tierfs.objectstore.archives import restore_state
from tierfs.objectstore.base import Capabilities, IfAbsent, IfMatch, ObjectStore, RestoreSpeed, StorageClass
from tierfs.objectstore.probe import probe
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.settings import S3Settings

READ_AT_ONCE = [
    StorageClass.STANDARD_IA,
    StorageClass.ONEZONE_IA,
    StorageClass.INTELLIGENT_TIERING,
    StorageClass.GLACIER_IR,
    StorageClass.STANDARD,
]


@pytest.fixture
def moto_backend(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A fresh bucket, and what the probe saw there."""
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    settings = S3Settings(bucket=moto_server.create_bucket(), endpoint_url=moto_server.endpoint_url, region="us-east-1")

    async def ask() -> Capabilities:
        store = S3Store(settings)
        try:
            return await probe(store, "classes")
        finally:
            await store.aclose()

    return evolve(s3_backend("s3-moto", settings, trio.run(ask)), bucket=settings.bucket)


def full_key(store: ObjectStore, key: str) -> str:
    return store.source.partition("://")[2].partition("/")[2] + "/" + key


async def move(store: ObjectStore, key: str, etag: str, storage_class: StorageClass) -> str:
    written = await store.copy(key, key, if_match=etag, condition=IfMatch(etag), storage_class=storage_class)
    return written.etag


async def _down_and_up(store: ObjectStore) -> None:
    etag = (await store.put("k", b"body", FULL_META, IfAbsent())).etag
    for storage_class in READ_AT_ONCE:
        etag = await move(store, "k", etag, storage_class)
        head = await store.head("k")
        assert (head.storage_class, head.etag, head.archived) == (storage_class, etag, False)
        assert head.meta == FULL_META
        assert await get_text(store, "k") == "body"


def test_a_move_keeps_everything_but_the_class(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        if store.capabilities.class_changes:
            await _down_and_up(store)
            return
        etag = (await store.put("k", b"body", FULL_META, IfAbsent())).etag
        with raises(Kind.UNSUPPORTED, key="k"):
            await move(store, "k", etag, StorageClass.STANDARD_IA)
        assert (await store.head("k")).etag == etag

    backend.run(test)


def test_a_move_on_amazons_terms(moto_backend: Backend) -> None:
    moto_backend.run(_down_and_up)


def test_a_move_is_of_the_version_that_was_meant(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        old = (await store.put("k", b"old", NO_META, IfAbsent())).etag
        new = (await store.put("k", b"newer", NO_META, IfMatch(old))).etag
        with raises(Kind.PRECONDITION_FAILED, Kind.UNSUPPORTED):
            await move(store, "k", old, StorageClass.STANDARD_IA)
        head = await store.head("k")
        assert (head.etag, head.storage_class) == (new, StorageClass.STANDARD)

    backend.run(test)


def test_tags_move_along(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        double.put_sparse(double_backend.bucket, full_key(store, "k"), 10, user={}, tags={"team": "a b"})
        etag = (await store.head("k")).etag
        await move(store, "k", etag, StorageClass.GLACIER_IR)
        assert double.object(double_backend.bucket, full_key(store, "k")).tags == {"team": "a b"}

    double_backend.run(test)


def test_an_object_over_five_gib_moves_in_parts(double: S3Double, double_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        size_bytes = 5 * GIB + 12_345
        full = full_key(store, "huge")
        double.put_sparse(double_backend.bucket, full, size_bytes, user={"a": "b"}, tags={"team": "a"})
        etag = await move(store, "huge", (await store.head("huge")).etag, StorageClass.DEEP_ARCHIVE)
        head = await store.head("huge")
        assert (head.size_bytes, head.storage_class, head.etag) == (size_bytes, StorageClass.DEEP_ARCHIVE, etag)
        assert head.meta is not None and head.meta.user == {"a": "b"}
        assert double.object(double_backend.bucket, full).tags == {"team": "a"}
        assert double.count("CopyObject") == 0 < double.count("UploadPartCopy")

    double_backend.run(test)


# ---- archives ----


def test_an_object_comes_back_from_the_archive(moto_server: MotoServer, moto_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = (await store.put("cold", b"body", FULL_META, IfAbsent())).etag
        etag = await move(store, "cold", etag, StorageClass.GLACIER)
        head = await store.head("cold")
        assert head.archived and restore_state(head) is None
        with raises(Kind.ARCHIVED, key="cold"):
            await store.get_whole("cold", if_match=etag, limit_bytes=10)
        with raises(Kind.ARCHIVED, key="cold"):
            await move(store, "cold", etag, StorageClass.STANDARD)
        moto_server.hold_restore(moto_backend.bucket, full_key(store, "cold"))
        for _ in range(2):  # again: nothing happens
            await store.restore("cold", if_match=etag, days=2, speed=RestoreSpeed.BULK)
        head = await store.head("cold")
        state = restore_state(head)
        assert head.archived and state is not None and state.is_ongoing
        moto_server.finish_restore(moto_backend.bucket, full_key(store, "cold"))
        head = await store.head("cold")
        state = restore_state(head)
        assert not head.archived and state is not None and state.expires_ns is not None
        assert await get_text(store, "cold") == "body"
        await move(store, "cold", etag, StorageClass.STANDARD)
        assert (await store.head("cold")).meta == FULL_META

    moto_backend.run(test)


def test_what_cannot_be_restored_says_why(moto_backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = (await store.put("k", b"body", NO_META, IfAbsent())).etag
        with raises(Kind.INVALID, key="k"):
            await store.restore("k", if_match=etag, days=1, speed=RestoreSpeed.STANDARD)
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await store.restore("k", if_match="another", days=1, speed=RestoreSpeed.STANDARD)
        with raises(Kind.NOT_FOUND, key="absent"):
            await store.restore("absent", if_match="", days=1, speed=RestoreSpeed.STANDARD)

    moto_backend.run(test)


def test_a_store_without_an_archive_refuses(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        if store.capabilities.restores:
            return
        etag = (await store.put("k", b"body", NO_META, IfAbsent(), storage_class=StorageClass.GLACIER)).etag
        with raises(Kind.UNSUPPORTED, key="k"):
            await store.restore("k", if_match=etag, days=1, speed=RestoreSpeed.STANDARD)

    backend.run(test)


def test_what_servers_do_with_classes(
    probed_weed: tuple[S3Settings, Capabilities], moto_backend: Backend, double_backend: Backend
) -> None:
    """To SeaweedFS a class is a label that a copy may change; it archives nothing."""
    seen = [(caps.storage_classes, caps.class_changes, caps.restores) for caps in _probed(moto_backend, double_backend)]
    assert seen == [(True, True, True), (True, True, True)]
    weed = probed_weed[1]
    assert (weed.storage_classes, weed.class_changes, weed.restores) == (True, True, False)


def _probed(*backends: Backend) -> list[Capabilities]:
    found: list[Capabilities] = []

    async def ask(store: ObjectStore) -> None:
        found.append(await probe(store, "seen"))

    for backend in backends:
        backend.run(ask)
    return found
