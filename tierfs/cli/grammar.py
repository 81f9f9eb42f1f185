"""The command line of tierctl: what a module of verbs adds its verbs to, and the types of their arguments.

Standard library only, as all of tierctl.
"""

import argparse
from collections.abc import Callable
from typing import Final

from tierfs.control.exitcodes import ExitCode
from tierfs.control.exitcodes import table as exit_code_table
from tierfs.units import parse_duration_s

CODES: Final = (
    ExitCode.OK,
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NO_DAEMON,
    ExitCode.TIMEOUT,
    ExitCode.PERMISSION,
    ExitCode.NOT_FOUND,
    ExitCode.INCOMPATIBLE,
    ExitCode.CANCELLED,
    ExitCode.BUSY,
    ExitCode.CONFIG,
    ExitCode.DOUBTFUL,
    ExitCode.FAULTY,
    ExitCode.INTERRUPTED,
)


class Verbs:
    """The verbs of a command, or of one that has verbs of its own (`conflicts list`)."""

    def __init__(self, parser: argparse.ArgumentParser, members: str, common: argparse.ArgumentParser) -> None:
        self._common = common
        self._parsers = parser.add_subparsers(metavar=members, required=True)

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
    ) -> argparse.ArgumentParser:
        """A verb that `run` carries out and returns the exit code of; `text` is a phrase in lower case."""
        made = self._parsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  {example}",
            parents=[self._common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    def group(self, name: str, text: str, examples: str, members: str) -> "Verbs":
        """A verb that has verbs of its own; `members` names them: `list|show`."""
        made = self._parsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"{examples}\nexit codes:\n{exit_code_table(*CODES)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return Verbs(made, members, self._common)


def number_of(what: str) -> Callable[[str], int]:
    """A type for argparse: the number of a conflict, a task."""

    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 18:
            raise argparse.ArgumentTypeError(f"{text!r} is not the number of a {what}; tierctl {what}s list shows them")
        return int(text)

    return number


def duration(text: str) -> float:
    """A type for argparse: seconds of `30s` or `10min`."""
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
