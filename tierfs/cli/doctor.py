"""tierctl doctor: what is wrong with this machine, a bucket or a mount, and what to do about it.

The looking is `doctoring`'s, which loads what the daemon loads: it is imported only when somebody asks.
"""

import argparse
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.grammar import Verbs
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry

CODES: Final = {"ok": ExitCode.OK, "note": ExitCode.OK, "warning": ExitCode.DOUBTFUL, "error": ExitCode.FAULTY}
_CHECK_COLUMNS: Final = 18
_INDENT: Final = " " * (9 + _CHECK_COLUMNS)


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    doctor = verbs.add(
        "doctor",
        run_doctor,
        "look for what is wrong with this machine, a bucket or a mount",
        "tierctl doctor s3://bucket/prefix --cache /nvme/tierfs\n  tierctl doctor /mnt/data --bundle support.tar.gz",
    )
    doctor.add_argument("path", nargs="?", metavar="PATH|SOURCE", help="any path in the mount, or what to mount")
    doctor.add_argument("--all", action="store_true", help="also what is well")
    doctor.add_argument("--bundle", default="", metavar="FILE", help="write an archive for support, without secrets")
    doctor.add_argument("--cache", default="", metavar="DIR", help="of a SOURCE: as for tierfs mount")
    doctor.add_argument("--config", default="", metavar="FILE", help="settings; default: /etc/tierfs/tierfs.toml")
    doctor.add_argument("-o", dest="options", action="append", default=[], metavar="OPT[,OPT]", help="as for mount")


def run_doctor(options: argparse.Namespace) -> int:
    """Prints the report, writes the bundle where one is asked for; the worst finding is the exit code."""
    from tierfs.cli import mounting
    from tierfs.cli.doctoring import bundle, report

    words = mounting.parse_options(options.options)
    entry, source = _subject(options.path)
    found = report.examine(
        report.Subject(
            entry=entry,
            source=mounting.parse_source(source) if source else "",
            cache=options.cache or words.cache,
            config_file=options.config or words.config,
            options=words.settings,
        )
    )
    if options.bundle:
        bundle.write(found, Path(options.bundle))
    values = found.as_json()
    if options.json:
        terminal.print_json({**values, "bundle": options.bundle or None})
    else:
        print(report_text(values, show_all=options.all))
        if options.bundle:
            print(
                f"wrote {terminal.printable(options.bundle)}: look through it before you give it away", file=sys.stderr
            )
    return CODES[values["worst"]]


def _subject(path: str | None) -> tuple[Entry | None, str]:
    """A running mount, or a source, or neither: then the machine alone is looked at."""
    if path is not None and "://" in path:
        return None, path
    try:
        return registry.find(path), ""
    except ExitError:
        if path is not None or registry.entries():
            raise
        return None, ""


def report_text(report: Mapping[str, Any], *, show_all: bool) -> str:
    """What is wrong, a block for each; with `show_all` also what is well."""
    about = report["mountpoint"] or report["source"] or "this machine"
    if report["mountpoint"] and report["source"]:
        about += f" from {report['source']}"
    lines = [terminal.shortened(terminal.printable(about), terminal.COLUMNS)]
    for finding in report["findings"]:
        if finding["severity"] == "ok" and not show_all:
            continue
        head = f"{finding['severity']:<9}{finding['check']:<{_CHECK_COLUMNS}}"
        lines += _wrapped(head, finding["message"])
        if finding["reason"]:
            lines += _wrapped(_INDENT, finding["reason"])
        if finding["action"]:
            lines += _wrapped(_INDENT, f"-> {finding['action']}")
    fine = sum(finding["severity"] == "ok" for finding in report["findings"])
    return "\n".join(
        [*lines, f"{fine} of {len(report['findings'])} checks are well{'' if show_all else '; --all shows them'}"]
    )


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        terminal.printable(text),
        terminal.COLUMNS,
        initial_indent=head,
        subsequent_indent=_INDENT,
        break_long_words=True,
    )
