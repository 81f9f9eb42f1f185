"""Writers on a mount that is killed under them, and what of their operations has to be there afterwards."""

import subprocess
import sys
from pathlib import Path

from tests.e2e import burst
from tests.support import programs
from tests.support.mounts import Mount
from tests.support.trees import describe, differences


def run_burst(mount: Mount, directory: Path, area: Path, seeds: range, *, until: int) -> dict[int, int]:
    """Starts a writer for each seed, kills the daemon after `until` operations; how many each had acknowledged."""
    area.mkdir(parents=True)
    logs = {seed: directory / f"log-{seed}" for seed in seeds}
    for seed, log in logs.items():
        log.touch()
        (area / str(seed)).mkdir()
    writers = [
        subprocess.Popen([sys.executable, "-m", "tests.e2e.burst", area / str(seed), log, str(seed)])
        for seed, log in logs.items()
    ]
    try:
        reached = programs.wait_until(lambda: sum(log.stat().st_size for log in logs.values()) >= until, 120)
        assert reached, "the writers are stuck"
        mount.kill9()
        assert [writer.wait(60) for writer in writers] == [0] * len(writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(10)
    return {seed: log.stat().st_size for seed, log in logs.items()}


def assert_acknowledged(area: Path, native: Path, counts: dict[int, int]) -> None:
    """Every acknowledged operation is there; the one that was under way at the kill may be, or some pages of it."""
    for seed, count in counts.items():
        actual = describe(area / str(seed))
        found = []
        for happened in (count, count + 1):
            burst.replay(native / f"{area.name}-{seed}-{happened}", seed, happened)
            expected = describe(native / f"{area.name}-{seed}-{happened}")
            # the times of a replay are its own
            found.append(differences(expected, actual, ignore=frozenset({"mtime_ns"})))
            if not found[-1]:
                break
        else:
            half = native / f"{area.name}-{seed}-{count}"
            for piece in burst.pieces(half, burst.nth(seed, count)):
                burst.apply(half, piece)
                found.append(differences(describe(half), actual, ignore=frozenset({"mtime_ns"})))
                if not found[-1]:
                    break
        assert not min(found, key=len), f"seed {seed}, {count} operations acknowledged:\n" + "\n".join(
            min(found, key=len)[:30]
        )
