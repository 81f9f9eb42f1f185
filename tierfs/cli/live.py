"""tierctl stats, top and latency: what a mount does now, as lines, as a screen, and where the time goes.

Standard library only, as all of tierctl.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs, duration
from tierfs.cli.rates import Rates, Work, since_start
from tierfs.cli.screen import frame, work_table
from tierfs.control import registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError

_HEADER_EVERY: Final = 20
_CLEAR: Final = "\033[H\033[J"
_STATS_HEADER: Final = (
    "------operations------ --read MB/s- write --store MB/s- ---hot tier--- queue\n"
    "    /s   p50ms   p99ms  disk bucket  MB/s    in    out hit%  use% dirty% files"
)


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    top = verbs.add("top", run_top, "show what a mount does now, again and again", "tierctl top /mnt/data")
    top.add_argument("--once", action="store_true", help="one screen, without control characters, and the end")
    stats = verbs.add("stats", run_stats, "show what a mount does, a line for each interval", "tierctl stats -n 10")
    stats.add_argument("-n", "--count", type=_positive, metavar="N", help="so many lines; default: until Ctrl-C")
    latency = verbs.add(
        "latency",
        run_latency,
        "show how long operations and requests to the store take",
        "tierctl latency --interval 10s",
    )
    for parser, default, text in (
        (top, 2.0, "between two screens; default: 2s"),
        (stats, 1.0, "between two lines; default: 1s"),
        (latency, None, "of the next TIME only; default: since the daemon began"),
    ):
        parser.add_argument("--interval", type=_interval, default=default, metavar="TIME", help=text)
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not how many")
    return int(text)


def _interval(text: str) -> float:
    seconds = duration(text)
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError("an interval has from 0.1s to 1d")
    return seconds


def _figures(client: Client) -> Mapping[str, Any]:
    return client.call("figures")


def _intervals(client: Client, interval_s: float) -> Iterator[Rates]:
    """What each interval brought. They follow a clock, however long it takes to show one."""
    before, due_s = _figures(client), time.monotonic()
    while True:
        due_s = max(due_s + interval_s, time.monotonic())
        time.sleep(max(0.0, due_s - time.monotonic()))
        after = _figures(client)
        yield Rates(before, after)
        before = after


# --- stats


def run_stats(options: argparse.Namespace) -> int:
    """Lines until there are enough, somebody ends it, or the daemon ends."""
    with connect(registry.find(options.path)) as client:
        for number, rates in enumerate(_intervals(client, options.interval)):
            if options.json:
                print(terminal.json_line(summary(rates)), flush=True)
            else:
                if number % _HEADER_EVERY == 0:
                    print(_STATS_HEADER)
                print(_stats_line(rates), flush=True)
            if number + 1 == options.count:
                break
    return ExitCode.OK


def summary(rates: Rates) -> Mapping[str, Any]:
    """What one interval brought, for programs."""
    buckets = rates.all_buckets("operations")
    return {
        "seconds": rates.seconds,
        "operations_per_s": sum(buckets) / rates.seconds,
        **{f"p{share}_s": rates.quantile_s(buckets, share / 100) for share in (50, 90, 99)},
        "read_local_bytes_per_s": rates.per_s("read_bytes", "local"),
        "read_bucket_bytes_per_s": rates.per_s("read_bytes", "bucket"),
        "written_bytes_per_s": rates.per_s("written_bytes"),
        "received_bytes_per_s": rates.per_s("received_bytes"),
        "sent_bytes_per_s": rates.per_s("sent_bytes"),
        "requests_per_s": sum(rates.all_buckets("requests")) / rates.seconds,
        "hit_share": rates.hit_share,
        "tier": rates.now("tier"),
        "pending_exports": rates.now("metrics")["PendingExports"],
    }


def _stats_line(rates: Rates) -> str:
    told, tier = summary(rates), rates.now("tier")
    size_bytes = tier["size_bytes"] or 1
    hit = told["hit_share"]
    return (
        f"{told['operations_per_s']:>6.0f} {_ms(told['p50_s'])} {_ms(told['p99_s'])}"
        f" {_mb(told['read_local_bytes_per_s'], 5)} {_mb(told['read_bucket_bytes_per_s'], 6)}"
        f" {_mb(told['written_bytes_per_s'], 5)} {_mb(told['received_bytes_per_s'], 5)}"
        f" {_mb(told['sent_bytes_per_s'], 6)} {'-' if hit is None else f'{100 * hit:.0f}':>4}"
        f" {100 * tier['used_bytes'] / size_bytes:>5.1f} {100 * tier['dirty_bytes'] / size_bytes:>6.1f}"
        f" {told['pending_exports']:>5}"
    )


def _ms(seconds: float | None) -> str:
    return f"{'-':>7}" if seconds is None else f"{1000 * seconds:>7.2f}" if seconds < 1 else f"{1000 * seconds:>7.0f}"


def _mb(bytes_per_s: float, width: int) -> str:
    value = bytes_per_s / 1_000_000
    return f"{value:>{width}.1f}" if value < 1000 else f"{value:>{width}.0f}"


# --- latency


def run_latency(options: argparse.Namespace) -> int:
    """By operation and by request: how many, how long, how much of all the time."""
    with connect(registry.find(options.path)) as client:
        rates = (
            since_start(_figures(client)) if options.interval is None else next(_intervals(client, options.interval))
        )
    if options.json:
        work = {kind: [_work_json(rates, each) for each in rates.work(kind)] for kind in ("operations", "requests")}
        terminal.print_json({"seconds": rates.seconds, **work})
        return ExitCode.OK
    print(f"of {terminal.format_age(rates.seconds)}, by the daemon and the store; what the holder and the kernel")
    print("answer by themselves takes no time of either")
    for title, kind in (("OPERATION", "operations"), ("REQUEST", "requests")):
        print()
        print(work_table(title, rates, kind, sys.maxsize))
    return ExitCode.OK


def _work_json(rates: Rates, work: Work) -> Mapping[str, Any]:
    quantiles = {f"p{share}_s": rates.quantile_s(work.buckets, share / 100) for share in (50, 90, 99)}
    return {"name": work.name, "count": work.number, "failures": work.failures, "total_s": work.total_s, **quantiles}


# --- top


def run_top(options: argparse.Namespace) -> int:
    """Screens until somebody ends it, or the daemon ends."""
    entry = registry.find(options.path)
    is_screen = sys.stdout.isatty() and not options.once and not options.json
    with connect(entry) as client:
        busiest = _Busiest(client)
        for rates in _intervals(client, options.interval):
            found = busiest.next()
            if options.json:
                print(terminal.json_line({**summary(rates), "busiest": found}), flush=True)
            else:
                text = frame(entry.mountpoint, rates, found)
                print(f"{_CLEAR}{text}" if is_screen else f"{text}\n", flush=True)
            if options.once:
                break
    return ExitCode.OK


class _Busiest:
    """Files and processes of each interval, for those who may see them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._at: int | None = None
        self._may = True
        self.next()

    def next(self) -> Mapping[str, Any] | None:
        """Since the last call; None: it is not ours to see."""
        if not self._may:
            return None
        try:
            found = self._client.call("busiest", {} if self._at is None else {"after": self._at})
        except ExitError as error:
            if error.code is not ExitCode.PERMISSION:
                raise
            self._may = False
            return None
        self._at = found["next"]
        return found
