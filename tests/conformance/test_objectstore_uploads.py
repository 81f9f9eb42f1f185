"""What every object store promises of multipart uploads (tierfs/objectstore/base.py)."""

import time

import pytest
import trio

from tests.conformance.test_objectstore import NO_META, SEEN_BY_GET, Kind, raises
from tests.support.backends import MIB, Backend, all_keys, get_text, put_text
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta, ObjectStore, StorageClass

PART = 5 * MIB  # the least that S3 takes, but for the last part


def part(letter: str, size_bytes: int = PART) -> bytes:
    return letter.encode() * size_bytes


async def check_body(store: ObjectStore, key: str, expected: bytes) -> None:
    body = await store.get_whole(key, if_match="", limit_bytes=len(expected))
    assert bytes(body.data) == expected


def test_parts_are_joined_in_the_order_of_their_numbers(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("d/big", SEEN_BY_GET)
        async with trio.open_nursery() as nursery:
            for number, data in ((3, b"end"), (1, part("a")), (2, part("b", PART + 1))):
                nursery.start_soon(upload.put_part, number, data)
        assert await all_keys(store) == ([], [])
        with raises(Kind.NOT_FOUND):
            await store.head("d/big")
        written = await upload.complete(IfAbsent())
        head = await store.head("d/big")
        assert (head.size_bytes, head.etag, head.meta) == (2 * PART + 4, written.etag, SEEN_BY_GET)
        (listed,) = (await store.list("d/", delimited=False)).objects
        assert (listed.size_bytes, listed.etag) == (head.size_bytes, head.etag)
        around = await store.get("d/big", PART - 2, PART + 2, if_match=written.etag)
        assert bytes(around.data) == b"aabb"
        tail = await store.get("d/big", 2 * PART, 2 * PART + 4, if_match=written.etag)
        assert bytes(tail.data) == b"bend"
        assert await store.list_uploads("") == []

    backend.run(test)


def test_one_small_part_is_enough(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, memoryview(b"small"))
        await upload.complete(Always())
        assert await get_text(store, "k") == "small"

    backend.run(test)


def test_a_part_that_is_sent_again_replaces_the_first(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, part("x"))
        await upload.put_part(2, b"old")
        await upload.put_part(2, b"newer")
        await upload.put_part(1, part("y"))
        await upload.complete(Always())
        await check_body(store, "k", part("y") + b"newer")

    backend.run(test)


def test_part_numbers_may_have_gaps(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(10_000, b"last")
        await upload.put_part(7, part("f"))
        await upload.complete(Always())
        await check_body(store, "k", part("f") + b"last")

    backend.run(test)


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers_have_bounds(backend: Backend, number: int) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        with raises(Kind.INVALID):
            await upload.put_part(number, b"x")
        await upload.abort()

    backend.run(test)


def test_parts_copied_from_another_object(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        source = await store.put("source", part("s") + part("t"), NO_META, Always())
        upload = await store.begin_upload("k", NO_META)
        await upload.copy_part(1, "source", 1, PART + 1, if_match=source.etag)
        await upload.put_part(2, part("u"))
        await upload.copy_part(3, "source", PART, PART + 3, if_match=source.etag)
        await upload.complete(Always())
        await check_body(store, "k", part("s", PART - 1) + b"t" + part("u") + b"ttt")
        await check_body(store, "source", part("s") + part("t"))

    backend.run(test)


def test_a_part_is_copied_of_one_version_only(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        old = await put_text(store, "source", "o" * PART)
        new = await put_text(store, "source", "n" * PART)
        upload = await store.begin_upload("k", NO_META)
        with raises(Kind.PRECONDITION_FAILED):
            await upload.copy_part(1, "source", 0, PART, if_match=old)
        with raises(Kind.NOT_FOUND):
            await upload.copy_part(1, "missing", 0, PART, if_match=new)
        await upload.copy_part(1, "source", 0, PART, if_match=new)
        await upload.complete(Always())
        await check_body(store, "k", part("n"))

    backend.run(test)


def test_an_object_rewritten_from_its_own_parts(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        first = await store.put("k", part("a") + part("b"), NO_META, Always())
        upload = await store.begin_upload("k", NO_META)
        await upload.copy_part(1, "k", 0, PART, if_match=first.etag)
        await upload.put_part(2, b"changed")
        second = await upload.complete(IfMatch(first.etag))
        await check_body(store, "k", part("a") + b"changed")
        assert (await store.head("k")).etag == second.etag != first.etag

    backend.run(test)


def test_completing_only_where_nothing_is(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_text(store, "k", "there")
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, b"new")
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await upload.complete(IfAbsent())
        assert await get_text(store, "k") == "there"
        await upload.abort()
        assert await store.list_uploads("") == []

    backend.run(test)


def test_completing_only_over_a_version(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        old = await put_text(store, "k", "old")
        new = await put_text(store, "k", "new")
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, b"newest")
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await upload.complete(IfMatch(old))
        assert await get_text(store, "k") == "new"
        await upload.abort()

        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, b"newest")
        written = await upload.complete(IfMatch(new))
        assert (await store.head("k")).etag == written.etag
        assert await get_text(store, "k") == "newest"

    backend.run(test)


def test_completing_over_what_is_gone(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = await put_text(store, "k", "x")
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, b"new")
        await store.delete("k", if_match="")
        with raises(Kind.PRECONDITION_FAILED, Kind.NOT_FOUND, key="k"):
            await upload.complete(IfMatch(etag))
        assert await all_keys(store) == ([], [])
        await upload.abort()

    backend.run(test)


def test_an_upload_takes_metadata_and_class(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        meta = ObjectMeta(user={"tierfs-op": "1-2-3", "x": "y"}, content_type="text/csv", cache_control="no-store")
        upload = await store.begin_upload("k", meta, storage_class=StorageClass.STANDARD_IA)
        await upload.put_part(1, b"x")
        await upload.complete(IfAbsent())
        head = await store.head("k")
        assert (head.meta, head.storage_class) == (meta, StorageClass.STANDARD_IA)

    backend.run(test)


def test_too_small_parts_are_refused(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, part("x", PART - 1))
        await upload.put_part(2, b"y")
        if backend.limits_parts:
            with raises(Kind.INVALID):
                await upload.complete(Always())
            assert await all_keys(store) == ([], [])
        await upload.abort()

    backend.run(test)


def test_an_upload_without_parts_cannot_be_completed(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        with raises(Kind.INVALID, Kind.NOT_FOUND):
            await upload.complete(Always())
        assert await all_keys(store) == ([], [])
        await upload.abort()

    backend.run(test)


def test_abort_drops_the_parts_and_can_be_repeated(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", NO_META)
        await upload.put_part(1, b"x")
        await upload.abort()
        await upload.abort()
        assert await store.list_uploads("") == []
        with raises(Kind.NOT_FOUND):
            await upload.put_part(2, b"y")
        with raises(Kind.NOT_FOUND):
            await upload.complete(Always())
        assert await all_keys(store) == ([], [])

    backend.run(test)


def test_unfinished_uploads_are_listed_and_aborted(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        before_s = time.time()
        keys = ["a/1", "a/1", "b c+é/2"]
        uploads = [await store.begin_upload(key, NO_META) for key in keys]
        await uploads[0].put_part(1, b"x")
        found = await store.list_uploads("")
        assert sorted(key for key, _, _ in found) == keys
        assert len({upload_id for _, upload_id, _ in found}) == 3
        assert all(before_s - 2 <= started_ns / 1e9 <= time.time() + 2 for _, _, started_ns in found)
        assert [key for key, _, _ in await store.list_uploads("a/")] == ["a/1", "a/1"]
        assert await store.list_uploads("nothing") == []
        for key, upload_id, _ in found:
            for _ in range(2):
                await store.abort_upload(key, upload_id)
        assert await store.list_uploads("") == []
        with raises(Kind.NOT_FOUND):
            await uploads[0].complete(Always())

    backend.run(test)


def test_two_uploads_of_one_key_do_not_mix(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        first, second = [await store.begin_upload("k", NO_META) for _ in range(2)]
        await first.put_part(1, b"first")
        await second.put_part(1, b"second")
        await second.complete(IfAbsent())
        with raises(Kind.PRECONDITION_FAILED):
            await first.complete(IfAbsent())
        assert await get_text(store, "k") == "second"
        await first.abort()

    backend.run(test)


def test_a_copy_of_a_multipart_object(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        upload = await store.begin_upload("k", SEEN_BY_GET)
        await upload.put_part(1, part("a"))
        await upload.put_part(2, b"b")
        first = await upload.complete(IfAbsent())
        changed = ObjectMeta(user={"x": "y"}, content_type="text/plain")
        second = await store.copy("k", "k", if_match=first.etag, condition=Always(), meta=changed)
        head = await store.head("k")
        assert (head.etag, head.meta, head.size_bytes) == (second.etag, changed, PART + 1)
        copied = await store.copy("k", "other", if_match=second.etag, condition=IfAbsent())
        assert (await store.head("other")).etag == copied.etag
        await check_body(store, "other", part("a") + b"b")

    backend.run(test)
