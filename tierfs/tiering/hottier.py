"""The hot tier of a cache: how large it is, and how much of the disk it leaves to others."""

from pathlib import Path
from typing import Final

from tierfs.config import HotTierSettings
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index import settings as stored
from tierfs.index.env import Index

_AUTO_SHARE: Final = 0.8
_AUTO_BYTES: Final = "hot_tier_auto_bytes"


def open_hot_tier(settings: HotTierSettings, index: Index, cache: Path) -> tuple[HotFiles, Space]:
    """Its files and its account, which nobody has charged yet."""
    hot = HotFiles(Disk(), cache / "hot")
    hot.prepare()
    return hot, Space(
        limit_bytes=settings.size_bytes or _auto_bytes(hot, index),
        reserve_bytes=settings.min_free_bytes,
        free_bytes=hot.free_bytes,
        full_wait_s=settings.full_wait_s,
    )


def _auto_bytes(hot: HotFiles, index: Index) -> int:
    """The word "auto" means 80 % of what was free at the first mount, and stays that."""
    known = stored.get(index, _AUTO_BYTES)
    if known is not None:
        return int(known)
    size_bytes = int(hot.free_bytes() * _AUTO_SHARE)
    with index.transaction() as txn:
        stored.put(txn, _AUTO_BYTES, str(size_bytes).encode())
    return size_bytes
