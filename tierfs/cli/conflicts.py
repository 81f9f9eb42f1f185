"""tierctl conflicts: which files were changed on both sides, how the versions differ, and an end to it.

Standard library only, as all of tierctl. The daemon says what there is; the diff of two short texts is made here, so
that a long comparison costs nobody but who asks.
"""

import argparse
import difflib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs, number_of
from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.units import format_size

KEEP_CHOICES: Final = ("bucket", "local", "both")
_KINDS: Final = {
    "both-changed": "changed here and there",
    "name-taken": "renamed here, new there",
    "deleted-here-changed-there": "deleted here, changed there",
    "base-lost": "changed here, rest lost there",
}
_SIDES: Final = ("bucket", "local")
_WAITS_S: Final = 60.0  # a version may have to come from the bucket first
_FATAL: Final = (ExitCode.NO_DAEMON, ExitCode.INCOMPATIBLE)


_EXAMPLES: Final = """\
examples:
  tierctl conflicts list /mnt/data/results   those at or below a path
  tierctl conflicts diff 3                   how the versions of number 3 differ
  tierctl conflicts resolve 3 --keep local   the local version gets the name
"""


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    text = "show and resolve files that were changed here and in the bucket"
    group = verbs.group("conflicts", text, _EXAMPLES, "list|diff|resolve")
    shown = group.add("list", run_list, "list them, oldest first", "tierctl conflicts list /mnt/data")
    shown.add_argument("path", nargs="?", metavar="PATH", help="only what is there or below it")
    diff = group.add("diff", run_diff, "show how both versions differ", "tierctl conflicts diff 3")
    diff.add_argument("id", type=number_of("conflict"), metavar="ID", help="the number that list shows")
    resolve = group.add(
        "resolve",
        run_resolve,
        "keep one version, which gets the name, or both as they are",
        "tierctl conflicts resolve 3 --keep local",
    )
    resolve.add_argument("id", type=number_of("conflict"), nargs="+", metavar="ID", help="numbers that list shows")
    resolve.add_argument("--keep", choices=KEEP_CHOICES, required=True, help="whose version")
    resolve.add_argument("--dry-run", action="store_true", help="only say what would be done")
    for parser in (diff, resolve):
        parser.add_argument("--mount", metavar="PATH", help="any path in the mount, where there are several")


def run_list(options: argparse.Namespace) -> int:
    """All pages of them."""
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path) if options.path is not None else b""
    found: list[Mapping[str, Any]] = []
    after: int | None = 0
    with connect(entry) as client:
        while after is not None:
            page = client.call("conflicts", {"after": after, "path": protocol.path_to_json(path)})
            found += page["conflicts"]
            after = page["next"]
    if options.json:
        terminal.print_json({"conflicts": found})
    elif found:
        print(_list_text(found))
    return ExitCode.OK


def run_diff(options: argparse.Namespace) -> int:
    """What is known of both versions, then a diff, or where they differ."""
    with connect(registry.find(options.mount), _WAITS_S) as client:
        answer = client.call("conflict_diff", {"id": options.id})
    lines = _diff(answer)
    if options.json:
        content = answer["content"]
        if content is not None:
            del content["texts"]  # the diff says it
            content["diff"] = lines
        terminal.print_json(answer)
    else:
        print(_diff_text(answer, lines))
    return ExitCode.OK


def run_resolve(options: argparse.Namespace) -> int:
    """One after the other; what fails is told, and the others are resolved all the same."""
    done: list[Mapping[str, Any]] = []
    failed: list[tuple[int, ExitError]] = []
    with connect(registry.find(options.mount), _WAITS_S) as client:
        for number in options.id:
            args = {"id": number, "keep": options.keep, "dry_run": options.dry_run}
            try:
                done.append(client.call("conflict_resolve", args))
            except ExitError as error:
                if error.code in _FATAL:
                    raise
                failed.append((number, error))
    if options.json:
        failures = [
            {"id": number, "exit_code": int(failure.code), "message": str(failure), "errno": failure.errno}
            for number, failure in failed
        ]
        terminal.print_json({"resolved": done, "failed": failures})
    else:
        for result in done:
            print(terminal.printable(_resolved_text(result)))
    for number, failure in failed:
        print(f"tierctl: conflict {number}: {terminal.printable(failure)}", file=sys.stderr)
    return failed[-1][1].code if failed else ExitCode.OK


# --- what people read


def _list_text(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of one line each, and below each the paths, which are long."""
    rows = [
        (str(one["id"]), _time(one["time_ns"]), _KINDS.get(one["kind"], one["kind"]), one["state"]) for one in found
    ]
    header, *lines = terminal.table(("ID", "WHEN", "WHAT", "STATE"), rows).splitlines()
    text = [header]
    for line, one in zip(lines, found, strict=True):
        text.append(line)
        for label in ("winner", "loser"):
            path = one[label] if one[label] is not None else _nothing(one, label)
            text.append(f"  {label:<6}  {terminal.shortened(terminal.printable(path), terminal.COLUMNS - 10)}")
    return "\n".join(text)


def _nothing(conflict: Mapping[str, Any], label: str) -> str:
    return "(deleted there)" if label == "winner" else f"(deleted here, as {conflict['path']})"


def _diff_text(answer: Mapping[str, Any], lines: Sequence[str] | None) -> str:
    conflict, content = answer["conflict"], answer["content"]
    text = [terminal.fields(f"conflict {conflict['id']}: {_KINDS.get(conflict['kind'], conflict['kind'])}", [])]
    for number, side in enumerate(_SIDES):
        path = conflict[side]
        text.append(terminal.fields(f"{side}  {path or '(deleted)'}", _facts(answer[side], content, number)))
    if lines is not None:
        return "\n".join([*text, "", *(terminal.printable_line(line) for line in lines)])
    return "\n".join([*text, "", _verdict(answer)])


def _facts(side: Mapping[str, Any] | None, content: Mapping[str, Any] | None, number: int) -> list[tuple[str, str]]:
    if side is None:
        return [("state", "gone")]
    checksum = side["checksum"]
    if checksum is None and content is not None and content["checksums"] is not None:
        checksum = content["checksums"][number]
    return [
        ("size", f"{side['type']} of {format_size(side['size_bytes'])} ({side['size_bytes']} bytes)"),
        ("modified", _time(side["mtime_ns"])),
        ("owner", f"{side['uid']}:{side['gid']}, {side['mode'] & 0o7777:04o}"),
        ("ETag", side["etag"] or "not in the bucket yet"),
        ("checksum", checksum or "not known"),
    ]


def _verdict(answer: Mapping[str, Any]) -> str:
    """Where they differ, of what cannot be shown as a diff."""
    content = answer["content"]
    if content is None:
        return "there are not two whole versions to compare"
    if content["kind"] == "type":
        return "the types differ"
    if content["differs_at"] is not None:
        what = "binary differs" if content["kind"] == "binary" else "too long for a diff: differs"
        return f"{what} at offset {content['differs_at']}"
    looked_at = content["looked_at_bytes"]
    if content["kind"] == "long" and looked_at < max(answer[side]["size_bytes"] for side in _SIDES):
        return f"no difference in the first {format_size(looked_at)}; nothing more was compared"
    return "the bytes are the same"


def _diff(answer: Mapping[str, Any]) -> list[str] | None:
    """A unified diff of two short texts, without line breaks; None for everything else."""
    content = answer["content"]
    if content is None or content["texts"] is None or content["differs_at"] is None:
        return None
    bucket, local = (_lines(text) for text in content["texts"])
    lines: list[str] = []
    for line in difflib.unified_diff(bucket, local, *(answer["conflict"][side] for side in _SIDES)):
        shown = line.removesuffix("\n")
        lines.append(shown)
        if shown == line:
            lines.append("\\ No newline at end of file")
    return lines


def _lines(text: str) -> list[str]:
    """Split at line feeds alone, each kept; `splitlines` knows more kinds of line breaks than diff(1)."""
    *whole, rest = text.split("\n")
    return [*(f"{line}\n" for line in whole), *([rest] if rest else [])]


def _resolved_text(result: Mapping[str, Any]) -> str:
    would = "would be " if result["dry_run"] else ""
    action = result["action"]
    done = "" if action is None else f": rm {action['path']}"
    if action is not None and action["verb"] == "rename":
        done = f": mv {action['path']} {action['to']}"
    return f"conflict {result['id']} {would}resolved, kept {result['keep']}{done}"


def _time(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns // 1_000_000_000))
