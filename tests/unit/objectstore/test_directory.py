"""What is particular to a directory as a bucket: other writers, planted links, leftovers, durability.

What it shares with every store is in tests/conformance/test_objectstore.py.
"""

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.backends import all_keys, get_text, put_text, put_texts
from tierfs.clock import ManualClock
from tierfs.content.spill import SPILL_PREFIX
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.namespace.locations import ROOT_KEY
from tierfs.objectstore import directory_tree
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta
from tierfs.objectstore.dialects import OVERFLOW_PREFIX
from tierfs.objectstore.directory import DirectoryStore
from tierfs.sync.plan import ASIDE_PREFIX

Kind = StoreErrorKind
META = ObjectMeta(user={"k": "v"}, content_type="text/plain")


def run(root: Path, test: Callable[[DirectoryStore], Awaitable[None]], *, use_xattrs: bool = True) -> None:
    async def main() -> None:
        store = DirectoryStore(root, use_xattrs=use_xattrs, sync=False)
        try:
            await test(store)
        finally:
            await store.aclose()

    trio.run(main)


async def fails(kind: Kind, call: Awaitable[object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.value.kind is kind, caught.value
    return caught.value


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_objects_of_tierfs_do_not_lie_where_the_store_has_its_own_files(tmp_path: Path) -> None:
    keys = [ASIDE_PREFIX + "1", SPILL_PREFIX + "1", ROOT_KEY, OVERFLOW_PREFIX + "1"]

    async def test(store: DirectoryStore) -> None:
        for key in keys:
            await store.put(key, b"x", META, Always())
        assert (await all_keys(store))[0] == sorted(keys)

    run(tmp_path, test)


# -- other writers


def test_files_of_others_are_objects(tmp_path: Path) -> None:
    (tmp_path / "d" / "empty").mkdir(parents=True)
    (tmp_path / "d" / "file").write_text("theirs")
    os.utime(tmp_path / "d" / "file", ns=(1, 1_600_000_000_000_000_001))

    async def test(store: DirectoryStore) -> None:
        assert (await all_keys(store))[0] == ["d/", "d/empty/", "d/file"]
        head = await store.head("d/file")
        assert (head.size_bytes, head.last_modified_ns, head.meta) == (6, 1_600_000_000_000_000_001, ObjectMeta())
        body = await store.get("d/file", 1, 3, if_match=head.etag)
        assert bytes(body.data) == b"he"
        await store.copy("d/file", "d/file", if_match=head.etag, condition=Always(), meta=META)
        assert (tmp_path / "d" / "file").read_text() == "theirs"
        assert (await store.head("d/file")).meta == META
        await store.delete("d/empty/", if_match="")
        assert not (tmp_path / "d" / "empty").exists()

    run(tmp_path, test)


def test_objects_are_files_for_others(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        await store.put("a/b c/größe", b"ours", META, IfAbsent())
        assert (tmp_path / "a" / "b c" / "größe").read_bytes() == b"ours"
        await store.delete("a/b c/größe", if_match="")
        assert names_in(tmp_path) == [".tierfs"]

    run(tmp_path, test)


def test_what_others_change_has_another_etag(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        etag = (await store.put("k", b"ours", META, IfAbsent())).etag
        path = tmp_path / "k"
        before = path.stat()
        with path.open("r+b") as file:
            file.write(b"THEI")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as an archiver does: only the ctime tells
        await fails(Kind.PRECONDITION_FAILED, store.get("k", 0, 4, if_match=etag))
        await fails(Kind.PRECONDITION_FAILED, store.put("k", b"new", META, IfMatch(etag)))
        await fails(Kind.PRECONDITION_FAILED, store.delete("k", if_match=etag))
        assert await get_text(store, "k") == "THEI"
        assert (await store.head("k")).meta == META  # written in place: what lies beside it stays
        path.unlink()
        await fails(Kind.NOT_FOUND, store.head("k"))
        path.write_text("another file")
        assert (await store.head("k")).meta == ObjectMeta()

    run(tmp_path, test)


@pytest.mark.parametrize("use_xattrs", [True, False])
def test_versions_of_equal_size_within_one_tick_have_different_etags(tmp_path: Path, use_xattrs: bool) -> None:
    async def test(store: DirectoryStore) -> None:
        etags = set()
        for number in range(200):
            etags.add((await store.put("k", b"%03d" % number, META, Always())).etag)
        for number in range(50):
            meta = ObjectMeta(user={"n": str(number)})
            etags.add((await store.copy("k", "k", if_match="", condition=Always(), meta=meta)).etag)
        assert len(etags) == 250

    run(tmp_path, test, use_xattrs=use_xattrs)


def test_a_directory_that_others_made_is_a_marker_until_it_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").touch()

    async def test(store: DirectoryStore) -> None:
        etag = (await store.head("d/")).etag
        (tmp_path / "d" / "more").touch()
        assert (await store.head("d/")).etag == etag  # its entries are no part of it
        await store.delete("d/", if_match=etag)
        assert (await all_keys(store))[0] == ["d/file", "d/more"]
        await store.delete("d/file", if_match="")
        assert (tmp_path / "d").is_dir()
        await store.delete("d/more", if_match="")
        assert not (tmp_path / "d").exists()

    run(tmp_path, test)


def test_a_directory_with_only_their_fifo_in_it_stays(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        await put_text(store, "d/file", "x")
        os.mkfifo(tmp_path / "d" / "fifo")
        await store.delete("d/file", if_match="")
        assert (tmp_path / "d" / "fifo").is_fifo()
        assert await all_keys(store) == ([], [])
        assert await all_keys(store, delimited=True) == ([], [])

    run(tmp_path, test)


def test_the_metadata_of_one_name_is_not_that_of_another(tmp_path: Path) -> None:
    """A hard link that somebody made in the directory: two objects, each with its own metadata."""

    async def test(store: DirectoryStore) -> None:
        await store.put("a", b"x", META, IfAbsent())
        os.link(tmp_path / "a", tmp_path / "b")
        other = ObjectMeta(user={"other": "1"})
        await store.copy("b", "b", if_match="", condition=Always(), meta=other)
        assert (await store.head("a")).meta == META
        assert (await store.head("b")).meta == other

    run(tmp_path, test)


# -- several processes


def test_two_stores_on_one_directory_lose_no_update(tmp_path: Path) -> None:
    """Locks are per open file: two stores in one process exclude each other as two processes do."""

    async def count_up(store: DirectoryStore) -> None:
        for _ in range(25):
            while True:
                body = await store.get_whole("n", if_match="", limit_bytes=10)
                number = int(bytes(body.data)) + 1
                try:
                    await store.put("n", str(number).encode(), META, IfMatch(body.info.etag))
                    break
                except StoreError as error:
                    assert error.kind is Kind.PRECONDITION_FAILED

    async def test(store: DirectoryStore) -> None:
        await put_text(store, "n", "0")
        other = DirectoryStore(tmp_path, sync=False)
        async with trio.open_nursery() as nursery:
            for one in (store, other, store, other):
                nursery.start_soon(count_up, one)
        await other.aclose()
        assert await get_text(store, "n") == "100"

    run(tmp_path, test)


def test_writers_and_deleters_of_one_directory_do_not_trip_over_each_other(tmp_path: Path) -> None:
    async def churn(store: DirectoryStore, name: str) -> None:
        for _ in range(60):
            await put_text(store, f"a/b/{name}", "x")
            await store.delete(f"a/b/{name}", if_match="")

    async def mark(store: DirectoryStore) -> None:
        for _ in range(30):
            await store.put("a/b/", b"", META, Always())
            await store.delete("a/b/", if_match="")

    async def test(store: DirectoryStore) -> None:
        async with trio.open_nursery() as nursery:
            for name in "12345":
                nursery.start_soon(churn, store, name)
            nursery.start_soon(mark, store)
        assert await all_keys(store) == ([], [])
        assert names_in(tmp_path) == [".tierfs"]

    run(tmp_path, test)


def test_the_number_of_lock_files_is_bounded(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        await put_texts(store, [f"k{number}" for number in range(1500)])
        names = [entry.name for entry in (tmp_path / ".tierfs" / "locks").iterdir()]
        assert 500 < len(names) <= directory_tree.LOCK_FILES

    run(tmp_path, test)


# -- leftovers


def test_nothing_is_left_of_a_refused_write(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        await fails(Kind.PRECONDITION_FAILED, store.put("d/e/f", b"x", META, IfMatch("no")))
        assert not (tmp_path / "d").exists()
        await put_text(store, "k", "x")
        await fails(Kind.PRECONDITION_FAILED, store.put("k", b"y", META, IfAbsent()))
        for name in ("tmp", "uploads"):
            folder = tmp_path / ".tierfs" / name
            assert not folder.exists() or list(folder.iterdir()) == []

    run(tmp_path, test)


def test_an_implicit_directory_that_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        await put_text(store, "d/e/file", "x")
        (tmp_path / "d" / "e" / "file").unlink()
        assert await all_keys(store) == ([], [])
        assert await all_keys(store, delimited=True) == ([], [])
        await put_text(store, "d/e", "now a file")
        assert await get_text(store, "d/e") == "now a file"

    run(tmp_path, test)


# -- durability and errors


def test_a_write_returns_when_file_and_directory_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, tuple[str, ...]]] = []
    root_ino = tmp_path.stat().st_ino
    real = os.fsync

    def recording(fd: int) -> None:
        names = tuple(sorted(os.listdir(fd))) if stat.S_ISDIR(os.fstat(fd).st_mode) else ()
        synced.append((os.fstat(fd).st_ino, names))
        real(fd)

    monkeypatch.setattr(os, "fsync", recording)

    async def main() -> None:
        store = DirectoryStore(tmp_path)
        await store.put("a/b/k", b"x", META, IfAbsent())
        order = [ino for ino, _ in synced]
        file, parent = (tmp_path / "a" / "b" / "k").stat().st_ino, (tmp_path / "a" / "b").stat().st_ino
        assert order.index(file) < len(order) - 1 - order[::-1].index(parent)
        assert (parent, ("k",)) in synced  # after the rename
        assert ((tmp_path / "a").stat().st_ino, ("b",)) in synced
        assert any(ino == root_ino and "a" in names for ino, names in synced)
        synced.clear()
        await store.delete("a/b/k", if_match="")
        assert (parent, ()) in synced
        await store.aclose()

    trio.run(main)


def test_a_root_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run_failing = [(tmp_path / "missing", Kind.NO_SUCH_BUCKET), (tmp_path / "file", Kind.NO_SUCH_BUCKET)]
    for root, kind in run_failing:

        async def test(store: DirectoryStore, kind: Kind = kind) -> None:
            await fails(kind, store.check())
            await fails(kind, store.head("k"))

        run(root, test)


def test_a_root_that_vanishes_is_an_error_and_not_an_empty_bucket(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    async def test(store: DirectoryStore) -> None:
        await store.check()
        root.rmdir()
        await fails(Kind.NO_SUCH_BUCKET, store.list("", delimited=False))
        root.mkdir()  # another directory under the name is another bucket
        await fails(Kind.NO_SUCH_BUCKET, store.put("k", b"", META, Always()))

    run(root, test)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        store = DirectoryStore(tmp_path)
        await store.check()
        await store.aclose()
        await fails(Kind.PERMANENT, store.head("k"))

    trio.run(main)


def test_last_modified_comes_from_the_clock_and_never_repeats(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        store = DirectoryStore(tmp_path, sync=False, clock=clock)
        times = [(await store.put("k", b"x", META, Always())).last_modified_ns for _ in range(3)]
        assert times == sorted(set(times))
        assert times[0] == clock.now_ns()
        await store.aclose()

    trio.run(main)
