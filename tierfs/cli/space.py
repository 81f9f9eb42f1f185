"""tierctl du, summary and tree: how much is below a path, how much of it is here, and how each file stands.

Standard library only, as all of tierctl.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import call_with_progress, connect
from tierfs.cli.grammar import Verbs
from tierfs.control import protocol, registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode
from tierfs.units import format_size

_SILENCE_LIMIT_S: Final = 30.0
_DEPTH: Final = 2
_MARKS: Final = {"directory": "/", "symlink": "@", "fifo": "|", "socket": "="}


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    du = verbs.add("du", run_du, "show how large each name below a path is, and how much is here", "tierctl du /mnt/a")
    summary = verbs.add("summary", run_summary, "show how much is below a path, and is here", "tierctl summary /mnt/a")
    tree = verbs.add("tree", run_tree, "show what is below a path, as a tree", "tierctl tree --state /mnt/data/a")
    tree.add_argument("--state", action="store_true", help="also size, what is here, and what is not in the bucket yet")
    tree.add_argument(
        "--depth", type=_depth, default=_DEPTH, metavar="N", help=f"so many directories deep; default: {_DEPTH}"
    )
    for parser in (du, summary, tree):
        parser.add_argument("path", metavar="PATH", help="a file or directory in a mount")


def _depth(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not how deep; from 1 to 100")
    return int(text)


# --- du, summary


def run_du(options: argparse.Namespace) -> int:
    """By name, largest first."""
    found = _counted(options.path)
    if options.json:
        terminal.print_json(found)
        return ExitCode.OK
    rows = [(*_sizes(row), row["name"] + _MARKS.get(row["type"], "")) for row in found["children"]]
    if found["rest"]:
        rows.append(("", "", "", f"and {found['rest']} more, none of them larger"))
    rows.append((*_sizes(found), "."))
    print(terminal.table(("SIZE", "HERE", "FILES", "NAME"), rows))
    return ExitCode.OK


def run_summary(options: argparse.Namespace) -> int:
    """All together."""
    found = _counted(options.path)
    if options.json:
        terminal.print_json({name: value for name, value in found.items() if name not in ("children", "rest")})
        return ExitCode.OK
    unlisted = f", {found['unlisted']} of them never listed: they may hold more" if found["unlisted"] else ""
    rows = [
        ("files", f"{found['files']}, {format_size(found['size_bytes'])} ({found['size_bytes']} bytes)"),
        ("directories", f"{found['directories']}{unlisted}"),
        ("here", f"{format_size(found['hot_bytes'])}{_share(found)}"),
    ]
    print(terminal.fields(options.path, rows))
    return ExitCode.OK


def _counted(text: str) -> Any:
    entry = registry.find(text)
    path = protocol.path_to_json(registry.path_within(entry, text))
    return call_with_progress(
        entry, "du", {"path": path}, "counting", silence_limit_s=_SILENCE_LIMIT_S,
        describe=lambda progress: f"{progress.get('files', 0)} files",
    )  # fmt: skip


def _sizes(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return format_size(row["size_bytes"]), format_size(row["hot_bytes"]) if row["hot_bytes"] else "-", str(row["files"])


def _share(row: Mapping[str, Any]) -> str:
    return f" ({min(100, 100 * row['hot_bytes'] // row['size_bytes'])} %)" if row["size_bytes"] else ""


# --- tree


def run_tree(options: argparse.Namespace) -> int:
    """Names, directories after each other, as deep as asked."""
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path)
    with connect(entry) as client:
        for depth, where, row in _below(client, path, options.depth):
            if options.json:
                print(terminal.json_line({"path": protocol.path_to_json(where), "depth": depth, **row}))
            else:
                print(_tree_line(depth, row, shows_state=options.state))
    return ExitCode.OK


def _below(client: Client, path: bytes, depth: int, level: int = 0) -> Iterator[tuple[int, bytes, Mapping[str, Any]]]:
    after = ""
    while after is not None:
        page = client.call("children", {"path": protocol.path_to_json(path), "after": after})
        after = page["next"]
        for row in page["entries"]:
            where = b"/".join(filter(None, (path, protocol.path_from_json(row["name"]))))
            yield level, where, row
            if row["type"] == "directory" and level + 1 < depth:
                yield from _below(client, where, depth, level + 1)


def _tree_line(level: int, row: Mapping[str, Any], *, shows_state: bool) -> str:
    name = terminal.printable("  " * level + row["name"] + _MARKS.get(row["type"], ""))
    if not shows_state:
        return name
    size = "" if row["type"] == "directory" else format_size(row["size_bytes"])
    return f"{_state(row):<26} {size:>10}  {terminal.shortened(name, terminal.COLUMNS - 39)}"


def _state(row: Mapping[str, Any]) -> str:
    """Where it is: `hot, pinned, pending`."""
    words = []
    if row["type"] == "file":
        share = 100 * row["hot_bytes"] // row["size_bytes"] if row["size_bytes"] else 100
        words.append(f"partial {min(share, 99)} %" if row["residency"] == "partial" else row["residency"])
    elif row["type"] == "directory" and not row["listed"]:
        words.append("not listed yet")
    if row["pinned"]:
        words.append("pinned")
    if not row["synced"]:
        words.append("not uploaded")
    return ", ".join(words)
