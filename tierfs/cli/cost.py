"""tierctl cost [PATH], cost explain 'COMMAND', cost prices. Standard library only, as all of tierctl."""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import call_with_progress, connect
from tierfs.cli.costcommand import Step, parse
from tierfs.cli.grammar import Verbs
from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.units import NS_PER_S, format_size

_SILENCE_S: Final = 60.0
_SHOWN_ROWS: Final = 8
_SUMMED: Final = (
    "files",
    "directories",
    "unlisted",
    "size_bytes",
    "cold_bytes",
    "archived",
    "requests_cost",
    "retrieval_cost",
    "transfer_cost",
    "early_end_cost",
    "cost",
    "storage_change_month",
)


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    text = "show what the bucket costs this month, by the end of it, and what tiering saves"
    month = verbs.add("cost", run_month, text, "tierctl cost /mnt/data")
    month.add_argument(
        "path", nargs="?", metavar="PATH", help="only the requests for it (a file named prices: ./prices)"
    )
    text = "tell what a command would cost; it is not carried out, and the bucket is not asked"
    explain = verbs.add("cost explain", run_explain, text, "tierctl cost explain 'chmod -R g+r /mnt/data/train'")
    explain.add_argument("command", metavar="COMMAND", help="in quotes, as you would type it")
    verbs.add("cost prices", run_prices, "print the price table of the package", "tierctl cost prices > mine.toml")


def run_month(options: argparse.Namespace) -> int:
    """One mount's."""
    entry = registry.find(options.path)
    path = registry.path_within(entry, options.path) if options.path is not None else b""
    with connect(entry) as client:
        found = client.call("cost", {"path": protocol.path_to_json(path)})
    if options.json:
        terminal.print_json(found)
    else:
        print(month_text(found))
    return ExitCode.OK


def month_text(found: Mapping[str, Any]) -> str:
    """What people read."""
    so_far, end, prices = found["bill"], found["projection"], found["prices"]
    currency = prices["currency"]
    begun = time.strftime("%Y-%m-%d", time.gmtime(found["counted_from_ns"] // NS_PER_S))
    title = f"{found['month']}, counted since {begun}, in {currency}"
    names = ("requests", "retrieval", "transfer", "storage", "total")
    shown = names if not found["path"] else (*names[:3], "total")
    rows = [(name, money(so_far[name]), money(end[name]) if end is not None else "-") for name in shown]
    lines = [title, terminal.table(("", "UNTIL NOW", "AT THE END"), rows)]
    if end is None:
        lines.append("an hour has to be counted before the end of the month can be told")
    if found["by_prefix"]:
        lines += ["", _requests_table("PREFIX", [(_shown_prefix(row), row) for row in found["by_prefix"]])]
        lines += ["", _requests_table("KIND", [(_shown_kind(row), row) for row in found["by_kind"]])]
    if found["storage"] and not found["path"]:
        lines += ["", _storage_text(found)]
    lines += ["", f"by {prices['name']}, {prices['date']}"]
    return "\n".join(lines)


def _requests_table(head: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    cells = [
        (
            terminal.shortened(terminal.printable(name), 26),
            str(row["requests"]),
            format_size(row["sent_bytes"]),
            format_size(row["received_bytes"]),
            money(row["cost"]),
        )
        for name, row in rows[:_SHOWN_ROWS]
    ]
    if len(rows) > _SHOWN_ROWS:
        rest = [row for _, row in rows[_SHOWN_ROWS:]]
        cells.append((f"{len(rest)} more", str(sum(row["requests"] for row in rest)), "", "", ""))
    return terminal.table((head, "REQUESTS", "SENT", "RECEIVED", "COST"), cells)


def _shown_prefix(row: Mapping[str, Any]) -> str:
    return "/" + row["prefix"] if row["prefix"] != "*" else "all others"


def _shown_kind(row: Mapping[str, Any]) -> str:
    of_class = row["storage_class"] if row["kind"] not in ("list", "delete") else ""
    return " ".join(word for word in (row["kind"], of_class, row["speed"]) if word)


def _storage_text(found: Mapping[str, Any]) -> str:
    rows = [
        (row["storage_class"], str(row["objects"]), format_size(row["size_bytes"]), money(row["month"]))
        for row in found["storage"]
    ]
    comparison = [
        ("as it is, hot tier included", money(found["month_as_it_is"])),
        ("all of it in STANDARD, same hot tier", money(found["month_of_all_standard"])),
        ("all of it on the local disk", money(found["month_of_all_local"])),
    ]
    table = terminal.table(("CLASS", "OBJECTS", "SIZE", "30 DAYS"), rows)
    return f"{table}\n\n{terminal.fields('30 days of storage', comparison)}"


def money(amount: float) -> str:
    """Two places, more for what is small: 12.34, 0.0012, 0."""
    if amount and abs(amount) < 0.000001:
        return "<0.000001"
    return f"{amount:.2f}" if abs(amount) >= 1 else f"{amount:.6f}".rstrip("0").rstrip(".") or "0"


def run_explain(options: argparse.Namespace) -> int:
    """One command's."""
    steps = parse(options.command, _is_inside, os.path.isdir)
    answers = [_asked(step) for step in steps]
    total: dict[str, Any] = {name: sum(answer[name] for answer in answers) for name in _SUMMED}
    total |= {"command": options.command, "currency": answers[0]["currency"], "prices": answers[0]["prices"]}
    total["uses"] = _added([row for answer in answers for row in answer["uses"]])
    if options.json:
        terminal.print_json(total)
    else:
        print(explain_text(total))
    return ExitCode.OK


def _is_inside(path: str) -> bool:
    try:
        registry.find(path)
    except ExitError as error:
        if error.code is ExitCode.NO_DAEMON:
            return False
        raise
    return True


def _asked(step: Step) -> Mapping[str, Any]:
    entry = registry.find(step.path)
    args: dict[str, Any] = {
        "deed": step.deed,
        "path": protocol.path_to_json(registry.path_within(entry, step.path)),
        "recursive": step.recursive,
    }
    args |= {"storage_class": step.storage_class} if step.storage_class else {}
    args |= {"speed": step.speed} if step.speed else {}
    answer: Mapping[str, Any] = call_with_progress(
        entry, "cost_explain", args, f"counting {step.path}", silence_limit_s=_SILENCE_S, describe=_counted
    )
    return answer


def _counted(progress: Mapping[str, Any]) -> str:
    return f"{progress.get('files', 0)} files"


def _added(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the same kind and class as one, the dearest first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        known = found.setdefault((row["kind"], row["storage_class"]), {**row, "requests": 0, "bytes": 0, "cost": 0.0})
        for name in ("requests", "bytes", "cost"):
            known[name] += row[name]
    return sorted(found.values(), key=lambda row: (-row["cost"], -row["requests"]))


def explain_text(total: Mapping[str, Any]) -> str:
    """What people read."""
    what = f"{total['files']} files, {total['directories']} directories, {format_size(total['size_bytes'])}"
    rows = [("what it is about", what)]
    if total["cold_bytes"]:
        rows.append(("not here", format_size(total["cold_bytes"])))
    parts = (
        ("requests", "requests_cost"),
        ("retrieval", "retrieval_cost"),
        ("transfer", "transfer_cost"),
        ("minimum durations", "early_end_cost"),
    )
    rows += [(label, money(total[name])) for label, name in parts if total[name]]
    rows.append(("total", f"{money(total['cost'])} {total['currency']}"))
    if total["storage_change_month"]:
        rows.append(("storage, every 30 days", f"{total['storage_change_month']:+.6f}"))
    lines = [terminal.fields(total["command"], rows)]
    if total["uses"]:
        cells = [
            (_shown_kind({**row, "speed": ""}), str(row["requests"]), format_size(row["bytes"]), money(row["cost"]))
            for row in total["uses"]
        ]
        lines += ["", terminal.table(("REQUEST", "NUMBER", "BYTES", "COST"), cells)]
    if total["archived"]:
        lines.append(f"{total['archived']} files are archived: they are restored first, which is not counted here")
    if total["unlisted"]:
        lines.append(f"{total['unlisted']} directories were never listed: what is in them is not counted")
    lines.append(f"by {total['prices']}")
    return "\n".join(lines)


def run_prices(_options: argparse.Namespace) -> int:
    """As the package has it."""
    print(resources.files("tierfs.tiering").joinpath("aws-us-east-1.toml").read_text(encoding="utf-8"), end="")
    return ExitCode.OK
