"""One process a cache directory: an flock on <directory>/lock, which the kernel drops when its holder dies."""

import fcntl
import os
from pathlib import Path

from tierfs.errors import CacheBusyError


def lock_directory(directory: Path) -> int:
    """A descriptor whose life is the lock. Raises CacheBusyError with the holder's pid."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise CacheBusyError(f"{directory} is in use by another tierfs, pid {pid}") from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
