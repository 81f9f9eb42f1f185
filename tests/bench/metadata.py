"""What names cost in index and journal, without FUSE and without a server: import, lookups, mkdir, create, rename.

    python -m tests.bench.metadata [--entries 1000000] [--directory DIR] [--profile import|tree]

The import goes through the real `sync.listing.Lister`, from a store in memory that makes its listing pages as
they are asked for: 1,000 objects a page, 1,000 directories. Beside it stand ext4's own numbers for the same number
of mkdirs, creates, renames and stats, in DIR. `main_job` calls all this; alone it is for profiling.
"""

import argparse
import cProfile
import os
import pstats
import random
import stat
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import trio
from attrs import frozen

from tests.bench.index import ETAGS, NOW_NS, Figure, at_least, at_most
from tierfs.clock import SystemClock
from tierfs.config.sections import ImportSettings
from tierfs.content.handles import Files
from tierfs.content.settings import ContentSettings
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index import dirents
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO, Dirent
from tierfs.namespace.changes import NewInode, RenameMode, TreeSettings
from tierfs.namespace.locations import Locations
from tierfs.namespace.tree import Tree
from tierfs.objectstore.base import Capabilities, ListPage, ObjectInfo, ObjectMeta, ObjectStore
from tierfs.policy.guard import Limits
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier
from tierfs.sync.attributes import Defaults
from tierfs.sync.guard import Guard
from tierfs.sync.importer import Importer
from tierfs.units import GIB, MIB

FILES_PER_DIRECTORY: Final = 1000
PAGE_ENTRIES: Final = 1000
LOOKUPS: Final = 200_000
OPERATIONS: Final = 20_000
ROUNDS: Final = 10
GOAL_US: Final = 60
_DIRECTORY: Final = NewInode(stat.S_IFDIR | 0o755, 1000, 1000)
_FILE: Final = NewInode(stat.S_IFREG | 0o644, 1000, 1000)


class ListedStore:
    """The part of an ObjectStore that a listing needs: `count` objects, 1,000 a directory, made page by page."""

    part_size_bytes = 8 * MIB
    capabilities = Capabilities()

    def __init__(self, count: int) -> None:
        self._count = count
        self.spent_s = self.spent_cpu_s = 0.0  # in here, which is not the import's

    async def head(self, key: str) -> ObjectInfo:
        """No object has attributes, no directory has a marker. The import asks for a sample of each directory."""
        if key.endswith("/"):
            raise StoreError(StoreErrorKind.NOT_FOUND, "no such object", key=key, http_status=404)
        number = int(key[-14:]) % FILES_PER_DIRECTORY
        return ObjectInfo(key, number, ETAGS[number], NOW_NS, meta=ObjectMeta())

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = PAGE_ENTRIES
    ) -> ListPage:
        """The root has the directories, each directory its files."""
        began, cpu_began = time.perf_counter(), time.process_time()
        total = self._count // FILES_PER_DIRECTORY if not prefix else FILES_PER_DIRECTORY
        numbers = range(int(token or 0), min(total, int(token or 0) + limit))
        following = str(numbers.stop) if numbers.stop < total else ""
        if not prefix:
            page = ListPage([], [f"d{number:06}/" for number in numbers], following)
        else:
            first = int(prefix[1:-1]) * FILES_PER_DIRECTORY
            infos = [
                ObjectInfo(f"{prefix}image-{first + number:014}", number, ETAGS[number % len(ETAGS)], NOW_NS)
                for number in numbers
            ]
            page = ListPage(infos, [], following)
        self.spent_s += time.perf_counter() - began
        self.spent_cpu_s += time.process_time() - cpu_began
        await trio.lowlevel.checkpoint()
        return page


class Nobody:
    """A Notify that no kernel listens to."""

    def entry_changed(self, parent: int, name: bytes) -> None:
        return None

    def inode_changed(self, ino: int, *, content: bool) -> None:
        return None


@frozen
class Parts:
    """What of a mount the names go through."""

    index: Index
    tree: Tree
    importer: Importer
    store: ListedStore


def open_parts(directory: Path, listed: ListedStore) -> Parts:
    """An index in `directory` over a bucket whose objects have no POSIX attributes."""
    clock, locations, activity = SystemClock(), Locations(), Activity()
    index = Index.open(directory / "index", clock=clock, settings=IndexSettings())
    tree = Tree(index, locations, clock, TreeSettings())
    tree.ensure_root(0o755, 1000, 1000)
    store = cast(ObjectStore, listed)
    hot = HotFiles(Disk(), directory / "hot")
    hot.prepare()
    files = Files(
        index=index, hot=hot, space=Space(limit_bytes=GIB, reserve_bytes=0, free_bytes=lambda: GIB), store=store,
        clock=clock, locate=lambda ino: locations.actual_key(index, tree.inode(ino)), settings=ContentSettings(),
        wake_export=lambda: None,
    )  # fmt: skip
    applier = Applier(
        index=index, locations=locations, files=files, clock=clock, notify=Nobody(),
        defaults=Defaults(1000, 1000, 0o600, 0o700), guard=Guard(index=index, clock=clock, limits=Limits()),
    )  # fmt: skip
    importer = Importer(
        index=index, store=store, locations=locations, files=files, clock=clock, applier=applier, activity=activity,
        settings=ImportSettings(revalidate_s=86400), notify=Nobody(),
    )  # fmt: skip
    return Parts(index, tree, importer, listed)


async def list_all(parts: Parts) -> None:
    """Lists the root and every directory in it, as a walk through a new mount makes the daemon do."""
    await parts.importer.ensure_listed(ROOT_INO)
    for entry in names_of(parts.index, ROOT_INO):
        await parts.importer.ensure_listed(entry.ino)


def names_of(index: Index, directory: int) -> list[Dirent]:
    return dirents.page(index, directory, b"", 1_000_000)


async def with_commits(index: Index, work: Callable[[], object]) -> None:
    """Runs the async `work` beside the index's own task, which commits and syncs as in a daemon."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(index.run)
        await work()  # type: ignore[misc]
        nursery.cancel_scope.cancel()


def measure_import(parts: Parts, count: int) -> list[Figure]:
    began, cpu_began = time.perf_counter(), time.process_time()
    trio.run(with_commits, parts.index, lambda: list_all(parts))
    parts.index.commit()
    taken_s = time.perf_counter() - began - parts.store.spent_s
    cpu_s = time.process_time() - cpu_began - parts.store.spent_cpu_s
    assert parts.index.entries >= count, f"{parts.index.entries} entries of {count}"
    data_bytes = (parts.index.directory / "lmdb" / "data.mdb").stat().st_blocks * 512
    return [
        at_least(f"import of {count:,} listed entries", count / taken_s, "entries/s", 50_000),
        Figure("the same by processor time", count / cpu_s, "entries/s"),
        at_most("index on disk", data_bytes / count, "bytes/entry", 400),
    ]


def measure_lookups(parts: Parts, count: int) -> list[Figure]:
    """Tree.lookup of random names: what a FUSE lookup asks the index."""
    rng = random.Random(2)
    directories = names_of(parts.index, ROOT_INO)
    wanted = []
    for _ in range(LOOKUPS):
        number = rng.randrange(count)
        wanted.append((directories[number // FILES_PER_DIRECTORY].ino, b"image-%014d" % number))
    rates = []
    cpu_began = time.process_time()
    for start in range(0, LOOKUPS, LOOKUPS // ROUNDS):
        began = time.perf_counter()
        for parent, name in wanted[start : start + LOOKUPS // ROUNDS]:
            assert parts.tree.lookup(parent, name) is not None
        rates.append(LOOKUPS / ROUNDS / (time.perf_counter() - began))
    cpu_s = time.process_time() - cpu_began
    return [
        at_least("lookups in the index", statistics.median(rates), "/s", 100_000),
        Figure("lookups by processor time", LOOKUPS / cpu_s, "/s"),
    ]


def median_us(act: Callable[[int], object], count: int = OPERATIONS) -> float:
    times = []
    for number in range(count):
        began = time.perf_counter_ns()
        act(number)
        times.append(time.perf_counter_ns() - began)
    return statistics.median(times) / 1e3


def measure_tree(parts: Parts) -> list[Figure]:
    """Each is acknowledged: in the journal when it returns. In a directory three levels down."""
    tree, parent = parts.tree, ROOT_INO
    for name in (b"some", b"where", b"below"):
        parent = tree.create(parent, name, _DIRECTORY).ino
    other = tree.create(ROOT_INO, b"elsewhere", _DIRECTORY).ino
    operations: dict[str, Callable[[int], object]] = {
        "mkdir": lambda number: tree.create(parent, b"directory-%06d" % number, _DIRECTORY),
        "create": lambda number: tree.create(parent, b"file-%06d" % number, _FILE),
        "rename in a directory": lambda number: tree.rename(
            parent, b"file-%06d" % number, parent, b"renamed-%06d" % number, RenameMode.REPLACE
        ),
        "rename to another directory": lambda number: tree.rename(
            parent, b"renamed-%06d" % number, other, b"moved-%06d" % number, RenameMode.REPLACE
        ),
    }
    figures = []
    for verb, act in operations.items():
        cpu_began = time.process_time()
        figures.append(at_most(f"{verb}, acknowledged", median_us(act), "us", GOAL_US))
        cpu_us = (time.process_time() - cpu_began) / OPERATIONS * 1e6
        figures.append(Figure(f"{verb}, mean processor time", cpu_us, "us"))
    return figures


def measure_native(directory: Path) -> dict[str, float]:
    """ext4's medians for the same calls, in us; "lookups" is stats a second of names in the dentry cache."""
    root, other = directory / "native", directory / "native-other"
    root.mkdir()
    other.mkdir()
    files = [str(root / f"file-{number:06}") for number in range(OPERATIONS)]
    renamed = [str(root / f"renamed-{number:06}") for number in range(OPERATIONS)]
    moved = [str(other / f"moved-{number:06}") for number in range(OPERATIONS)]
    made = [str(root / f"directory-{number:06}") for number in range(OPERATIONS)]
    figures = {
        "mkdir, acknowledged": median_us(lambda number: os.mkdir(made[number])),
        "create, acknowledged": median_us(lambda number: os.close(os.open(files[number], os.O_CREAT | os.O_WRONLY))),
        "rename in a directory, acknowledged": median_us(lambda number: os.rename(files[number], renamed[number])),
        "rename to another directory, acknowledged": median_us(
            lambda number: os.rename(renamed[number], moved[number])
        ),
    }
    return {**figures, "lookups in the index": 1e6 / median_us(lambda number: os.stat(moved[number]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--profile", choices=["import", "tree"], default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        parts = open_parts(Path(directory), ListedStore(arguments.entries))
        steps: dict[str, Callable[[], list[Figure]]] = {
            "import": lambda: measure_import(parts, arguments.entries),
            "lookups": lambda: measure_lookups(parts, arguments.entries),
            "tree": lambda: measure_tree(parts),
        }
        for name, step in steps.items():
            profile = cProfile.Profile(time.process_time)
            if name == arguments.profile:
                profile.enable()
            for figure in step():
                print(f"{figure.name:44} {figure.value:12,.1f} {figure.unit:12} {figure.goal}")
            if name == arguments.profile:
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        parts.index.close()


if __name__ == "__main__":
    main()
