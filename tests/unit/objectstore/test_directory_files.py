"""Reads of a file that somebody changes meanwhile, and what a condition asks."""

import os
from pathlib import Path

import pytest

from tests.support.backends import put_text
from tests.unit.objectstore.test_directory import META, Kind, fails, run
from tierfs.errors import StoreError
from tierfs.objectstore.base import Always, Condition, IfAbsent, IfMatch, ObjectInfo
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.directory_files import check_condition

ZEROS, ONES = b"0" * 1000, b"1" * 1000


class ReadsMeetAWriter:
    """os.pread that lets a writer at the file in the middle of the first `times` reads."""

    def __init__(self, path: Path, times: int) -> None:
        self._path, self._times, self._real = path, times, os.pread

    def __call__(self, fd: int, size: int, offset: int) -> bytes:
        first = self._real(fd, size // 2, offset)
        if self._times:
            self._times -= 1
            with self._path.open("r+b") as file:
                file.write(ONES)
        return first + self._real(fd, size - len(first), offset + len(first))


def test_a_read_that_was_torn_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(store: DirectoryStore) -> None:
        await store.put("k", ZEROS, META, IfAbsent())
        monkeypatch.setattr(os, "pread", ReadsMeetAWriter(tmp_path / "k", 1))
        body = await store.get("k", 0, 1000, if_match="")
        assert bytes(body.data) == ONES
        assert body.info.etag == (await store.head("k")).etag

    run(tmp_path, test)


def test_a_torn_read_of_one_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(store: DirectoryStore) -> None:
        etag = (await store.put("k", ZEROS, META, IfAbsent())).etag
        monkeypatch.setattr(os, "pread", ReadsMeetAWriter(tmp_path / "k", 1))
        await fails(Kind.PRECONDITION_FAILED, store.get("k", 0, 1000, if_match=etag))

    run(tmp_path, test)


def test_a_file_that_never_rests_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(store: DirectoryStore) -> None:
        await store.put("k", ZEROS, META, IfAbsent())
        monkeypatch.setattr(os, "pread", ReadsMeetAWriter(tmp_path / "k", 1_000_000))
        error = await fails(Kind.UNAVAILABLE, store.get_whole("k", if_match="", limit_bytes=1000))
        assert error.retryable

    run(tmp_path, test)


def test_a_version_that_is_replaced_while_it_is_read_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaced by rename: the open file has its old bytes, whole, and another ctime."""

    async def test(store: DirectoryStore) -> None:
        etag = (await store.put("k", ZEROS, META, IfAbsent())).etag
        (tmp_path / "new").write_bytes(ONES)
        real = os.pread

        def pread(fd: int, size: int, offset: int) -> bytes:
            if (tmp_path / "new").exists():
                (tmp_path / "new").rename(tmp_path / "k")
            return real(fd, size, offset)

        monkeypatch.setattr(os, "pread", pread)
        assert bytes((await store.get("k", 0, 1000, if_match=etag)).data) == ZEROS

    run(tmp_path, test)


def test_conditions() -> None:
    found = ObjectInfo("k", 0, "e", 0)
    met: list[tuple[ObjectInfo | None, Condition]] = [
        (found, Always()),
        (found, IfMatch("e")),
        (None, Always()),
        (None, IfAbsent()),
    ]
    for info, condition in met:
        check_condition("k", info, condition)
    refused: list[tuple[ObjectInfo | None, Condition]] = [
        (found, IfAbsent()),
        (found, IfMatch("f")),
        (None, IfMatch("e")),
    ]
    for info, condition in refused:
        with pytest.raises(StoreError) as caught:
            check_condition("k", info, condition)
        assert caught.value.kind is Kind.PRECONDITION_FAILED


def test_a_copy_of_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(store: DirectoryStore) -> None:
        await put_text(store, "k", ZEROS.decode())
        real = os.copy_file_range

        def copy_file_range(source: int, target: int, size: int, *, offset_src: int) -> int:
            with (tmp_path / "k").open("r+b") as file:
                file.write(b"1")
            return real(source, target, size, offset_src=offset_src)

        monkeypatch.setattr(os, "copy_file_range", copy_file_range)
        await fails(Kind.PRECONDITION_FAILED, store.copy("k", "copy", if_match="", condition=IfAbsent()))
        assert not (tmp_path / "copy").exists()

    run(tmp_path, test)
