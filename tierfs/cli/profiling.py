"""tierctl profile record|show|stop|replay: which files a job opens, and the same files brought here for the next one.

Standard library only until a profile is read, as all of tierctl. The file is written by whoever stops the recording,
with his own rights; until it is, the daemon keeps what it has recorded.
"""

import argparse
import csv
import gzip
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from tierfs.cli import filelists, tasks, terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs
from tierfs.cli.terminal import format_age
from tierfs.control import protocol, registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.units import NS_PER_S

if TYPE_CHECKING:
    from tierfs.tiering.traces import Trace

_EXAMPLES: Final = """\
examples:
  tierctl profile record /mnt/data/train --output epoch.csv.gz   and run the job
  tierctl profile stop /mnt/data                                 writes the file
  tierctl profile replay epoch.csv.gz                            before the next job
  tierctl policy simulate --trace epoch.csv.gz --policy all --tier 200GiB
"""


class _Row(NamedTuple):
    """A line of a profile; the columns of `tiering.traces`, of which the last one is optional there."""

    time_s: float
    op: str
    key: str
    size_bytes: int
    op_count: int


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    text = "record which files a job opens, and warm them for the next one"
    group = verbs.group("profile", text, _EXAMPLES, "record|show|stop|replay")
    record = group.add(
        "record",
        run_record,
        "note each file that is opened at and below a path",
        "tierctl profile record /mnt/data/train --output epoch.csv.gz",
    )
    show = group.add("show", run_show, "tell what is being recorded", "tierctl profile show /mnt/data")
    stop = group.add("stop", run_stop, "end the recording, and write it", "tierctl profile stop /mnt/data")
    replay = group.add(
        "replay",
        run_replay,
        "bring the files of a profile into the hot tier, in the order of their first use",
        "tierctl profile replay epoch.csv.gz --background",
    )
    record.add_argument("path", nargs="?", metavar="PATH", help="a file or directory in a mount")
    for parser in (show, stop):
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    record.add_argument("--output", metavar="FILE", help="CSV that stop writes; packed where it ends in .gz")
    stop.add_argument("--output", metavar="FILE", help="default: of record, else profile-TIME.csv.gz here")
    replay.add_argument("file", metavar="FILE", help="that stop has written")
    replay.add_argument("--mount", metavar="PATH", help="any path in the mount, where there are several")
    tasks.add_conduct(replay, "warm")


def run_record(options: argparse.Namespace) -> int:
    """Begins it."""
    entry = registry.find(options.path)
    path = protocol.path_to_json(registry.path_within(entry, options.path)) if options.path is not None else ""
    output = str(Path(options.output).absolute()) if options.output else ""
    with connect(entry) as client:
        told = client.call("profile_record", {"path": path, "output": output})
    return _tell(options, told, f"files that are opened in /{path} are noted until tierctl profile stop")


def run_show(options: argparse.Namespace) -> int:
    """What goes on, or waits to be written."""
    with connect(registry.find(options.path)) as client:
        told = client.call("profile_show")
    return _tell(options, told, profile_text(told))


def run_stop(options: argparse.Namespace) -> int:
    """Ends it, and writes it: the order is that of the time, which the daemon hears of a second late for some."""
    with connect(registry.find(options.path)) as client:
        told = client.call("profile_stop")
        output = options.output or told["output"] or _default_name(told["began_ns"])
        rows = sorted(_rows(client))
        try:
            _write(output, rows)
        except OSError as error:
            kept = "what was recorded is kept for tierctl profile stop --output FILE"
            raise ExitError(ExitCode.FAILED, f"cannot write {output}: {error.strerror}; {kept}") from None
        client.call("profile_drop")
    files, opens = len({row.key for row in rows}), sum(row.op_count for row in rows)
    said = f"{output}: {opens:,} opens of {files:,} files in {format_age(told['duration_s'])}"
    lost = f"; {told['dropped']:,} later opens had no room" if told["dropped"] else ""
    return _tell(options, {**told, "output": output, "files": files, "opens": opens}, said + lost)


def _default_name(began_ns: int) -> str:
    return time.strftime("profile-%Y%m%dT%H%M%SZ.csv.gz", time.gmtime(began_ns // NS_PER_S))


def _rows(client: Client) -> list[_Row]:
    """All of them. A key that comes again is the same object: there may be a million rows."""
    keys: dict[str, str] = {}
    rows: list[_Row] = []
    after: int | None = 0
    while after is not None:
        page = client.call("profile_page", {"after": after})
        rows += [_Row(**{**row, "key": keys.setdefault(row["key"], row["key"])}) for row in page["accesses"]]
        after = page["next"]
    return rows


def _write(output: str, rows: list[_Row]) -> None:
    with _created(output) as file:
        writer = csv.writer(file)
        writer.writerow(_Row._fields)
        writer.writerows((f"{row.time_s:.6f}", *row[1:]) for row in rows)


def _created(output: str) -> TextIO:
    # a path need not be UTF-8
    if output.endswith(".gz"):
        return gzip.open(output, "wt", encoding="utf-8", errors="surrogateescape", newline="")
    return Path(output).open("w", encoding="utf-8", errors="surrogateescape", newline="")


def run_replay(options: argparse.Namespace) -> int:
    """As `tierctl warm --filelist` of the files that were read before they were written."""
    # what it takes is some 50 ms, which no other verb of these needs
    from tierfs.errors import ConfigError
    from tierfs.tiering import traces

    try:
        trace = traces.read(Path(options.file))
    except ConfigError as error:
        raise ExitError(ExitCode.FAILED, str(error)) from None
    paths = needed(trace)
    if not paths:
        raise ExitError(ExitCode.FAILED, f"{options.file}: no file in it was read that has a name")
    return tasks.start_each(options, registry.find(options.mount), filelists.batches(paths))


def needed(trace: "Trace") -> list[str]:
    """The files whose bytes the job needed from the bucket, by their first use: of what it wrote first, it made them.

    A key that begins with "/" is no path within the mount: the file had no name any more.
    """
    first: dict[int, bool] = {}
    for _, number, _, is_write in sorted(trace.accesses, key=lambda access: access[0]):
        first.setdefault(number, is_write)
    names = (trace.names[number] for number, is_write in first.items() if not is_write)
    return [name for name in names if name and not name.startswith("/")]


def profile_text(told: Mapping[str, Any]) -> str:
    """Some lines."""
    rows = [
        ("state", "recording" if told["is_recording"] else "ended; tierctl profile stop --output FILE writes it"),
        ("for", format_age(told["duration_s"])),
        ("noted", f"{told['accesses']:,}"),
    ]
    rows += [("no room", f"{told['dropped']:,}")] if told["dropped"] else []
    rows += [("output", told["output"])] if told["output"] else []
    return terminal.fields(f"profile of /{told['path']}", rows)


def _tell(options: argparse.Namespace, told: Mapping[str, Any], text: str) -> int:
    if options.json:
        terminal.print_json(told)
    else:
        print("\n".join(terminal.printable(line) for line in text.split("\n")))
    return ExitCode.OK
