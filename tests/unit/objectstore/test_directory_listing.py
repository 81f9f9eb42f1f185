"""Listings of a directory tree: batches, their cache, and the order of S3 for any tree."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backends import all_keys, put_text
from tests.unit.objectstore.test_directory import run
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.directory_listing import Scanner


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
