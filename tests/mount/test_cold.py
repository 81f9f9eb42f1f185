"""Files that are in the bucket and not on the local disk: they are data like any other, and only what is asked for is
fetched, once."""

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.tap import Tap
from tests.support.weed import WeedServer

MIB = 1 << 20
LARGE_BYTES = 48 * MIB
PART_BYTES = 5 * MIB
TIER_BYTES = 32 * MIB


@pytest.fixture
def tap(weed: WeedServer) -> Iterator[Tap]:
    with Tap(weed.endpoint_url) as tap:
        yield tap


@pytest.fixture
def client(weed: WeedServer) -> Any:
    return weed.client()


def settings_of(tap: Tap, **sections: Any) -> dict[str, dict[str, Any]]:
    return {"store": {"endpoint_url": tap.url, "part_size_bytes": PART_BYTES}, **sections}


def object_reads(tap: Tap, key: str) -> int:
    return len([request for request in tap.requests() if request.is_object_read and request.target.endswith(key)])


@pytest.mark.parametrize("size", [3_000, 3 * MIB])
def test_cold_bytes_are_not_holes(weed_bucket: str, client: Any, tap: Tap, tmp_path: Path, size: int) -> None:
    body = random.Random(1).randbytes(size)
    for name in ("stat", "cp", "tar", "rsync"):
        client.put_object(Bucket=weed_bucket, Key=name, Body=body)
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap)) as mount:
        st = (mount.path / "stat").stat()
        assert (st.st_size, st.st_blocks * 512 >= size) == (size, True)
        with (mount.path / "stat").open("rb") as file:
            assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == size
            assert os.lseek(file.fileno(), 10, os.SEEK_DATA) == 10
        copies = tmp_path / "copies"
        copies.mkdir()
        programs.run(["cp", "--sparse=auto", mount.path / "cp", copies / "cp"])
        programs.run(["tar", "-S", "-C", mount.path, "-cf", tmp_path / "a.tar", "tar"])
        programs.run(["tar", "-C", copies, "-xf", tmp_path / "a.tar"])
        programs.run(["rsync", "-S", mount.path / "rsync", copies / "rsync"])
        assert {name: (copies / name).read_bytes() == body for name in ("cp", "tar", "rsync")} == {
            "cp": True,
            "tar": True,
            "rsync": True,
        }


def test_only_what_is_read_is_fetched(weed_bucket: str, client: Any, tap: Tap, tmp_path: Path) -> None:
    body = random.Random(2).randbytes(LARGE_BYTES)
    client.put_object(Bucket=weed_bucket, Key="large", Body=body)
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap)) as mount:
        before = tap.received_bytes
        with (mount.path / "large").open("rb", buffering=0) as file:
            for offset in (30 * MIB + 5, 7, LARGE_BYTES - 3):
                file.seek(offset)
                assert file.read(4096) == body[offset : offset + 4096]
        assert tap.received_bytes - before < LARGE_BYTES / 3
        assert (mount.path / "large").read_bytes() == body
        after = tap.received_bytes
        assert (mount.path / "large").read_bytes() == body
        assert tap.received_bytes == after


def test_many_readers_share_one_fetch(weed_bucket: str, client: Any, tap: Tap, tmp_path: Path) -> None:
    body = random.Random(3).randbytes(700_000)
    client.put_object(Bucket=weed_bucket, Key="shared", Body=body)
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap)) as mount:
        with ThreadPoolExecutor(16) as pool:
            bodies = list(pool.map(lambda _: (mount.path / "shared").read_bytes(), range(64)))
        assert all(found == body for found in bodies)
        assert object_reads(tap, "/shared") == 1


def test_what_was_fetched_stays_over_a_restart(weed_bucket: str, client: Any, tap: Tap, tmp_path: Path) -> None:
    bodies = {f"k{n}": random.Random(n).randbytes(10_000 + n) for n in range(20)}
    for key, body in bodies.items():
        client.put_object(Bucket=weed_bucket, Key=key, Body=body)
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap)) as mount:
        for stop in (mount.umount, mount.kill9):
            assert {key: (mount.path / key).read_bytes() for key in bodies} == bodies
            assert sum(object_reads(tap, f"/{key}") for key in bodies) == len(bodies)
            stop()
            mount.remount()
        assert {key: (mount.path / key).read_bytes() for key in bodies} == bodies
        assert sum(object_reads(tap, f"/{key}") for key in bodies) == len(bodies)


def test_more_files_than_the_hot_tier_holds(weed_bucket: str, tap: Tap, tmp_path: Path) -> None:
    chooser = random.Random(4)
    bodies = {f"f{n:02}": chooser.randbytes(2 * MIB + n) for n in range(40)}
    tier = {"hot_tier": {"size_bytes": TIER_BYTES, "min_free_bytes": 0}, "export": {"quiet_s": 0.2}}
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap, **tier)) as mount:
        for name, body in bodies.items():
            (mount.path / name).write_bytes(body)
            assert_bounded(mount)
        for name, body in bodies.items():
            assert (mount.path / name).read_bytes() == body
            assert_bounded(mount)


def test_one_file_larger_than_the_hot_tier(weed_bucket: str, client: Any, tap: Tap, tmp_path: Path) -> None:
    chooser = random.Random(5)
    blocks = [chooser.randbytes(MIB) for _ in range(3 * TIER_BYTES // MIB)]
    tier = {"hot_tier": {"size_bytes": TIER_BYTES, "min_free_bytes": 0}, "export": {"quiet_s": 0.2}}
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap, **tier)) as mount:
        with (mount.path / "huge").open("wb", buffering=0) as file:
            for block in blocks:
                assert file.write(block) == MIB
                assert_bounded(mount)
        with (mount.path / "huge").open("rb", buffering=0) as file:
            for block in blocks:
                assert file.read(MIB) == block
        assert_bounded(mount)
        mount.wait_synced()
        assert client.get_object(Bucket=weed_bucket, Key="huge")["Body"].read() == b"".join(blocks)


def assert_bounded(mount: Mount) -> None:
    """The tier's size, and one part for the writer; measured on the disk, not told by tierfs."""
    hot = mount.cache / "hot"
    on_disk = sum(Path(top, name).stat().st_blocks * 512 for top, _, names in os.walk(hot) for name in names)
    assert on_disk <= TIER_BYTES + PART_BYTES


def test_truncating_or_replacing_a_cold_file_does_not_fetch_it(
    weed_bucket: str, client: Any, tap: Tap, tmp_path: Path
) -> None:
    for key in ("replaced", "emptied", "removed", "renamed"):
        client.put_object(Bucket=weed_bucket, Key=key, Body=b"old" * 100_000)
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings_of(tap)) as mount:
        (mount.path / "replaced").write_bytes(b"new")
        os.truncate(mount.path / "emptied", 0)
        (mount.path / "removed").unlink()
        (mount.path / "renamed").rename(mount.path / "elsewhere")
        mount.wait_synced()
        assert not [request for request in tap.requests() if request.is_object_read and ".tierfs" not in request.target]
    keys = {entry["Key"]: entry["Size"] for entry in client.list_objects_v2(Bucket=weed_bucket)["Contents"]}
    assert {key: size for key, size in keys.items() if not key.startswith(".tierfs")} == {
        "replaced": 3,
        "emptied": 0,
        "elsewhere": 300_000,
    }
