"""statfs: the room of a bucket's directory; an object store has no end, and what its files hold is used."""

import os
from pathlib import Path
from typing import Final

from tierfs.index.env import Index
from tierfs.namespace.verbs import Usage

_OBJECT_STORE_BYTES: Final = 1 << 50  # S3 has no limit; 1 PiB is what programs can still count with
_INODES_MAX: Final = 1 << 32


class BucketCapacity:
    """See the module."""

    def __init__(self, index: Index, source: str) -> None:
        self._index = index
        self._directory = Path(source.removeprefix("file://")) if source.startswith("file://") else None

    def usage(self) -> Usage:
        """As it is now."""
        entries = self._index.entries
        if self._directory is None:
            used = self._index.totals.content_bytes
            total = max(used, _OBJECT_STORE_BYTES)
            free = total - used
        else:
            found = os.statvfs(self._directory)
            total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        return Usage(total, free, _INODES_MAX, _INODES_MAX - entries)
