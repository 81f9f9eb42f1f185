"""What every object store promises (tierfs/objectstore/base.py): listings, objects, keys, conditions, copies.

Uploads are in test_objectstore_uploads.py, what servers do wrong in test_objectstore_faults.py.
"""

import time

import pytest
import trio
from attrs import evolve

from tests.support.backends import Backend, all_keys, get_text, put_text, put_texts
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta, ObjectStore, StorageClass

Kind = StoreErrorKind
NO_META = ObjectMeta()
FULL_META = ObjectMeta(
    user={"file-permissions": "0100644", "file-mtime": "1595002920123456789ns", "their-own": "a: b, c=d; e%20f"},
    content_type="image/png",
    cache_control="max-age=60",
    content_encoding="identity",
    content_disposition='attachment; filename="x.png"',
    content_language="en",
    expires="Wed, 21 Oct 2026 07:28:00 GMT",
)


# a GET may leave out Expires (s3.py says why); HEAD shows it
SEEN_BY_GET = evolve(FULL_META, expires="")


def seen_by_get(meta: ObjectMeta | None) -> ObjectMeta:
    assert meta is not None
    return evolve(meta, expires="")


class raises:
    """`with raises(kind, ...)`: a StoreError of one of these kinds, which names the key."""

    def __init__(self, *kinds: StoreErrorKind, key: str | None = None) -> None:
        self._kinds, self._key = kinds, key

    def __enter__(self) -> None:
        self._context = pytest.raises(StoreError)
        self._info = self._context.__enter__()

    def __exit__(self, *details: object) -> bool:
        caught = self._context.__exit__(*details)  # type: ignore[arg-type]
        if caught:
            assert self._info.value.kind in self._kinds, self._info.value
            assert self._key is None or self._info.value.key == self._key
        return caught


# -- listings


def test_an_empty_bucket_lists_nothing(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await store.check()
        for delimited in (False, True):
            page = await store.list("", delimited=delimited)
            assert (list(page.objects), list(page.prefixes), page.token) == ([], [], "")

    backend.run(test)


def test_a_flat_listing_is_in_the_order_of_the_bytes(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        keys = ["Z", "a!", "a/x", "a/y/z", "a0", "b/", "b/c", "é", "\uff5e", "\U00010348"]
        await put_texts(store, keys)
        found, _ = await all_keys(store)
        assert sorted(found, key=str.encode) == sorted(keys, key=str.encode)
        assert not backend.is_ordered or found == sorted(keys, key=str.encode)

    backend.run(test)


def test_a_listing_shows_size_etag_time_and_class_but_no_metadata(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        before_s = time.time()
        written = await store.put("dir/file", b"12345", FULL_META, Always())
        (found,) = (await store.list("dir/", delimited=False)).objects
        assert (found.key, found.size_bytes, found.etag, found.meta) == ("dir/file", 5, written.etag, None)
        assert found.storage_class == StorageClass.STANDARD
        assert not found.archived
        assert before_s - 2 <= found.last_modified_ns / 1e9 <= time.time() + 2
        assert found.last_modified_ns == (await store.head("dir/file")).last_modified_ns

    backend.run(test)


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
@pytest.mark.parametrize("delimited", [False, True])
def test_pages_join_to_the_whole(backend: Backend, limit: int, delimited: bool) -> None:
    async def test(store: ObjectStore) -> None:
        keys = ["a/1", "a/2", "a-b", "b", "c/d/e", "c/d/f", "c0", "d/", "d/x"]
        await put_texts(store, keys)
        expected = (["a-b", "b", "c0"], ["a/", "c/", "d/"]) if delimited else (sorted(keys), [])
        found = await all_keys(store, delimited=delimited, limit=limit)
        if backend.is_ordered or delimited:
            assert found == expected
        else:
            assert len(found[0]) == len(set(found[0]))
            assert set(found[0]) == set(keys) if limit == 1000 else set(found[0]) <= set(keys)

    backend.run(test)


def test_a_listing_of_more_than_one_full_page(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        keys = [f"many/{number:05d}" for number in range(1005)]
        await put_texts(store, keys)
        first = await store.list("many/", delimited=False)
        assert len(first.objects) == 1000
        assert first.token
        assert (await all_keys(store, "many/"))[0] == keys
        failures = await store.delete_many(keys)
        assert failures == {}
        assert await all_keys(store) == ([], [])

    backend.run(test)


def test_a_delimited_listing_rolls_up_what_is_deeper(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_texts(store, ["top", "d/", "d/file", "d/e/deep", "d/f/", "other/x"])
        assert await all_keys(store, delimited=True) == (["top"], ["d/", "other/"])
        assert await all_keys(store, "d/", delimited=True) == (["d/", "d/file"], ["d/e/", "d/f/"])
        assert await all_keys(store, "d/e/", delimited=True) == (["d/e/deep"], [])
        assert await all_keys(store, "d", delimited=True) == ([], ["d/"])

    backend.run(test)


def test_a_prefix_need_not_end_at_a_slash(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_texts(store, ["log/1", "lost", "lo", "l", "m", "log-x"])
        assert sorted((await all_keys(store, "lo"))[0]) == ["lo", "log-x", "log/1", "lost"]
        assert await all_keys(store, "log", delimited=True) == (["log-x"], ["log/"])
        assert await all_keys(store, "log/1") == (["log/1"], [])
        for missing in ("log/2", "nothing/", "m/", "lost/x"):
            assert await all_keys(store, missing) == ([], [])
            assert await all_keys(store, missing, delimited=True) == ([], [])

    backend.run(test)


def test_start_after_skips_up_to_and_including_a_key(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        keys = ["a", "b/1", "b/2", "b/3/x", "c"]
        await put_texts(store, keys)
        if backend.is_ordered:
            for position, key in enumerate(keys):
                assert (await all_keys(store, start_after=key, limit=2))[0] == keys[position + 1 :]
            assert (await all_keys(store, start_after="b"))[0] == keys[1:]
            assert (await all_keys(store, start_after="b/2x"))[0] == keys[3:]
        assert (await all_keys(store, "b/", start_after="b/1"))[0] == ["b/2", "b/3/x"]
        assert (await all_keys(store, "b/", start_after="zz"))[0] == []
        assert await all_keys(store, delimited=True, start_after="a") == (["c"], ["b/"])
        assert await all_keys(store, "b/", delimited=True, start_after="b/1") == (["b/2"], ["b/3/"])
        # a prefix that is not above start_after is left out, also when keys below it are
        assert not backend.is_ordered or await all_keys(store, delimited=True, start_after="b/1") == (["c"], [])

    backend.run(test)


def test_a_listing_sees_what_was_just_written_and_deleted(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        for number in range(5):
            await put_text(store, f"d/{number}", "x")
            assert (await all_keys(store, "d/"))[0] == [f"d/{n}" for n in range(number + 1)]
        for number in range(5):
            await store.delete(f"d/{number}", if_match="")
            assert (await all_keys(store, "d/"))[0] == [f"d/{n}" for n in range(number + 1, 5)]
        assert await all_keys(store) == ([], [])
        assert not backend.forgets_prefixes or await all_keys(store, delimited=True) == ([], [])

    backend.run(test)


def test_a_changed_object_is_listed_with_its_new_etag(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        first = await put_text(store, "k", "one")
        second = await put_text(store, "k", "two")
        assert first != second
        (found,) = (await store.list("k", delimited=False)).objects
        assert found.etag == second == (await store.head("k")).etag

    backend.run(test)


# -- objects


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_a_body_comes_back_as_it_was_put(backend: Backend, wrap: type) -> None:
    async def test(store: ObjectStore) -> None:
        data = bytes(range(256)) * 40
        written = await store.put("bytes", wrap(data), NO_META, IfAbsent())
        body = await store.get_whole("bytes", if_match=written.etag, limit_bytes=len(data))
        assert bytes(body.data) == data
        assert (body.info.key, body.info.size_bytes, body.info.etag) == ("bytes", len(data), written.etag)

    backend.run(test)


def test_an_empty_object(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        written = await store.put("empty", b"", FULL_META, IfAbsent())
        body = await store.get_whole("empty", if_match="", limit_bytes=0)
        assert (bytes(body.data), body.info.size_bytes, body.info.etag) == (b"", 0, written.etag)
        assert seen_by_get(body.info.meta) == SEEN_BY_GET
        assert (await store.head("empty")).size_bytes == 0
        copied = await store.copy("empty", "copy", if_match=written.etag, condition=IfAbsent())
        assert (await store.head("copy")).etag == copied.etag
        with raises(Kind.INVALID):
            await store.get("empty", 0, 1, if_match="")

    backend.run(test)


def test_what_is_missing_is_not_found(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_text(store, "dir/file", "x")
        for key in ("nothing", "dir/nothing", "nothing/", "dir/file/below", "dir", "dir/file/", "dir/"):
            if key.endswith("/") and key != "nothing/" and not backend.forgets_prefixes:
                continue
            with raises(Kind.NOT_FOUND, key=key):
                await store.head(key)
            with raises(Kind.NOT_FOUND, key=key):
                await store.get(key, 0, 1, if_match="")
            with raises(Kind.NOT_FOUND, key=key):
                await store.get_whole(key, if_match="", limit_bytes=10)
            with raises(Kind.NOT_FOUND):
                await store.copy(key, "target", if_match="", condition=IfAbsent())

    backend.run(test)


def test_ranges(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        data = bytes(range(100))
        written = await store.put("ranges", data, FULL_META, Always())
        for start, stop in ((0, 100), (0, 1), (99, 100), (17, 43)):
            body = await store.get("ranges", start, stop, if_match=written.etag)
            assert bytes(body.data) == data[start:stop]
            assert (body.info.size_bytes, body.info.etag) == (100, written.etag)
            assert seen_by_get(body.info.meta) == SEEN_BY_GET
        for start, stop in ((100, 101), (1000, 1001)):
            with raises(Kind.INVALID):
                await store.get("ranges", start, stop, if_match=written.etag)
        with raises(Kind.CORRUPT):
            await store.get("ranges", 90, 101, if_match=written.etag)

    backend.run(test)


def test_a_get_is_of_one_version(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        old = await put_text(store, "k", "old")
        new = await put_text(store, "k", "new")
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await store.get("k", 0, 3, if_match=old)
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await store.get_whole("k", if_match=old, limit_bytes=10)
        assert bytes((await store.get("k", 0, 3, if_match=new)).data) == b"new"
        await store.delete("k", if_match=new)
        with raises(Kind.NOT_FOUND):
            await store.get("k", 0, 3, if_match=new)

    backend.run(test)


def test_the_limit_of_a_whole_get(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await put_text(store, "k", "12345")
        assert bytes((await store.get_whole("k", if_match="", limit_bytes=5)).data) == b"12345"
        with raises(Kind.TOO_LARGE, key="k"):
            await store.get_whole("k", if_match="", limit_bytes=4)

    backend.run(test)


def test_head_shows_what_was_put(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        written = await store.put("k", b"12345", FULL_META, Always())
        head = await store.head("k")
        assert (head.key, head.size_bytes, head.etag, head.meta) == ("k", 5, written.etag, FULL_META)
        if written.last_modified_ns:
            assert written.last_modified_ns == head.last_modified_ns
        assert '"' not in head.etag

    backend.run(test)


def test_a_put_replaces_all_metadata(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await store.put("k", b"1", FULL_META, Always())
        await store.put("k", b"2", ObjectMeta(user={"only": "this"}, content_type="text/plain"), Always())
        assert (await store.head("k")).meta == ObjectMeta(user={"only": "this"}, content_type="text/plain")

    backend.run(test)


def test_two_kilobytes_of_user_metadata_fit_and_no_more(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        fits = ObjectMeta(user={"abcd": "x" * (2048 - 4 - 8), "efgh": "1234"}, content_type="text/plain")
        await store.put("k", b"", fits, Always())
        assert (await store.head("k")).meta == fits
        if not backend.limits_metadata:
            return
        too_much = ObjectMeta(user={**fits.user, "i": ""})
        with raises(Kind.INVALID):
            await store.put("k", b"new", too_much, Always())
        with raises(Kind.INVALID):
            await store.copy("k", "k", if_match="", condition=Always(), meta=too_much)
        assert (await store.head("k")).meta == fits

    backend.run(test)


def test_a_storage_class_is_kept_and_shown(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await store.put("ia", b"x", NO_META, Always(), storage_class=StorageClass.STANDARD_IA)
        assert (await store.head("ia")).storage_class == StorageClass.STANDARD_IA
        (found,) = (await store.list("ia", delimited=False)).objects
        assert found.storage_class == StorageClass.STANDARD_IA
        await store.copy("ia", "copy", if_match="", condition=Always())
        assert (await store.head("copy")).storage_class == StorageClass.STANDARD_IA
        await store.copy("copy", "copy", if_match="", condition=Always(), storage_class=StorageClass.STANDARD)
        assert (await store.head("copy")).storage_class == StorageClass.STANDARD
        upload = await store.begin_upload("up", NO_META, storage_class=StorageClass.ONEZONE_IA)
        await upload.put_part(1, b"x")
        await upload.complete(Always())
        assert (await store.head("up")).storage_class == StorageClass.ONEZONE_IA

    backend.run(test)


# -- conditions


def test_put_only_where_nothing_is(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        await store.put("k", b"first", FULL_META, IfAbsent())
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await store.put("k", b"second", NO_META, IfAbsent())
        assert await get_text(store, "k") == "first"
        await store.delete("k", if_match="")
        await store.put("k", b"third", NO_META, IfAbsent())
        assert await get_text(store, "k") == "third"

    backend.run(test)


def test_put_only_over_a_version(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        first = await put_text(store, "k", "first")
        second = await store.put("k", b"second", NO_META, IfMatch(first))
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await store.put("k", b"third", NO_META, IfMatch(first))
        assert await get_text(store, "k") == "second"
        await store.delete("k", if_match=second.etag)
        with raises(Kind.PRECONDITION_FAILED, Kind.NOT_FOUND, key="k"):
            await store.put("k", b"fourth", NO_META, IfMatch(second.etag))
        assert await all_keys(store) == ([], [])

    backend.run(test)


@pytest.mark.parametrize("is_over", [False, True])
def test_of_many_writers_one_wins(backend: Backend, is_over: bool) -> None:
    async def test(store: ObjectStore) -> None:
        condition = IfMatch(await put_text(store, "d/k", "base")) if is_over else IfAbsent()
        winners: list[int] = []

        async def write(number: int) -> None:
            try:
                await store.put("d/k", str(number).encode(), NO_META, condition)
            except StoreError as error:
                assert error.kind is Kind.PRECONDITION_FAILED
            else:
                winners.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(write, number)
        assert [await get_text(store, "d/k")] == [str(number) for number in winners]

    backend.run(test)


# -- copies


def test_a_copy_keeps_or_replaces_all_metadata(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        # without Expires: S3 stores keep one that a replacement does not name (s3.py says why)
        source = await store.put("source", b"body", SEEN_BY_GET, Always())
        kept = await store.copy("source", "d/kept", if_match=source.etag, condition=IfAbsent())
        head = await store.head("d/kept")
        assert (head.meta, head.etag, head.size_bytes) == (SEEN_BY_GET, kept.etag, 4)
        other = ObjectMeta(user={"x": "y"}, content_type="text/plain")
        await store.copy("source", "replaced", if_match=source.etag, condition=IfAbsent(), meta=other)
        assert (await store.head("replaced")).meta == other
        assert [await get_text(store, key) for key in ("source", "d/kept", "replaced")] == ["body"] * 3
        assert (await store.head("source")).etag == source.etag

    backend.run(test)


def test_a_copy_onto_itself_changes_the_metadata_only(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        first = await store.put("k", b"body", SEEN_BY_GET, Always())
        seen = [first.etag]
        for number in range(3):
            meta = ObjectMeta(user={"n": str(number)}, content_type="text/plain")
            written = await store.copy("k", "k", if_match=seen[-1], condition=Always(), meta=meta)
            head = await store.head("k")
            assert (head.meta, head.etag) == (meta, written.etag)
            assert bytes((await store.get("k", 0, 4, if_match=written.etag)).data) == b"body"
            seen.append(written.etag)
        with raises(Kind.PRECONDITION_FAILED):
            await store.copy("k", "k", if_match="0123456789abcdef", condition=Always(), meta=NO_META)
        assert (await store.head("k")).meta == meta

    backend.run(test)


def test_a_copy_onto_itself_that_changes_nothing_is_refused(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = await put_text(store, "k", "body")
        with raises(Kind.INVALID):
            await store.copy("k", "k", if_match=etag, condition=Always())

    backend.run(test)


def test_conditions_of_a_copy(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        old = await put_text(store, "source", "old")
        new = await put_text(store, "source", "new")
        target = await put_text(store, "target", "target")
        with raises(Kind.PRECONDITION_FAILED):
            await store.copy("source", "fresh", if_match=old, condition=IfAbsent())
        with raises(Kind.PRECONDITION_FAILED):
            await store.copy("source", "target", if_match=new, condition=IfAbsent())
        with raises(Kind.PRECONDITION_FAILED):
            await store.copy("source", "target", if_match=new, condition=IfMatch(old))
        assert (await all_keys(store))[0] == ["source", "target"]
        assert await get_text(store, "target") == "target"
        await store.copy("source", "target", if_match=new, condition=IfMatch(target))
        assert await get_text(store, "target") == "new"

    backend.run(test)


# -- deletes


def test_deletes_can_be_repeated(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        etag = await put_text(store, "d/k", "x")
        for _ in range(2):
            await store.delete("d/k", if_match=etag)
        await store.delete("d/k", if_match="")
        await store.delete("never/was", if_match="")
        await store.delete("never/", if_match="0123")
        assert await all_keys(store) == ([], [])

    backend.run(test)


def test_a_delete_of_another_version_is_refused(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        old = await put_text(store, "k", "old")
        new = await put_text(store, "k", "new")
        with raises(Kind.PRECONDITION_FAILED, key="k"):
            await store.delete("k", if_match=old)
        assert await get_text(store, "k") == "new"
        await store.delete("k", if_match=new)
        assert await all_keys(store) == ([], [])

    backend.run(test)


def test_a_batch_of_deletes(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        keys = [".tierfs/spill/1", "a b", "d/é", "d/", "x&<y>"]
        await put_texts(store, [*keys, "stays"])
        assert await store.delete_many([]) == {}
        assert await store.delete_many([*keys, "missing", "d/missing"]) == {}
        assert (await all_keys(store))[0] == ["stays"]

    backend.run(test)
