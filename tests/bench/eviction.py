"""What each eviction policy makes of the same accesses: the table in README.md, by which the mount's own was chosen.

    python -m tests.bench.eviction

The workloads of `tests.support.workloads`, and `traces/session.csv.gz`: which files the programs of a developer's
session opened, as strace saw it (git clone, log, grep, checkout; a C compiler; pip; Python's tests, again and again),
over tiers of 30 % and of 15 % of all their bytes. Hits are counted of reads; for the epochs of the second half, which
is their steady state. Exits with 1 when a goal is missed: what the mount does is nowhere below ARC but for a tier of
15 %, 15 points above LRU on the scan, and at least 60 % on the epochs.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.support.workloads import WORKLOADS, same_order, scan, shuffled
from tierfs.policy.caches import POLICIES
from tierfs.tiering import traces
from tierfs.tiering.simulate import simulate
from tierfs.tiering.traces import Trace

SESSION: Final = Path(__file__).with_name("traces") / "session.csv.gz"
PAUSE_S: Final = 0.5
EPOCHS_GOAL: Final = 60.0
SCAN_LEAD_GOAL: Final = 15.0


@frozen
class Case:
    """One row."""

    name: str
    trace: Trace
    tier_bytes: int
    from_share: float = 0.0
    is_judged: bool = True


def cases() -> list[Case]:
    found = []
    for workload in WORKLOADS:
        accesses = [
            (number * PAUSE_S, key, size_bytes, False) for number, (key, size_bytes) in enumerate(workload.make())
        ]
        is_epochs = workload.make in (same_order, shuffled)
        found.append(Case(workload.name, Trace(accesses, ()), workload.tier_bytes, 0.5 if is_epochs else 0.0))
    session = traces.read(SESSION)
    for percent in (30, 15):
        name = f"a developer's session, tier of {percent} %"
        found.append(Case(name, session, session.total_bytes * percent // 100, is_judged=percent == 30))
    return found


def hits_percent(case: Case, policy: str) -> float:
    outcome = simulate(case.trace, POLICIES[policy](case.tier_bytes), name=policy)
    if not case.from_share:
        return outcome.hits_percent
    steady = outcome.slices[int(len(outcome.slices) * case.from_share) :]
    return sum(steady) / len(steady)


def missed(case: Case, hits: dict[str, float]) -> list[str]:
    """The goals that the row misses."""
    found = []
    own = hits["ranked"]
    if case.is_judged and own < hits["arc"]:
        found.append(f"{case.name}: below ARC")
    if case.from_share and own < EPOCHS_GOAL:
        found.append(f"{case.name}: below {EPOCHS_GOAL:.0f} %")
    if case.name in (each.name for each in WORKLOADS if each.make is scan) and own < hits["lru"] + SCAN_LEAD_GOAL:
        found.append(f"{case.name}: less than {SCAN_LEAD_GOAL:.0f} points above LRU")
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"| hits, % | {' | '.join(POLICIES)} |\n|---|{'---|' * len(POLICIES)}")
    failures = []
    for case in cases():
        hits = {policy: hits_percent(case, policy) for policy in POLICIES}
        print(f"| {case.name} | {' | '.join(f'{hits[policy]:.1f}' for policy in POLICIES)} |", flush=True)
        failures += missed(case, hits)
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
