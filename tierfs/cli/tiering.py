"""tierctl explain|hint PATH, and tierctl policy show|check|load (simulate: `cli.simulating`).

Standard library only, as all of tierctl; but `policy check`, which needs no mount, reads settings as the daemon does.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tierfs.cli import simulating, tasks, terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs, duration
from tierfs.cli.terminal import format_age
from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.units import format_size

_TASK_OF: Final = {"willneed": "warm", "dontneed": "release"}
_TEXT_MAX_BYTES: Final = 32 * 1024  # of rules: a request is one line of at most 64 KiB
_EXAMPLES: Final = """\
examples:
  tierctl policy show /mnt/data              the rules that count, and what they have done
  tierctl policy check rules.toml            is it right? Needs no mount
  tierctl policy simulate --trace day.csv --rules rules.toml   what it would have done with that day
  tierctl policy load rules.toml /mnt/data   count from now on, until the mount ends
"""


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    explain = verbs.add(
        "explain",
        run_explain,
        "tell which rule a file has, and what becomes of it when",
        "tierctl explain /mnt/data/a.csv",
    )
    explain.add_argument("path", metavar="PATH", help="a file or directory in a mount")
    hint = verbs.add(
        "hint", run_hint, "say how files at and below a path will be used", "tierctl hint once /mnt/data/raw --for 2h"
    )
    hint.add_argument(
        "hint",
        choices=("willneed", "dontneed", "once", "none"),
        help="willneed: fetch them; dontneed: let them go; once: keep nothing of what is read; none: take that back",
    )
    hint.add_argument("path", metavar="PATH", help="a file or directory in a mount")
    hint.add_argument(
        "--for", dest="for_s", type=duration, default=3600.0, metavar="TIME", help="how long once holds; 1h"
    )
    group = verbs.group(
        "policy", "show, check, try and replace the rules of tiering", _EXAMPLES, "show|check|load|simulate"
    )
    show = group.add("show", run_show, "show the rules that count, and what they have done", "tierctl policy show")
    check = group.add("check", run_check, "check the rules in a file", "tierctl policy check rules.toml")
    load = group.add(
        "load", run_load, "have the rules in a file count from now on", "tierctl policy load rules.toml /mnt/data"
    )
    simulating.add_verb(group)
    for parser in (check, load):
        parser.add_argument("file", metavar="FILE", help="TOML with a section [tiering]")
    for parser in (show, load):
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def run_explain(options: argparse.Namespace) -> int:
    """One file."""
    entry = registry.find(options.path)
    path = protocol.path_to_json(registry.path_within(entry, options.path))
    with connect(entry) as client:
        found = client.call("explain", {"path": path})
    if options.json:
        terminal.print_json(found)
    else:
        print(explain_text(options.path, found))
    return ExitCode.OK


def run_hint(options: argparse.Namespace) -> int:
    """willneed and dontneed are tasks that nobody waits for."""
    if options.hint in _TASK_OF:
        options.kind, options.dry_run, options.background = _TASK_OF[options.hint], False, True
        options.asked, options.filelist = {}, None
        return tasks.run_start(options)
    entry = registry.find(options.path)
    path = protocol.path_to_json(registry.path_within(entry, options.path))
    with connect(entry) as client:
        answer = client.call("hint", {"path": path, "hint": options.hint, "for_s": options.for_s})
    if options.json:
        terminal.print_json(answer)
    return ExitCode.OK


def run_show(options: argparse.Namespace) -> int:
    """All rules."""
    with connect(registry.find(options.path)) as client:
        found = client.call("policy_show")
    if options.json:
        terminal.print_json(found)
    else:
        print(policy_text(found))
    return ExitCode.OK


def run_check(options: argparse.Namespace) -> int:
    """As the daemon would read it."""
    # 70 ms, which no other verb needs
    from tierfs.config import load_text
    from tierfs.errors import ConfigError

    try:
        tiering = load_text(options.file, _text_of(options.file).encode()).tiering
    except ConfigError as error:
        raise ExitError(ExitCode.FAILED, str(error)) from None
    if options.json:
        terminal.print_json({"rules": len(tiering.rules), "recalls": len(tiering.recalls)})
    else:
        print(f"{options.file}: {_count(tiering.rules, 'rule')}, {_count(tiering.recalls, 'rule')} of recalls")
    return ExitCode.OK


def run_load(options: argparse.Namespace) -> int:
    """A file with an error changes nothing."""
    text = _text_of(options.file)
    with connect(registry.find(options.path)) as client:
        answer = client.call("policy_load", {"name": options.file, "text": text})
    if options.json:
        terminal.print_json(answer)
    else:
        print(f"{answer['rules']} rules and {answer['recalls']} of recalls count until the mount ends")
    return ExitCode.OK


def _text_of(file: str) -> str:
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot read {file}: {error.strerror}") from None
    if len(text) > _TEXT_MAX_BYTES:
        raise ExitError(ExitCode.FAILED, f"{file} is larger than {format_size(_TEXT_MAX_BYTES)}: these are no rules")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ExitError(ExitCode.FAILED, f"{file} is not UTF-8") from None


def _count(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


# --- what people read


def explain_text(path: str, found: Mapping[str, Any]) -> str:
    """Some lines."""
    rows = [("rule", _rule(found["rule"])), ("last use", f"{format_age(max(0.0, found['age_s']))} ago")]
    rows.append(("here", format_size(found["hot_bytes"]) if found["hot_bytes"] else "nothing"))
    if found["storage_class"]:
        rows.append(("class", found["storage_class"]))
    if not found["cached"]:
        rows.append(("cache", "no: it is read past the hot tier"))
    if found["kept"]:
        rows.append(("stays", found["kept"]))
    elif found["hot_bytes"] and not found["decisions"]:
        rows.append(("stays", "until room is needed"))
    rows += [("then", _decision(each)) for each in found["decisions"]]
    if (later := found["next"]) is not None:
        rows.append(("later", f"in {format_age(later['in_s'])}, unless it is used: {_rule(later['rule'])}"))
        rows += [("", _decision(each)) for each in later["decisions"]]
    rows += [("not used", problem) for problem in found["problems"]]
    if found["clock_set"]:
        rows.append(("clock", "it was set: files age as if it had not been, until it goes steadily for a day"))
    return terminal.fields(path, rows)


def _rule(name: str | None) -> str:
    return name if name is not None else "none: it goes when room is needed"


def _decision(decision: Mapping[str, Any]) -> str:
    what = "leaves the local disk"
    if decision["action"] == "demote":
        what = f"gets the class {decision['storage_class']}"
    return f"{what} {'now' if not decision['in_s'] else 'in ' + format_age(decision['in_s'])}"


def policy_text(found: Mapping[str, Any]) -> str:
    """The rules as TOML, so that they can be copied, after comments with what they have done."""
    opens, released = found["cold_opens"], found["released"]
    lines = [
        f"# from {found['source']}",
        f"# released by age: {released['files']} files, {format_size(released['bytes'])}",
        f"# evicted for room in the background: {format_size(found['evicted_bytes'])}",
        f"# opens of files that were not here: {opens['admitted']} admitted, {opens['read_through']} read through,"
        f" {opens['refused']} refused",
        "[tiering]",
        f"tree_rules = {str(found['tree_rules']).lower()}",
    ]
    for table in ("rules", "recalls"):
        for rule in found[table]:
            lines += ["", f"[[tiering.{table}]]", *(f"{key} = {value}" for key, value in rule.items())]
    return "\n".join(terminal.printable(line) for line in lines)
