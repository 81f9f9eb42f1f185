"""A bucket that others write, too: their changes are seen, what they put beside the bytes stays, nothing mixes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.posix.tools import attempt
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.weed import WeedServer

ALWAYS_ASK = {
    "import": {"revalidate_s": 0},
    "mount": {"attr_timeout_s": 0, "entry_timeout_s": 0, "negative_timeout_s": 0},
    "export": {"quiet_s": 0.2},
}


@pytest.fixture
def client(weed: WeedServer) -> Any:
    return weed.client()


@pytest.fixture
def mount(weed: WeedServer, weed_bucket: str, tmp_path: Path) -> Iterator[Mount]:
    settings = {"store": {"endpoint_url": weed.endpoint_url}, **ALWAYS_ASK}
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings) as mount:
        yield mount


def becomes(look: Any, expected: object) -> bool:
    return programs.wait_until(lambda: attempt(look) == expected, 20)


def test_new_changed_and_removed_objects(mount: Mount, weed_bucket: str, client: Any) -> None:
    assert os.listdir(mount.path) == []
    client.put_object(Bucket=weed_bucket, Key="d/e/f", Body=b"first")
    assert becomes((mount.path / "d/e/f").read_bytes, b"first")
    client.put_object(Bucket=weed_bucket, Key="d/e/f", Body=b"the second")
    assert becomes((mount.path / "d/e/f").read_bytes, b"the second")
    client.put_object(Bucket=weed_bucket, Key="d/g", Body=b"g")
    assert becomes(lambda: sorted(os.listdir(mount.path / "d")), ["e", "g"])
    client.delete_object(Bucket=weed_bucket, Key="d/e/f")
    # the directory stays: this server goes on listing the prefix of an object that is gone
    assert becomes(lambda: os.listdir(mount.path / "d/e"), [])
    assert attempt(os.stat, mount.path / "d/e/f") == "ENOENT"


def test_attributes_are_those_of_the_object_or_the_defaults(mount: Mount, weed_bucket: str, client: Any) -> None:
    client.put_object(Bucket=weed_bucket, Key="plain", Body=b"x")
    client.put_object(
        Bucket=weed_bucket,
        Key="told",
        Body=b"x",
        Metadata={
            "file-permissions": "0100640",
            "file-owner": "1234",
            "file-group": "5678",
            "file-mtime": "1595002920000000001ns",
        },
    )
    plain = (mount.path / "plain").stat()
    assert (stat.filemode(plain.st_mode), plain.st_uid) == ("-rw-r--r--", os.geteuid())
    told = (mount.path / "told").stat()
    assert (stat.filemode(told.st_mode), told.st_uid, told.st_gid) == ("-rw-r-----", 1234, 5678)
    assert told.st_mtime_ns == 1_595_002_920_000_000_001


def test_what_others_put_beside_the_bytes_is_kept(mount: Mount, weed_bucket: str, client: Any) -> None:
    client.put_object(
        Bucket=weed_bucket,
        Key="page",
        Body=b"<p>old</p>",
        ContentType="text/html",
        CacheControl="max-age=60",
        Metadata={"author": "somebody"},
    )
    path = mount.path / "page"
    for change in (
        lambda: path.write_bytes(b"<p>new</p>"),
        lambda: path.chmod(0o640),
        lambda: path.rename(mount.path / "renamed"),
    ):
        change()
        mount.wait_synced()
    head = client.head_object(Bucket=weed_bucket, Key="renamed")
    assert (head["ContentType"], head["CacheControl"], head["ContentLength"]) == ("text/html", "max-age=60", 10)
    assert head["Metadata"]["author"] == "somebody"
    assert head["Metadata"]["file-permissions"] == "0100640"
    assert attempt(client.list_objects_v2, Bucket=weed_bucket, Prefix="page").get("KeyCount") == 0


def test_both_sides_changed_and_both_are_kept(mount: Mount, weed_bucket: str, client: Any, tmp_path: Path) -> None:
    (mount.path / "f").write_bytes(b"common")
    mount.wait_synced()
    with (mount.path / "f").open("r+b", buffering=0) as file:
        file.write(b"mine!!")
        client.put_object(Bucket=weed_bucket, Key="f", Body=b"theirs")
    mount.wait_synced()
    assert becomes(lambda: len(os.listdir(mount.path)), 2)
    bodies = sorted((mount.path / name).read_bytes() for name in os.listdir(mount.path))
    assert bodies == [b"mine!!", b"theirs"]
    assert mount.status()["conflicts"] == 1


def test_a_reader_sees_one_version(mount: Mount, weed_bucket: str, client: Any) -> None:
    size = 12 << 20
    client.put_object(Bucket=weed_bucket, Key="big", Body=b"1" * size)
    with (mount.path / "big").open("rb", buffering=0) as file:
        head = file.read(100_000)
        client.put_object(Bucket=weed_bucket, Key="big", Body=b"2" * size)
        assert set(head) == {ord("1")}
        # the rest of the old version is nowhere any more: what comes is the old bytes or an error, never the new ones
        while isinstance(more := attempt(file.read, 1 << 20), bytes) and more:
            assert set(more) == {ord("1")}
        assert more in (b"", "ESTALE")
    assert becomes(lambda: set((mount.path / "big").read_bytes()), {ord("2")})
