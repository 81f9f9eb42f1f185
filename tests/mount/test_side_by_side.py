"""Several mounts on one machine: of two prefixes of a bucket, of the same prefix, and with owners of their own."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.mounts import Mount, mounted, need_root
from tests.support.s3double import S3Double


@pytest.fixture
def double() -> Iterator[S3Double]:
    with S3Double() as server:
        yield server


def test_two_prefixes_and_one_of_them_twice(double: S3Double, tmp_path: Path) -> None:
    bucket, environment = double.create_bucket(), dict(double.environment)

    with ExitStack() as stack:

        def mount(name: str, prefix: str, **options: object) -> Mount:
            settings = {
                "store": {"endpoint_url": double.endpoint_url, "region": "us-east-1"},
                "import": {"revalidate_s": 0},
                "mount": {"attr_timeout_s": 0, "entry_timeout_s": 0, "negative_timeout_s": 0, **options},
            }
            source = f"s3://{bucket}/{prefix}"
            return stack.enter_context(mounted(source, tmp_path / name, settings=settings, env=environment))

        a, b = mount("a", "one"), mount("b", "two")
        reader = mount("reader", "one", read_only=True)
        (a.path / "file").write_bytes(b"of one")
        (b.path / "file").write_bytes(b"of two")
        for each in (a, b):
            each.tierctl("sync", each.path)
        assert (reader.path / "file").read_bytes() == b"of one"
        assert (b.path / "file").read_bytes() == b"of two"
        with pytest.raises(OSError, match="Read-only file system"):
            (reader.path / "more").write_bytes(b"")
        listed = json.loads(a.tierctl("mounts", "--json").stdout)["mounts"]
        places = {str(each.path) for each in (a, b, reader)}
        assert places <= {each["mountpoint"] for each in listed}
        b.umount()
        (a.path / "file").write_bytes(b"again")
        a.tierctl("sync", a.path)
        assert (reader.path / "file").read_bytes() == b"again"


def test_what_root_makes_belongs_to_the_one_owner(tmp_path: Path) -> None:
    need_root()
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    settings = {"mount": {"squash": "root", "squash_uid": 77, "squash_gid": 78}}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        (mount.path / "d").mkdir()
        (mount.path / "f").write_bytes(b"x")
        (mount.path / "l").symlink_to("f")
        for name in ("d", "f", "l"):
            found = (mount.path / name).lstat()
            assert (found.st_uid, found.st_gid) == (77, 78), name
        assert mount.path.stat().st_uid == 0  # what was there stays as it is
