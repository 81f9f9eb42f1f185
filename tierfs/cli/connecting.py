"""From a registered mount to a client of its daemon. Standard library only."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tierfs.cli.terminal import ProgressLine, left, printable
from tierfs.control import registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry

ANSWER_LIMIT_S: Final = 10.0


def connect(entry: Entry, silence_limit_s: float | None = None) -> Client:
    """A connection. Raises ExitError(NO_DAEMON) with the cure where the daemon is gone."""
    try:
        return Client(entry.socket, silence_limit_s=silence_limit_s or ANSWER_LIMIT_S)
    except ExitError:
        if registry.is_running(entry):
            raise  # there, but it does not let us in
        raise ExitError(ExitCode.NO_DAEMON, registry.stale_message(entry)) from None


def call_with_progress(
    entry: Entry,
    verb: str,
    args: Mapping[str, Any],
    doing: str,
    *,
    silence_limit_s: float,
    describe: Callable[[Mapping[str, Any]], str] = left,
) -> Any:
    """The result of a verb that takes long, and says how far it is meanwhile, as `describe` puts it. ExitError."""
    line = ProgressLine(doing, describe)
    with connect(entry, silence_limit_s) as client:
        try:
            return client.call(verb, args, on_progress=line)
        finally:
            line.clear()


def follow(client: Client, verb: str, at: int, show: Callable[[Mapping[str, Any]], Iterable[str]]) -> int:
    """Prints what `show` makes of each batch of a verb that tells what has happened since `at`, until somebody ends it,
    or the daemon ends; returns the exit code."""
    try:
        while True:
            batch = client.call(verb, {"after": at})
            at = batch["next"]
            for line in show(batch):
                print(line)
            sys.stdout.flush()
    except ExitError as error:
        # lines went out before, so no object of one's own tells of the end
        print(f"tierctl: {printable(error)}", file=sys.stderr)
        return error.code
