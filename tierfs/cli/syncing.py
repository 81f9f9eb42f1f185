"""tierctl sync and wait: until the bucket has what is here.

Standard library only, as all of tierctl.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tierfs.cli import removals, terminal
from tierfs.cli.connecting import call_with_progress
from tierfs.cli.grammar import Verbs, duration
from tierfs.control import protocol, registry
from tierfs.control.exitcodes import ExitCode

_ACTIONS: Final = {"sync": ("held", "approve", "reject"), "cost": ("explain", "prices")}


def add_verbs(verbs: Verbs) -> None:
    """Its verbs."""
    sync = verbs.add("sync", _sync, "upload what is pending now and wait for it", "tierctl sync /mnt/data/results")
    sync.add_argument("path", nargs="?", metavar="PATH", help="only what is below it (a file named held: ./held)")
    held = verbs.add(
        "sync held", removals.run_held, "show what the bucket has lost and is kept here", "tierctl sync held /mnt/data"
    )
    approve = verbs.add(
        "sync approve", removals.run_approve, "remove here, too, what sync held shows", "tierctl sync approve --dry-run"
    )
    reject = verbs.add(
        "sync reject",
        removals.run_reject,
        "keep what sync held shows, and upload again what is here whole",
        "tierctl sync reject /mnt/data",
    )
    for parser in (approve, reject):
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    for parser in (held, approve, reject):
        parser.add_argument("path", nargs="?", metavar="PATH", help="any path in the mount")
    wait = verbs.add(
        "wait", _wait, "wait until everything is in the bucket", "tierctl wait --synced /mnt/data --timeout 10min"
    )
    wait.add_argument("--synced", action="store_true", required=True, help="what to wait for")
    wait.add_argument("--timeout", type=duration, metavar="TIME", help="such as 30s or 10min; default: no limit")
    wait.add_argument("path", nargs="?", metavar="PATH", help="only what is below it")


def joined(words: Sequence[str]) -> Sequence[str]:
    """The verbs of two words are one for argparse, since the first alone is a verb, too."""
    if len(words) > 1 and words[1] in _ACTIONS.get(words[0], ()):
        return [" ".join(words[:2]), *words[2:]]
    return words


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
