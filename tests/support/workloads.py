"""Made-up accesses to files, for the comparison of eviction policies: each is (file number, size in bytes), in order.

Sizes are such that the tier named beside each workload holds about 1,000 files. The same call gives the same accesses.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from attrs import frozen

FILE_BYTES: Final = 100_000
TIER_FILES: Final = 1000
_SCANNED_FROM: Final = 1 << 32  # numbers of files that are used once
_OTHER_SET_FROM: Final = 1 << 24

Accesses: TypeAlias = Iterator[tuple[int, int]]


def same_order(files: int = 3 * TIER_FILES // 2, epochs: int = 10) -> Accesses:
    """Epochs over a set of 1.5 times the tier, each in the same order."""
    for _ in range(epochs):
        for number in range(files):
            yield number, FILE_BYTES


def shuffled(files: int = 3 * TIER_FILES // 2, epochs: int = 10, seed: int = 1) -> Accesses:
    """The same, each epoch in an order of its own."""
    chooser = random.Random(seed)
    order = list(range(files))
    for _ in range(epochs):
        chooser.shuffle(order)
        for number in order:
            yield number, FILE_BYTES


def next_set() -> Accesses:
    """Shuffled epochs over one set of 1.5 times the tier, then over another one."""
    yield from shuffled(seed=1)
    for number, size_bytes in shuffled(seed=2):
        yield number + _OTHER_SET_FROM, size_bytes


def scan(rounds: int = 20, seed: int = 2) -> Accesses:
    """A working set of 80 % of the tier, used at random, and between its rounds a scan over 1.5 tiers of new files."""
    chooser = random.Random(seed)
    scanned = _SCANNED_FROM
    for _ in range(rounds):
        for _ in range(3 * TIER_FILES):
            yield chooser.randrange(8 * TIER_FILES // 10), FILE_BYTES
        for _ in range(3 * TIER_FILES // 2):
            yield scanned, FILE_BYTES
            scanned += 1


def mixed_scan(accesses: int = 60_000, seed: int = 2) -> Accesses:
    """The same working set, with a scan beside it all the time: every other file is a new one."""
    chooser = random.Random(seed)
    for number in range(accesses):
        is_scanned = chooser.random() < 0.5
        yield (_SCANNED_FROM + number if is_scanned else chooser.randrange(8 * TIER_FILES // 10)), FILE_BYTES


def zipf(files: int = 20_000, exponent: float = 0.9, accesses: int = 100_000, seed: int = 3) -> Accesses:
    """Files of 2 kB to 2 MB, 100 kB in the middle, the n-th used n^-exponent times as often as the first."""
    chooser = random.Random(seed)
    weights = [(number + 1) ** -exponent for number in range(files)]
    sizes = [int(min(2e6, max(2e3, chooser.lognormvariate(11.5, 1)))) for _ in range(files)]
    for number in chooser.choices(range(files), weights, k=accesses):
        yield number, sizes[number]


def sliding(accesses: int = 100_000, seed: int = 4) -> Accesses:
    """A working set that moves on: files are used about as often as they are new, and never after that."""
    chooser = random.Random(seed)
    for number in range(accesses):
        yield number // 10 + int(chooser.expovariate(1 / (TIER_FILES * 6 // 10))), FILE_BYTES


@frozen
class Workload:
    """One of them, with the tier that it is meant for."""

    name: str
    make: Callable[[], Accesses]
    tier_bytes: int = TIER_FILES * FILE_BYTES


WORKLOADS: Final = (
    Workload("epochs of 1.5 tiers, same order", same_order),
    Workload("epochs of 1.5 tiers, shuffled", shuffled),
    Workload("the same over another set", next_set),
    Workload("working set, then a scan", scan),
    Workload("working set beside a scan", mixed_scan),
    Workload("Zipf, 0.9", zipf, 3 * TIER_FILES * FILE_BYTES),
    Workload("sliding working set", sliding),
)
