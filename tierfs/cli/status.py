"""tierctl status, info and mounts: the state of a mount, of a file, and what is mounted.

Standard library only, as all of tierctl.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any, Final

from tierfs.cli import events, removals, terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs
from tierfs.cli.terminal import format_age
from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode
from tierfs.units import format_size

_MODES: Final = {
    "on-close": "close(2) waits until the bucket has them",
    "read-only": "none, by a rule of the settings",
    "ignore": "stay here, by a rule of the settings",
}


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    status = verbs.add("status", _status, "show the state of a mount", "tierctl status /mnt/data")
    status.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    info = verbs.add(
        "info", _info, "show where a file is and whether it is in the bucket", "tierctl info /mnt/data/a.csv"
    )
    info.add_argument("path", metavar="PATH", help="a file or directory in a mount")
    verbs.add("mounts", _mounts, "list the mounts of this machine that you can see", "tierctl mounts --json")


def _status(options: argparse.Namespace) -> int:
    with connect(registry.find(options.path)) as client:
        status = client.call("status")
    if options.json:
        terminal.print_json(status)
    else:
        print(status_text(status))
    return ExitCode.OK


def _info(options: argparse.Namespace) -> int:
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path)
    with connect(entry) as client:
        info = client.call("info", {"path": protocol.path_to_json(path)})
    if options.json:
        terminal.print_json(info)
    else:
        print(info_text(options.path, info))
    return ExitCode.OK


def _mounts(options: argparse.Namespace) -> int:
    found = [(entry, registry.is_running(entry)) for entry in registry.entries()]
    if options.json:
        mounts = [{**entry._asdict(), "running": running} for entry, running in found]
        terminal.print_json({"mounts": mounts})
    elif found:
        rows = [
            (entry.mountpoint, str(entry.pid), "running" if running else "dead", entry.source)
            for entry, running in found
        ]
        print(terminal.table(("MOUNTPOINT", "PID", "DAEMON", "SOURCE"), rows))
    return ExitCode.OK


def status_text(status: Mapping[str, Any]) -> str:
    """What people read of `status`."""
    tier = status["tier"]
    share = f" ({100 * tier['used_bytes'] // tier['size_bytes']} %)" if tier["size_bytes"] else ""
    reason = f" ({status['mode_reason']})" if status.get("mode_reason") else ""
    pending = f"{status['pending_exports']} pending, {format_size(tier['dirty_bytes'])}"
    if status.get("oldest_export_age_s") is not None:
        pending += f", oldest {format_age(status['oldest_export_age_s'])}"
    rows = [
        ("mode", f"{status['mode']}{', read-only' if status.get('read_only') else ''}{reason}"),
        ("daemon", f"pid {status['pid']}, up {format_age(status['uptime_s'])}{_memory(status)}"),
        ("hot tier", f"{format_size(tier['used_bytes'])} of {format_size(tier['size_bytes'])}{share}"),
        ("uploads", pending),
    ]
    rows += [("failing", f"{failing['path']}: {failing['error']}") for failing in status.get("failing_exports", [])]
    if status.get("conflicts"):
        rows.append(("conflicts", f"{status['conflicts']}; tierctl conflicts list shows them"))
    if status.get("removals"):
        rows.append(("removals", removals.status_line(status["removals"])))
    for warning in status.get("store_warnings", []):
        rows.append(("server", warning))
    if (heard := status.get("events")) and heard["source"] != "none":
        rows.append(("events", events.summary(heard)))
    if scan := status.get("scan"):
        rows.append(("scan", events.scan_summary(scan)))
    if index := status.get("index"):
        rows.append(("index", f"{index['entries']} entries, {format_size(index['bytes'])}"))
    if degraded := status.get("degraded"):
        rows.append(("degraded", f"for {format_age(degraded['since_s'])}: {degraded['reason']}"))
    elif status.get("is_degraded"):
        rows.append(("degraded", "yes; its owner can see why"))
    return terminal.fields(f"{status['mountpoint']} from {status['source']}", rows)


def _memory(status: Mapping[str, Any]) -> str:
    return f", {format_size(status['rss_anon_bytes'])} of memory" if "rss_anon_bytes" in status else ""


def info_text(path: str, info: Mapping[str, Any]) -> str:
    """What people read of `info`."""
    here = info["residency"]
    if here == "partial":
        here += f", {format_size(info['hot_bytes'])} here"
    rows = [
        ("type", f"{info['type']}, {info['mode'] & 0o7777:04o}, owner {info['uid']}:{info['gid']}"),
        ("size", f"{format_size(info['size_bytes'])} ({info['size_bytes']} bytes)"),
        ("modified", _time(info["mtime_ns"])),
        ("local disk", here),
        ("bucket", _in_bucket(info)),
        ("key", info["key"]),
    ]
    if pending := info.get("pending"):
        tries = f", {pending['attempts']} failed attempts" if pending.get("attempts") else ""
        rows.append(("pending", f"{pending['op']} for {format_age(pending['age_s'])}{tries}"))
        if pending.get("error"):
            rows.append(("last error", pending["error"]))
    if (export := info.get("export")) and export["mode"] != "write-back":
        rows.append(("changes", _MODES[export["mode"]]))
    if info.get("storage_class"):
        rows.append(("class", info["storage_class"]))
    return terminal.fields(path, rows)


def _in_bucket(info: Mapping[str, Any]) -> str:
    if info["synced"]:
        return "up to date"
    is_kept_out = info.get("export", {}).get("mode") == "ignore"
    return "without these changes" if is_kept_out else "not yet: upload pending"


def _time(time_ns: int) -> str:
    whole, fraction = divmod(time_ns, 1_000_000_000)
    try:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))}.{fraction:09d}"
    except (OverflowError, OSError, ValueError):
        return f"{time_ns} ns"
