"""Planted links, other types of files, machinery out of reach, temporary files of the dead."""

import errno
import logging
import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from tests.support.backends import all_keys, put_text
from tests.unit.objectstore.test_directory import META, Kind, fails, run
from tierfs.errors import StoreError
from tierfs.objectstore import directory_tree
from tierfs.objectstore.base import Always
from tierfs.objectstore.directory import DirectoryStore


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
