"""A server dies under a mount and comes back: what is here goes on up to the size of the hot tier, nothing that was
acknowledged is lost, and no error outlives the outage.

How single requests fail, and what a daemon's end adds to it, is in test_server_away.py.
"""

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import IMPATIENT, MIB, RETRY_BUDGET_S, Rig
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.s3double import S3Double
from tests.support.weed import WeedServer

TIER_BYTES = 8 * MIB
FILE_BYTES = 2 * MIB
# a loaded machine, one answer that does not come, and the pauses between the attempts
SLACK_S = 8.0
SEEN_WITHIN_S = 60.0  # the server is asked ever more rarely, at most every 10 s


Server = tuple[S3Double | WeedServer, Callable[[], None]]


@pytest.fixture(params=["double", pytest.param("weed", marks=pytest.mark.long)])
def dying(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server, and what ends it. The real one, which takes long to come back, answers with errors at first."""
    if request.param == "weed":
        with WeedServer() as weed:
            yield weed, weed.kill
    else:
        with S3Double() as double:
            yield double, double.stop


def tier(full_wait_s: float) -> dict[str, object]:
    return {"size_bytes": TIER_BYTES, "min_free_bytes": 0, "full_wait_s": full_wait_s}


def body(number: int) -> bytes:
    """Without a zero in it, so that none can pass for what was written."""
    return random.Random(number).randbytes(FILE_BYTES).replace(b"\0", b"\1")


def bodies(client: Any, bucket: str) -> dict[str, bytes]:
    """What another client reads."""
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys if key[0] != "."}


def write(path: Path, data: bytes) -> int:
    """Returns how much of it was taken before ENOSPC; the file is closed then."""
    descriptor, taken = os.open(path, os.O_WRONLY | os.O_CREAT), 0
    try:
        while taken < len(data):
            taken += os.write(descriptor, data[taken : taken + MIB])
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)
    return taken


def is_degraded(mount: Mount) -> bool:
    return mount.status()["degraded"] is not None


def used_bytes(mount: Mount) -> int:
    used: int = mount.status()["tier"]["used_bytes"]
    return used


def assert_reads_fail_in_time(verb: str, path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(OSError) as caught:
        path.read_bytes() if verb == "read" else os.listdir(path)
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - began_s < RETRY_BUDGET_S + SLACK_S


def test_writers_wait_at_the_ceiling_until_the_server_is_back(dying: Server, tmp_path: Path) -> None:
    server, kill = dying
    numbers, bucket = range(2 * TIER_BYTES // FILE_BYTES), server.create_bucket()
    server.client().put_object(Bucket=bucket, Key="hot", Body=b"hot bytes")
    settings = {**IMPATIENT, "hot_tier": tier(240)}
    with (
        mounted(f"s3://{bucket}", tmp_path, settings=settings, env=server.environment) as mount,
        ThreadPoolExecutor(1) as pool,
    ):
        mount.tierctl("pin", mount.path / "hot")  # a clean copy makes room for writers otherwise
        pid = mount.status()["pid"]
        kill()
        killed_s = time.monotonic()
        writer: Future[list[int]] = pool.submit(
            lambda: [write(mount.path / f"f{each}", body(each)) for each in numbers]
        )
        try:
            assert programs.wait_until(lambda: used_bytes(mount) > TIER_BYTES - MIB and is_degraded(mount), 60)
            first_s = mount.status()["degraded"]["since_s"]
            assert first_s <= time.monotonic() - killed_s
            assert (mount.path / "hot").read_bytes() == b"hot bytes"
            (mount.path / "hot").rename(mount.path / "renamed")
            assert (mount.path / "f0").read_bytes() == body(0), "what waits is read from here"
            assert not writer.done() and used_bytes(mount) <= TIER_BYTES
            assert mount.status()["degraded"]["since_s"] > first_s, "since the beginning of the outage"
        finally:
            server.start()
        assert writer.result(120) == [FILE_BYTES] * len(numbers)
        mount.wait_synced()
        assert mount.status()["pid"] == pid and not is_degraded(mount)
        written = {f"f{each}": body(each) for each in numbers}
        assert bodies(server.client(), bucket) == {"renamed": b"hot bytes", **written}
        assert {name: (mount.path / name).read_bytes() for name in written} == written


def test_no_error_outlives_the_outage(rig: Rig) -> None:
    full_wait_s = 2.0
    for key in ("cold", "large", "directory/in it"):
        rig.put(key, body(100))
    with rig.mounted(hot_tier=tier(full_wait_s)) as mount:
        assert sorted(os.listdir(mount.path)) == ["cold", "directory", "large"]
        assert [(mount.path / key).stat().st_size for key in ("cold", "large")] == [FILE_BYTES] * 2
        pid = mount.status()["pid"]
        with (mount.path / "large").open("rb", buffering=0) as opened:
            rig.double.stop()
            assert_reads_fail_in_time("read", mount.path / "cold")
            assert_reads_fail_in_time("list", mount.path / "directory")
            with pytest.raises(OSError):
                os.pread(opened.fileno(), 4096, FILE_BYTES - 4096)
            assert programs.wait_until(lambda: is_degraded(mount), SEEN_WITHIN_S)

            taken, number = {}, 0
            while not taken or taken[f"f{number - 1}"] == FILE_BYTES:
                began_s = time.monotonic()
                taken[f"f{number}"] = write(mount.path / f"f{number}", body(number))
                number += 1
            assert time.monotonic() - began_s >= full_wait_s
            assert sum(taken.values()) > TIER_BYTES - 2 * FILE_BYTES, "not before it is full"
            for name, size in taken.items():
                there = (mount.path / name).read_bytes()
                assert there == body(int(name[1:]))[:size], "all that was taken, and nothing else"

            rig.double.start()
            assert programs.wait_until(lambda: not is_degraded(mount), SEEN_WITHIN_S)
            assert os.pread(opened.fileno(), FILE_BYTES, 0) == body(100), "the descriptor that failed"
        assert (mount.path / "cold").read_bytes() == body(100)
        assert (mount.path / "directory/in it").read_bytes() == body(100)
        mount.wait_synced()
        assert write(mount.path / "after", body(7)) == FILE_BYTES
        mount.wait_synced()
        assert mount.status()["pid"] == pid
        there = bodies(rig.client, rig.bucket)
        assert {name: len(there[name]) for name in taken} == taken
        assert all(there[name] == body(int(name[1:]))[:size] for name, size in taken.items())
        assert there["after"] == body(7)
