"""Facts of this machine and of processes on it, read from /proc and /sys. `root` is / but in tests."""

import os
import re
from pathlib import Path
from typing import Final

from tierfs.control import mountpoint
from tierfs.errors import MountError
from tierfs.policy.diagnosis import CacheDisk

_CAP_SYS_ADMIN: Final = 21  # linux/capability.h
ROOT: Final = Path("/")


def kernel_release() -> str:
    """As `uname -r`."""
    return os.uname().release


def fuse_problem() -> str:
    """Why FUSE cannot be used, "" when it can."""
    try:
        mountpoint.check_fuse()
    except MountError as error:
        return str(error)
    return ""


def has_sys_admin(pid: int | None = None, *, root: Path = ROOT) -> bool:
    """Whether a process (None: this one) may do what CAP_SYS_ADMIN allows; False where nobody says."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", _text(_process(pid, root) / "status"), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> _CAP_SYS_ADMIN & 1)


def is_root(pid: int | None = None, *, root: Path = ROOT) -> bool:
    """Whether a process (None: this one) runs as uid 0."""
    found = re.search(r"^Uid:\s*\d+\s+(\d+)", _text(_process(pid, root) / "status"), re.MULTILINE)
    return found is not None and found[1] == "0"


def descriptor_limits(pid: int | None = None, *, root: Path = ROOT) -> tuple[int, int] | None:
    """RLIMIT_NOFILE of a process, soft and hard; None where nobody says."""
    found = re.search(r"^Max open files\s+(\d+)\s+(\d+)", _text(_process(pid, root) / "limits"), re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def is_program_replaced(pid: int, *, root: Path = ROOT) -> bool:
    """Whether the file that a process runs is gone from its place: something else was installed since."""
    try:
        return str((_process(pid, root) / "exe").readlink()).endswith(" (deleted)")
    except OSError:
        return False  # another user's process


def cache_disk(path: Path, *, root: Path = ROOT) -> CacheDisk:
    """The disk that holds `path`, or would: of its nearest directory that is there. OSError."""
    existing = next(place for place in (path, *path.parents) if place.exists())
    room = os.statvfs(existing)
    device, filesystem = _mounted(existing, root)
    return CacheDisk(
        path=str(path),
        filesystem=filesystem,
        size_bytes=room.f_blocks * room.f_frsize,
        free_bytes=room.f_bavail * room.f_frsize,
        free_inodes=room.f_favail if room.f_files else None,
        is_rotational=_is_rotational(device, root),
    )


def _process(pid: int | None, root: Path) -> Path:
    return root / "proc" / ("self" if pid is None else str(pid))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _mounted(path: Path, root: Path) -> tuple[str, str]:
    """(MAJOR:MINOR, type) of the file system that a path is on; the last line wins, it lies on top."""
    place = os.path.realpath(path)
    found, longest = ("", "unknown"), -1
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        at = mountpoint.unescape(os.fsencode(fields[4])).decode(errors="surrogateescape")
        holds = at == "/" or place == at or place.startswith(f"{at}/")
        if holds and len(at) >= longest:
            found, longest = (fields[2], right.split(" ")[0]), len(at)
    return found


def _is_rotational(device: str, root: Path) -> bool | None:
    """Of a partition the disk that it is a part of says so."""
    if not device:
        return None
    for file in (Path("queue/rotational"), Path("../queue/rotational")):
        if said := _text(root / "sys/dev/block" / device / file).strip():
            return said == "1"
    return None
