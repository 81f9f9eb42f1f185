"""How fast changes reach the bucket, against what a bare client can do with the same server and as many requests.

    python -m tests.bench.export [--files 10000]

Needs root and SeaweedFS, which the dev extra brings. 4 KiB files in ten directories, written while nothing is sent
yet; then `tierctl sync`. After that the directory with all of them is renamed, and again `tierctl sync`. The store's
limits are PUTs and copies of such objects by a program of its own, as many at a time, taken in the same run before and
after. Exits with 1 when a goal is missed.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.index import Figure, at_most
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.weed import WeedServer
from tierfs.config.sections import ExportSettings

FILE_BYTES: Final = 4096
DIRECTORIES: Final = 10
SHARE_GOAL: Final = 0.7
RENAME_GOAL_MS: Final = 10.0
LIMIT_S: Final = 900.0
QUIET_S: Final = 3600.0  # nothing is sent before it is asked for
TASKS: Final = ExportSettings().small_concurrency


class Limits:
    """The server's rates, by `store_limit`: each twice, since what it has by then makes it slower."""

    def __init__(self, server: WeedServer, bucket: str, files: int) -> None:
        self._server = server
        self._bucket = bucket
        self._files = files
        self._samples: dict[str, list[float]] = {"put_small": [], "copy_small": []}

    def sample(self, name: str) -> None:
        """Each verb once, below a prefix of its own."""
        for verb, arguments in (("put_small", (self._files, FILE_BYTES, TASKS)), ("copy_small", (TASKS,))):
            words = [sys.executable, "-m", "tests.bench.store_limit", self._bucket, verb, f"{name}/"]
            words += map(str, arguments)
            done = programs.run(words, timeout_s=LIMIT_S, env=self._server.environment)
            self._samples[verb].append(float(done.stdout))

    def rate(self, verb: str) -> float:
        """Objects a second."""
        return statistics.mean(self._samples[verb])


def share(name: str, value: float) -> Figure:
    return Figure(name, value, "", f">= {SHARE_GOAL}", value >= SHARE_GOAL)


def write_files(directory: Path, files: int) -> None:
    for number in range(DIRECTORIES):
        (directory / f"{number:02}").mkdir(parents=True)
    block = os.urandom(FILE_BYTES)
    for number in range(files):
        (directory / f"{number % DIRECTORIES:02}" / f"{number:06}.bin").write_bytes(block)


def sync_s(mount: Mount) -> float:
    began = time.perf_counter()
    mount.tierctl("sync", mount.path, timeout_s=LIMIT_S)
    return time.perf_counter() - began


def measure(mount: Mount, files: int) -> tuple[float, float, float]:
    """Files a second of the upload, ms of the rename, and files a second of the move in the bucket."""
    directory = mount.path / "data"
    write_files(directory, files)
    upload_s = sync_s(mount)
    began = time.perf_counter()
    directory.rename(mount.path / "moved")
    rename_ms = (time.perf_counter() - began) * 1e3
    return files / upload_s, rename_ms, files / sync_s(mount)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as directory, WeedServer() as server:
        bucket = server.create_bucket()
        limits = Limits(server, bucket, files)
        limits.sample("before")
        settings = {"store": {"endpoint_url": server.endpoint_url}, "export": {"quiet_s": QUIET_S}}
        with mounted(
            f"s3://{bucket}/mount", Path(directory), settings=settings, env=server.environment, life_limit_s=LIMIT_S
        ) as mount:
            upload_rate, rename_ms, move_rate = measure(mount, files)
        limits.sample("after")
    put_rate, copy_rate = limits.rate("put_small"), limits.rate("copy_small")
    figures = [
        Figure(f"store: PUTs of 4 KiB, {TASKS} at a time", put_rate, "/s"),
        Figure(f"store: copies of 4 KiB, {TASKS} at a time", copy_rate, "/s"),
        Figure("upload of small files", upload_rate, "/s"),
        share("upload of small files, share of the PUT rate", upload_rate / put_rate),
        at_most(f"rename of a directory of {files:,} files", rename_ms, "ms", RENAME_GOAL_MS),
        Figure("its move in the bucket", move_rate, "/s"),
        share("its move in the bucket, share of the copy rate", move_rate / copy_rate),
    ]
    for figure in figures:
        print(f"{figure.name:50} {figure.value:12,.2f} {figure.unit:4} {figure.goal}")
    sys.exit(0 if all(figure.is_met for figure in figures) else 1)


if __name__ == "__main__":
    main()
