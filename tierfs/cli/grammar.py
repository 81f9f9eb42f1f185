"""The command line of tierctl: what a module of verbs adds its verbs to, and the types of their arguments.

Standard library only, as all of tierctl.
"""

import argparse
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

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

_LISTED_MAX: Final = 8


class Parser(argparse.ArgumentParser):
    """Says of a verb that is none which one was meant."""

    def error(self, message: str) -> NoReturn:
        """Prints the usage of the verb that was called, and ends with ExitCode.USAGE."""
        found = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if found is not None:
            known = re.findall(r"'([^']*)'", found[2])
            close = difflib.get_close_matches(found[1], known, n=1, cutoff=0.5)
            hints = [f"did you mean {close[0]!r}?"] if close else []
            if len(known) <= _LISTED_MAX:
                hints.append(f"choose from {found[2]}")
            elif not close:
                hints.append(f"`{self.prog} --help` lists what there is")
            message = f"there is no {found[1]!r}; {' '.join(hints)}"
        super().error(message)

    def format_help(self) -> str:
        """With the fields of what --json prints."""
        from tierfs.cli import schemas  # which only help needs

        fields = schemas.text_of(self.prog.removeprefix("tierctl "))
        return f"{super().format_help()}\n{fields}\n" if fields else super().format_help()


class GroupedHelp(argparse.RawDescriptionHelpFormatter):
    """Help with the verbs under headings, as `Verbs.begin` has made them."""

    def _format_action(self, action: argparse.Action) -> str:
        headings: Mapping[str, str] = getattr(action, "headings", {})
        if not headings:
            return super()._format_action(action)
        parts = []
        for verb in self._iter_indented_subactions(action):
            if heading := headings.get(verb.dest):
                parts.append(f"\n  {heading}:\n")
            parts.append(super()._format_action(verb))
        return "".join(parts)


class Verbs:
    """The verbs of a command, or of one that has verbs of its own (`conflicts list`)."""

    def __init__(self, parser: argparse.ArgumentParser, members: str, common: argparse.ArgumentParser) -> None:
        self._common = common
        self._parsers = parser.add_subparsers(title="verbs", metavar=members, required=True)
        self._headings: dict[str, str] = {}  # by the first verb below each
        self._heading = ""
        self._parsers.headings = self._headings  # type: ignore[attr-defined]

    def begin(self, heading: str) -> None:
        """The verbs that follow stand under a heading in --help."""
        self._heading = heading

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
    ) -> argparse.ArgumentParser:
        """A verb that `run` carries out and returns the exit code of; `text` is a phrase in lower case."""
        self._head(name)
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
        self._head(name)
        made = self._parsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"{examples}\nexit codes:\n{exit_code_table(*CODES)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return Verbs(made, members, self._common)

    def _head(self, verb: str) -> None:
        if self._heading:
            self._headings[verb], self._heading = self._heading, ""


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
