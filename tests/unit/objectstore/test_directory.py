"""What is particular to a directory as a bucket: other writers, planted links, leftovers, durability.

What it shares with every store is in tests/conformance/test_objectstore.py.
"""

import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backends import all_keys, get_text, put_text, put_texts
from tierfs.clock import ManualClock
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore import directory_records, directory_tree
from tierfs.objectstore.base import Always, IfAbsent, IfMatch, ObjectMeta
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.directory_listing import Scanner
from tierfs.objectstore.directory_records import Record

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


def test_tags_and_unknown_fields_survive_a_rewrite(tmp_path: Path) -> None:
    others = {"tags": {"team": "x"}, "of-a-newer-tool": [1]}

    async def test(store: DirectoryStore) -> None:
        await put_text(store, "k", "1")
        os.setxattr(tmp_path / "k", directory_records.XATTR, directory_records.encode(Record(META, others=others)))
        assert (await store.head("k")).meta == META
        await put_text(store, "k", "2")
        upload = await store.begin_upload("k", META)
        await upload.put_part(1, b"3")
        await upload.complete(Always())
        await store.copy("k", "copy", if_match="", condition=Always())
        for name in ("k", "copy"):
            assert directory_records.decode(os.getxattr(tmp_path / name, directory_records.XATTR)).others == others

    run(tmp_path, test)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", b'{"version":2,"record":{}}', b'{"version":1,"record":1}'])
def test_a_damaged_record_costs_the_metadata_only(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(store: DirectoryStore) -> None:
        await store.put("k", b"bytes", META, IfAbsent())
        os.setxattr(tmp_path / "k", directory_records.XATTR, damage)
        body = await store.get_whole("k", if_match="", limit_bytes=10)
        assert (bytes(body.data), body.info.meta) == (b"bytes", ObjectMeta())

    with caplog.at_level(logging.WARNING):
        run(tmp_path, test)
    assert bool(caplog.records) == bool(damage)


# -- links and other types of files


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A bucket with symlinks to a directory and a file outside of it, and that outside."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "sub").mkdir(parents=True)
    (outside / "secret").write_text("secret")
    root.mkdir()
    (root / "to-dir").symlink_to(outside)
    (root / "to-file").symlink_to(outside / "secret")
    (root / "loop").symlink_to("loop")
    (root / "plain").write_text("plain")
    return root, outside


def test_planted_symlinks_lead_nowhere(trap: tuple[Path, Path]) -> None:
    root, outside = trap
    before = sorted(outside.rglob("*"))

    async def test(store: DirectoryStore) -> None:
        assert await all_keys(store) == (["plain"], [])
        assert await all_keys(store, delimited=True) == (["plain"], [])
        assert await all_keys(store, "to-dir/") == ([], [])
        for key in ("to-dir/secret", "to-file", "to-dir/", "to-dir/sub/", "loop", "loop/x"):
            await fails(Kind.NOT_FOUND, store.head(key))
            await fails(Kind.NOT_FOUND, store.get(key, 0, 1, if_match=""))
            await fails(Kind.NOT_FOUND, store.copy(key, "copy", if_match="", condition=Always()))
            await fails(Kind.INVALID, store.put(key, b"", META, Always()))
            await fails(Kind.INVALID, store.copy("plain", key.rstrip("/"), if_match="", condition=Always()))
            await store.delete(key, if_match="")
        upload = await store.begin_upload("to-dir/new", META)
        await upload.put_part(1, b"x")
        await fails(Kind.INVALID, upload.complete(Always()))

    run(root, test)
    assert sorted(outside.rglob("*")) == before
    assert (outside / "secret").read_text() == "secret"
    assert (root / "to-dir").is_symlink()
    assert (root / "to-file").is_symlink()


def test_the_own_directory_replaced_by_a_symlink_is_not_followed(trap: tuple[Path, Path]) -> None:
    root, outside = trap
    (root / ".tierfs").symlink_to(outside)

    async def test(store: DirectoryStore) -> None:
        with pytest.raises(StoreError):
            await store.put("k", b"x", META, Always())

    run(root, test)
    assert not (root / "k").exists()
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret", "sub"]


def test_a_root_that_is_a_symlink_is_meant(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    run(tmp_path / "link", lambda store: put_text(store, "k", "x"))  # type: ignore[arg-type,return-value]
    assert (tmp_path / "real" / "k").read_text() == "x"


def test_fifos_and_sockets_are_no_objects_and_block_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))

        async def test(store: DirectoryStore) -> None:
            with trio.fail_after(10):
                assert await all_keys(store) == ([], [])
                for key in ("fifo", "sock"):
                    await fails(Kind.NOT_FOUND, store.head(key))
                    error = await fails(Kind.INVALID, store.put(key, b"", META, Always()))
                    assert "in the way" in str(error)
                    await store.delete(key, if_match="")

        run(tmp_path, test)
    assert stat.S_ISFIFO((tmp_path / "fifo").lstat().st_mode)


def test_names_that_are_not_utf8_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        Path(os.fsdecode(bytes(tmp_path) + b"/bad-%d-\xff" % number)).touch()
    (tmp_path / "good").touch()

    async def test(store: DirectoryStore) -> None:
        for _ in range(2):
            assert (await all_keys(store))[0] == ["good"]

    with caplog.at_level(logging.WARNING):
        run(tmp_path, test)
    assert len(caplog.records) == 1


def test_the_machinery_below_dot_tierfs_is_out_of_reach(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        await put_text(store, ".tierfs/format.json", "{}")
        await put_text(store, ".tierfs/attrs/1", "x")
        assert (await all_keys(store))[0] == [".tierfs/attrs/1", ".tierfs/format.json"]
        assert await all_keys(store, ".tierfs/", delimited=True) == ([".tierfs/format.json"], [".tierfs/attrs/"])
        for name in ("locks", "meta", "tmp", "uploads"):
            await fails(Kind.INVALID, store.put(f".tierfs/{name}/x", b"", META, Always()))
            await fails(Kind.INVALID, store.put(f".tierfs/{name}", b"", META, Always()))
            assert await all_keys(store, f".tierfs/{name}/") == ([], [])
        await fails(Kind.NOT_FOUND, store.head(".tierfs/"))
        await fails(Kind.INVALID, store.put(".tierfs/", b"", META, Always()))
        await store.delete(".tierfs/format.json", if_match="")
        await store.delete(".tierfs/attrs/1", if_match="")
        assert await all_keys(store) == ([], [])
        assert await all_keys(store, delimited=True) == ([], [])

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


def test_temporary_files_of_the_dead_are_swept(tmp_path: Path) -> None:
    temp = tmp_path / ".tierfs" / "tmp"
    temp.mkdir(parents=True)
    for name in ("dead", "alive"):
        (temp / name).write_text("half")
    temp_fd = os.open(temp, os.O_RDONLY)
    later_s = (temp / "dead").stat().st_ctime + directory_tree.TEMP_DEAD_AGE_S + 1
    try:
        with directory_tree.temp_file(temp_fd) as writing:
            assert directory_tree.sweep_temps(temp_fd, later_s - 10) == 0  # too young to judge
            assert directory_tree.sweep_temps(temp_fd, later_s) == 2
            assert [entry.name for entry in temp.iterdir()] == [writing.name]
    finally:
        os.close(temp_fd)
    assert list(temp.iterdir()) == []


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


def test_records_without_xattrs_follow_their_files(tmp_path: Path) -> None:
    def records() -> int:
        return sum(path.is_file() for path in (tmp_path / ".tierfs" / "meta").rglob("*"))

    async def test(store: DirectoryStore) -> None:
        for number in range(3):
            await store.put("k", b"x", ObjectMeta(user={"n": str(number)}), Always())
        assert records() == 1
        await fails(Kind.PRECONDITION_FAILED, store.put("k", b"x", META, IfAbsent()))
        assert records() == 1
        await store.copy("k", "d/k", if_match="", condition=Always())
        await store.put("d/", b"", META, Always())
        assert records() == 3
        (tmp_path / "k").write_text("theirs now")
        assert (await store.head("k")).meta == ObjectMeta()
        await store.delete("d/k", if_match="")
        await store.delete("d/", if_match="")
        assert not (tmp_path / "d").exists()
        assert records() == 1  # of the file that somebody else rewrote

    run(tmp_path, test, use_xattrs=False)


def test_a_record_that_does_not_fit_into_an_xattr_lies_beside(tmp_path: Path) -> None:
    """ext4 holds about 4 KB in an inode's xattrs; with tags and others' fields a record can be larger."""

    async def test(store: DirectoryStore) -> None:
        await put_text(store, "k", "x")
        root_fd = os.open(tmp_path, os.O_RDONLY)
        large = Record(META, others={"tags": {"t": "x" * 60_000}})
        try:
            fd = os.open(tmp_path / "k", os.O_RDWR)
            records = directory_records.Records(directory_tree.Root(tmp_path, sync=False))
            records.store(root_fd, directory_tree.parse_key("k"), fd, os.fstat(fd), large)
            os.close(fd)
        finally:
            os.close(root_fd)
        assert (await store.head("k")).meta == META
        changed = ObjectMeta(user={"n": "1"})
        await store.copy("k", "k", if_match="", condition=Always(), meta=changed)
        assert (await store.head("k")).meta == changed

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


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, Kind.UNAVAILABLE),
        (errno.EACCES, Kind.ACCESS_DENIED),
        (errno.EROFS, Kind.ACCESS_DENIED),
        (errno.EIO, Kind.UNAVAILABLE),
        (errno.EFBIG, Kind.TOO_LARGE),
        (errno.ENAMETOOLONG, Kind.KEY_TOO_LONG),
        (errno.ECHILD, Kind.PERMANENT),
    ],
)
def test_errors_of_the_operating_system(code: int, kind: Kind) -> None:
    error = directory_tree.store_error(OSError(code, os.strerror(code)), "k")
    assert (error.kind, error.key) == (kind, "k")
    assert os.strerror(code) in str(error)


def test_last_modified_comes_from_the_clock_and_never_repeats(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        store = DirectoryStore(tmp_path, sync=False, clock=clock)
        times = [(await store.put("k", b"x", META, Always())).last_modified_ns for _ in range(3)]
        assert times == sorted(set(times))
        assert times[0] == clock.now_ns()
        await store.aclose()

    trio.run(main)


# -- listings


def test_large_directories_are_read_in_batches(tmp_path: Path) -> None:
    names = sorted(f"{number:04d}" for number in range(2500))
    for name in names:
        (tmp_path / name).touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        encoded = [name.encode() for name in names]
        for batch in (1, 7, 2499, 2500, 2501):
            if batch == 1:
                assert list(Scanner(1).names(fd, b"2495", is_own=False)) == encoded[2495:]
                continue
            scanner = Scanner(batch) if batch > 1000 else Scanner(batch * 100)
            assert list(scanner.names(fd, b"", is_own=False)) == encoded
            assert list(scanner.names(fd, b"1999\0", is_own=False)) == encoded[2000:]
    finally:
        os.close(fd)


def test_a_cached_batch_is_not_used_for_a_directory_that_changed(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number:04d}").touch()
    os.utime(tmp_path, ns=(0, 0))  # old enough to be cached
    scanner = Scanner()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert len(list(scanner.names(fd, b"", is_own=False))) == 1500
        (tmp_path / "0000-new").touch()
        (tmp_path / "0700").unlink()
        found = list(scanner.names(fd, b"", is_own=False))
        assert found[1] == b"0000-new"
        assert b"0700" not in found
    finally:
        os.close(fd)


segments = st.sampled_from(["a", "b", "a-", "a!", "ab", "é", "\U00010348", "z z"])
trees = st.sets(st.lists(segments, min_size=1, max_size=4).map("/".join), max_size=12)


def _files_only(keys: set[str]) -> list[str]:
    """Without the keys that others have below them: a directory cannot hold both."""
    return sorted((k for k in keys if not any(o.startswith(k + "/") for o in keys)), key=str.encode)


@given(keys=trees, prefix=st.sampled_from(["", "a", "a/", "a/b", "ab/", "é"]), limit=st.integers(1, 5), data=st.data())
def test_listings_are_those_of_a_bucket(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str, limit: int, data: st.DataObject
) -> None:
    files = _files_only(keys)
    start_after = data.draw(st.sampled_from(["", "a", "a/b", "b", "é/a", *files]))
    expected = [key for key in files if key.startswith(prefix) and key.encode() > start_after.encode()]
    rest = [key for key in files if key.startswith(prefix)]
    rolled = sorted({prefix + key[len(prefix) :].partition("/")[0] + "/" for key in rest if "/" in key[len(prefix) :]})
    flat = [key for key in expected if "/" not in key[len(prefix) :]]

    async def test(store: DirectoryStore) -> None:
        for key in files:
            await put_text(store, key, "x")
        assert await all_keys(store, prefix, limit=limit, start_after=start_after) == (expected, [])
        found = await all_keys(store, prefix, delimited=True, limit=limit, start_after=start_after)
        above = [name for name in sorted(rolled, key=str.encode) if name.encode() > start_after.encode()]
        assert found == (flat, above)

    run(tmp_path_factory.mktemp("tree"), test)
