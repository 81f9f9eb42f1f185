"""Keys: what every object store takes, what a directory refuses, and markers (tierfs/objectstore/base.py)."""

from collections.abc import Awaitable, Callable

import pytest

from tests.conformance.test_objectstore import FULL_META, NO_META, Kind, raises
from tests.support.backends import Backend, Keys, all_keys, get_text, put_text, put_texts
from tierfs.errors import StoreError
from tierfs.objectstore.base import Always, IfAbsent, ObjectMeta, ObjectStore

HELD_BY_ALL = [
    "with space",
    " leading and trailing ",
    "plus+plus",
    "per%cent",
    "%41",
    "%2F%00",
    "a%2Fb/c",
    "hash#query?x=y&z",
    "back\\slash",
    "quote\"'`",
    "<xml>&amp;",
    "semi;colon:at@comma,dollar$bang!tilde~star*paren()",
    "[brackets]{braces}^|",
    "größe/日本/🙂",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    ".hidden",
    "...",
    "..a/b",
    "trailing.",
    "x" * 255,
    "/".join(["y" * 100] * 8),
    "-",
    "C:\\x",
    "line\nbreak",
    "tab\tand\rreturn",
    "bell\x07 escape\x1b delete\x7f",
    "\u2028 separator \ufeff mark",
]
NOT_HELD_BY_DIRECTORIES = ["a//b", "a/./b", "a/../b", "/a", "//", "./a", "../a", "a/..", "a//", "."]


async def _whole_life(store: ObjectStore, key: str) -> None:
    written = await store.put(key, b"body", FULL_META, IfAbsent())
    head = await store.head(key)
    assert (head.key, head.etag, head.meta) == (key, written.etag, FULL_META)
    assert bytes((await store.get(key, 1, 3, if_match=written.etag)).data) == b"od"
    assert bytes((await store.get_whole(key, if_match=written.etag, limit_bytes=4)).data) == b"body"
    assert (await all_keys(store))[0] == [key]
    assert (await all_keys(store, key))[0] == [key]
    with raises(Kind.PRECONDITION_FAILED):
        await store.put(key, b"other", NO_META, IfAbsent())
    await store.copy(key, "target", if_match=written.etag, condition=IfAbsent())
    assert await get_text(store, "target") == "body"
    await store.delete(key, if_match=written.etag)
    await store.copy("target", key, if_match="", condition=IfAbsent())
    assert await get_text(store, key) == "body"
    await store.copy(key, key, if_match="", condition=Always(), meta=NO_META)
    assert (await store.head(key)).meta is not None
    assert await store.delete_many([key, "target"]) == {}
    assert await all_keys(store) == ([], [])


@pytest.mark.parametrize("key", HELD_BY_ALL)
def test_any_key_that_a_directory_can_hold(backend: Backend, key: str) -> None:
    if backend.keys is Keys.FOLDED and "\\" in key:
        key = key.replace("\\", "|")
    backend.run(lambda store: _whole_life(store, key))


@pytest.mark.parametrize("key", NOT_HELD_BY_DIRECTORIES)
def test_keys_that_are_no_path(backend: Backend, key: str) -> None:
    async def refused(store: ObjectStore) -> None:
        with raises(Kind.INVALID, key=key):
            await store.put(key, b"", NO_META, Always())
        with raises(Kind.INVALID, key=key):
            await store.begin_upload(key, NO_META)
        with raises(Kind.NOT_FOUND):
            await store.head(key)
        await store.delete(key, if_match="")
        assert await all_keys(store) == ([], [])
        await put_text(store, "a", "x")
        with raises(Kind.INVALID, key=key):
            await store.copy("a", key, if_match="", condition=Always())
        assert await all_keys(store, key) == ([], [])

    if backend.keys is Keys.ANY:
        backend.run(lambda store: _whole_life(store, key))
    elif backend.keys is Keys.PATHS:
        backend.run(refused)
    else:
        backend.run(_harmless_if_folded(key))


def _harmless_if_folded(key: str) -> Callable[[ObjectStore], Awaitable[None]]:
    """A key that the server folds into another is refused or written there, and nothing worse happens."""

    async def test(store: ObjectStore) -> None:
        await put_text(store, "other", "stays")
        try:
            await put_text(store, key, "" if key.endswith("/") else "x")
        except StoreError as error:
            assert error.kind is Kind.INVALID
        assert await get_text(store, "other") == "stays"

    return test


def test_an_object_beside_a_directory_of_its_name(backend: Backend) -> None:
    async def held(store: ObjectStore) -> None:
        await put_texts(store, ["a", "a/", "a/b"])
        assert (await all_keys(store))[0] == ["a", "a/", "a/b"]
        assert await all_keys(store, delimited=True) == (["a"], ["a/"])
        await store.delete("a/", if_match="")
        assert (await all_keys(store))[0] == ["a", "a/b"]

    async def refused(store: ObjectStore) -> None:
        await put_texts(store, ["file", "dir/below"])
        for key in ("file/", "file/below", "file/below/deep", "dir"):
            with raises(Kind.INVALID, key=key):
                await store.put(key, b"", NO_META, Always())
        assert (await all_keys(store))[0] == ["dir/below", "file"]

    if backend.keys is not Keys.FOLDED:  # SeaweedFS loses `a` when `a/b` is written (seen)
        backend.run(held if backend.keys is Keys.ANY else refused)


def test_a_key_that_is_too_long(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        key = "/".join(["d" * 200] * 6)
        with raises(Kind.KEY_TOO_LONG, key=key):
            await store.put(key, b"", NO_META, Always())
        assert await all_keys(store) == ([], [])

    backend.run(test)


def test_markers_live_apart_from_what_is_below_them(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        meta = ObjectMeta(user={"file-permissions": "0040750"}, content_type="application/x-directory")
        marker = await store.put("d/", b"", meta, IfAbsent())
        with raises(Kind.PRECONDITION_FAILED):
            await store.put("d/", b"", meta, IfAbsent())
        await put_text(store, "d/file", "x")
        head = await store.head("d/")
        assert (head.key, head.size_bytes, head.etag, head.meta) == ("d/", 0, marker.etag, meta)
        assert bytes((await store.get_whole("d/", if_match=marker.etag, limit_bytes=0)).data) == b""
        listed = (await store.list("d/", delimited=True)).objects[0]
        assert (listed.key, listed.etag, listed.last_modified_ns) == ("d/", marker.etag, head.last_modified_ns)

        await store.delete("d/file", if_match="")
        assert (await all_keys(store))[0] == ["d/"]
        assert (await store.head("d/")).etag == marker.etag
        await put_text(store, "d/file", "x")
        await store.delete("d/", if_match=marker.etag)
        assert (await all_keys(store))[0] == ["d/file"]
        with raises(Kind.NOT_FOUND):
            await store.head("d/")
        await store.put("d/", b"", meta, IfAbsent())
        assert (await all_keys(store))[0] == ["d/", "d/file"]
        await store.delete("d/", if_match="")
        await store.delete("d/file", if_match="")
        assert await all_keys(store) == ([], [])

    backend.run(test)


def test_a_marker_is_copied_with_its_metadata(backend: Backend) -> None:
    async def test(store: ObjectStore) -> None:
        meta = ObjectMeta(user={"file-permissions": "0040700"}, content_type="application/x-directory")
        first = await store.put("d/", b"", meta, IfAbsent())
        await put_text(store, "d/file", "x")
        await store.copy("d/", "e/f/", if_match=first.etag, condition=IfAbsent())
        assert (await store.head("e/f/")).meta == meta
        changed = ObjectMeta(user={"file-permissions": "0040755"}, content_type="application/x-directory")
        second = await store.copy("d/", "d/", if_match=first.etag, condition=Always(), meta=changed)
        head = await store.head("d/")
        assert (head.meta, head.etag) == (changed, second.etag)
        assert (await all_keys(store))[0] == ["d/", "d/file", "e/f/"]

    backend.run(test)
