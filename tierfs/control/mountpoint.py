"""The directory that is mounted on, and whether FUSE can be used: checks before, unmounting after.

Nothing here may hang on a hung mount: what is mounted is read from /proc/self/mountinfo, and the one
look at the directory itself happens in a thread that is left behind when it does not come back.
Synchronous; `detach` runs a program for users who are not root and belongs into a worker thread.
"""

import ctypes
import errno as errno_codes
import os
import re
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from attrs import frozen

from tierfs.errors import FsError, MountError, MountProblem

LOOK_LIMIT_S: Final = 3.0
UNMOUNT_LIMIT_S: Final = 60.0
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8

T = TypeVar("T")


@frozen
class Mounted:
    """One line of /proc/self/mountinfo."""

    mountpoint: Path
    filesystem: str  # "fuse.tierfs", "ext4"
    source: str

    @property
    def is_fuse(self) -> bool:
        return self.filesystem.partition(".")[0] in ("fuse", "fuseblk")


def mounted_at(mountpoint: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> Mounted | None:
    """What is mounted right there (the topmost, where several lie on each other); never touches it."""
    found = None
    for line in mountinfo.read_bytes().splitlines():
        left, _, right = line.partition(b" - ")
        fields, (filesystem, source, *_) = left.split(b" "), right.split(b" ")
        if unescape(fields[4]) == os.fsencode(mountpoint):
            found = Mounted(mountpoint, os.fsdecode(filesystem), os.fsdecode(unescape(source)))
    return found


def unescape(text: bytes) -> bytes:
    """A field of mountinfo: the kernel writes space, tab, newline, backslash and # as three octal digits."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text)


def resolve(path: str) -> Path:
    """The absolute path of a mountpoint, symlinks resolved, without asking what is mounted there."""
    absolute = Path(path).absolute()
    candidate = Path(os.path.realpath(absolute.parent), absolute.name)
    if absolute.name in ("", "..") or (mounted_at(candidate) is None and candidate.is_symlink()):
        return Path(os.path.realpath(absolute))
    return candidate


def check_fuse(*, device: Path = Path("/dev/fuse"), is_root: bool | None = None) -> None:
    """Raises MountError(NO_FUSE) with the cure where FUSE cannot work."""
    is_root = os.geteuid() == 0 if is_root is None else is_root
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        cure = {
            errno_codes.ENOENT: "load the module (modprobe fuse), or give the container --device /dev/fuse",
            errno_codes.ENODEV: "load the module: modprobe fuse",
            errno_codes.EACCES: "its permissions do not let you in",
            errno_codes.EPERM: "give the container --device /dev/fuse and --cap-add SYS_ADMIN",
        }.get(error.errno or 0, error.strerror or "it cannot be opened")
        raise MountError(MountProblem.NO_FUSE, f"no FUSE: {device}: {cure}") from None
    if not is_root and shutil.which("fusermount3") is None:
        raise MountError(
            MountProblem.NO_FUSE, "no FUSE: fusermount3 is not installed, and only root mounts without it (fuse3)"
        )


def check_mountpoint(path: Path, *, may_hide_files: bool = False) -> None:
    """Raises MountError unless `path` is an empty directory of ours with no FUSE mount on it."""
    if (found := mounted_at(path)) is not None and found.is_fuse:
        _raise_mounted(path, found)
    try:
        status = _within_limit(path.stat, path)
    except FileNotFoundError:
        raise MountError(MountProblem.UNUSABLE, f"the mountpoint {path} does not exist: mkdir -p {path}") from None
    except OSError as error:
        raise MountError(MountProblem.UNUSABLE, f"the mountpoint {path} cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise MountError(MountProblem.UNUSABLE, f"the mountpoint {path} is no directory")
    if os.geteuid() != 0 and not os.access(path, os.W_OK):
        raise MountError(MountProblem.UNUSABLE, f"the mountpoint {path} is not yours to mount on: no write permission")
    if not may_hide_files and _within_limit(lambda: _has_entries(path), path):
        raise MountError(MountProblem.NOT_EMPTY, f"the mountpoint {path} is not empty; -o nonempty hides what is there")


def _raise_mounted(path: Path, found: Mounted) -> None:
    try:
        _within_limit(path.stat, path)
    except OSError as error:
        if error.errno != errno_codes.ENOTCONN:
            raise MountError(MountProblem.BUSY, f"{path} is mounted already ({error.strerror})") from None
        raise MountError(
            MountProblem.BUSY,
            f"{path} is a dead mount whose daemon is gone (Transport endpoint is not connected); "
            f"clear it with: tierfs umount {path}",
        ) from None
    raise MountError(MountProblem.BUSY, f"{path} is mounted already ({found.source}, {found.filesystem})")


def _has_entries(path: Path) -> bool:
    with os.scandir(path) as entries:
        return next(entries, None) is not None


def _within_limit(look: Callable[[], T], path: Path) -> T:
    """The result of `look`, which may hang in the kernel beyond SIGKILL; MountError(BUSY) when it does."""
    results: list[T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            results.append(look())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LOOK_LIMIT_S)
    if errors:
        raise errors[0]
    if not results:
        raise MountError(
            MountProblem.BUSY,
            f"{path} does not answer: the daemon of the mount there, or of one on the way, hangs; "
            f"`tierfs umount --lazy {path}` takes it away",
        )
    return results[0]


def detach(mountpoint: Path, *, lazy: bool) -> None:
    """Takes a mount out of the name space. `lazy`: also while it is in use.

    Raises FsError: EBUSY in use, EPERM not allowed, EINVAL nothing is mounted there.
    """
    if mounted_at(mountpoint) is None:
        raise FsError(errno_codes.EINVAL, f"nothing is mounted at {mountpoint}")
    if os.geteuid() == 0:
        _umount2(mountpoint, lazy=lazy)
    else:
        _fusermount(mountpoint, lazy=lazy)


def _umount2(mountpoint: Path, *, lazy: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    if libc.umount2(os.fsencode(mountpoint), flags) != 0:
        raise _unmount_error(mountpoint, ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _fusermount(mountpoint: Path, *, lazy: bool) -> None:
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", os.fspath(mountpoint)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=UNMOUNT_LIMIT_S, check=False)
    except FileNotFoundError:
        raise FsError(errno_codes.EPERM, "fusermount3 is not installed, and only root unmounts without it") from None
    except subprocess.TimeoutExpired:
        raise FsError(errno_codes.ETIMEDOUT, f"fusermount3 did not unmount {mountpoint}") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        number = errno_codes.EBUSY if "busy" in said else errno_codes.EPERM
        raise _unmount_error(mountpoint, number, said)


def _unmount_error(mountpoint: Path, number: int, said: str) -> FsError:
    if number == errno_codes.EBUSY:
        return FsError(
            number, f"{mountpoint} is in use; `fuser -vm {mountpoint}` shows by whom, --lazy unmounts nevertheless"
        )
    return FsError(number, f"cannot unmount {mountpoint}: {said}")
