"""Facts of a machine, read from a made-up /proc and /sys."""

import os
from pathlib import Path

import pytest

from tierfs.cli.doctoring import machine

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    (process / "status").write_text("Name:\tpython3\nUid:\t0\t1000\t0\t0\nCapEff:\t0000000000200000\n")
    (process / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max open files            1024                 524288               files\n"
    )
    (process / "exe").symlink_to("/opt/tierfs-holder (deleted)")
    return tmp_path


def test_a_process(root: Path) -> None:
    assert machine.has_sys_admin(7, root=root)
    assert not machine.is_root(7, root=root)  # the effective uid counts
    assert machine.descriptor_limits(7, root=root) == (1024, 524288)
    assert machine.is_program_replaced(7, root=root)


def test_a_process_that_is_gone(root: Path) -> None:
    assert not machine.has_sys_admin(8, root=root)
    assert machine.descriptor_limits(8, root=root) is None
    assert not machine.is_program_replaced(8, root=root)


def test_this_process() -> None:
    assert machine.is_root() is (os.geteuid() == 0)
    limits = machine.descriptor_limits()
    assert limits is not None and limits[0] <= limits[1]
    assert not machine.is_program_replaced(os.getpid())


def mounts(root: Path, *rows: tuple[str, str, str]) -> None:
    """(device, place, type) of each."""
    (root / "proc" / "self").mkdir(parents=True)
    lines = [f"1 1 {device} / {place} rw - {kind} /dev/x rw\n" for device, place, kind in rows]
    (root / "proc" / "self" / "mountinfo").write_text("".join(lines))


def test_the_disk_of_a_cache_that_is_still_to_be_made(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "data set" / "cache"
    (tmp_path / "data set").mkdir()
    escaped = str(tmp_path / "data set").replace(" ", "\\040")
    mounts(root, ("8:1", "/", "ext4"), ("9:0", escaped, "xfs"), ("9:1", f"{escaped}/cache/deeper", "tmpfs"))
    disk = machine.cache_disk(cache, root=root)
    assert disk.filesystem == "xfs" and disk.path == str(cache) and disk.is_rotational is None
    assert 0 < disk.free_bytes <= disk.size_bytes


@pytest.mark.parametrize(("place", "said", "is_rotational"), [("", "1", True), ("", "0", False), ("..", "1", True)])
def test_whether_a_disk_rotates(root: Path, tmp_path: Path, place: str, said: str, is_rotational: bool) -> None:
    mounts(root, ("8:1", "/", "ext4"))
    device = root / "sys" / "devices" / "sda" / "sda1"
    device.mkdir(parents=True)
    (root / "sys" / "dev" / "block").mkdir(parents=True)
    (root / "sys" / "dev" / "block" / "8:1").symlink_to(device)
    (device / place / "queue").mkdir()
    (device / place / "queue" / "rotational").write_text(f"{said}\n")
    assert machine.cache_disk(tmp_path, root=root).is_rotational is is_rotational


def test_the_mount_that_lies_on_top_counts(root: Path, tmp_path: Path) -> None:
    mounts(root, ("8:1", str(tmp_path), "ext4"), ("0:9", str(tmp_path), "overlay"))
    assert machine.cache_disk(tmp_path, root=root).filesystem == "overlay"
