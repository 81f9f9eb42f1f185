"""tierctl oplog: each operation as a line, with who asked for it, how long it took and where its bytes came from.

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
from tierfs.cli.screen import short_time
from tierfs.control import registry
from tierfs.control.client import SILENCE_LIMIT_S
from tierfs.units import format_size

_NS_PER_S: Final = 1_000_000_000
_HEADER: Final = f"{'TIME':<12} {'OPERATION':<10} {'UID':>5} {'PID':>7} {'BYTES':>9} {'TOOK':>7} {'FROM':<6} PATH"
_HIDDEN: Final = "not shown: what is read and written without the daemon, which hot files and new ones are in this mode"


def add_verbs(verbs: Verbs) -> None:
    """Its verb."""
    oplog = verbs.add("oplog", run_oplog, "show each operation of programs as a line", "tierctl oplog --json")
    oplog.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def run_oplog(options: argparse.Namespace) -> int:
    """A line for each operation until somebody ends it, or the daemon ends."""
    entry = registry.find(options.path)
    with connect(entry, SILENCE_LIMIT_S) as client:
        at = client.call("oplog")["next"]
        mode = client.call("figures")["mode"]
        if options.json:
            hidden = [] if mode == "pyfuse3" else ["hot files", "new files"]
            first = {"what": "watching", "mountpoint": entry.mountpoint, "hidden": hidden}
            print(terminal.json_line(first), flush=True)
        else:
            print(f"watching {terminal.printable(entry.mountpoint)}; Ctrl-C ends it", file=sys.stderr)
            if mode != "pyfuse3":
                print(_HIDDEN, file=sys.stderr)
            print(_HEADER, flush=True)
        return follow(client, "oplog", at, _as_json if options.json else _as_text)


def _as_json(batch: Mapping[str, Any]) -> Iterator[str]:
    if batch["missed"]:
        yield terminal.json_line({"what": "missed", "operations": batch["missed"]})
    for operation in batch["operations"]:
        yield terminal.json_line(operation)


def _as_text(batch: Mapping[str, Any]) -> Iterator[str]:
    if batch["missed"]:
        yield f"{batch['missed']} operations came too fast and are not shown"
    for each in batch["operations"]:
        whole, rest_ns = divmod(each["time_ns"], _NS_PER_S)
        at = f"{time.strftime('%H:%M:%S', time.localtime(whole))}.{rest_ns // 1_000_000:03d}"
        size = format_size(each["size_bytes"]) if each["size_bytes"] else "-"
        line = (
            f"{at} {terminal.shortened(each['operation'], 10):<10} {_known(each['uid']):>5} {_known(each['pid']):>7} "
            f"{size:>9} {short_time(each['duration_ns'] / _NS_PER_S):>7} {each['tier']:<6} "
        )
        error = f" ({each['error']})" if each["error"] else ""
        room = max(8, terminal.COLUMNS - len(line) - len(error))
        yield f"{line}{terminal.shortened(terminal.printable(each['path'] or '-'), room)}{error}"


def _known(number: int) -> str:
    return str(number) if number >= 0 else "-"
