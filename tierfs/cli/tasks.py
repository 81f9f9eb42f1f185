"""tierctl import|export|warm|release|verify PATH, and tierctl tasks list|show|wait|cancel.

The verbs about storage classes are tasks, too: see `classes`.

Standard library only, as all of tierctl. Who stops waiting does not end a task: it is the daemon's.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

from tierfs.cli import filelists, terminal
from tierfs.cli.connecting import call_with_progress, connect
from tierfs.cli.grammar import Verbs, duration, number_of
from tierfs.cli.terminal import format_age
from tierfs.control import registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry
from tierfs.units import format_size

KINDS: Final[Mapping[str, str]] = {
    "import": "list all directories of the bucket at and below a path now",
    "export": "upload what is pending at and below a path now, past what cannot be",
    "warm": "bring all bytes at and below a path into the hot tier",
    "release": "let the bytes at and below a path leave the hot tier, where the bucket has them",
    "pin": "keep all files at and below a path in the hot tier, and bring their bytes there",
    "unpin": "let files that were pinned leave the hot tier again",
    "verify": "compare the bytes in the hot tier with the bucket's",
    "scrub": "read the bytes in the hot tier again, and heal what is damaged here or in the bucket",
    "salvage": "bring files in lost+found of the cache back to their places",
}
_NOUNS: Final = {
    "import": ("directory", "directories"),
    "export": ("change", "changes"),
    "rename": ("object", "objects"),
}
_NOTES: Final = {
    "pinned": "pinned",
    "changed_names": "names changed",
    "by_checksum": "proven by their checksum",
    "by_ranges": "as they were fetched",
    "by_etag": "proven by their ETag",
    "unproven": "by version and size only",
    "changed_meanwhile": "changed meanwhile",
    "healed_here": "healed from the bucket",
    "healed_in_bucket": "healed in the bucket",
    "restored": "back in their places",
    "put_beside": "beside what has their names",
    "copies_removed": "removed, since the bucket has their bytes",
}
_BAR_COLUMNS: Final = 20
_SHOWN_FAILURES: Final = 10
_SILENCE_S: Final = 60.0  # a dry run may have to list directories
_REPORT_HEADER: Final = ("FilePath", "FileStatus", "ErrorCode")


_EXAMPLES: Final = """\
examples:
  tierctl tasks list                        what runs, waits and has ended
  tierctl tasks wait 3                      until it has ended; Ctrl-C leaves it running
  tierctl tasks show 3 --report failed.csv  FilePath,FileStatus,ErrorCode of each file that it failed for
  tierctl tasks cancel 3                    end it; of a rename: take it back
"""


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    for kind, text in KINDS.items():
        work = verbs.add(kind, run_start, text, f"tierctl {kind} /mnt/data/train")
        add_work(work, kind)
    text = "show and end long work on paths"
    group = verbs.group("tasks", text, _EXAMPLES, "list|show|wait|cancel")
    shown = group.add("list", run_list, "list them, oldest first", "tierctl tasks list /mnt/data")
    shown.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    show = group.add("show", run_show, "show one, and what it failed for", "tierctl tasks show 3")
    show.add_argument("--report", metavar="FILE", help="write its failures there as CSV; -: standard output")
    wait = group.add("wait", run_wait, "wait until it has ended", "tierctl tasks wait 3 --timeout 1h")
    wait.add_argument("--timeout", type=duration, metavar="TIME", help="such as 30s or 10min; default: no limit")
    cancel = group.add("cancel", run_cancel, "end it; of a rename: take it back", "tierctl tasks cancel 3")
    for parser in (show, wait, cancel):
        parser.add_argument("id", type=number_of("task"), metavar="ID", help="the number that list shows")
        parser.add_argument("--mount", metavar="PATH", help="any path in the mount, where there are several")


def add_work(parser: argparse.ArgumentParser, kind: str) -> None:
    """The arguments of a verb that starts a task for paths."""
    filelists.add_paths(parser)
    add_conduct(parser, kind)


def add_conduct(parser: argparse.ArgumentParser, kind: str) -> None:
    """The same without the paths."""
    parser.set_defaults(kind=kind, asked={})
    parser.add_argument("--background", action="store_true", help="do not wait for it; tierctl tasks shows it")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def run_start(options: argparse.Namespace) -> int:
    """For the paths of the command line."""
    return start_each(options, *filelists.requests_of(options))


def start_each(options: argparse.Namespace, entry: Entry, requests: Iterator[list[str]]) -> int:
    """Starts a task and waits for it, unless it shall run in the background; a long list is several, in turn.

    `options.asked`: what its kind needs beside the paths, as `task_start` takes it.
    """
    return max(_start(options, entry, paths) for paths in requests)


def _start(options: argparse.Namespace, entry: Entry, paths: list[str]) -> int:
    path, *others = paths
    args = {"kind": options.kind, "path": path, "dry_run": options.dry_run, **options.asked}
    with connect(entry, _SILENCE_S) as client:
        task = client.call("task_start", {**args, "others": others} if others else args)
    if options.dry_run:
        amount = _amount(task["total"], task["total_bytes"], task)
        return _tell(options, task, f"{_what(task)}: {', '.join([f'{amount} to be done', *_notes(task)])}")
    if options.background:
        return _tell(options, task, f"task {task['id']} is {task['state']}; tierctl tasks wait {task['id']}")
    return _outcome(options, _waited(entry, task, {}))


def _tell(options: argparse.Namespace, task: Mapping[str, Any], text: str) -> int:
    if options.json:
        terminal.print_json(task)
    else:
        print(terminal.printable(text))
    return ExitCode.OK


def run_list(options: argparse.Namespace) -> int:
    """All pages of them."""
    with connect(registry.find(options.path)) as client:
        found = list(_pages(client, "tasks", {}))
    if options.json:
        terminal.print_json({"tasks": found})
    elif found:
        rows = [(str(task["id"]), task["kind"], task["state"], _share(task), "/" + str(task["path"])) for task in found]
        print(terminal.table(("ID", "KIND", "STATE", "PROGRESS", "PATH"), rows))
    return ExitCode.OK


def run_show(options: argparse.Namespace) -> int:
    """One task; with --report also the files that it failed for, as CSV."""
    with connect(registry.find(options.mount)) as client:
        task = client.call("task", {"id": options.id})
        if options.report is not None:
            written = _write_report(options.report, _pages(client, "task_failures", {"id": options.id}))
            if written < task["failed"]:
                print(f"tierctl: only the first {written} of {task['failed']} are known", file=sys.stderr)
            return ExitCode.OK
        first = client.call("task_failures", {"id": options.id})["failures"][:_SHOWN_FAILURES]
    if options.json:
        terminal.print_json(task)
    else:
        print(_text(task, first))
    return ExitCode.OK


def run_wait(options: argparse.Namespace) -> int:
    """Until it has ended."""
    entry = registry.find(options.mount)
    with connect(entry) as client:
        task = client.call("task", {"id": options.id})
    timeout = {} if options.timeout is None else {"timeout_s": options.timeout}
    return _outcome(options, _waited(entry, task, timeout))


def run_cancel(options: argparse.Namespace) -> int:
    """Ends it; of a rename: takes it back."""
    with connect(registry.find(options.mount), _SILENCE_S) as client:
        task = client.call("task_cancel", {"id": options.id})
    ending = "the rename is taken back" if task["kind"] == "rename" else f"{_what(task)}: {task['state']}"
    return _tell(options, task, ending if task["state"] != "running" else f"{ending}, and will end")


def _pages(client: Client, verb: str, args: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    name = "failures" if verb == "task_failures" else verb
    page = client.call(verb, args)
    yield from page[name]
    while page["next"] is not None:
        page = client.call(verb, {**args, "after": page["next"]})
        yield from page[name]


def _waited(entry: Entry, task: Mapping[str, Any], timeout: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task when it has ended."""
    number = task["id"]
    try:
        ended: Mapping[str, Any] = call_with_progress(
            entry, "task_wait", {"id": number, **timeout}, task["kind"], silence_limit_s=30.0, describe=progress_text
        )
    except KeyboardInterrupt:
        raise ExitError(
            ExitCode.INTERRUPTED,
            f"task {number} goes on; tierctl tasks wait {number} waits for it, tierctl tasks cancel {number} ends it",
        ) from None
    return ended


def _outcome(options: argparse.Namespace, task: Mapping[str, Any]) -> int:
    """Tells how a task ended; returns the exit code that says it."""
    code = exit_code_of(task)
    if options.json:
        terminal.print_json(task)
    elif task["code"]:
        raise ExitError(code, f"{_what(task)}: {task['message']}")
    else:
        print(terminal.printable(f"{_what(task)}: {_result(task)}"))
    return code


def exit_code_of(task: Mapping[str, Any]) -> ExitCode:
    """DONE 0; what failed 1, for a path that is not there 6; what was cancelled, or ended with the daemon, 8."""
    if task["state"] in ("cancelled", "interrupted"):
        return ExitCode.CANCELLED
    if task["code"] in ("ENOENT", "ENOTDIR"):
        return ExitCode.NOT_FOUND
    return ExitCode.OK if task["state"] == "done" else ExitCode.FAILED


def _write_report(target: str, failures: Iterator[Mapping[str, Any]]) -> int:
    """Returns how many there were."""
    if target == "-":
        return _write_rows(sys.stdout, failures)
    try:
        # a path need not be UTF-8
        with open(target, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:  # noqa: PTH123
            return _write_rows(file, failures)
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot write {target}: {error.strerror}") from None


def _write_rows(file: TextIO, failures: Iterator[Mapping[str, Any]]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_REPORT_HEADER)
    written = 0
    for failure in failures:
        writer.writerow((failure["path"], "failed", failure["code"]))
        written += 1
    return written


# --- what people read


def progress_text(task: Mapping[str, Any]) -> str:
    """One line while somebody waits: a bar where the end is known."""
    if task["state"] == "queued":
        return "waits for its turn"
    amount = _amount(task["total"], task["total_bytes"], task)
    if not task["is_counted"]:
        return f"{amount} so far"
    ended = task["done"] + task["failed"]
    share = ended / task["total"] if task["total"] else 1.0
    bar = "#" * int(_BAR_COLUMNS * share)
    text = f"[{bar:.<{_BAR_COLUMNS}}] {ended} of {amount}"
    if task["failed"]:
        text += f", {task['failed']} failed"
    return text if task["eta_s"] is None else f"{text}, {format_age(task['eta_s'])} left"


def _what(task: Mapping[str, Any]) -> str:
    more = f" and {task['more_paths']} more" if task.get("more_paths") else ""
    return f"{task['kind']} of /{task['path']}{more}"


def _amount(count: int, size_bytes: int, task: Mapping[str, Any]) -> str:
    size = f", {format_size(size_bytes)}" if size_bytes else ""
    return f"{count} {_NOUNS.get(task['kind'], ('file', 'files'))[count != 1]}{size}"


def _notes(task: Mapping[str, Any]) -> list[str]:
    notes = dict(task["notes"])
    hours, millis = notes.pop("within_h", 0), notes.pop("cost_millis", 0)
    found = [f"{count} {_NOTES.get(name, name)}" for name, count in notes.items()]
    found += [f"readable within {hours} h"] if hours else []
    return found + ([f"costs about {millis / 1000:.2f} in the currency of the price table"] if millis else [])


def _result(task: Mapping[str, Any]) -> str:
    parts = [_amount(task["done"], task["done_bytes"], task)]
    parts += _notes(task)
    if task["failed"]:
        parts.append(f"{task['failed']} failed; tierctl tasks show {task['id']} --report FILE")
    return f"{task['state']}, {', '.join(parts)}"


def _share(task: Mapping[str, Any]) -> str:
    ended = task["done"] + task["failed"]
    if not task["is_counted"]:
        return f"{ended} so far"
    return f"{ended} of {task['total']}" + (f", {task['failed']} failed" if task["failed"] else "")


def _text(task: Mapping[str, Any], failures: list[Mapping[str, Any]]) -> str:
    rows = [("state", str(task["state"])), ("asked", _time(task["created_ns"]))]
    if task["started_ns"]:
        rows.append(("took" if task["ended_ns"] else "runs for", format_age(task["elapsed_s"])))
    if task["state"] == "running":
        rows.append(("progress", progress_text(task)))
    else:
        rows.append(("result", _amount(task["done"], task["done_bytes"], task)))
    rows += [("", note) for note in _notes(task)]
    if task["message"]:
        rows.append(("error", task["message"]))
    if task["failed"]:
        rows.append(("failed", str(task["failed"])))
    rows += [("", f"{failure['code']}: {failure['path']}") for failure in failures]
    if task["failed"] > len(failures):
        rows.append(("", "--report FILE lists them"))
    return terminal.fields(f"task {task['id']}: {_what(task)}", rows)


def _time(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns // 1_000_000_000))
