"""What the index costs: an acknowledged mkdir, an import, lookups, a start, fsync; bytes an entry and memory.

    python tests/bench/index.py [--entries 1000000] [--directory DIR] [--json]

Entries are as a listing brings them: a 32-hex ETag, a name of 20 characters, 1,000 files a directory, names in
random order within 100 directories at a time. DIR (default: the temporary directory) should be on the disk that
a cache would be on. Every figure that DESIGN.md or the issues set a goal for is printed beside it.
Medians, unless it says otherwise; the best of 10 rounds where only the processor counts. A busy
neighbour on the same core halves everything: run it alone.
"""

import argparse
import gc
import json
import random
import shutil
import stat
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import trio
from attrs import asdict, frozen

from tierfs.clock import SystemClock
from tierfs.index import dirents, inodes, intents
from tierfs.index.codec import decode_inode, encode_inode
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO, Base, Inode, InodeFlag

FILES_PER_DIRECTORY: Final = 1000
BATCH_ENTRIES: Final = 1000
LOOKUPS: Final = 200_000
MKDIRS: Final = 50_000
ROUNDS: Final = 10
NOW_NS: Final = 1_700_000_000_000_000_000
ETAGS: Final = [random.Random(number).randbytes(16).hex() for number in range(1000)]


@frozen
class Figure:
    """One measured value; `goal` "" where none is set."""

    name: str
    value: float
    unit: str
    goal: str = ""
    is_met: bool = True


def at_most(name: str, value: float, unit: str, limit: float) -> Figure:
    return Figure(name, value, unit, f"<= {limit:,.0f}", value <= limit)


def at_least(name: str, value: float, unit: str, limit: float) -> Figure:
    return Figure(name, value, unit, f">= {limit:,.0f}", value >= limit)


def open_index(directory: Path) -> Index:
    return Index.open(directory, clock=SystemClock(), settings=IndexSettings())


def directory_inode(ino: int, name: bytes, parent: int = ROOT_INO) -> Inode:
    return Inode(ino, stat.S_IFDIR | 0o755, 1000, 1000, 0, 2, NOW_NS, NOW_NS, NOW_NS, NOW_NS, parent, name)


def listed_inode(ino: int, parent: int, name: bytes, number: int) -> Inode:
    base = Base(ETAGS[number % len(ETAGS)], number, NOW_NS)
    return Inode(
        ino, stat.S_IFREG | 0o600, 1000, 1000, number, 1, NOW_NS, NOW_NS, NOW_NS, NOW_NS, parent, name, base=base
    )  # fmt: skip


def listed_names(count: int) -> Iterator[tuple[int, bytes]]:
    """(directory number, name): directories in groups, each group's names shuffled."""
    rng = random.Random(1)
    group_entries = 100 * FILES_PER_DIRECTORY
    for start in range(0, count, group_entries):
        numbers = list(range(start, min(count, start + group_entries)))
        rng.shuffle(numbers)
        for number in numbers:
            yield number // FILES_PER_DIRECTORY, b"image-%014d" % number


def measure_import(index: Index, count: int) -> tuple[list[Figure], dict[int, int]]:
    """Fills the index; the inode number of each directory."""
    directories: dict[int, int] = {}
    names = list(listed_names(count))
    slowest_s = 0.0
    began = time.perf_counter()
    for start in range(0, count, BATCH_ENTRIES):
        batch_began = time.perf_counter()
        with index.transaction() as txn:
            for number, (directory, name) in enumerate(names[start : start + BATCH_ENTRIES], start):
                parent = directories.get(directory)
                if parent is None:
                    parent = directories[directory] = index.next_ino()
                    inodes.put(txn, directory_inode(parent, b"d%d" % directory))
                    dirents.put(txn, ROOT_INO, b"d%d" % directory, parent, stat.S_IFDIR)
                ino = index.next_ino()
                inodes.put(txn, listed_inode(ino, parent, name, number))
                dirents.put(txn, parent, name, ino, stat.S_IFREG)
        slowest_s = max(slowest_s, time.perf_counter() - batch_began)
    index.commit()
    rate = count / (time.perf_counter() - began)
    data_bytes = (index.directory / "lmdb" / "data.mdb").stat().st_size
    return [
        at_least("import, batches of 1,000", rate, "entries/s", 50_000),
        Figure("import, slowest batch", slowest_s * 1e3, "ms"),
        at_most("LMDB", data_bytes / count, "bytes/entry", 400),
    ], directories


def measure_lookups(index: Index, count: int, directories: dict[int, int]) -> list[Figure]:
    rng = random.Random(2)
    wanted = []
    for _ in range(LOOKUPS):
        number = rng.randrange(count)
        wanted.append((directories[number // FILES_PER_DIRECTORY], b"image-%014d" % number))
    rates = []
    for start in range(0, LOOKUPS, LOOKUPS // ROUNDS):
        began = time.perf_counter()
        for parent, name in wanted[start : start + LOOKUPS // ROUNDS]:
            dirent = dirents.get(index, parent, name)
            assert dirent is not None
            assert inodes.get(index, dirent.ino) is not None
        rates.append(LOOKUPS / ROUNDS / (time.perf_counter() - began))

    listed = 0
    began = time.perf_counter()
    for parent in list(directories.values())[:100]:
        after = b""
        while page := dirents.page(index, parent, after, 500):
            listed += sum(1 for entry in page if inodes.get(index, entry.ino) is not None)
            after = page[-1].name
    return [
        at_least("lookup: dirent and inode, random, best", max(rates), "/s", 100_000),
        Figure("lookup: dirent and inode, random, median", statistics.median(rates), "/s"),
        Figure("listing with inodes", listed / (time.perf_counter() - began), "entries/s"),
    ]


def measure_mkdir(index: Index) -> list[Figure]:
    """As the tree does it: the new inode, its name, its intent, and the parent; commits included where they fall."""
    parent = inodes.get(index, ROOT_INO) or directory_inode(ROOT_INO, b"")
    times_us = []
    for number in range(MKDIRS):
        began = time.perf_counter()
        ino = index.next_ino()
        with index.transaction() as txn:
            new = directory_inode(ino, b"made-%d" % number)
            dirents.put(txn, ROOT_INO, new.name, ino, stat.S_IFDIR)
            intents.mark_dirty(txn, new, InodeFlag.META_DIRTY, now_ns=NOW_NS, quiet_s=5)
            inodes.put(txn, parent)
        times_us.append((time.perf_counter() - began) * 1e6)
    times_us.sort()
    return [
        at_most("mkdir, acknowledged, median", statistics.median(times_us), "us", 60),
        Figure("mkdir, 99th percentile", times_us[len(times_us) * 99 // 100], "us"),
        Figure("mkdir, slowest (a commit)", times_us[-1], "us"),
        Figure("mkdir, commits included", 1e6 * MKDIRS / sum(times_us), "/s"),
    ]


def measure_durable(index: Index) -> list[Figure]:
    async def wait_ms(waiters: int) -> float:
        times = []
        for _ in range(50):
            with index.transaction() as txn:
                inodes.put(txn, directory_inode(5, b"x"))
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(waiters):
                    nursery.start_soon(index.durable)
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    commits_ms = []
    for number in range(50):
        with index.transaction() as txn:
            inodes.put(txn, directory_inode(5, b"%d" % number))
        began = time.perf_counter()
        index.commit()
        commits_ms.append((time.perf_counter() - began) * 1e3)
    return [
        Figure("durable, 1 waiter, median", trio.run(wait_ms, 1), "ms"),
        Figure("durable, 64 waiters, median", trio.run(wait_ms, 64), "ms"),
        Figure("commit of one change, median", statistics.median(commits_ms), "ms"),
    ]


def measure_codec() -> list[Figure]:
    inode = listed_inode(5 << 48 | 7, 5 << 48 | 6, b"x" * 20, 12_345)
    record = encode_inode(inode)
    return [
        Figure("encode an inode", time_us(lambda: encode_inode(inode)), "us"),
        at_most("decode an inode", time_us(lambda: decode_inode(inode.ino, record)), "us", 5),
        Figure("a listed inode", len(record), "bytes"),
    ]


def time_us(act: Callable[[], object], calls: int = 20_000) -> float:
    """The best round: on a shared machine the fastest was disturbed least."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            act()
        rounds.append((time.perf_counter() - began) / calls * 1e6)
    return min(rounds)


def measure_start(index: Index, directory: Path, count: int) -> list[Figure]:
    for number in range(5000):
        with index.transaction() as txn:
            inodes.put(txn, directory_inode(6, b"%d" % number))
    replayed = index.uncommitted_changes
    shutil.copytree(index.directory, directory / "crashed")
    index.close()
    figures = []
    for name, path in (
        ("after a clean close", index.directory),
        (f"replaying {replayed:,} changes", directory / "crashed"),
    ):
        began = time.perf_counter()
        index = open_index(path)
        opened_ms = (time.perf_counter() - began) * 1e3
        assert index.entries >= count
        index.close()
        figures.append(at_most(f"start, {name}", opened_ms, "ms", 2000))
    return figures


def rss_anon_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return kib / 1024


def measure(directory: Path, count: int) -> list[Figure]:
    figures = measure_codec()
    index = open_index(directory / "index")
    with index.transaction() as txn:
        inodes.put(txn, directory_inode(ROOT_INO, b""))
    imported, directories = measure_import(index, count)
    figures += imported
    gc.collect()
    figures += measure_lookups(index, count, directories)
    figures += measure_mkdir(index)
    figures += measure_durable(index)
    figures += measure_start(index, directory, count)
    return [*figures, Figure("RssAnon, at the end", rss_anon_mib(), "MiB")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        figures = measure(Path(directory), arguments.entries)
    if arguments.json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    for figure in figures:
        verdict = f"  goal {figure.goal}: {'met' if figure.is_met else 'MISSED'}" if figure.goal else ""
        print(f"{figure.name:40} {figure.value:12,.1f} {figure.unit}{verdict}")


if __name__ == "__main__":
    main()
