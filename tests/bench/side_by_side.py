"""Native directory, tierfs in each of its modes, and the store's own limit, side by side in one run.

    tests/bench/run.sh [--quick] [--only ROW,...] [--json FILE] [--plot FILE]

README.md beside this says what each row is. Exits with 1 when a goal is missed, with 2 when nothing was measured.
Needs root: caches are dropped before every cold row.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import cold, epochs, hot, names, report
from tests.bench.bench import FULL, QUICK, Bench
from tests.bench.main_job import machine_speed_ms
from tests.bench.report import Result
from tests.bench.rows import MODES, ROWS, Row, medians_of, verdicts
from tests.support.weed import WeedServer

_ROOMS: Final = (hot.measure, names.measure, cold.measure, epochs.measure)


def best_peer(row: Row, peers: Path | None) -> float | None:
    """The best figure that peers.py wrote for the same work, tierfs and native left out; else the best one seen."""
    if peers is None:
        return row.best_peer
    found = json.loads(peers.read_text()).get(row.peer, {})
    figures = [
        value for name, value in found.items() if name not in ("native", "tierfs") and isinstance(value, int | float)
    ]
    return max(figures, default=None)


def results_of(bench: Bench, peers: Path | None, slow_peers: Path | None) -> list[Result]:
    """What was measured, in the order of the rows."""
    found = []
    for key, row in ROWS.items():
        if key in bench.samples:
            samples = bench.samples[key]
            medians = medians_of(samples)
            peer = best_peer(row, slow_peers if row.is_slow else peers)
            found.append(Result(row, samples, medians, verdicts(row, medians, peer), bench.loads[key]))
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "million_additions_ms": machine_speed_ms(),
        "load": os.getloadavg()[0],
    }


def wanted_rows(text: str) -> frozenset[str]:
    """The keys of --only; all without it."""
    keys = frozenset(filter(None, text.split(","))) or frozenset(ROWS)
    if unknown := keys - ROWS.keys():
        raise argparse.ArgumentTypeError(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(ROWS)}")
    return keys


def parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small files, few of them: to try the benchmark itself")
    parser.add_argument("--only", type=wanted_rows, default=frozenset(ROWS), metavar="ROW,...")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a PNG; needs the extra `bench` (matplotlib)")
    parser.add_argument("--peers", type=Path, metavar="FILE", help="what peers.py --json wrote on this machine")
    parser.add_argument("--slow-peers", type=Path, metavar="FILE", help="the same, taken through the slow store")
    parser.add_argument("--directory", type=Path, help="on the disk whose figures are wanted; default: $TMPDIR")
    return parser.parse_args(words)


def tell(bench: Bench, arguments: argparse.Namespace, facts: dict[str, Any]) -> int:
    """Prints and writes what was measured; the exit code."""
    results = results_of(bench, arguments.peers, arguments.slow_peers)
    print(report.table(results))
    for mode in MODES:
        if mode in bench.absent:
            print(f"\n{mode}: - ({bench.absent[mode]})")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.as_json(results, bench.absent, facts), indent=1))
    if arguments.plot is not None:
        try:
            report.plot(results, arguments.plot)
        except ImportError as error:
            print(f"no plot: {error}; install the extra `bench`", file=sys.stderr)
    if not results:
        return 2
    return 0 if all(result.is_met for result in results) else 1


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that mounts are taken away, too
    arguments = parsed(sys.argv[1:])
    if os.geteuid() != 0:
        print("only root may drop the caches of the machine, and cold rows mean nothing without that", file=sys.stderr)
        return 2
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), file=sys.stderr)
    directory = Path(tempfile.mkdtemp(prefix="tierfs-bench-", dir=arguments.directory))
    try:
        with WeedServer() as server:
            bench = Bench(directory, QUICK if arguments.quick else FULL, arguments.only, server)
            for measure in _ROOMS:
                measure(bench)
            return tell(bench, arguments, facts)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
