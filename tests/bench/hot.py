"""The room of hot bytes: reads, mappings and writes of a file that the local disk holds whole."""

from pathlib import Path
from typing import Final

from tests.bench import fio, work
from tests.bench.bench import Bench, Place, drop_caches
from tests.bench.rows import HOT
from tierfs.units import MIB

OVERWRITTEN_BYTES: Final = 64 * MIB
_BIG: Final = Path("big")
_OVERWRITTEN: Final = Path("overwritten")


def measure(bench: Bench) -> None:
    """Every row of HOT, the places taking turns."""
    if not bench.wants(*(row.key for row in HOT)):
        return
    size = bench.sizes.big_bytes
    with bench.places() as places:
        for number in range(bench.sizes.long_rounds if bench.wants("write") else 0):
            for place in places:
                drop_caches()
                name = Path(f"written-{number}")
                bench.note("write", place.column, place.work(work.write, name, size))
                (place.path / name).unlink()
        for place in places:
            place.work(work.write, _BIG, size)
            place.work(work.write, _OVERWRITTEN, OVERWRITTEN_BYTES)
            place.settle()
        for _ in range(bench.sizes.rounds):
            for place in places:
                _sequential(bench, place, size)
        for _ in range(bench.sizes.rounds):
            for place in places:
                _random(bench, place, size)
        for _ in range(bench.sizes.rounds if bench.wants("overwrite") else 0):
            for place in places:
                found = fio.run(
                    place.path / _OVERWRITTEN,
                    "randwrite",
                    "4k",
                    size_bytes=OVERWRITTEN_BYTES,
                    runtime_s=bench.sizes.fio_s,
                )
                bench.note("overwrite", place.column, found[1])


def _sequential(bench: Bench, place: Place, size: int) -> None:
    for kind, engine in (("read", "psync"), ("mmap", "mmap")):
        if not bench.wants(f"{kind}-dropped", f"{kind}-warm"):
            continue
        for state in ("dropped", "warm"):
            if state == "dropped":
                drop_caches()
            # the first pass leaves the pages for the second
            found = fio.run(place.path / _BIG, "read", "1m", size_bytes=size, engine=engine)
            bench.note(f"{kind}-{state}", place.column, found[0])


def _random(bench: Bench, place: Place, size: int) -> None:
    for jobs in (1, 4):
        for key, is_dropped in ((f"random-{jobs}-dropped", True), (f"random-{jobs}", False)):
            if not bench.wants(key):
                continue
            if is_dropped:
                drop_caches()
            else:
                fio.run(place.path / _BIG, "read", "1m", size_bytes=size)
            found = fio.run(
                place.path / _BIG, "randread", "4k", size_bytes=size, jobs=jobs, runtime_s=bench.sizes.fio_s
            )
            bench.note(key, place.column, found[1])
