"""tierctl: asks running mounts over their control sockets.

Only a client: it imports nothing but the standard library and `tierfs.control`'s light half, because
it runs in scripts and prompts and has to start within 150 ms.
"""

import argparse
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tierfs import __version__
from tierfs.cli import conflicts, events, removals, tasks, terminal, versions, watching
from tierfs.cli.connecting import call_with_progress, connect
from tierfs.cli.terminal import format_age
from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode
from tierfs.control.exitcodes import table as exit_code_table
from tierfs.units import format_size, parse_duration_s

_EXAMPLES: Final = """\
examples:
  tierctl status                        the only mount of this machine
  tierctl status /mnt/data --json       one of several, for programs
  tierctl info /mnt/data/model.pt       is it here, is it in the bucket?
  tierctl sync /mnt/data/results        upload now, and wait for it
  tierctl wait --synced /mnt/data/results --timeout 10min
  tierctl queue                         what waits for the bucket, and why
  tierctl watch --json                  what happens on both sides, a line each
  tierctl sync held                     what the bucket has lost and is kept here
  tierctl warm /mnt/data/train          bring it to the local disk, and wait
  tierctl tasks list                    long work that goes on
  tierctl conflicts list                files that were changed here and in the bucket
  tierctl undelete /mnt/data/results    what was deleted there, from the versions of the bucket
  tierctl events setup --dry-run        what the bucket needs to tell of its changes
  tierctl mounts                        what is mounted
"""
_SYNC_ACTIONS: Final = ("held", "approve", "reject")
_CONFLICT_EXAMPLES: Final = """\
examples:
  tierctl conflicts list /mnt/data/results   those at or below a path
  tierctl conflicts diff 3                   how the versions of number 3 differ
  tierctl conflicts resolve 3 --keep local   the local version gets the name
"""
_EVENT_EXAMPLES: Final = """\
examples:
  tierctl events setup --dry-run                        what the bucket needs to tell of its changes
  tierctl events setup                                  set that
  tierctl events setup --arn arn:minio:sqs::1:webhook   where the server has a name for the target
  tierctl events status                                 do they arrive?
"""
_TASK_EXAMPLES: Final = """\
examples:
  tierctl tasks list                        what runs, waits and has ended
  tierctl tasks wait 3                      until it has ended; Ctrl-C leaves it running
  tierctl tasks show 3 --report failed.csv  FilePath,FileStatus,ErrorCode of each file that it failed for
  tierctl tasks cancel 3                    end it; of a rename: take it back
"""
_CODES: Final = (
    ExitCode.OK,
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NO_DAEMON,
    ExitCode.TIMEOUT,
    ExitCode.PERMISSION,
    ExitCode.NOT_FOUND,
    ExitCode.INCOMPATIBLE,
    ExitCode.CANCELLED,
    ExitCode.BUSY,
    ExitCode.INTERRUPTED,
)
_WARNING_COLUMNS: Final = 64
_MODES: Final = {"on-close": "close(2) waits until the bucket has them", "read-only": "none, by a rule of the settings"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    return terminal.run_command("tierctl", lambda: int(options.run(options)), as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tierctl",
        description="Asks and steers tierfs mounts. PATH is any path in a mount; with one mount it may be left out.",
        epilog=f"{_EXAMPLES}\nexit codes:\n{exit_code_table(*_CODES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tierctl {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object, for programs")

    def verb(name: str, run: Any, text: str, example: str, group: Any = verbs) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = group.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  {example}",
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    status = verb("status", _status, "show the state of a mount", "tierctl status /mnt/data")
    status.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    info = verb("info", _info, "show where a file is and whether it is in the bucket", "tierctl info /mnt/data/a.csv")
    info.add_argument("path", metavar="PATH", help="a file or directory in a mount")
    _add_sync(verb)
    wait = verb(
        "wait", _wait, "wait until everything is in the bucket", "tierctl wait --synced /mnt/data --timeout 10min"
    )
    wait.add_argument("--synced", action="store_true", required=True, help="what to wait for")
    wait.add_argument("--timeout", type=_duration, metavar="TIME", help="such as 30s or 10min; default: no limit")
    wait.add_argument("path", nargs="?", metavar="PATH", help="only what is below it")
    _add_watching(verb)
    _add_conflicts(verbs, verb)
    _add_events(verbs, verb)
    _add_versions(verb)
    _add_tasks(verbs, verb)
    verb("mounts", _mounts, "list the mounts of this machine that you can see", "tierctl mounts --json")
    return parser


def _add_sync(verb: Callable[..., argparse.ArgumentParser]) -> None:
    sync = verb("sync", _sync, "upload what is pending now and wait for it", "tierctl sync /mnt/data/results")
    sync.add_argument("path", nargs="?", metavar="PATH", help="only what is below it (a file named held: ./held)")
    held = verb(
        "sync held", removals.run_held, "show what the bucket has lost and is kept here", "tierctl sync held /mnt/data"
    )
    approve = verb(
        "sync approve", removals.run_approve, "remove here, too, what sync held shows", "tierctl sync approve --dry-run"
    )
    reject = verb(
        "sync reject",
        removals.run_reject,
        "keep what sync held shows, and upload again what is here whole",
        "tierctl sync reject /mnt/data",
    )
    for parser in (approve, reject):
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    for parser in (held, approve, reject):
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def _add_watching(verb: Callable[..., argparse.ArgumentParser]) -> None:
    queue = verb("queue", watching.run_queue, "show what waits for the bucket, and why", "tierctl queue /mnt/data/a")
    queue.add_argument("--all", action="store_true", help="not only the oldest 50")
    queue.add_argument("path", nargs="?", metavar="PATH", help="only what is there or below it")
    watch = verb("watch", watching.run_watch, "show what happens on both sides, a line each", "tierctl watch --json")
    watch.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def _add_versions(verb: Callable[..., argparse.ArgumentParser]) -> None:
    shown = verb(
        "versions",
        versions.run_versions,
        "show the versions of a file, or the deleted files of a directory, that the bucket keeps",
        "tierctl versions /mnt/data/results",
    )
    shown.add_argument("--all", action="store_true", help="of a directory also what is not deleted")
    undelete = verb(
        "undelete",
        versions.run_undelete,
        "bring back a deleted file, or all that was deleted in a directory",
        "tierctl undelete /mnt/data/results --dry-run",
    )
    undelete.add_argument("--dry-run", action="store_true", help="only say what would come back")
    for parser in (shown, undelete):
        parser.add_argument("path", metavar="PATH", help="where it is or was")


def _joined(words: Sequence[str]) -> Sequence[str]:
    """The verbs of two words are one for argparse, since `sync` alone is a verb, too."""
    if words[:1] == ["sync"] and words[1:2] and words[1] in _SYNC_ACTIONS:
        return [" ".join(words[:2]), *words[2:]]
    return words


def _add_group(verbs: Any, name: str, text: str, examples: str, members: str) -> Any:
    """A verb that has verbs of its own."""
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"{examples}\nexit codes:\n{exit_code_table(*_CODES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_subparsers(metavar=members, required=True)


def _add_conflicts(verbs: Any, verb: Callable[..., argparse.ArgumentParser]) -> None:
    text = "show and resolve files that were changed here and in the bucket"
    group = _add_group(verbs, "conflicts", text, _CONFLICT_EXAMPLES, "list|diff|resolve")
    shown = verb("list", conflicts.run_list, "list them, oldest first", "tierctl conflicts list /mnt/data", group)
    shown.add_argument("path", nargs="?", metavar="PATH", help="only what is there or below it")
    diff = verb("diff", conflicts.run_diff, "show how both versions differ", "tierctl conflicts diff 3", group)
    diff.add_argument("id", type=_number_of("conflict"), metavar="ID", help="the number that list shows")
    resolve = verb(
        "resolve",
        conflicts.run_resolve,
        "keep one version, which gets the name, or both as they are",
        "tierctl conflicts resolve 3 --keep local",
        group,
    )
    resolve.add_argument("id", type=_number_of("conflict"), nargs="+", metavar="ID", help="numbers that list shows")
    resolve.add_argument("--keep", choices=conflicts.KEEP_CHOICES, required=True, help="whose version")
    resolve.add_argument("--dry-run", action="store_true", help="only say what would be done")
    for parser in (diff, resolve):
        parser.add_argument("--mount", metavar="PATH", help="any path in the mount, where there are several")


def _add_events(verbs: Any, verb: Callable[..., argparse.ArgumentParser]) -> None:
    text = "show how changes in the bucket are heard of, or have the bucket tell"
    group = _add_group(verbs, "events", text, _EVENT_EXAMPLES, "status|setup")
    shown = verb("status", events.run_status, "show whether events arrive", "tierctl events status /mnt/data", group)
    setup = verb(
        "setup",
        events.run_setup,
        "add what is missing to the bucket's notifications and the queue's policy",
        "tierctl events setup /mnt/data --dry-run",
        group,
    )
    setup.add_argument("--dry-run", action="store_true", help="only show what would be set")
    setup.add_argument("--arn", default="", metavar="ARN", help="where events go; default: the queue of the settings")
    for parser in (shown, setup):
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def _add_tasks(verbs: Any, verb: Callable[..., argparse.ArgumentParser]) -> None:
    for kind, text in tasks.KINDS.items():
        work = verb(kind, tasks.run_start, text, f"tierctl {kind} /mnt/data/train")
        work.set_defaults(kind=kind)
        work.add_argument("path", metavar="PATH", help="a file or directory in a mount")
        work.add_argument("--background", action="store_true", help="do not wait for it; tierctl tasks shows it")
        work.add_argument("--dry-run", action="store_true", help="only say what would be done")
    text = "show and end long work on paths"
    group = _add_group(verbs, "tasks", text, _TASK_EXAMPLES, "list|show|wait|cancel")
    shown = verb("list", tasks.run_list, "list them, oldest first", "tierctl tasks list /mnt/data", group)
    shown.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    show = verb("show", tasks.run_show, "show one, and what it failed for", "tierctl tasks show 3", group)
    show.add_argument("--report", metavar="FILE", help="write its failures there as CSV; -: standard output")
    wait = verb("wait", tasks.run_wait, "wait until it has ended", "tierctl tasks wait 3 --timeout 1h", group)
    wait.add_argument("--timeout", type=_duration, metavar="TIME", help="such as 30s or 10min; default: no limit")
    cancel = verb("cancel", tasks.run_cancel, "end it; of a rename: take it back", "tierctl tasks cancel 3", group)
    for parser in (show, wait, cancel):
        parser.add_argument("id", type=_number_of("task"), metavar="ID", help="the number that list shows")
        parser.add_argument("--mount", metavar="PATH", help="any path in the mount, where there are several")


def _number_of(what: str) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 18:
            raise argparse.ArgumentTypeError(f"{text!r} is not the number of a {what}; tierctl {what}s list shows them")
        return int(text)

    return number


def _duration(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# --- verbs


def _status(options: argparse.Namespace) -> int:
    with connect(registry.find(options.path)) as client:
        status = client.call("status")
    if options.json:
        terminal.print_json(status)
    else:
        print(_status_text(status))
    return ExitCode.OK


def _info(options: argparse.Namespace) -> int:
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path)
    with connect(entry) as client:
        info = client.call("info", {"path": protocol.path_to_json(path)})
    if options.json:
        terminal.print_json(info)
    else:
        print(_info_text(options.path, info))
    return ExitCode.OK


def _sync(options: argparse.Namespace) -> int:
    return _until_synced(options, "sync", {}, "uploading")


def _wait(options: argparse.Namespace) -> int:
    timeout = {} if options.timeout is None else {"timeout_s": options.timeout}
    return _until_synced(options, "wait", timeout, "waiting")


def _until_synced(options: argparse.Namespace, verb: str, args: Mapping[str, Any], doing: str) -> int:
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path) if options.path is not None else None
    where = {} if path is None else {"path": protocol.path_to_json(path)}
    result = call_with_progress(entry, verb, {**where, **args}, doing, silence_limit_s=30.0)
    if options.json:
        terminal.print_json(result)
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


# --- what people read


def _status_text(status: Mapping[str, Any]) -> str:
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
        first, *more = textwrap.wrap(warning, _WARNING_COLUMNS)
        rows += [("server", first), *(("", line) for line in more)]
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


def _info_text(path: str, info: Mapping[str, Any]) -> str:
    here = info["residency"]
    if here == "partial":
        here += f", {format_size(info['hot_bytes'])} here"
    rows = [
        ("type", f"{info['type']}, {info['mode'] & 0o7777:04o}, owner {info['uid']}:{info['gid']}"),
        ("size", f"{format_size(info['size_bytes'])} ({info['size_bytes']} bytes)"),
        ("modified", _time(info["mtime_ns"])),
        ("local disk", here),
        ("bucket", "up to date" if info["synced"] else "not yet: upload pending"),
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


def _time(time_ns: int) -> str:
    whole, fraction = divmod(time_ns, 1_000_000_000)
    try:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))}.{fraction:09d}"
    except (OverflowError, OSError, ValueError):
        return f"{time_ns} ns"


if __name__ == "__main__":
    sys.exit(main())
