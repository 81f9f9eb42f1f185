"""What a scan of a whole bucket costs, and a sweep that finds nothing changed: requests and processor time.

    python -m tests.bench.sweep [--entries 1000000] [--directory DIR] [--profile scan|sweep]

The bucket is in memory and makes its pages of 1,000 keys as they are asked for: 1,000 objects a directory, by key
order as S3 lists them. Its own time is left out. Exits with 1 when a goal is missed.
"""

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from tests.bench.index import ETAGS, NOW_NS, Figure, at_most
from tests.bench.metadata import FILES_PER_DIRECTORY, PAGE_ENTRIES, ListedStore, Parts, open_parts, with_commits
from tierfs.clock import SystemClock
from tierfs.config.sections import ImportSettings
from tierfs.objectstore.base import ListPage, ObjectInfo
from tierfs.sync.scan import Scan
from tierfs.sync.sweep import Sweep

GOAL_CPU_S: Final = 30.0  # for a million
LISTINGS: Final = 4
EXTRA_LISTS: Final = 10  # the root, and the end of each range


class FlatStore(ListedStore):
    """The same bucket, listed flat, too; counts what it is asked."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.lists = self.heads = 0

    async def head(self, key: str) -> ObjectInfo:
        self.heads += 1
        return await super().head(key)

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = PAGE_ENTRIES
    ) -> ListPage:
        self.lists += 1
        if delimited:
            return await super().list(prefix, delimited=True, token=token, start_after=start_after, limit=limit)
        began, cpu_began = time.perf_counter(), time.process_time()
        numbers = range(int(token or _number_behind(start_after)), self._count)[:limit]
        infos = [
            ObjectInfo(
                f"d{number // FILES_PER_DIRECTORY:06}/image-{number:014}",
                number % FILES_PER_DIRECTORY, ETAGS[number % FILES_PER_DIRECTORY % len(ETAGS)], NOW_NS,
            )
            for number in numbers
        ]  # fmt: skip
        page = ListPage(infos, [], str(numbers.stop) if numbers.stop < self._count else "")
        self.spent_s += time.perf_counter() - began
        self.spent_cpu_s += time.process_time() - cpu_began
        await trio.lowlevel.checkpoint()
        return page


def _number_behind(key: str) -> int:
    """The first object behind a key: behind one of an object, or before a directory (see `sync.keyrange`)."""
    if not key:
        return 0
    directory, _slash, name = key.partition("/")
    if name:
        return int(name[-14:]) + 1
    return int(directory[1:7]) * FILES_PER_DIRECTORY


async def scan_all(parts: Parts) -> None:
    settings = ImportSettings(scan=True, scan_concurrency=LISTINGS, scan_requests_s=10_000)
    await Scan(index=parts.index, importer=parts.importer, clock=SystemClock(), settings=settings).run()


async def sweep_all(parts: Parts) -> None:
    found: list[str] = []
    sweep = Sweep(
        index=parts.index, importer=parts.importer, clock=SystemClock(), interval_s=1, on_found=found.append,
        listings=LISTINGS,
    )  # fmt: skip
    await sweep.sweep()
    assert not found and sweep.counts.directories == 1 + parts.index.entries // (FILES_PER_DIRECTORY + 1)


def measured(parts: Parts, store: FlatStore, verb: str, work: Callable[[Parts], Awaitable[None]]) -> list[Figure]:
    """One pass over the bucket, without the time in the store."""
    lists, heads, spent_s, spent_cpu_s = store.lists, store.heads, store.spent_s, store.spent_cpu_s
    began, cpu_began = time.perf_counter(), time.process_time()
    trio.run(with_commits, parts.index, lambda: work(parts))
    parts.index.commit()
    taken_s = time.perf_counter() - began - (store.spent_s - spent_s)
    cpu_s = time.process_time() - cpu_began - (store.spent_cpu_s - spent_cpu_s)
    lists, heads, millions = store.lists - lists, store.heads - heads, parts.index.entries / 1_000_000
    time_figure = Figure(f"{verb}, time", taken_s, "s")
    if verb == "scan":
        return [
            Figure("scan, LIST requests", lists, ""), Figure("scan, HEAD requests", heads, ""),
            Figure("scan, processor time", cpu_s, "s"), time_figure,
        ]  # fmt: skip
    return [
        at_most("sweep, LIST requests", lists, "", parts.index.entries // PAGE_ENTRIES + EXTRA_LISTS),
        at_most("sweep, HEAD requests", heads, "", 0),
        at_most("sweep, processor time", cpu_s, "s", GOAL_CPU_S * millions),
        time_figure,
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--profile", choices=["scan", "sweep"], default=None)
    arguments = parser.parse_args()
    is_met = True
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        store = FlatStore(arguments.entries)
        parts = open_parts(Path(directory), store)
        for verb, work in {"scan": scan_all, "sweep": sweep_all}.items():
            profile = cProfile.Profile(time.process_time)
            if verb == arguments.profile:
                profile.enable()
            for figure in measured(parts, store, verb, work):
                is_met &= figure.is_met
                print(f"{figure.name:24} {figure.value:12,.1f} {figure.unit:4} {figure.goal}", flush=True)
            if verb == arguments.profile:
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(40)
        parts.index.close()
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
