"""Preallocation, holes, SEEK_HOLE and copy_file_range, as programs use them on a real mount."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import Mount, mounted

SIZE_BYTES = 3 << 20


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A bucket that is a directory."""
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture(params=["auto", "holder"])
def mount(request: pytest.FixtureRequest, bucket: Path, tmp_path: Path) -> Iterator[Mount]:
    """A mount through the holder, with the kernel's passthrough where the machine has it, and without."""
    settings = {"mount": {"connection": request.param}}
    with mounted(f"file://{bucket}", tmp_path / "m", settings=settings) as made:
        status = made.status()
        if status["mode"] == "pyfuse3":
            pytest.skip(f"no holder: {status['mode_reason']}")
        yield made


def fallocate(*words: object) -> subprocess.CompletedProcess[str]:
    """fallocate(1), which fails where the file system cannot."""
    return subprocess.run(["fallocate", *map(str, words)], check=False, capture_output=True, text=True, timeout=60)


def test_a_new_file_is_preallocated_and_uploaded(mount: Mount, bucket: Path) -> None:
    path = mount.path / "new"
    assert fallocate("-l", SIZE_BYTES, path).returncode == 0
    assert path.stat().st_size == SIZE_BYTES
    assert path.stat().st_blocks * 512 >= SIZE_BYTES
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), SIZE_BYTES, 100)
        file.write(b"begin")
    mount.wait_synced()
    assert (bucket / "new").read_bytes() == path.read_bytes() == b"begin" + bytes(SIZE_BYTES + 95)
    assert fallocate("-n", "-o", SIZE_BYTES * 2, "-l", 4096, path).returncode == 1
    assert path.stat().st_size == SIZE_BYTES + 100


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "cold"])
def test_holes_are_punched_into_what_the_bucket_has(mount: Mount, bucket: Path, is_hot: bool) -> None:
    data = os.urandom(SIZE_BYTES)
    (bucket / "file").write_bytes(data)
    path = mount.path / "file"
    expected = bytearray(data)
    with path.open("rb") as reader:  # who has it mapped or open sees them, too
        if is_hot:
            assert reader.read() == data
        assert fallocate("-p", "-o", 70_000, "-l", 1 << 20, path).returncode == 0
        expected[70_000 : 70_000 + (1 << 20)] = bytes(1 << 20)
        assert fallocate("-z", "-o", SIZE_BYTES - 10, "-l", 110, path).returncode == 0
        expected[SIZE_BYTES - 10 :] = bytes(110)
        reader.seek(0)
        assert reader.read() == expected
    assert path.stat().st_size == SIZE_BYTES + 100
    mount.wait_synced()
    assert (bucket / "file").read_bytes() == path.read_bytes() == expected


def test_what_is_absent_is_no_hole(mount: Mount, bucket: Path) -> None:
    body = os.urandom(SIZE_BYTES)
    (bucket / "cold").write_bytes(bytes(SIZE_BYTES))
    (bucket / "data").write_bytes(body)
    fd = os.open(mount.path / "cold", os.O_RDONLY)
    try:
        assert os.lseek(fd, 100, os.SEEK_DATA) == 100
        assert os.lseek(fd, 100, os.SEEK_HOLE) == SIZE_BYTES
    finally:
        os.close(fd)
    copy = bucket.parent / "copy"
    subprocess.run(["cp", "--sparse=auto", mount.path / "data", copy], check=True, timeout=60)
    assert copy.read_bytes() == body


def test_holes_that_a_program_made_are_seen(mount: Mount) -> None:
    fd = os.open(mount.path / "sparse", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, b"x" * 4096, 1 << 20)
        assert os.lseek(fd, 0, os.SEEK_DATA) == 1 << 20
        assert os.lseek(fd, 1 << 20, os.SEEK_HOLE) == (1 << 20) + 4096
        with pytest.raises(OSError, match="No such device"):
            os.lseek(fd, 1 << 21, os.SEEK_DATA)
    finally:
        os.close(fd)


def test_ranges_are_copied(mount: Mount, bucket: Path) -> None:
    data = os.urandom(SIZE_BYTES)
    (bucket / "source").write_bytes(data)
    with (mount.path / "target").open("wb") as target:
        for _ in range(2):  # from the bucket, then from what is here
            with (mount.path / "source").open("rb") as source:
                at = 0
                while copied := os.copy_file_range(source.fileno(), target.fileno(), 1 << 22, at, 1000 + at):
                    at += copied
                assert at == SIZE_BYTES
    assert (mount.path / "target").read_bytes() == bytes(1000) + data
    mount.wait_synced()
    assert (bucket / "target").read_bytes() == bytes(1000) + data
