"""tierctl queue and watch: what waits for the bucket and why, and what happens on both sides.

Standard library only, as all of tierctl.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import connect, follow
from tierfs.cli.grammar import Verbs
from tierfs.cli.terminal import format_age
from tierfs.control import protocol, registry
from tierfs.control.client import SILENCE_LIMIT_S, Client
from tierfs.control.exitcodes import ExitCode
from tierfs.units import format_size

_OPS: Final = {"reconcile": "upload", "delete": "delete", "move_tree": "move"}


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    queue = verbs.add("queue", run_queue, "show what waits for the bucket, and why", "tierctl queue /mnt/data/a")
    queue.add_argument("--all", action="store_true", help="not only the oldest 50")
    queue.add_argument("path", nargs="?", metavar="PATH", help="only what is there or below it")
    watch = verbs.add("watch", run_watch, "show what happens on both sides, a line each", "tierctl watch --json")
    watch.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


# --- queue


def run_queue(options: argparse.Namespace) -> int:
    """The oldest, or with --all every page."""
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path) if options.path is not None else b""
    with connect(entry) as client:
        pages = _pages(client, {"path": protocol.path_to_json(path)})
        first = next(pages)
        found = [*first["entries"], *(row for page in pages for row in page["entries"])] if options.all else None
    rows = first["entries"] if found is None else found
    rest, is_exact = (first["rest"], first["is_rest_exact"]) if found is None else (0, True)
    if options.json:
        terminal.print_json({"entries": rows, "rest": rest, "is_rest_exact": is_exact})
    else:
        print(_table(rows) if rows else "nothing waits for the bucket")
        if rest or not is_exact:
            print(f"and {'' if is_exact else 'at least '}{rest} more; --all shows them")
    return ExitCode.OK


def _pages(client: Client, args: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    page = client.call("queue", args)
    yield page
    while page["next"] is not None:
        page = client.call("queue", {**args, "after": page["next"]})
        yield page


def _table(found: list[Mapping[str, Any]]) -> str:
    rows = [
        (
            format_age(row["age_s"]),
            _OPS.get(row["op"], row["op"]),
            format_size(row["size_bytes"]) if row["size_bytes"] else "-",
            _why(row),
            row["path"] or ".",
        )
        for row in found
    ]
    return terminal.table(("SINCE", "WHAT", "SIZE", "WHY", "PATH"), rows)


def _why(row: Mapping[str, Any]) -> str:
    parts = [row["reason"]]
    if row["attempts"]:
        parts.append(f"tried {row['attempts']} times")
    if row["next_attempt_s"] is not None:
        parts.append(f"in {format_age(row['next_attempt_s'])}")
    return ", ".join(parts)


# --- watch


def run_watch(options: argparse.Namespace) -> int:
    """A line for each change until somebody ends it, or the daemon ends."""
    entry = registry.find(options.path)
    show = _as_json if options.json else _as_text
    with connect(entry, SILENCE_LIMIT_S) as client:
        at = client.call("watch")["next"]
        if options.json:
            print(terminal.json_line({"what": "watching", "mountpoint": entry.mountpoint}), flush=True)
        else:
            print(f"watching {terminal.printable(entry.mountpoint)}; Ctrl-C ends it", file=sys.stderr, flush=True)
        return follow(client, "watch", at, show)


def _as_json(batch: Mapping[str, Any]) -> Iterator[str]:
    if batch["missed"]:
        yield terminal.json_line({"what": "missed", "changes": batch["missed"]})
    for change in batch["changes"]:
        yield terminal.json_line(change)


def _as_text(batch: Mapping[str, Any]) -> Iterator[str]:
    if batch["missed"]:
        yield f"{batch['missed']} changes came too fast and are not shown"
    for change in batch["changes"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change["time_ns"] // 1_000_000_000))
        detail = f"  ({change['detail']})" if change["detail"] else ""
        yield terminal.printable(f"{at}  {change['direction']}  {change['what']:<8}  {change['path'] or '.'}{detail}")
