"""The room of cold bytes: what has to come out of the bucket first, and what goes into it."""

import time
from pathlib import Path
from typing import Any, Final

from tests.bench import fio, work
from tests.bench.bench import PROGRAM_LIMIT_S, Bench, Place, drop_caches, processor_s
from tests.bench.rows import MODES, STORE
from tierfs.units import GIB

_SETTINGS: Final = {"hot_tier": {"size_bytes": 16 * GIB}}
_JOBS: Final = 4
_POLL_S: Final = 0.02


def measure(bench: Bench) -> None:
    """Every row of COLD. One mount at a time, a new cache for each read."""
    if bench.wants("cold-read", "cold-read-slow", "cold-cpu", "cold-random", "cold-random-bytes"):
        source = bench.bucket()
        bench.store(source, "put_big", "big", bench.sizes.big_bytes)
        if bench.wants("cold-read", "cold-cpu"):
            _read(bench, source, "cold-read", "")
        if bench.wants("cold-read-slow"):
            with bench.slow_store() as url:
                _read(bench, source, "cold-read-slow", url)
        if bench.wants("cold-random", "cold-random-bytes"):
            _read_random(bench, source)
    if bench.wants("upload"):
        _upload(bench)


def _read(bench: Bench, source: str, key: str, endpoint_url: str) -> None:
    """The file read in order once, by the store's client alone and through a new mount, in turns."""
    size = bench.sizes.big_bytes
    for _ in range(bench.sizes.long_rounds):
        drop_caches()
        bench.note_store(key, source, "read", "big", size, endpoint_url=endpoint_url)
        if not endpoint_url:
            drop_caches()
            kept = bench.fresh_directory(STORE) / "kept"
            bench.note_store("cold-cpu", source, "keep", "big", size, kept)
        for mode in MODES:
            with bench.mounted(mode, source, settings=_SETTINGS, endpoint_url=endpoint_url) as place:
                if place is None:
                    continue
                drop_caches()
                before_s = processor_s(place)
                bench.note(key, mode, place.work(work.read, Path("big")))
                if not endpoint_url:
                    bench.note("cold-cpu", mode, (processor_s(place) - before_s) * GIB / size)


def _read_random(bench: Bench, source: str) -> None:
    size = bench.sizes.big_bytes
    seconds = bench.sizes.fio_s * 2
    for _ in range(bench.sizes.rounds):
        drop_caches()
        bench.note_store("cold-random", source, "read_random", "big", size, _JOBS, seconds)
        for mode in MODES:
            with bench.mounted(mode, source, settings=_SETTINGS) as place:
                if place is None:
                    continue
                drop_caches()
                before_bytes = _fetched_bytes(place)
                _mb_s, reads_s = fio.run(
                    place.path / "big", "randread", "4k", size_bytes=size, jobs=_JOBS, runtime_s=seconds
                )
                bench.note("cold-random", mode, reads_s)
                fetched_bytes = _fetched_bytes(place) - before_bytes
                bench.note("cold-random-bytes", mode, fetched_bytes / (reads_s * seconds))


def _fetched_bytes(place: Place) -> float:
    assert place.mount is not None
    return float(place.mount.status()["requests"].get("store_received_bytes", 0))


def _upload(bench: Bench) -> None:
    """A file is written and synced; the clock runs from its close until a plain client sees it whole."""
    size = bench.sizes.big_bytes
    sources = {mode: bench.bucket() for mode in (STORE, *MODES)}
    settings = {**_SETTINGS, "export": {"quiet_s": 0}}
    for number in range(bench.sizes.long_rounds):
        bench.note_store("upload", sources[STORE], "put_big", f"up-{number}", size)
        for mode in MODES:
            with bench.mounted(mode, sources[mode], settings=settings) as place:
                if place is None:
                    continue
                drop_caches()
                closed_at_s = place.work(work.close, Path(f"up-{number}"), size)
                taken_s = _visible_at_s(bench.client(), sources[mode], f"up-{number}", size) - closed_at_s
                bench.note("upload", mode, size / 1e6 / taken_s)


def _visible_at_s(client: Any, source: str, key: str, size: int) -> float:
    bucket = source.removeprefix("s3://")
    deadline = time.monotonic() + PROGRAM_LIMIT_S
    while time.monotonic() < deadline:
        found = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        if any(each["Key"] == key and each["Size"] == size for each in found):
            return time.time()
        time.sleep(_POLL_S)
    raise AssertionError(f"{key} was not uploaded")
