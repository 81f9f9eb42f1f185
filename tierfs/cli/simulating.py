"""tierctl policy simulate: what rules and policies would have made of recorded accesses. Needs no mount.

Standard library only until it is used, as all of tierctl.
"""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tierfs.cli import terminal
from tierfs.cli.grammar import Verbs
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.units import format_size, parse_size_bytes

if TYPE_CHECKING:
    from tierfs.policy.cost import PriceTable
    from tierfs.tiering.simulate import Outcome
    from tierfs.tiering.traces import Trace

_POLICIES: Final = ("ranked", "lru", "age", "arc", "sieve", "s3-fifo")
_PERCENT_MAX: Final = 100.0


def add_verb(group: Verbs) -> None:
    """To `tierctl policy`."""
    parser = group.add(
        "simulate",
        run_simulate,
        "play recorded accesses over rules and policies",
        "tierctl policy simulate --trace day.csv.gz --rules new.toml --policy lru --tier 200GiB",
    )
    parser.add_argument("--trace", required=True, metavar="FILE", help="of tierctl profile, or CacheLib's or MSR's CSV")
    parser.add_argument("--rules", action="append", default=[], metavar="FILE", help="TOML with [tiering]; repeatable")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        choices=(*_POLICIES, "all"),
        help="repeatable; ranked is the mount's",
    )
    parser.add_argument("--tier", default="30%", metavar="SIZE", help="such as 200GiB; or a share of all files: 30%%")
    parser.add_argument("--prices", metavar="FILE", help="a price table; default: list prices of Amazon, us-east-1")
    parser.add_argument(
        "--transfer", action="store_true", help="bytes from the bucket leave its region, which is billed"
    )
    parser.add_argument("--plot", metavar="FILE", help="a PNG of the hits over the time; needs matplotlib")


def run_simulate(options: argparse.Namespace) -> int:
    """All of them, one after the other."""
    # what it takes is some 100 ms, which no other verb needs
    from tierfs.errors import ConfigError
    from tierfs.tiering import prices, traces

    try:
        trace = traces.read(Path(options.trace))
        table = prices.load(Path(options.prices) if options.prices else None)
        tier_bytes = _tier_bytes(options.tier, trace)
        outcomes = _outcomes(trace, tier_bytes, options)
    except ConfigError as error:
        raise ExitError(ExitCode.FAILED, str(error)) from None
    if options.plot:
        _plot(outcomes, Path(options.plot))
    if options.json:
        told = [_as_json(outcome, table, pays_transfer=options.transfer) for outcome in outcomes]
        terminal.print_json({"tier_bytes": tier_bytes, "accesses": len(trace.accesses), "outcomes": told})
    else:
        print(_heading(trace, tier_bytes))
        print(outcomes_text(outcomes, table, pays_transfer=options.transfer))
    return ExitCode.OK


def _outcomes(trace: "Trace", tier_bytes: int, options: argparse.Namespace) -> "list[Outcome]":
    from tierfs.config import load_text
    from tierfs.policy.caches import POLICIES
    from tierfs.tiering.rules import rule_set
    from tierfs.tiering.simulate import RuledTier, simulate

    rules = [(file, rule_set(load_text(file, _bytes_of(file)).tiering)) for file in options.rules]
    names = options.policy or ([] if rules else ["ranked"])
    policies = _POLICIES if "all" in names else tuple(dict.fromkeys(names))
    found = [simulate(trace, POLICIES[name](tier_bytes), name=name) for name in policies]
    return found + [RuledTier(trace, each, tier_bytes).run(file) for file, each in rules]


def _bytes_of(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot read {file}: {error.strerror}") from None


def _tier_bytes(text: str, trace: "Trace") -> int:
    try:
        if not text.endswith("%"):
            return parse_size_bytes(text)
        percent = float(text[:-1])
    except ValueError as error:
        raise ExitError(ExitCode.USAGE, f"--tier {text}: {error}") from None
    if not 0 < percent <= _PERCENT_MAX:
        raise ExitError(ExitCode.USAGE, f"--tier {text}: a share is above 0 and at most 100 %")
    return int(trace.total_bytes * percent / 100)


def _heading(trace: "Trace", tier_bytes: int) -> str:
    span = terminal.format_age(trace.accesses[-1][0] - trace.accesses[0][0])
    files = f"{len(trace.names):,} files of {format_size(trace.total_bytes)}"
    return f"{len(trace.accesses):,} accesses of {files} in {span}; a tier of {format_size(tier_bytes)}"


def outcomes_text(outcomes: "Sequence[Outcome]", table: "PriceTable", *, pays_transfer: bool) -> str:
    """A line for each; money is for the time of the trace, storage in the bucket with it."""
    header = ("", "hits", "of bytes", "moved", "requests", "released", "demoted", table.currency)
    rows = [
        (
            outcome.name,
            f"{outcome.hits_percent:.1f} %",
            f"{outcome.hit_bytes_percent:.1f} %",
            format_size(outcome.moved_bytes),
            f"{outcome.request_count:,}",
            f"{outcome.releases:,}",
            f"{outcome.demotions:,}",
            f"{outcome.bill(table, pays_transfer=pays_transfer).total:,.4f}",
        )
        for outcome in outcomes
    ]
    return terminal.table(header, rows)


def _as_json(outcome: "Outcome", table: "PriceTable", *, pays_transfer: bool) -> dict[str, Any]:
    bill = outcome.bill(table, pays_transfer=pays_transfer)
    return {
        "name": outcome.name,
        "reads": outcome.reads,
        "hits": outcome.hits,
        "read_bytes": outcome.read_bytes,
        "hit_bytes": outcome.hit_bytes,
        "moved_bytes": outcome.moved_bytes,
        "requests": outcome.request_count,
        "released": outcome.releases,
        "demoted": outcome.demotions,
        "cost": {
            "currency": table.currency, "requests": bill.requests, "retrieval": bill.retrieval,
            "transfer": bill.transfer, "storage": bill.storage, "total": bill.total,
        },
        "hits_over_time_percent": list(outcome.slices),
    }  # fmt: skip


def _plot(outcomes: "Sequence[Outcome]", path: Path) -> None:
    try:
        backend = importlib.import_module("matplotlib.backends.backend_agg")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ExitError(ExitCode.FAILED, "--plot needs matplotlib: pip install matplotlib") from None
    figure = figures.Figure(figsize=(9, 5), layout="constrained")
    backend.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for outcome in outcomes:
        share = [100 * (at + 1) / len(outcome.slices) for at in range(len(outcome.slices))]
        axes.plot(share, outcome.slices, label=outcome.name)
    axes.set(xlabel="of the trace, %", ylabel="hits, %", ylim=(0, 100))
    axes.legend()
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot write {path}: {error.strerror}") from None
