"""tierctl versions and undelete: deleted files of a bucket that keeps versions, and having them back.

Standard library only, as all of tierctl.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import call_with_progress, connect
from tierfs.cli.grammar import Verbs
from tierfs.control import protocol, registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode
from tierfs.units import format_size

_SILENCE_S: Final = 60.0  # a page is one request, which may be repeated for a while


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    shown = verbs.add(
        "versions",
        run_versions,
        "show the versions of a file, or the deleted files of a directory, that the bucket keeps",
        "tierctl versions /mnt/data/results",
    )
    shown.add_argument("--all", action="store_true", help="of a directory also what is not deleted")
    undelete = verbs.add(
        "undelete",
        run_undelete,
        "bring back a deleted file, or all that was deleted in a directory",
        "tierctl undelete /mnt/data/results --dry-run",
    )
    undelete.add_argument("--dry-run", action="store_true", help="only say what would come back")
    for parser in (shown, undelete):
        parser.add_argument("path", metavar="PATH", help="where it is or was")


def run_versions(options: argparse.Namespace) -> int:
    """All pages of them."""
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path)
    with connect(entry, _SILENCE_S) as client:
        found = list(_pages(client, {"path": protocol.path_to_json(path), "everything": options.all}))
    if options.json:
        terminal.print_json({"files": found})
    elif found:
        print(_table(found))
    else:
        print("no versions, and no deleted files")
    return ExitCode.OK


def _pages(client: Client, args: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    page = client.call("versions", args)
    yield from page["files"]
    while page["next"] is not None:
        page = client.call("versions", {**args, "after": page["next"]})
        yield from page["files"]


def run_undelete(options: argparse.Namespace) -> int:
    """What is at a path, and all below it."""
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path)
    args = {"path": protocol.path_to_json(path), "dry_run": options.dry_run}
    result = call_with_progress(entry, "undelete", args, "bringing back", silence_limit_s=_SILENCE_S)
    if options.json:
        terminal.print_json(result)
    else:
        print(_outcome(result))
    return ExitCode.OK


# --- what people read


def _table(found: list[Mapping[str, Any]]) -> str:
    rows = []
    for file in found:
        for version in file["versions"]:
            size = "-" if version["state"] == "deletion" else format_size(version["size_bytes"])
            rows.append((_time(version["time_ns"]), version["state"], size, file["key"]))
        if file["more"]:
            rows.append(("", f"{file['more']} older", "", file["key"]))
    return terminal.table(("WHEN", "STATE", "SIZE", "KEY"), rows)


def _outcome(result: Mapping[str, Any]) -> str:
    what = "would come back" if result["dry_run"] else "brought back"
    lines = [f"{result['files']} {what}, {format_size(result['bytes'])}"]
    lines += [f"  {terminal.shortened(terminal.printable(key), terminal.COLUMNS - 2)}" for key in result["examples"]]
    if result["files"] > len(result["examples"]):
        lines.append(f"  and {result['files'] - len(result['examples'])} more")
    return "\n".join(lines)


def _time(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns // 1_000_000_000))
