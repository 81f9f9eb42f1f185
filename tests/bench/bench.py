"""One run of the side-by-side benchmark: its sizes, its server, its mounts in each mode, and what was measured.

The rooms (hot, names, cold, epochs) take a `Bench` and note samples in it. Everything that touches a mount is a
program of its own with a limit on its time.
"""

import contextlib
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from tests.bench import work
from tests.bench.rows import MODES, NATIVE, ROWS, STORE
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.slow_store import SlowStore
from tests.support.weed import WeedServer
from tierfs.units import GIB, MIB

REPO: Final = Path(__file__).parents[2]
LIFE_LIMIT_S: Final = 7200.0
PROGRAM_LIMIT_S: Final = 1800.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
# nothing is uploaded while hot rows are measured: native ext4 does not upload either
NO_UPLOADS: Final[Mapping[str, Any]] = {"quiet_s": 86_000, "max_dirty_age_s": 86_000}


@frozen
class Sizes:
    """How much is done. `rounds` for what is short, `long_rounds` for what moves `big_bytes` through the store."""

    big_bytes: int
    small_count: int
    many_count: int
    entries: int
    epoch_count: int
    fio_s: float
    rounds: int = 5
    long_rounds: int = 3


FULL: Final = Sizes(GIB, 2000, 10_000, 100_000, 1500, fio_s=2.0)
QUICK: Final = Sizes(128 * MIB, 300, 1000, 10_000, 300, fio_s=0.5, long_rounds=2)


@frozen
class Place:
    """A directory where the work is done: native, or the root of a mount."""

    column: str
    path: Path
    mount: Mount | None = None

    def work(self, verb: Callable[..., float], *arguments: object) -> float:
        """Runs a program of work.py and returns its figure. Names are paths below this place, other words plain."""
        words = [str(self.path / word) if isinstance(word, Path) else str(word) for word in arguments]
        argv = [sys.executable, work.__file__, verb.__name__, *words]
        return float(programs.run(argv, timeout_s=PROGRAM_LIMIT_S).stdout)

    def settle(self) -> None:
        """All that was written here is in the bucket."""
        if self.mount is not None:
            self.mount.tierctl("sync", self.path, timeout_s=PROGRAM_LIMIT_S)


class Bench:
    """What a run shares. `samples[row][column]` are the figures, `absent[column]` why a column has none."""

    def __init__(self, directory: Path, sizes: Sizes, wanted: frozenset[str], server: WeedServer) -> None:
        self.directory = directory
        self.sizes = sizes
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.loads: dict[str, float] = {}
        self.absent: dict[str, str] = {}
        self._wanted = wanted
        self._server = server
        self._number = 0

    def wants(self, *keys: str) -> bool:
        """Whether any of these rows is to be measured."""
        return not self._wanted.isdisjoint(keys)

    def note(self, key: str, column: str, value: float) -> None:
        """Keeps one sample and shows it."""
        if key not in self._wanted:
            return
        self.samples[key][column].append(value)
        self.loads[key] = os.getloadavg()[0]
        print(f"  {ROWS[key].text:52} {column:12} {value:14,.1f} {ROWS[key].unit}", file=sys.stderr, flush=True)

    # ---- places ----

    def fresh_directory(self, name: str) -> Path:
        """A directory that nobody used before."""
        self._number += 1
        directory = self.directory / f"{name}-{self._number}"
        directory.mkdir(parents=True)
        return directory

    @contextlib.contextmanager
    def native(self) -> Iterator[Place]:
        yield Place(NATIVE, self.fresh_directory(NATIVE))

    @contextlib.contextmanager
    def mounted(
        self,
        mode: str,
        source: str,
        *,
        settings: Mapping[str, Mapping[str, Any]],
        endpoint_url: str = "",
        directory: Path | None = None,
    ) -> Iterator[Place | None]:
        """`source` in this mode; None, and the reason noted, when the daemon says that another mode is on."""
        if mode in self.absent:
            yield None
            return
        where = directory or self.fresh_directory(mode)
        env = {**self._server.environment, "TIERFS_RUN_DIR": str(self.directory / "run")}
        if endpoint_url:
            env["AWS_ENDPOINT_URL"] = endpoint_url
        chosen = {**settings, "mount": {**settings.get("mount", {}), "connection": mode}}
        with mounted(source, where, settings=chosen, env=env, life_limit_s=LIFE_LIMIT_S) as mount:
            status = mount.status()
            if status["mode"] == mode:
                yield Place(mode, mount.path, mount)
            else:
                self.absent[mode] = f"{status['mode']} is on: {status['mode_reason']}"
                yield None

    @contextlib.contextmanager
    def places(self, export: Mapping[str, Any] = NO_UPLOADS) -> Iterator[list[Place]]:
        """The native directory and an empty bucket mounted in every mode, at the same time."""
        with contextlib.ExitStack() as stack:
            found = [stack.enter_context(self.native())]
            for mode in MODES:
                settings = {"export": export, "hot_tier": {"size_bytes": 16 * GIB}}
                place = stack.enter_context(self.mounted(mode, self.bucket(), settings=settings))
                if place is not None:
                    found.append(place)
            yield found
            for place in found:
                if place.mount is not None:  # what is pending is no longer of interest
                    place.mount.umount(drain=False, timeout_s=PROGRAM_LIMIT_S)

    def bucket(self) -> str:
        """The URL of a new, empty bucket."""
        return f"s3://{self._server.create_bucket()}"

    # ---- the store without a file system ----

    @contextlib.contextmanager
    def slow_store(self) -> Iterator[str]:
        """The URL of the same server with 20 ms to the first byte and 90 MB/s a connection."""
        with SlowStore(self._server.endpoint_url) as slow:
            yield slow.url

    def store(self, source: str, verb: str, *arguments: object, endpoint_url: str = "") -> float:
        """Runs a program of store_limit.py on a bucket and returns its figure."""
        bucket = source.removeprefix("s3://")
        argv = [sys.executable, "-m", "tests.bench.store_limit", bucket, verb, *map(str, arguments)]
        env = dict(self._server.environment)
        if endpoint_url:
            env["AWS_ENDPOINT_URL"] = endpoint_url
        return float(programs.run(argv, env=env, cwd=REPO, timeout_s=PROGRAM_LIMIT_S).stdout)

    def note_store(self, key: str, source: str, verb: str, *arguments: object, endpoint_url: str = "") -> None:
        """Measures the store's own limit for a row."""
        if self.wants(key):
            self.note(key, STORE, self.store(source, verb, *arguments, endpoint_url=endpoint_url))

    def client(self) -> Any:
        """A plain boto3 client of the server."""
        return self._server.client()


def drop_caches() -> None:
    """Page cache, names and inodes of the whole machine: FADV_DONTNEED does not reach a passthrough file."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def processor_s(place: Place) -> float:
    """Processor time so far of the daemon behind a mount, and of its holder."""
    assert place.mount is not None
    status = place.mount.status()
    total = 0.0
    for pid in (status["pid"], status["holder_pid"]):
        if pid:
            # the name, in parentheses, may hold anything; user and system time are fields 14 and 15
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total
