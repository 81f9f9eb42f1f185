"""What it costs to find files that may leave the hot tier, and to have them leave, among many that may not.

    python tests/bench/victims.py [--inodes 1000000] [--directory DIR]

An index of so many inodes, 1,000 a directory, of which 21,000 have 4 KiB in the tier. Rules of placement count: by
path, size and age, none of which keeps them. Found are 1,000 victims by what they are worth, as for room; evicted are
10,000 above a watermark, and the rest by age because a rule says so. Seconds are of this process's processor time, so
that neighbours count less. DIR should be on the disk that a cache would be on.
"""

import argparse
import itertools
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

import trio

from tests.support.memstore import MemoryStore
from tierfs import config
from tierfs.clock import ManualClock
from tierfs.content.handles import Files
from tierfs.content.settings import ContentSettings
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index import inodes
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO, Base, Inode, InodeFlag
from tierfs.policy.eviction import choose
from tierfs.tiering.ages import Ages
from tierfs.tiering.engine import Engine, Watermarks
from tierfs.tiering.placements import Placements
from tierfs.tiering.rulebook import Rulebook
from tierfs.units import GIB, Level

HOT_FILES: Final = 21_000
FOUND: Final = 1_000
EVICTED: Final = 10_000
FILE_BYTES: Final = 4096
A_DIRECTORY: Final = 1_000
BATCH: Final = 1_000
RULES: Final = b"""
[[tiering.rules]]
path = "labels"
pin = true
[[tiering.rules]]
path = "**/*.ckpt"
min_size_bytes = "1MiB"
hot_at_least_s = "7d"
[[tiering.rules]]
path = "d*"
hot_at_most_s = "30d"
"""


def inode(ino: int, parent: int, name: bytes, mode: int, now_ns: int) -> Inode:
    """A clean one."""
    base = Base("0" * 32, FILE_BYTES, now_ns) if mode & 0o100000 else None
    return Inode(
        ino, mode, 0, 0, FILE_BYTES, 1, now_ns, now_ns, now_ns, now_ns, parent, name,
        flags=InodeFlag.ATTRS_KNOWN, base=base,
    )  # fmt: skip


def fill(index: Index, count: int, now_ns: int) -> list[int]:
    """So many inodes; returns those of the files, over all directories."""
    found: list[int] = []
    parent = ROOT_INO
    for first in range(0, count, BATCH):
        with index.transaction() as txn:
            for number in range(first, min(count, first + BATCH)):
                ino = index.next_ino()
                if number % A_DIRECTORY == 0:
                    parent = ino
                    inodes.put(txn, inode(ino, ROOT_INO, b"d%06d" % number, 0o40755, now_ns))
                else:
                    inodes.put(txn, inode(ino, parent, b"f%06d" % number, 0o100644, now_ns))
                    found.append(ino)
    return found[:: max(1, len(found) // HOT_FILES)][:HOT_FILES]


class Cache:
    """A hot tier over an index, with rules."""

    def __init__(self, directory: Path, count: int) -> None:
        self.clock = ManualClock()
        settings = IndexSettings(map_size_bytes=64 * GIB, node=1)
        self.index = Index.open(directory / "index", clock=self.clock, settings=settings)
        hot = HotFiles(Disk(), directory / "hot")
        hot.prepare()
        self.space = Space(limit_bytes=GIB, reserve_bytes=0, free_bytes=hot.free_bytes)
        rulebook = Rulebook(config.load_text("rules.toml", RULES).tiering)
        self.placements = Placements(
            self.index, rulebook, Ages(self.index, self.clock, lambda: self.clock.now_ns() / 1e9), self.space,
            lambda reader, inode: 5.0,
        )  # fmt: skip
        self.files = Files(
            index=self.index, hot=hot, space=self.space, store=MemoryStore(), clock=self.clock, locate=str,
            settings=ContentSettings(), wake_export=lambda: None, rules=self.placements,
        )  # fmt: skip
        self.files.recover()
        self.inos = fill(self.index, count, self.clock.now_ns())
        for ino in self.inos:
            self._bring(ino)
        self.index.commit()

    def _bring(self, ino: int) -> None:
        """Its bytes come here, as from a fetch."""
        ledger = self.files._ledger
        live = ledger.hold(ino)
        ledger.materialize(live).write_inline(0, bytes(FILE_BYTES))
        ledger.add_present(live, [(0, FILE_BYTES)])
        ledger.let_go(live)

    def engine(self, stop_bytes: int) -> Engine:
        """That evicts down to there."""
        level = Level(size_bytes=stop_bytes)
        return Engine(
            index=self.index, files=self.files, space=self.space, placements=self.placements,
            watermarks=Watermarks(level, level),
        )  # fmt: skip

    def find(self) -> float:
        """Seconds until 1,000 victims are chosen."""
        evictor, ranks = self.files._evictor, self.files._ledger.ranks
        began_s = time.process_time()
        inos = itertools.islice(itertools.chain.from_iterable(ranks.leaving(64, is_open=lambda ino: False)), FOUND)
        victims = choose([evictor._candidate(ino) for ino in inos], 1 << 60)
        took_s = time.process_time() - began_s
        assert len(victims) == FOUND, len(victims)
        return took_s


async def measure(directory: Path, count: int) -> None:
    cache = Cache(directory, count)
    entries = cache.index.entries
    found_s = min(cache.find() for _ in range(5))
    print(f"{entries:>12,} inodes: 1,000 victims found in {found_s * 1000:.1f} ms (goal: 100)")
    records = len(cache.inos)
    used_bytes = cache.space.used_bytes
    began_s = time.process_time()
    await cache.engine(used_bytes - EVICTED * used_bytes // records).make_room()
    rate = (used_bytes - cache.space.used_bytes) / (used_bytes / records) / (time.process_time() - began_s)
    print(f"{entries:>12,} inodes: {rate:,.0f} files/s evicted above a watermark (goal: 3,000)")
    cache.clock.advance_s(31 * 86_400)
    began_s = time.process_time()
    released = await cache.engine(GIB).sweep()
    rate = released / (time.process_time() - began_s)
    print(f"{entries:>12,} inodes: {rate:,.0f} files/s of {released:,} released by age")
    began_s = time.process_time()
    assert await cache.engine(GIB).sweep() == 0
    print(f"{entries:>12,} inodes: {(time.process_time() - began_s) * 1000:.2f} ms for a sweep that finds nothing")
    cache.index.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inodes", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="tierfs-victims-", dir=options.directory))
    try:
        trio.run(measure, directory, options.inodes)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
