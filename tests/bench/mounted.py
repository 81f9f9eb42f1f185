"""What a mount costs: the daemon's memory under streams and walks, the time to mount, the ceiling of the hot tier.

Real daemons, real FUSE, a bucket in a directory. Whatever touches a mount is a program of its own with a limit on
its time, so that a mount that hangs ends the measurement and not the machine. `main_job` calls all this.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.bench.index import Figure, at_most
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tierfs.control.client import Client
from tierfs.control.registry import find
from tierfs.units import MIB

LIFE_LIMIT_S: Final = 7200.0
PROGRAM_LIMIT_S: Final = 3600.0
SAMPLE_S: Final = 0.05
WRITERS: Final = 4
PART_BYTES: Final = 8 * MIB
MEMORY_GOAL_MIB: Final = 300
NATIVE_ENTRIES: Final = 100_000

_WRITE: Final = """
import os, sys
path, size = sys.argv[1], int(sys.argv[2])
block = os.urandom(1 << 20)
with open(path, "wb", buffering=0) as file:
    for number in range(size >> 20):
        file.write(number.to_bytes(8, "big") + block[8:])
"""
_READ: Final = """
import sys
with open(sys.argv[1], "rb", buffering=0) as file:
    number = 0
    while block := file.read(1 << 20):
        while len(block) < 1 << 20 and (more := file.read((1 << 20) - len(block))):
            block += more
        assert int.from_bytes(block[:8], "big") == number, number
        number += 1
    assert number == int(sys.argv[2]) >> 20, number
"""
_WALK: Final = """
import os, sys
count = 0
for directory, names, files in os.walk(sys.argv[1]):
    for name in files:
        assert os.stat(os.path.join(directory, name)).st_mode
    count += len(names) + len(files)
assert count >= int(sys.argv[2]), count
"""


class PeakMemory:
    """The most anonymous memory that a process had, sampled from /proc while the body runs."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mib = 0.0

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(SAMPLE_S):
            with contextlib.suppress(OSError):  # the process ended
                for line in self._status.read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        self.peak_mib = max(self.peak_mib, int(line.split()[1]) / 1024)


class TierWatch:
    """The most that a hot tier held: what its account said, and what its files took on the disk."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.used_bytes = 0
        self.disk_bytes = 0

    def __enter__(self) -> "TierWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        with Client(find(str(self._mount.path)).socket) as client:
            while not self._stopping.wait(SAMPLE_S):
                status = client.call("status")
                self.used_bytes = max(self.used_bytes, status["tier"]["used_bytes"])
                self.disk_bytes = max(self.disk_bytes, _allocated_bytes(self._mount.cache / "hot"))


def _allocated_bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # evicted meanwhile
            total += path.stat().st_blocks * 512
    return total


def _python(script: str, *arguments: object) -> float:
    """Runs a script as a program; seconds."""
    began = time.perf_counter()
    programs.run([sys.executable, "-c", script, *map(str, arguments)], timeout_s=PROGRAM_LIMIT_S)
    return time.perf_counter() - began


@contextlib.contextmanager
def _empty_bucket(directory: Path) -> Iterator[str]:
    bucket = directory / "bucket"
    bucket.mkdir(parents=True)
    yield f"file://{bucket}"
    shutil.rmtree(bucket)


def measure_stream(directory: Path, size_bytes: int) -> tuple[list[Figure], dict[str, float]]:
    """Files of a quarter of the size each go in one after the other, to the bucket, and come back out of it.

    The hot tier holds an eighth of it all, so that most bytes are uploaded, evicted and fetched on the way.
    """
    share = size_bytes // 4
    native = directory / "native-stream"
    native_write_s = _python(_WRITE, native, share)
    native_read_s = _python(_READ, native, share)
    native.unlink()
    settings = {"hot_tier": {"size_bytes": size_bytes // 8, "min_free_bytes": 0}}
    write_s = read_s = 0.0
    with (
        _empty_bucket(directory) as source,
        mounted(source, directory, settings=settings, life_limit_s=LIFE_LIMIT_S) as mount,
    ):
        with PeakMemory(mount.pid) as memory:
            for number in range(4):
                write_s += _python(_WRITE, mount.path / f"stream-{number}", share)
            mount.wait_synced(PROGRAM_LIMIT_S)
            for number in range(4):
                read_s += _python(_READ, mount.path / f"stream-{number}", share)
        mount.umount(timeout_s=PROGRAM_LIMIT_S)
    name = f"{size_bytes / MIB:,.0f} MiB"
    figures = [
        at_most(f"peak RssAnon, {name} streamed in and out", memory.peak_mib, "MiB", MEMORY_GOAL_MIB),
        Figure("stream in, a tier of 1/8", size_bytes / MIB / write_s, "MiB/s"),
        Figure("stream out, a tier of 1/8", size_bytes / MIB / read_s, "MiB/s"),
    ]
    beside = {figures[1].name: share / MIB / native_write_s, figures[2].name: share / MIB / native_read_s}
    return figures, beside


def measure_walk(directory: Path, entries: int) -> Iterator[tuple[list[Figure], dict[str, float]]]:
    """Mounts the cache in `directory`, whose index has `entries` in listed directories, and walks it twice."""
    native_entries = min(entries, NATIVE_ENTRIES)
    native = native_tree(directory / "native-tree", native_entries)
    find_beside = native_entries / _find(native)
    walk_beside = native_entries / _python(_WALK, native, native_entries)
    shutil.rmtree(native)
    settings = {"import": {"revalidate_s": 86400 * 300}, "hot_tier": {"size_bytes": 256 * MIB, "min_free_bytes": 0}}
    with _empty_bucket(directory) as source:
        began = time.perf_counter()
        with mounted(source, directory, settings=settings, life_limit_s=LIFE_LIMIT_S) as mount:
            mount_s = time.perf_counter() - began
            yield [at_most(f"mount of an index of {entries:,}", mount_s, "s", 2)], {}
            with PeakMemory(mount.pid) as memory:
                find_rate = entries / _find(mount.path)
                yield [Figure("find", find_rate, "entries/s")], {"find": find_beside}
                walk_rate = entries / _python(_WALK, mount.path, entries)
            yield [Figure("os.walk and stat", walk_rate, "entries/s")], {"os.walk and stat": walk_beside}
            mount.umount(timeout_s=PROGRAM_LIMIT_S)
    name = f"peak RssAnon, {entries:,} entries walked twice"
    yield [at_most(name, memory.peak_mib, "MiB", MEMORY_GOAL_MIB)], {}


def _find(root: Path) -> float:
    """`find -ls`-like: every name and its attributes; seconds."""
    began = time.perf_counter()
    programs.run(["find", root, "-newermt", "2100-01-01"], timeout_s=PROGRAM_LIMIT_S)
    return time.perf_counter() - began


def native_tree(root: Path, entries: int) -> Path:
    for start in range(0, entries, 1000):
        directory = root / f"d{start // 1000:06}"
        directory.mkdir(parents=True)
        for number in range(start, min(entries, start + 1000)):
            os.close(os.open(directory / f"image-{number:014}", os.O_CREAT | os.O_WRONLY))
    return root


def measure_ceiling(directory: Path, tier_bytes: int, total_bytes: int) -> list[Figure]:
    """Four programs write more than the hot tier holds, all at once."""
    settings = {
        "hot_tier": {"size_bytes": tier_bytes, "min_free_bytes": 0},
        "store": {"part_size_bytes": PART_BYTES},
    }
    with (
        _empty_bucket(directory) as source,
        mounted(source, directory, settings=settings, life_limit_s=LIFE_LIMIT_S) as mount,
    ):
        share = total_bytes // WRITERS
        with TierWatch(mount) as tier, ThreadPoolExecutor(WRITERS) as pool:
            paths = [mount.path / f"writer-{number}" for number in range(WRITERS)]
            list(pool.map(lambda path: _python(_WRITE, path, share), paths))
        mount.wait_synced(PROGRAM_LIMIT_S)
        for number in range(WRITERS):
            _python(_READ, mount.path / f"writer-{number}", share)
        mount.umount(timeout_s=PROGRAM_LIMIT_S)
    limit_mib = (tier_bytes + WRITERS * PART_BYTES) / MIB
    name = f"tier of {tier_bytes // MIB} MiB, {WRITERS} writers of {share // MIB} MiB"
    return [
        at_most(f"{name}: account", tier.used_bytes / MIB, "MiB", limit_mib),
        at_most(f"{name}: on disk", tier.disk_bytes / MIB, "MiB", limit_mib),
    ]
