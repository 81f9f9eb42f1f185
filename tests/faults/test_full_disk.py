"""The disk under the cache is full, or the tier is smaller than what is written: writers wait or are told, and what
was acknowledged is there.

A small ext4 file system of its own, in an image file, is the disk: nothing else can fill it or free it.
"""

import contextlib
import errno
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest

from tests.faults.conftest import MIB, PART_BYTES, Rig
from tests.support import programs
from tests.support.mounts import need_root

# the index keeps 64 MiB of it for its journal
DISK_BYTES = 256 * MIB
TIER_BYTES = 64 * MIB
# longer than the exports of these tests take, so that a writer that waits for them does not give up
PATIENT = {"min_free_bytes": 0, "full_wait_s": 60}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted ext4 of DISK_BYTES."""
    need_root()
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    programs.run(["mkfs.ext4", "-q", "-m", "0", image])
    done = programs.run(["mount", "-o", "loop", image, place], check=False)
    if done.returncode:
        pytest.skip(f"this machine cannot mount an image file: {done.stderr.strip()}")
    try:
        yield place
    finally:
        if programs.run(["umount", place], check=False).returncode:
            programs.run(["umount", "-l", place])
        with contextlib.suppress(OSError):
            image.unlink()


def fill(disk: Path) -> Path:
    """Takes the last byte of the disk."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\xff" * size)
    return ballast


def block(seed: int) -> bytes:
    return random.Random(seed).randbytes(MIB)


def test_more_than_the_disk_holds_goes_through_it(rig: Rig, small_disk: Path) -> None:
    tier = {"min_free_bytes": 96 * MIB, "full_wait_s": 60}
    with rig.mounted(directory=small_disk, hot_tier=tier) as mount:
        for number in range(30):
            (mount.path / f"f{number:02}").write_bytes(block(number) * 5)
        for number in range(30):
            assert (mount.path / f"f{number:02}").read_bytes() == block(number) * 5
        mount.wait_synced()
        assert {key: rig.body(key) == block(int(key[1:])) * 5 for key in rig.object_keys()} == dict.fromkeys(
            (f"f{number:02}" for number in range(30)), True
        )


def test_no_room_at_all_is_enospc_in_time(rig: Rig, small_disk: Path) -> None:
    with rig.mounted(directory=small_disk, hot_tier={"min_free_bytes": DISK_BYTES, "full_wait_s": 1}) as mount:
        began_s = time.monotonic()
        assert write_until_refused(mount.path / "f") == errno.ENOSPC
        assert time.monotonic() - began_s < 15
        # names are no bytes of the tier
        (mount.path / "d").mkdir()
        mount.wait_synced()
        assert "d/" in rig.object_keys()


def test_disk_that_others_fill(rig: Rig, small_disk: Path) -> None:
    """Nothing can be freed: the server is away, so nothing becomes clean."""
    with rig.mounted(directory=small_disk, hot_tier={"min_free_bytes": 0, "full_wait_s": 1}) as mount:
        (mount.path / "early").write_bytes(block(0))
        mount.wait_synced()
        rig.double.stop()
        acknowledged: dict[str, bytes] = {"early": block(0)}
        for number in range(1, 4):
            (mount.path / f"f{number}").write_bytes(block(number))
            acknowledged[f"f{number}"] = block(number)
        ballast = fill(small_disk)
        failed = write_until_refused(mount.path / "refused")
        assert failed in (errno.ENOSPC, errno.EIO)
        assert mount.daemons()
        for name, body in acknowledged.items():
            if name != "early":  # that is clean, and may have made room
                assert (mount.path / name).read_bytes() == body
        ballast.unlink()
        rig.double.start()
        (mount.path / "after").write_bytes(block(9))
        acknowledged["after"] = block(9)
        mount.wait_synced()
        for name, body in acknowledged.items():
            assert (mount.path / name).read_bytes() == rig.body(name) == body


def test_daemon_dies_on_a_full_disk(rig: Rig, small_disk: Path) -> None:
    with rig.mounted(directory=small_disk, hot_tier={"min_free_bytes": 0, "full_wait_s": 1}) as mount:
        (mount.path / "warm").write_bytes(b"")
        mount.wait_synced()
        rig.double.stop()
        for number in range(3):
            (mount.path / f"f{number}").write_bytes(block(number))
        ballast = fill(small_disk)
        write_until_refused(mount.path / "refused")
        mount.kill9()
        ballast.unlink()
        rig.double.start()
        mount.remount()
        mount.wait_synced()
        for number in range(3):
            assert (mount.path / f"f{number}").read_bytes() == rig.body(f"f{number}") == block(number)


def write_until_refused(path: Path) -> int:
    """The errno that a writer of more than the disk holds is told, at a write or at the close."""
    try:
        with path.open("wb", buffering=0) as file:
            for number in range(2 * DISK_BYTES // MIB):
                file.write(block(100 + number))
            os.fsync(file.fileno())
    except OSError as error:
        assert error.errno is not None
        return error.errno
    return 0


# ---- beyond the tier ----


def write_blocks(path: Path, seeds: range) -> str:
    digest = blake2b()
    with path.open("wb", buffering=0) as file:
        for seed in seeds:
            data = block(seed)
            assert file.write(data) == MIB
            digest.update(data)
    return digest.hexdigest()


def checksum(path: Path) -> str:
    # by another process: a read that hangs must not take pytest along
    done = subprocess.run(["b2sum", path], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()[0]


def test_file_of_three_times_the_tier(rig: Rig) -> None:
    with rig.mounted(hot_tier={**PATIENT, "size_bytes": TIER_BYTES}) as mount:
        written = write_blocks(mount.path / "huge", range(3 * TIER_BYTES // MIB))
        assert checksum(mount.path / "huge") == written
        mount.wait_synced()
        assert blake2b(rig.body("huge")).hexdigest() == written
        assert checksum(mount.path / "huge") == written
        assert mount.status()["tier"]["used_bytes"] <= TIER_BYTES + PART_BYTES


def test_four_writers_beyond_the_tier(rig: Rig) -> None:
    blocks = TIER_BYTES // MIB // 2
    with rig.mounted(hot_tier={**PATIENT, "size_bytes": TIER_BYTES}) as mount:
        with ThreadPoolExecutor(4) as pool:
            jobs = {
                f"w{number}": pool.submit(
                    write_blocks, mount.path / f"w{number}", range(number * 1000, number * 1000 + blocks)
                )
                for number in range(4)
            }
            written = {name: job.result(100) for name, job in jobs.items()}
        mount.wait_synced()
        assert {name: blake2b(rig.body(name)).hexdigest() for name in written} == written
        assert {name: checksum(mount.path / name) for name in written} == written
        assert sorted(rig.object_keys()) == sorted(written)


@pytest.mark.parametrize("size_bytes", [MIB, 4 * MIB])
def test_file_in_a_tier_smaller_than_a_part(rig: Rig, size_bytes: int) -> None:
    with rig.mounted(hot_tier={**PATIENT, "size_bytes": size_bytes}) as mount:
        written = write_blocks(mount.path / "huge", range(12))
        assert checksum(mount.path / "huge") == written
        mount.wait_synced()
        assert blake2b(rig.body("huge")).hexdigest() == written
        assert checksum(mount.path / "huge") == written
        assert not [key for key in rig.all_keys() if key.startswith(".tierfs/spill/")]
