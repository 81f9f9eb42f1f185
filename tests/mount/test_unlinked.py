"""Open files that lost their name keep every byte, also those that only the bucket has, and hold up no upload."""

import contextlib
import mmap
import os
import random
import signal
from pathlib import Path

import pytest

from tests.mount.test_takeover import kill
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.weed import WeedServer

MIB = 1 << 20
OLD = random.Random(1).randbytes(12 * MIB)
NEW = random.Random(2).randbytes(3 * MIB)
CONNECTIONS = ("passthrough", "holder", "pyfuse3")
QUICK = {"export": {"quiet_s": 0.1}}


def objects(bucket: Path) -> dict[str, bytes]:
    """All files of the bucket, with tierfs's own that are aside; one that goes at this moment has gone."""
    found = {}
    for top, _, names in os.walk(bucket):
        for path in (Path(top, name) for name in names):
            if not path.is_relative_to(bucket / ".tierfs") or path.is_relative_to(bucket / ".tierfs/aside"):
                with contextlib.suppress(FileNotFoundError):
                    found[str(path.relative_to(bucket))] = path.read_bytes()
    return found


def unlink(path: Path) -> None:
    path.unlink()


def rename_over(path: Path) -> None:
    path.with_name("new").write_bytes(NEW)
    path.with_name("new").rename(path)


def make_anew(path: Path) -> None:
    path.unlink()
    path.write_bytes(NEW)


def move_its_directory(path: Path) -> None:
    path.unlink()
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.mkdir()
    path.write_bytes(NEW)


LOSSES = (unlink, rename_over, make_anew, move_its_directory)
HAS_NAME_AGAIN = {f"{lose.__name__}/f": NEW for lose in LOSSES if lose is not unlink}


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """One cold file, in a directory of its own."""
    bucket = tmp_path / "bucket"
    put(bucket / "d/f")
    return bucket


def put(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(OLD)


def check_closed(mount: Mount, bucket: Path, wanted: dict[str, bytes]) -> None:
    """The last close is noticed by itself, and nothing of the old version is left in the bucket."""
    assert programs.wait_until(lambda: objects(bucket) == wanted, 60), sorted(objects(bucket))
    mount.wait_synced()
    assert mount.status()["pending_exports"] == 0


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_descriptor_reads_the_version_that_it_opened(tmp_path: Path, connection: str) -> None:
    bucket = tmp_path / "bucket"
    for lose in LOSSES:
        put(bucket / lose.__name__ / "f")
    settings = {"mount": {"connection": connection}, **QUICK}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((mount.path / lose.__name__ / "f").open("rb", buffering=0)) for lose in LOSSES]
            for lose, file in zip(LOSSES, files, strict=True):
                assert os.pread(file.fileno(), 4096, 5 * MIB) == OLD[5 * MIB :][:4096]
                lose(mount.path / lose.__name__ / "f")
            mount.wait_synced()
            assert {key: body for key, body in objects(bucket).items() if ".tierfs" not in key} == HAS_NAME_AGAIN
            assert len(objects(bucket)) == len(HAS_NAME_AGAIN) + len(LOSSES)
            for file in files:
                assert os.fstat(file.fileno()).st_nlink == 0
                assert file.read() == OLD
        check_closed(mount, bucket, HAS_NAME_AGAIN)


def test_an_s3_server_copies_it_aside(weed: WeedServer, weed_bucket: str, tmp_path: Path) -> None:
    client = weed.client()

    def keys() -> list[str]:
        found = client.list_objects_v2(Bucket=weed_bucket).get("Contents", [])
        return [entry["Key"] for entry in found if entry["Key"] == "f" or ".tierfs/aside/" in entry["Key"]]

    client.put_object(Bucket=weed_bucket, Key="f", Body=OLD)
    settings = {"store": {"endpoint_url": weed.endpoint_url}, **QUICK}
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings) as mount:
        with (mount.path / "f").open("rb", buffering=0) as file:
            rename_over(mount.path / "f")
            mount.wait_synced()
            assert client.get_object(Bucket=weed_bucket, Key="f")["Body"].read() == NEW
            assert len(keys()) == 2
            assert file.read() == OLD
        assert programs.wait_until(lambda: keys() == ["f"], 60)


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_mapping_reads_the_version_that_it_maps(bucket: Path, tmp_path: Path, connection: str) -> None:
    settings = {"mount": {"connection": connection}, **QUICK}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        fd = os.open(mount.path / "d/f", os.O_RDONLY)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapping:
            os.close(fd)
            rename_over(mount.path / "d/f")
            mount.wait_synced()
            assert (bucket / "d/f").read_bytes() == NEW
            assert mapping[:] == OLD
        check_closed(mount, bucket, {"d/f": NEW})


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_what_was_written_into_it_stays(bucket: Path, tmp_path: Path, connection: str) -> None:
    settings = {"mount": {"connection": connection}, **QUICK}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        with (mount.path / "d/f").open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"before", 7 * MIB)
            unlink(mount.path / "d/f")
            os.pwrite(file.fileno(), b"after!", 9 * MIB)
            mount.wait_synced()
            assert {key for key in objects(bucket) if ".tierfs" not in key} == set()
            wanted = bytearray(OLD)
            wanted[7 * MIB : 7 * MIB + 6] = b"before"
            wanted[9 * MIB : 9 * MIB + 6] = b"after!"
            assert file.read() == wanted
        check_closed(mount, bucket, {})


def test_it_outlives_the_daemon(bucket: Path, tmp_path: Path) -> None:
    """Before its object is aside, and after."""
    with mounted(f"file://{bucket}", tmp_path, settings={"export": {"quiet_s": 3600}}) as mount:
        with (mount.path / "d/f").open("rb", buffering=0) as file:
            make_anew(mount.path / "d/f")
            for at in (3 * MIB, 6 * MIB):
                kill(mount)
                assert os.pread(file.fileno(), 4096, at) == OLD[at:][:4096]
                mount.tierctl("sync", mount.path)
                assert (bucket / "d/f").read_bytes() == NEW
            assert file.read() == OLD
        check_closed(mount, bucket, {"d/f": NEW})


@pytest.mark.parametrize("how", ["SIGTERM", "kill"])
def test_nothing_is_left_of_what_was_open_at_the_end(bucket: Path, tmp_path: Path, how: str) -> None:
    with mounted(f"file://{bucket}", tmp_path, settings=QUICK) as mount:
        fd = os.open(mount.path / "d/f", os.O_RDONLY)
        make_anew(mount.path / "d/f")
        mount.wait_synced()
        assert len(objects(bucket)) == 2
        if how == "kill":
            mount.kill9()
        else:
            os.kill(mount.pid, signal.SIGTERM)
            assert programs.wait_until(lambda: not mount.daemons(), 60)
            assert objects(bucket) == {"d/f": NEW}
        with pytest.raises(OSError, match="connect"):
            os.close(fd)
        mount.remount()
        check_closed(mount, bucket, {"d/f": NEW})
