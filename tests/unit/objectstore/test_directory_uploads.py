"""What lies below .tierfs/uploads/ when something is wrong with it."""

import json
import os
from pathlib import Path

import pytest

from tests.support.backends import get_text
from tests.unit.objectstore.test_directory import META, Kind, fails, names_in, run
from tierfs.objectstore.base import Always, IfAbsent
from tierfs.objectstore.directory import DirectoryStore


def test_parts_lie_below_dot_tierfs_until_they_are_joined(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        upload = await store.begin_upload("d/k", META)
        await upload.put_part(2, b"two")
        await upload.put_part(1, b"one ")
        folder = tmp_path / ".tierfs" / "uploads" / upload.upload_id
        assert names_in(folder) == ["00001", "00002", "upload.json"]
        assert not (tmp_path / "d").exists()
        await upload.complete(IfAbsent())
        assert not folder.exists()
        assert await get_text(store, "d/k") == "one two"

    run(tmp_path, test)


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"version": 2, "key": "k", "started_ns": 1, "record": "{}"}', "null"]
)
def test_an_upload_whose_description_is_damaged_is_none(tmp_path: Path, damage: str) -> None:
    async def test(store: DirectoryStore) -> None:
        upload = await store.begin_upload("k", META)
        await upload.put_part(1, b"x")
        (tmp_path / ".tierfs" / "uploads" / upload.upload_id / "upload.json").write_text(damage)
        assert await store.list_uploads("") == []
        await fails(Kind.NOT_FOUND, upload.complete(Always()))
        await upload.abort()
        assert names_in(tmp_path / ".tierfs" / "uploads") == []

    run(tmp_path, test)


def test_an_upload_is_completed_under_its_own_key_only(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        upload = await store.begin_upload("k", META)
        await upload.put_part(1, b"x")
        description = tmp_path / ".tierfs" / "uploads" / upload.upload_id / "upload.json"
        fields = json.loads(description.read_text())
        description.write_text(json.dumps(fields | {"key": "other"}))
        await fails(Kind.NOT_FOUND, upload.complete(Always()))

    run(tmp_path, test)


def test_uploads_that_were_never_begun_to_the_end_are_swept(tmp_path: Path) -> None:
    async def test(store: DirectoryStore) -> None:
        upload = await store.begin_upload("k", META)
        half = tmp_path / ".tierfs" / "uploads" / ("0" * 32)
        half.mkdir()
        (half / "00001").touch()
        root_fd = os.open(tmp_path, os.O_RDONLY)
        made_s = half.stat().st_ctime
        try:
            store.uploads.sweep(root_fd, made_s + 10)  # perhaps it is being begun
            assert half.exists()
            store.uploads.sweep(root_fd, made_s + 1000)
        finally:
            os.close(root_fd)
        assert names_in(half.parent) == [upload.upload_id]

    run(tmp_path, test)


def test_ids_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()

    async def test(store: DirectoryStore) -> None:
        await store.begin_upload("k", META)
        for upload_id in ("../../precious", "/", "..", "", "0" * 32):
            await store.abort_upload("k", upload_id)
        assert (tmp_path / "precious" / "file").exists()

    run(tmp_path, test)
