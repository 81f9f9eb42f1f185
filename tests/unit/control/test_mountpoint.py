"""Reading what is mounted, and the checks that need no mount. With real FUSE mounts: tests/mount."""

import os
from pathlib import Path

import pytest

from tierfs.control import mountpoint
from tierfs.control.mountpoint import Mounted
from tierfs.errors import FsError, MountError, MountProblem

MOUNTINFO = (
    rb"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /mnt/a\040b\011\134 rw,nosuid shared:2 master:1 - fuse.tierfs s3://bucket/x\040y rw,user_id=0
31 21 0:41 / /mnt/twice rw - tmpfs tmpfs rw
32 31 0:42 / /mnt/twice rw - fuse.sshfs host:/ rw
33 21 0:43 / /mnt/"""
    + b"\xff rw - fuseblk /dev/sdb1 rw\n"
)


def test_mountinfo_is_read_with_its_escapes(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(MOUNTINFO)

    def at(path: str) -> Mounted | None:
        return mountpoint.mounted_at(Path(path), mountinfo=file)

    assert at("/") == Mounted(Path("/"), "ext4", "/dev/sda1")
    assert at("/mnt/a b\t\\") == Mounted(Path("/mnt/a b\t\\"), "fuse.tierfs", "s3://bucket/x y")
    twice = at("/mnt/twice")
    assert twice is not None and twice.filesystem == "fuse.sshfs"  # the one on top
    odd = at(os.fsdecode(b"/mnt/\xff"))
    assert odd is not None and odd.is_fuse
    assert at("/mnt") is None and at("/mnt/a") is None
    assert not Mounted(Path("/"), "fusectl", "none").is_fuse


def test_what_this_machine_has_mounted() -> None:
    found = mountpoint.mounted_at(Path("/proc"))
    assert found is not None and found.filesystem == "proc"


def test_places_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert mountpoint.resolve("real") == tmp_path / "real"
    assert mountpoint.resolve("real/") == tmp_path / "real"
    assert mountpoint.resolve("link") == tmp_path / "real"
    assert mountpoint.resolve("link/sub") == tmp_path / "real" / "sub"
    assert mountpoint.resolve("real/..") == tmp_path
    assert mountpoint.resolve(".") == tmp_path
    assert mountpoint.resolve("/") == Path("/")


def refusal(path: Path, **options: bool) -> MountError:
    with pytest.raises(MountError) as caught:
        mountpoint.check_mountpoint(path, **options)
    return caught.value


def test_what_cannot_be_mounted_on(tmp_path: Path) -> None:
    mountpoint.check_mountpoint(tmp_path)
    file = tmp_path / "file"
    assert refusal(file).problem is MountProblem.UNUSABLE and f"mkdir -p {file}" in str(refusal(file))
    file.touch()
    assert "is no directory" in str(refusal(file))
    assert "cannot be used: Not a directory" in str(refusal(file / "below"))
    full = refusal(tmp_path)
    assert full.problem is MountProblem.NOT_EMPTY and "-o nonempty" in str(full)
    mountpoint.check_mountpoint(tmp_path, may_hide_files=True)


def test_a_look_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mountpoint, "LOOK_LIMIT_S", 0.05)
    os.mkfifo(tmp_path / "pipe")  # opening it waits for a writer that does not come

    def look() -> int:
        return os.open(tmp_path / "pipe", os.O_RDONLY)

    with pytest.raises(MountError, match="hangs; `tierfs umount --lazy") as caught:
        mountpoint._within_limit(look, tmp_path)
    assert caught.value.problem is MountProblem.BUSY
    os.close(os.open(tmp_path / "pipe", os.O_WRONLY))  # lets the thread go


@pytest.mark.parametrize(
    ("device", "is_root", "cure"), [("absent", True, "modprobe fuse"), ("directory", True, "Is a directory")]
)
def test_no_fuse(tmp_path: Path, device: str, is_root: bool, cure: str) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(MountError, match=cure) as caught:
        mountpoint.check_fuse(device=tmp_path / device, is_root=is_root)
    assert caught.value.problem is MountProblem.NO_FUSE


def test_who_is_not_root_needs_fusermount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "fuse"
    device.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    mountpoint.check_fuse(device=device, is_root=True)
    with pytest.raises(MountError, match="fusermount3 is not installed"):
        mountpoint.check_fuse(device=device, is_root=False)
    (tmp_path / "fusermount3").touch(mode=0o755)
    mountpoint.check_fuse(device=device, is_root=False)


def test_nothing_to_detach(tmp_path: Path) -> None:
    with pytest.raises(FsError, match="nothing is mounted at"):
        mountpoint.detach(tmp_path, lazy=False)
