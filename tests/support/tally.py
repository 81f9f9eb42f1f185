"""Sums up one run of tests/run.sh: `tally.py DIRECTORY SECONDS`.

The directory holds `checks` (one "passed NAME" or "failed NAME" a line) and one JUnit file for each pytest stage.
Prints what long tests did, every skip with its reason, every failure by name, and ends with a line of counts and one
word. Exits 1 when anything failed or when nothing ran at all.
"""

import collections
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree


def outcomes(directory: Path) -> Iterator[tuple[str, str, str]]:
    """Yields (verdict, name, reason) of everything that ran; the verdict is passed, failed or skipped."""
    checks = directory / "checks"
    if checks.exists():
        for line in checks.read_text().splitlines():
            verdict, _, name = line.partition(" ")
            yield verdict, name, ""
    for report in sorted(directory.glob("*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname', '')}.{case.get('name', '')}"
            if case.find("failure") is not None or case.find("error") is not None:
                yield "failed", name, ""
            elif (skipped := case.find("skipped")) is not None:
                yield "skipped", name, skipped.get("message", "no reason given")
            else:
                yield "passed", name, ""


def summaries(directory: Path) -> Iterator[str]:
    """A line for each test that tells what it did."""
    for report in sorted(directory.glob("*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            for told in case.iterfind("properties/property[@name='summary']"):
                yield f"{case.get('name', '')}: {told.get('value', '')}"


def main() -> int:
    """Prints the summary; returns the exit code."""
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    for verdict, name, reason in outcomes(Path(sys.argv[1])):
        counts[verdict] += 1
        if verdict == "failed":
            failures.append(name)
        elif verdict == "skipped":
            reasons[reason] += 1
    for line in summaries(Path(sys.argv[1])):
        print(line)
    for name in failures:
        print(f"failed: {name}")
    for reason, count in reasons.most_common():
        print(f"skipped {count}: {reason}")
    is_good = not failures and counts["passed"] > 0
    print(f"==> {'PASSED' if is_good else 'FAILED'} in {int(sys.argv[2])} s")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
