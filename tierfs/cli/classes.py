"""tierctl state, archive, restore and tier ls|set: where files lie, and in which class of the bucket.

Standard library only, as all of tierctl.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tierfs.cli import filelists, tasks, terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs, number_of
from tierfs.control import protocol, registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode
from tierfs.units import format_size

_CLASSES: Final = (
    "STANDARD",
    "INTELLIGENT_TIERING",
    "STANDARD_IA",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
)
_EXAMPLES: Final = """\
examples:
  tierctl tier ls /mnt/data/results                     how much is in which class
  tierctl tier set /mnt/data/results STANDARD_IA        move all that is closed and uploaded
"""
_SILENCE_S: Final = 60.0


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    state = verbs.add(
        "state", _state, "show where files are: exists, dirty, archived, released ...", "tierctl state -r /mnt/data/old"
    )
    filelists.add_paths(state)
    state.add_argument("-r", "--recursive", action="store_true", help="all files below, too")
    archive = verbs.add(
        "archive", _start_archive, "upload what is at and below a path, and move it to an archive",
        "tierctl archive /mnt/data/2019 --class DEEP_ARCHIVE",
    )  # fmt: skip
    tasks.add_work(archive, "archive")
    archive.add_argument("--class", dest="storage_class", choices=("GLACIER", "DEEP_ARCHIVE"), help="default: as set")
    restore = verbs.add(
        "restore", _start_restore, "ask archived files back, at and below a path",
        "tierctl restore /mnt/data/2019 --speed bulk --dry-run",
    )  # fmt: skip
    tasks.add_work(restore, "restore")
    restore.add_argument("--speed", choices=("expedited", "standard", "bulk"), help="default: as set")
    restore.add_argument(
        "--days", type=number_of("day"), help="how long the bucket's copy can be read; default: as set"
    )
    group = verbs.group("tier", "show and change the storage classes of files", _EXAMPLES, "ls|set")
    shown = group.add("ls", _list, "show how much is in which class", "tierctl tier ls /mnt/data")
    shown.add_argument("path", nargs="?", metavar="PATH", help="only what is at or below it")
    moved = group.add("set", _start_tier, "move files to a class", "tierctl tier set /mnt/data/old STANDARD_IA")
    moved.set_defaults(kind="tier", filelist=None)
    moved.add_argument("path", metavar="PATH", help="a file or directory in a mount")
    moved.add_argument("storage_class", metavar="CLASS", choices=_CLASSES, help=", ".join(_CLASSES))
    moved.add_argument("--background", action="store_true", help="do not wait for it; tierctl tasks shows it")
    moved.add_argument("--dry-run", action="store_true", help="only say what would be done")


# --- state


def _state(options: argparse.Namespace) -> int:
    code = ExitCode.OK
    entry, requests = filelists.requests_of(options)
    with connect(entry) as client:
        files = [file for batch in requests for path in batch for file in _states(client, path, options.recursive)]
    if options.json:
        terminal.print_json({"files": files})
    else:
        for file in files:
            print(terminal.printable(f"/{file['path']}: {_state_text(file)}"))
    return code


def _states(client: Client, path: str, recursive: bool) -> Iterator[Mapping[str, Any]]:
    args: dict[str, Any] = {"path": path, "recursive": recursive}
    page = client.call("state", args)
    yield from page["files"]
    while page["next"] is not None:
        page = client.call("state", {**args, "after": page["next"]})
        yield from page["files"]


def _state_text(file: Mapping[str, Any]) -> str:
    words = [f"partial {file['here_percent']} %" if flag == "partial" else flag for flag in file["flags"]]
    text = " ".join(words) or "new"
    if file["storage_class"]:
        text += f", {file['storage_class']}"
    return text + _restore_text(file["restore"])


def _restore_text(restore: Mapping[str, Any] | None) -> str:
    if restore is None:
        return ""
    if restore["stage"] == "failed":
        return f", could not be restored: {restore['message']}"
    if restore["stage"] == "ready":
        return ", restored and being fetched"
    return f", on its way back{_by(restore['ready_ns'])}"


def _by(ready_ns: int) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(ready_ns // 1_000_000_000))
    return f", readable by {when}" if ready_ns else ""


# --- tasks


def _start_archive(options: argparse.Namespace) -> int:
    options.asked = {"class": options.storage_class} if options.storage_class else {}
    return tasks.run_start(options)


def _start_tier(options: argparse.Namespace) -> int:
    options.asked = {"class": options.storage_class}
    return tasks.run_start(options)


def _start_restore(options: argparse.Namespace) -> int:
    chosen = {"speed": options.speed, "days": options.days}
    options.asked = {name: value for name, value in chosen.items() if value}
    return tasks.run_start(options)


# --- tier ls


def _list(options: argparse.Namespace) -> int:
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path) if options.path is not None else b""
    with connect(entry, _SILENCE_S) as client:
        found = client.call("tier_list", {"path": protocol.path_to_json(path)})
    if options.json:
        terminal.print_json(found)
        return ExitCode.OK
    rows = [
        (row["class"], str(row["files"]), format_size(row["bytes"]), format_size(row["here_bytes"]))
        for row in found["classes"]
    ]
    print(terminal.table(("CLASS", "FILES", "SIZE", "ON THE LOCAL DISK"), rows))
    for reason in dict.fromkeys(row["refusal"] for row in found["classes"] if row["refusal"]):
        names = ", ".join(row["class"] for row in found["classes"] if row["refusal"] == reason)
        print(f"nothing is moved to {names}: {reason}")
    restores = found["restores"]
    if restores["files"]:
        size = format_size(restores["size_bytes"])
        print(f"on their way back: {restores['files']} files, {size}{_by(restores['ready_ns'])}")
    if restores["failed"]:
        print(f"could not be restored: {restores['failed']} files; tierctl state -r shows them")
    for name, moves in found["moves"]["rules"].items():
        if moves["stopped"]:
            print(terminal.printable(f"the rule {name!r} is stopped: {moves['stopped']}"))
    return ExitCode.OK
