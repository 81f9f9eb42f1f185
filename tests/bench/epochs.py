"""The room of a training job: small files that another client put into the bucket, read whole again and again."""

from pathlib import Path
from typing import Final

from tests.bench import work
from tests.bench.bench import Bench, Place, drop_caches
from tests.bench.rows import EPOCHS, MODES
from tierfs.units import GIB

FILE_BYTES: Final = 100_000
READERS: Final = 8
_SET: Final = Path("train")
_SETTINGS: Final = {"hot_tier": {"size_bytes": 16 * GIB}}


def measure(bench: Bench) -> None:
    """Every row of EPOCHS; a round is a new cache with its first three epochs."""
    if not bench.wants(*(row.key for row in EPOCHS)):
        return
    source = bench.bucket()
    bench.store(source, "put_small", f"{_SET}/", bench.sizes.epoch_count, FILE_BYTES)
    if bench.wants("epoch-1", "epoch-2", "epoch-3"):
        _three_epochs(bench, source)
    if bench.wants("epoch-1-slow"):
        with bench.slow_store() as url:
            for _ in range(bench.sizes.rounds):
                _first_epoch(bench, source, "epoch-1-slow", url)


def _three_epochs(bench: Bench, source: str) -> None:
    with bench.native() as native:
        _fill(native, bench.sizes.epoch_count)
        for _ in range(bench.sizes.rounds):
            _later_epochs(bench, native)
            _first_epoch(bench, source, "epoch-1", "")


def _first_epoch(bench: Bench, source: str, key: str, endpoint_url: str) -> None:
    drop_caches()
    bench.note_store(key, source, "epoch", f"{_SET}/", READERS, endpoint_url=endpoint_url)
    for mode in MODES:
        with bench.mounted(mode, source, settings=_SETTINGS, endpoint_url=endpoint_url) as place:
            if place is None:
                continue
            drop_caches()
            bench.note(key, mode, place.work(work.epoch, _SET, READERS))
            if not endpoint_url:
                _later_epochs(bench, place)


def _later_epochs(bench: Bench, place: Place) -> None:
    if bench.wants("epoch-2", "epoch-3"):
        drop_caches()
        bench.note("epoch-2", place.column, place.work(work.epoch, _SET, READERS))
        bench.note("epoch-3", place.column, place.work(work.epoch, _SET, READERS))


def _fill(native: Place, count: int) -> None:
    """The same tree that `store_limit.put_small` makes of keys."""
    block = bytes(range(256)) * (FILE_BYTES // 256 + 1)
    for number in range(count):
        path = native.path / _SET / f"{number % 10:02d}" / f"{number:06d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(block[:FILE_BYTES])
