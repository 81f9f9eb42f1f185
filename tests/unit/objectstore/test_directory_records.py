"""Records of metadata: in an xattr, below .tierfs/meta/, damaged, with what newer tools put there."""

import logging
import os
from pathlib import Path

import pytest

from tests.support.backends import put_text
from tests.unit.objectstore.test_directory import META, Kind, fails, run
from tierfs.objectstore import directory_records, directory_tree
from tierfs.objectstore.base import Always, IfAbsent, ObjectMeta
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.directory_records import Record


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
