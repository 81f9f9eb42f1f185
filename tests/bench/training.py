"""How much of a training job is found on the local disk when its data is 1.5 times the hot tier, on a real mount.

    python -m tests.bench.training [--files 1500] [--epochs 8]

Files of 96 KiB that another client put into a directory bucket, read whole by four threads, epoch after epoch, in the
same order and shuffled; with the default eviction, and by age for comparison, each with a new cache. A hit is a byte
that did not come from the bucket while it was read; the second half of the epochs counts as steady state. No policy
can have more than two thirds. Exits with 1 when a goal is missed.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.bench.index import Figure
from tests.support.mounts import Mount, mounted
from tierfs.units import KIB

FILE_BYTES: Final = 96 * KIB
READERS: Final = 4
GOAL_PERCENT: Final = 60.0
LIMIT_S: Final = 900.0


def epochs(names: list[str], count: int, *, is_shuffled: bool) -> Iterator[list[str]]:
    chooser = random.Random(1)
    for _ in range(count):
        yield chooser.sample(names, len(names)) if is_shuffled else names


def received_bytes(mount: Mount) -> int:
    return int(mount.status()["requests"].get("store_received_bytes", 0))


def hits_percent(mount: Mount, names: list[str], count: int, *, is_shuffled: bool) -> list[float]:
    """Of each epoch."""
    found = []
    with ThreadPoolExecutor(READERS) as pool:
        for order in epochs(names, count, is_shuffled=is_shuffled):
            before = received_bytes(mount)
            read = sum(pool.map(lambda name: len((mount.path / name).read_bytes()), order))
            assert read == len(names) * FILE_BYTES
            found.append(100 * (1 - (received_bytes(mount) - before) / read))
    return found


def measure(directory: Path, names: list[str], count: int, *, eviction: str, is_shuffled: bool) -> Figure:
    tier_bytes = len(names) * FILE_BYTES * 2 // 3
    settings = {"hot_tier": {"size_bytes": tier_bytes, "min_free_bytes": 0, "eviction": eviction}}
    with mounted(f"file://{directory / 'bucket'}", directory / f"{eviction}-{is_shuffled}", settings=settings,
                 life_limit_s=LIMIT_S) as mount:  # fmt: skip
        found = hits_percent(mount, names, count, is_shuffled=is_shuffled)
    print(" ".join(f"{each:.1f}" for each in found), file=sys.stderr)
    steady = found[count // 2 :]
    percent = sum(steady) / len(steady)
    is_goal = eviction == "ranked"
    order = "shuffled" if is_shuffled else "in the same order"
    goal = f">= {GOAL_PERCENT:.0f}" if is_goal else ""
    return Figure(f"{eviction}, {order}", percent, "%", goal, not is_goal or percent >= GOAL_PERCENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "bucket").mkdir()
        names = [f"{number:06}.bin" for number in range(options.files)]
        for name in names:
            (directory / "bucket" / name).write_bytes(random.Random(name).randbytes(FILE_BYTES))
        figures = [
            measure(directory, names, options.epochs, eviction=eviction, is_shuffled=is_shuffled)
            for is_shuffled in (False, True)
            for eviction in ("ranked", "age")
        ]
    for figure in figures:
        print(f"{figure.name:30} {figure.value:6.1f} {figure.unit} {figure.goal}")
    sys.exit(0 if all(figure.is_met for figure in figures) else 1)


if __name__ == "__main__":
    main()
