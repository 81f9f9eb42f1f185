"""From URLs to stores. Nothing is contacted."""

from pathlib import Path

import pytest

from tierfs.errors import ConfigError
from tierfs.objectstore.directory import DirectoryStore
from tierfs.objectstore.opening import open_store
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.settings import S3Settings


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://my.bucket-1/50%?#", "s3://my.bucket-1/50%?#"),
    ],
)
def test_s3(url: str, source: str) -> None:
    store = open_store(url, S3Settings(part_size_bytes=5 << 20))
    assert isinstance(store.inner, S3Store)
    assert (store.source, store.part_size_bytes) == (source, 5 << 20)


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    store = open_store(f"file://{tmp_path}/with%20space", S3Settings())
    assert isinstance(store.inner, DirectoryStore)
    assert store.source.endswith("with space")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "/directory",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://bucket?x/a",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "file://relative/path",
        "gs://bucket",
        "file:relative",
    ],
)
def test_what_is_no_source(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url, S3Settings())
    assert repr(url) in str(caught.value)


def test_settings_and_stores_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    store = open_store("s3://bucket", S3Settings())
    assert "very-secret" not in f"{store!r} {S3Settings()!r}"
