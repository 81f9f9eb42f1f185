"""The rows of the side-by-side benchmark as data: what is measured, in which unit, and what it has to reach.

Which column a row's goal compares with is part of the goal. A figure is comparable only with the others of its run,
so the only goals that are plain numbers are those that are set as such.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from tierfs.units import KIB

NATIVE: Final = "native"
STORE: Final = "store"
MODES: Final = ("passthrough", "holder", "pyfuse3")
"""Values of `[mount] connection`, the fullest first: the first that is really on is the one that goals judge."""


@frozen
class Goal:
    """What a row has to reach: `factor` times the column `of`, the best peer, or 1 (then it is the value itself)."""

    factor: float
    of: str = ""  # NATIVE, STORE, PEER, or "" for a value of its own
    is_ceiling: bool = False

    def reference(self, medians: Mapping[str, float], best_peer: float | None) -> float | None:
        """What the factor is of; None where this run has no such figure."""
        if self.of == PEER:
            return best_peer
        return medians.get(self.of) if self.of else 1.0

    def is_met(self, value: float, reference: float) -> bool:
        limit = self.factor * reference
        return value <= limit if self.is_ceiling else value >= limit


PEER: Final = "best peer"


@frozen
class Row:
    """One line of the table. `peer` is what peers.py calls the same work, `best_peer` the best figure seen of it."""

    key: str
    text: str
    unit: str
    goals: tuple[Goal, ...] = ()
    peer: str = ""
    best_peer: float | None = None
    is_slow: bool = False  # through the slow store
    lower_is_better: bool = False


def _of_native(factor: float) -> tuple[Goal, ...]:
    return (Goal(factor, NATIVE),)


def _of_store(factor: float) -> tuple[Goal, ...]:
    return (Goal(factor, STORE),)


HOT: Final = (
    Row("read-dropped", "sequential read 1 MiB, page cache dropped", "MB/s", _of_native(0.95)),
    Row("read-warm", "sequential read 1 MiB, page-warm", "MB/s", _of_native(0.95)),
    Row("mmap-dropped", "mmap read, page cache dropped", "MB/s", _of_native(0.95)),
    Row("mmap-warm", "mmap read, page-warm", "MB/s", _of_native(0.95)),
    Row("random-1", "random read 4 KiB, 1 job, page-warm", "/s", _of_native(0.9)),
    Row("random-4", "random read 4 KiB, 4 jobs, page-warm", "/s", _of_native(0.9)),
    Row("random-1-dropped", "random read 4 KiB, 1 job, page cache dropped", "/s", _of_native(0.9)),
    Row("random-4-dropped", "random read 4 KiB, 4 jobs, page cache dropped", "/s", _of_native(0.9)),
    Row("write", "sequential write with fsync and close", "MB/s", _of_native(0.9)),
    Row("overwrite", "random overwrite 4 KiB", "/s", _of_native(0.7)),
)
NAMES: Final = (
    Row("stat", "stat, warm", "/s", _of_native(0.8)),
    Row("read-stat", "read 4 KiB then stat, warm", "/s", _of_native(0.15)),
    Row(
        "open-read",
        "open + read 4 KiB + close, warm",
        "/s",
        (Goal(0.3, NATIVE), Goal(3, PEER)),
        "open+read+close 4k, warm /s",
        2541,
    ),
    Row("create", "create + write 4 KiB + close", "/s", (Goal(3, PEER),), "create+write 4k+close /s", 466),
    Row("unlink", "unlink", "/s", (Goal(2, PEER),), "rm -r of them /s", 1681),
    Row("rm-r", "rm -r", "/s", (Goal(2, PEER),), "rm -r of them /s", 1681),
    Row("rename", "rename of a directory of 10,000 files", "ms", (Goal(10, is_ceiling=True),), lower_is_better=True),
    Row("walk", "readdir + stat of 100,000 indexed entries, dropped", "/s", (Goal(40_000),)),
)
COLD: Final = (
    Row("cold-read", "cold sequential read", "MB/s", _of_store(0.9), "seq read, cold tier MB/s", 608),
    Row("cold-read-slow", "cold sequential read, slow store", "MB/s", _of_store(0.9), is_slow=True),
    Row(
        "cold-cpu",
        "processor time of a cold GiB",
        "s",
        (Goal(1.5, STORE, is_ceiling=True),),
        lower_is_better=True,
    ),
    Row("cold-random", "cold random read 4 KiB, 4 jobs", "/s", _of_store(0.7)),
    Row(
        "cold-random-bytes",
        "bytes fetched for each of them",
        "bytes",
        (Goal(64 * KIB, is_ceiling=True),),
        lower_is_better=True,
    ),
    Row("upload", "upload, from close to visible", "MB/s", _of_store(0.9)),
)
EPOCHS: Final = (
    Row("epoch-1", "epoch 1, 100 kB files, 8 readers", "/s", _of_store(0.8), "epoch 1: read 100kB files x8 /s", 1377),
    Row(
        "epoch-1-slow",
        "epoch 1, slow store",
        "/s",
        (Goal(3, PEER),),
        "epoch 1: read 100kB files x8 /s",
        is_slow=True,
    ),
    Row("epoch-2", "epoch 2, page cache dropped", "/s", _of_native(0.5), "epoch 2: read 100kB files x8 /s", 1602),
    Row("epoch-3", "epoch 3, page-warm", "/s", _of_native(0.5), "epoch 3 (page-warm) x8 /s", 3259),
)
ROWS: Final[Mapping[str, Row]] = {row.key: row for row in (*HOT, *NAMES, *COLD, *EPOCHS)}


@frozen
class Verdict:
    """One goal of one row: how the judged mode stands to it. `ratio` None where there is nothing to compare with."""

    goal: Goal
    ratio: float | None
    is_met: bool

    def __str__(self) -> str:
        sign = "<=" if self.goal.is_ceiling else ">="
        if not self.goal.of:
            return f"{sign} {self.goal.factor:,.0f}: {self._word}"
        if self.ratio is None:
            return f"{sign} {self.goal.factor:g} x {self.goal.of}: nothing to compare with"
        return f"{sign} {self.goal.factor:g} x {self.goal.of}: {self.ratio:.2f}, {self._word}"

    @property
    def _word(self) -> str:
        return "met" if self.is_met else "MISSED"


def medians_of(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """By column."""
    return {column: statistics.median(values) for column, values in samples.items() if values}


def judged_mode(medians: Mapping[str, float]) -> str | None:
    """The mode that the row's goals speak of."""
    return next((mode for mode in MODES if mode in medians), None)


def verdicts(row: Row, medians: Mapping[str, float], best_peer: float | None) -> list[Verdict]:
    """The row's goals, judged; none where no mode was measured."""
    mode = judged_mode(medians)
    found = []
    for goal in row.goals if mode is not None else ():
        value, reference = medians[mode or ""], goal.reference(medians, best_peer)
        if reference:
            found.append(Verdict(goal, value / reference, goal.is_met(value, reference)))
        else:
            found.append(Verdict(goal, None, True))
    return found
