"""Bits that turn over by themselves, as on a disk that fails."""

import os
from pathlib import Path


def flip(path: Path, offset: int) -> None:
    """One bit of a file; its times stay, as they do when a disk fails."""
    stat = path.stat()
    with path.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), offset)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
