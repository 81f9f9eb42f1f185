"""tierctl sync held|approve|reject: what the bucket has lost and the mount keeps, and an end to it.

Standard library only, as all of tierctl.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import call_with_progress, connect
from tierfs.cli.terminal import format_age
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode

_STATES: Final = {"asked": "asked", "approve": "going", "reject": "being kept", "kept": "kept, not here whole"}
_SILENCE_S: Final = 60.0


def run_held(options: argparse.Namespace) -> int:
    """All pages of it."""
    found: list[Mapping[str, Any]] = []
    with connect(registry.find(options.path)) as client:
        page = client.call("removals")
        found += page["removals"]
        while page["next"] is not None:
            page = client.call("removals", {"after": page["next"]})
            found += page["removals"]
    if options.json:
        terminal.print_json({"removals": found})
    elif found:
        print(_table(found))
    return ExitCode.OK


def run_approve(options: argparse.Namespace) -> int:
    """Waits until it is carried out; who stops waiting changes nothing."""
    return _decide("approve", options)


def run_reject(options: argparse.Namespace) -> int:
    """The same."""
    return _decide("reject", options)


def _decide(verdict: str, options: argparse.Namespace) -> int:
    doing = "removing" if verdict == "approve" else "keeping"
    args = {"verdict": verdict, "dry_run": options.dry_run}
    entry = registry.find(options.path)
    result = call_with_progress(entry, "removals_decide", args, doing, silence_limit_s=_SILENCE_S)
    if options.json:
        terminal.print_json(result)
    else:
        print(_outcome(result))
    return ExitCode.OK


# --- what people read


def status_line(removals: Mapping[str, Any]) -> str:
    """One line of status."""
    if removals["since_s"] is None:
        return f"sync {removals['verdict']} is being carried out"
    age = format_age(removals["since_s"])
    return f"{removals['entries']} lost by the bucket and kept, for {age}; see tierctl sync held"


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in found:
        path = one["path"] if one["moved_to"] is None else f"{one['path']} (renamed to {one['moved_to']})"
        rows.append((str(one["entries"]), _STATES.get(one["state"], one["state"]), path))
    return terminal.table(("ENTRIES", "STATE", "PATH"), rows)


def _outcome(result: Mapping[str, Any]) -> str:
    if not result["names"]:
        return "nothing is held"
    would = "would be " if result["dry_run"] else ""
    if result["verdict"] == "approve":
        parts = [f"{result['removed']} {would}removed"]
    else:
        restored = [f"{result['restored']} restored from versions"] if result["restored"] else []
        parts = [
            *restored,
            f"{result['uploaded']} {would}uploaded",
            f"{result['unreadable']} {would}kept that are not here whole",
        ]
    if result["returned"]:
        parts.append(f"{result['returned']} were in the bucket again, or changed here")
    return ", ".join(parts)
