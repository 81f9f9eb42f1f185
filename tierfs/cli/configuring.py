"""tierctl config and restart: the settings of a mount, changed while it lives, and another daemon for it.

Standard library only, as all of tierctl; but to check a file, the settings' own reader is loaded.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tierfs.cli import terminal
from tierfs.cli.connecting import connect
from tierfs.cli.grammar import Verbs
from tierfs.control import registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry

_EXAMPLES: Final = """\
examples:
  tierctl config show /mnt/data --changed            what differs from the defaults
  tierctl config check /etc/tierfs/tierfs.toml       can it be used?
  tierctl config set export.quiet_s=30s log.level=debug
"""
_SILENCE_S: Final = 30.0
NEXT_LIMIT_S: Final = 120.0
_LOOK_INTERVAL_S: Final = 0.05


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    group = verbs.group("config", "show, check and change settings", _EXAMPLES, "show|check|set")
    show = group.add("show", run_show, "show the settings that a mount uses", "tierctl config show /mnt/data")
    show.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    show.add_argument("--changed", action="store_true", help="only what is not the default")
    check = group.add(
        "check", run_check, "say whether a settings file can be used", "tierctl config check /etc/tierfs/tierfs.toml"
    )
    check.add_argument("file", metavar="FILE", help="the settings file")
    change = group.add(
        "set",
        run_set,
        "change settings until the mount ends",
        "tierctl config set export.quiet_s=30s --mount /mnt/data",
    )
    change.add_argument("pairs", nargs="+", type=_pair, metavar="KEY=VALUE", help="as with -o of tierfs mount")
    change.add_argument("--mount", metavar="PATH", help="any path in the mount, where there are several")
    restart = verbs.add(
        "restart",
        run_restart,
        "start the daemon anew, in the installed version, without unmounting",
        "tierctl restart /mnt/data",
    )
    restart.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, as in export.quiet_s=30s")
    return key, value


def run_show(options: argparse.Namespace) -> int:
    """Every setting, or those that were changed."""
    with connect(registry.find(options.path)) as client:
        rows = client.call("settings")["settings"]
    shown = [row for row in rows if not (options.changed and row["is_default"])]
    if options.json:
        terminal.print_json({"settings": shown})
    elif shown:
        print(_table(shown))
        print("* not the default    + tierctl config set changes it; the others take a new mount", file=sys.stderr)
    else:
        print("all settings are the defaults")
    return ExitCode.OK


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    marks = (f"{' ' if row['is_default'] else '*'}{'+' if row['is_live'] else ' '}" for row in rows)
    cells = [(mark, row["key"], row["value"]) for mark, row in zip(marks, rows, strict=True)]
    return terminal.table(("", "SETTING", "VALUE"), cells)


def run_check(options: argparse.Namespace) -> int:
    """Reads a file as a mount would."""
    from tierfs.config import load
    from tierfs.errors import ConfigError

    try:
        load(Path(options.file).absolute())
    except ConfigError as error:
        raise ExitError(ExitCode.CONFIG, str(error)) from None
    if options.json:
        terminal.print_json({"file": options.file, "usable": True})
    else:
        print(f"{terminal.printable(options.file)} can be used")
    return ExitCode.OK


def run_set(options: argparse.Namespace) -> int:
    """One after the other; the first that cannot be set ends it, with the others set."""
    done = []
    with connect(registry.find(options.mount)) as client:
        for name, value in options.pairs:
            done.append(client.call("settings_set", {"name": name, "value": value}))
            if not options.json:
                one = done[-1]
                print(terminal.printable(f"{one['key']} = {one['value']} (was {one['before']}) until the mount ends"))
    if options.json:
        terminal.print_json({"set": done})
    return ExitCode.OK


def run_restart(options: argparse.Namespace) -> int:
    """Waits until the next daemon answers."""
    entry = registry.find(options.path)
    began_s = time.monotonic()
    with connect(entry, _SILENCE_S) as client:
        before = client.call("status")
        try:
            client.call("restart")
        except ExitError as error:
            if error.code is not ExitCode.NO_DAEMON:
                raise  # it says why not, and goes on
    after = _next(entry, before)
    result = {
        "mountpoint": entry.mountpoint,
        "before": {"pid": before["pid"], "version": before["version"]},
        "after": {"pid": after["pid"], "version": after["version"]},
        "took_s": time.monotonic() - began_s,
    }
    if options.json:
        terminal.print_json(result)
    else:
        print(
            f"{terminal.printable(entry.mountpoint)}: pid {before['pid']} ({before['version']}) is pid "
            f"{after['pid']} ({after['version']}) now, after {result['took_s']:.1f} s"
        )
    return ExitCode.OK


def _next(entry: Entry, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status of the next daemon. ExitError when none comes."""
    deadline_s = time.monotonic() + NEXT_LIMIT_S
    while time.monotonic() < deadline_s:
        try:
            with Client(entry.socket, silence_limit_s=_SILENCE_S) as client:
                status = client.call("status")
            if status["pid"] != before["pid"]:
                return status
        except ExitError as error:
            if error.code is not ExitCode.NO_DAEMON:
                raise
        if not registry.process_lives(before["holder_pid"]):
            break
        time.sleep(_LOOK_INTERVAL_S)
    raise ExitError(
        ExitCode.FAILED,
        f"the next daemon did not start, its log says why; then `tierfs umount {entry.mountpoint}` and mount again: "
        "nothing acknowledged is lost",
    )
