"""Every figure of the main job, beside native ext4 where that has the same thing, in one run.

    python -m tests.bench.main_job [--quick] [--only PART] [--directory DIR] [--json FILE]

--quick streams 1 GiB instead of 8 and has 100,000 entries instead of 1,000,000. PART is one of names, memory,
ceiling. DIR (default: the temporary directory) has to be on the disk whose figures are wanted and needs
twice the streamed size. Exits with 1 when a goal is missed. README.md beside this says what each figure means.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import asdict, frozen

from tests.bench import metadata, mounted
from tests.bench.index import Figure
from tierfs.units import GIB, MIB

PARTS: Final = ("names", "memory", "ceiling")


@frozen
class Line:
    """One line of the table. `native` is ext4's value, None where it has no such thing."""

    figure: Figure
    native: float | None
    load: float  # runnable processes of the machine, average of the last minute

    def __str__(self) -> str:
        figure = self.figure
        goal = f"{figure.goal}: {'met' if figure.is_met else 'MISSED'}" if figure.goal else ""
        native = f"{self.native:,.1f}" if self.native is not None else "-"
        return f"{figure.name:54} {figure.value:11,.1f} {native:>12} {figure.unit:12} {goal:22} {self.load:5.1f}"


HEADING: Final = f"{'':54} {'tierfs':>11} {'ext4':>12} {'':12} {'goal':22} {'load':>5}"


def lines(figures: list[Figure], beside: Mapping[str, float]) -> Iterator[Line]:
    load = os.getloadavg()[0]
    for figure in figures:
        yield Line(figure, beside.get(figure.name), load)


def measure_names(directory: Path, entries: int) -> Iterator[Line]:
    """Import, lookups, mount and walk of one index; then mkdir, create and rename in it."""
    cache = directory / "cache"
    parts = metadata.open_parts(cache, metadata.ListedStore(entries))
    yield from lines(metadata.measure_import(parts, entries), {})
    beside = metadata.measure_native(directory)
    yield from lines(metadata.measure_lookups(parts, entries), beside)
    parts.index.close()
    for measured in mounted.measure_walk(directory, entries):
        yield from lines(*measured)
    parts = metadata.open_parts(cache, metadata.ListedStore(entries))
    yield from lines(metadata.measure_tree(parts), beside)
    parts.index.close()


def machine_speed_ms() -> float:
    """A million additions in a Python loop, the median of nine: what to divide by when machines are compared."""

    def loop_ms() -> float:
        began, total = time.perf_counter(), 0
        for number in range(1_000_000):
            total += number
        return (time.perf_counter() - began) * 1e3

    return statistics.median(loop_ms() for _ in range(9))


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that mounts are taken away, too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    entries, stream_bytes = (100_000, GIB) if arguments.quick else (1_000_000, 8 * GIB)
    measurements: dict[str, Callable[[Path], Iterator[Line]]] = {
        "names": lambda directory: measure_names(directory, entries),
        "memory": lambda directory: lines(*mounted.measure_stream(directory, stream_bytes)),
        "ceiling": lambda directory: lines(mounted.measure_ceiling(directory, 256 * MIB, GIB), {}),
    }
    print(f"{os.cpu_count()} processors; a million additions in Python take {machine_speed_ms():.0f} ms here and now")
    print(HEADING)
    told: list[Line] = []
    for part in arguments.only or PARTS:
        directory = Path(tempfile.mkdtemp(prefix="tierfs-bench-", dir=arguments.directory))
        try:
            for line in measurements[part](directory):
                print(line, flush=True)
                told.append(line)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(line) for line in told], indent=1))
    return 0 if all(line.figure.is_met for line in told) else 1


if __name__ == "__main__":
    sys.exit(main())
