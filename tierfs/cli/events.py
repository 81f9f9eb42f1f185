"""tierctl events: whether changes in the bucket are heard of, and having the bucket tell of them.

Standard library only, as all of tierctl.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs
from tierfs.cli.terminal import format_age
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode, ExitError

_SETUP_S: Final = 60.0  # of silence: bucket and queue are asked one after the other


_EXAMPLES: Final = """\
examples:
  tierctl events setup --dry-run                        what the bucket needs to tell of its changes
  tierctl events setup                                  set that
  tierctl events setup --arn arn:minio:sqs::1:webhook   where the server has a name for the target
  tierctl events status                                 do they arrive?
"""


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    text = "show how changes in the bucket are heard of, or have the bucket tell"
    group = verbs.group("events", text, _EXAMPLES, "status|setup")
    shown = group.add("status", run_status, "show whether events arrive", "tierctl events status /mnt/data")
    setup = group.add(
        "setup",
        run_setup,
        "add what is missing to the bucket's notifications and the queue's policy",
        "tierctl events setup /mnt/data --dry-run",
    )
    setup.add_argument("--dry-run", action="store_true", help="only show what would be set")
    setup.add_argument("--arn", default="", metavar="ARN", help="where events go; default: the queue of the settings")
    for parser in (shown, setup):
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def run_status(options: argparse.Namespace) -> int:
    """What `tierctl status` sums up, in full."""
    with connect(registry.find(options.path)) as client:
        events = client.call("status").get("events")
    if events is None:
        raise ExitError(ExitCode.PERMISSION, "events are shown to root and the owner of the mount")
    if options.json:
        terminal.print_json(events)
    else:
        print(status_text(events))
    return ExitCode.OK


def run_setup(options: argparse.Namespace) -> int:
    """Configures the bucket, or with --dry-run says how."""
    with connect(registry.find(options.path), _SETUP_S) as client:
        result = client.call("events_setup", {"dry_run": options.dry_run, "target_arn": options.arn})
    if options.json:
        terminal.print_json(result)
    else:
        print(setup_text(result))
    return ExitCode.OK


def summary(events: Mapping[str, Any]) -> str:
    """One line of status, for any source but "none"."""
    source = str(events["source"])
    if source == "poll":
        return f"polling every {format_age(events['sweep']['interval_s'])}"
    line = f"{source}, {events['state']} for {format_age(events['state_age_s'])}"
    if events["last_event_age_s"] is not None:
        line += f", last {format_age(events['last_event_age_s'])} ago"
    return line + (f", {events['missed']} missed" if events["missed"] else "")


def status_text(events: Mapping[str, Any]) -> str:
    """Everything, for `tierctl events status`."""
    if events["source"] == "none":
        return "no source of events: directories are listed again when they are used"
    sweep = events["sweep"]
    rows: list[tuple[str, str]] = []
    if "state" in events:
        rows += _flow_rows(events)
    last = f", last {format_age(sweep['last_age_s'])} ago" if sweep["last_age_s"] is not None else ""
    running = ", one is running" if sweep["is_running"] else ""
    rows.append(("sweeps", f"{sweep['sweeps']}{last}{running}, {sweep['found']} differences"))
    if events.get("missed"):
        rows.append(("missed", f"{events['missed']}, such as {', '.join(events['missed_examples'])}"))
    return terminal.fields(summary(events), rows)


def scan_summary(scan: Mapping[str, Any]) -> str:
    """One line of status, where a scan is asked for."""
    if scan["state"] == "done":
        return f"done {format_age(scan['age_s'])} ago"
    line = f"{scan['directories']} directories by {scan['requests']} requests since the mount"
    if scan["at"] and scan["at"][0]:
        line += f", at {scan['at'][0]!r}"
    return line + (f"; it waits: {scan['error']}" if scan["error"] else "")


def _flow_rows(events: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("from", str(events["address"]))]
    if events["reason"]:
        rows.append(("because", str(events["reason"])))
    counts = ("applied", "own", "known", "ignored", "pending")
    rows.append(("events", f"{events['received']}: " + ", ".join(f"{events[name]} {name}" for name in counts)))
    rows.append(("lag", f"{events['lag_s']:.3g} s"))
    failures = [f"{events[name]} {name}" for name in ("errors", "malformed", "refused") if events[name]]
    return rows + ([("failures", ", ".join(failures))] if failures else [])


def setup_text(result: Mapping[str, Any]) -> str:
    """What `tierctl events setup` did, or would do."""
    if not result["changes"]:
        return f"{result['bucket']} sends its events to {result['target_arn']} already"
    verb = "would set" if result["dry_run"] else "set"
    lines = []
    for change in result["changes"]:
        lines.append(f"{verb} in the {terminal.printable(change['where'])}:")
        lines += [f"  {line}" for line in json.dumps(change["what"], indent=2).splitlines()]
    return "\n".join(lines)
