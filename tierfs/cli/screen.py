"""One screen of tierctl top: what a mount did in an interval. Standard library only, as all of tierctl."""

from collections.abc import Mapping
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.rates import Rates, Work
from tierfs.cli.terminal import format_age
from tierfs.units import format_size

_BAR: Final = 20
_WORK_ROWS: Final = 8
_BUSIEST_ROWS: Final = 6


def frame(mountpoint: str, rates: Rates, busiest: Mapping[str, Any] | None) -> str:
    """The text. `busiest`: see the verb of that name; None where the reader may not see it."""
    lines = [terminal.shortened(terminal.printable(f"tierfs {mountpoint}  {rates.now('mode')}"), terminal.COLUMNS)]
    lines += [_tier(rates), _queue(rates), *_throughput(rates), "", work_table("OPERATION", rates, "operations")]
    if rates.now("degraded"):
        lines.insert(1, "DEGRADED  tierctl status says why")
    lines += ["", work_table("REQUEST", rates, "requests"), "", *_busiest(busiest)]
    return "\n".join(lines)


def _tier(rates: Rates) -> str:
    tier = rates.now("tier")
    size_bytes = tier["size_bytes"] or 1
    used, dirty = (min(_BAR, round(_BAR * tier[name] / size_bytes)) for name in ("used_bytes", "dirty_bytes"))
    bar = "#" * dirty + "=" * max(0, used - dirty) + "." * (_BAR - max(used, dirty))
    shares = f"{100 * tier['used_bytes'] / size_bytes:.0f} % of {format_size(tier['size_bytes'])}"
    return f"hot tier  [{bar}] {shares}, {format_size(tier['dirty_bytes'])} not uploaded (#)"


def _queue(rates: Rates) -> str:
    metrics = rates.now("metrics")
    text = f"queue     {metrics['PendingExports']} changes"
    if metrics["PendingExports"]:
        text += f", oldest {format_age(metrics['ExportAge'])}, {metrics['ExportFailures']} failing"
    return f"{text}; {metrics['Conflicts']} conflicts"


def _throughput(rates: Rates) -> list[str]:
    def speed(*path: str) -> str:
        return f"{format_size(int(rates.per_s(*path)))}/s"

    hit = rates.hit_share
    hits = "no reads seen" if hit is None else f"{100 * hit:.1f} % of the reads that are seen"
    opens = rates.per_s("kernel_opens")
    past_us = f"; {opens:.0f} opens/s past the daemon" if opens else ""
    return [
        f"programs  read {speed('read_bytes', 'local')} local, {speed('read_bytes', 'bucket')} bucket;"
        f" write {speed('written_bytes')}",
        f"store     in {speed('received_bytes')}, out {speed('sent_bytes')}",
        terminal.shortened(f"hits      {hits}{past_us}", terminal.COLUMNS),
    ]


def work_table(title: str, rates: Rates, kind: str, rows_max: int = _WORK_ROWS) -> str:
    """What was done, with the time that it took."""
    work = rates.work(kind)
    header = f"{title:<16}{'/s':>9}{'time/s':>9}{'mean':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'failed':>9}"
    rows = [_row(rates, each) for each in work[:rows_max]]
    left_out = [f"and {len(work) - rows_max} kinds more"] if len(work) > rows_max else []
    return "\n".join([header, *rows, *left_out] if rows else [header, "none"])


def _row(rates: Rates, work: Work) -> str:
    quantiles = "".join(f"{short_time(rates.quantile_s(work.buckets, share)):>9}" for share in (0.5, 0.9, 0.99))
    return (
        f"{terminal.shortened(work.name, 15):<16}{work.number / rates.seconds:>9.1f}"
        f"{short_time(work.total_s / rates.seconds):>9}{short_time(work.total_s / work.number):>9}"
        f"{quantiles}{work.failures or '-':>9}"
    )


def short_time(seconds: float | None) -> str:
    """850us, 12.3ms, 1.50s; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}us"
    return f"{seconds * 1e3:.1f}ms" if seconds < 1 else f"{seconds:.2f}s"


def _busiest(busiest: Mapping[str, Any] | None) -> list[str]:
    if busiest is None:
        return ["files and processes are shown to root and the owner of the mount"]
    header = ("OPS", "BYTES", "TIME", "WAITED", "BUSIEST FILE")
    files = [(*_figures(row), row["path"]) for row in busiest["files"][:_BUSIEST_ROWS]]
    programs = [
        (*_figures(row), f"{row['pid']} {row['name'] or '(ended)'} (uid {row['uid']})")
        for row in busiest["processes"][:_BUSIEST_ROWS]
    ]
    lines = [terminal.table(header, files), "", terminal.table((*header[:-1], "BUSIEST PROCESS"), programs)]
    if busiest["missed"]:
        lines.append(f"{busiest['missed']} operations came too fast and are not in these two tables")
    return lines


def _figures(row: Mapping[str, Any]) -> tuple[str, ...]:
    waited = f"{row['waited']}x" if row["waited"] else "-"
    return str(row["operations"]), format_size(row["size_bytes"]), short_time(row["duration_s"]), waited
