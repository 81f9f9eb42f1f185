"""What the commands print: lines that fit 80 columns, names that cannot harm a terminal, progress.

Standard library only, and little of it: `tierctl` starts with this.
"""

import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.units import format_size

COLUMNS: Final = 80
SCHEMA: Final = 1
"""Of all answers for programs: rises when a field goes, or means something else. See `cli.schemas`."""


def printable(text: object) -> str:
    """Text without control characters and lone surrogates, each shown as \\xNN or \\uNNNN."""
    return "".join(
        c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" if ord(c) < 0x100 or 0xDC80 <= ord(c) <= 0xDCFF else _hex(c)
        for c in str(text)
    )


def printable_line(text: str) -> str:
    """The same for a line of a file: its tabs stay, and so does its length."""
    return "\t".join(map(printable, text.split("\t")))


def _hex(character: str) -> str:
    return f"\\u{ord(character):04x}"


def shortened(text: str, width: int) -> str:
    """The text, its middle left out where it is longer than `width`: both ends of a path tell something."""
    if len(text) <= width:
        return text
    if width <= 3:
        return "..."[:width]
    tail = (width - 3) // 2
    return f"{text[: width - 3 - tail]}...{text[len(text) - tail :]}"


def format_age(seconds: float) -> str:
    """12 s, 5 min 3 s, 2 h 4 min, 3 d 1 h."""
    whole = max(0, int(seconds))
    for larger, smaller, big, small in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= larger:
            rest = whole % larger // smaller
            return f"{whole // larger} {big} {rest} {small}" if rest else f"{whole // larger} {big}"
    return f"{whole} s"


def fields(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """A title and labelled values; one that is wider than the columns goes on below itself."""
    width = max((len(label) for label, _ in rows), default=0) + 2
    lines = [shortened(printable(title), COLUMNS)]
    for label, value in rows:
        shown = textwrap.wrap(printable(value), COLUMNS - 2 - width, drop_whitespace=False) or [""]
        lines += [
            f"  {head:<{width}}{part.rstrip()}" for head, part in zip([label, *[""] * len(shown)], shown, strict=False)
        ]
    return "\n".join(lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as needed; the last one gives way where it does not fit."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [min(max(len(row[n]) for row in cells), 30) for n in range(len(header) - 1)]
    lines = []
    for row in cells:
        line = "".join(f"{shortened(cell, width):<{width}}  " for cell, width in zip(row, widths, strict=False))
        lines.append((line + shortened(row[-1], max(8, COLUMNS - len(line)))).rstrip())
    return "\n".join(lines)


def left(progress: Mapping[str, Any]) -> str:
    """What a report of progress says, in words."""
    files = progress.get("files", 0)
    return f"{files} {'file' if files == 1 else 'files'}, {format_size(int(progress.get('bytes', 0)))} left"


class ProgressLine:
    """One line on standard error that is written over, on a terminal only."""

    def __init__(self, what: str, describe: Callable[[Mapping[str, Any]], str] = left) -> None:
        self._what = what
        self._describe = describe
        self._shown = False
        self._enabled = sys.stderr.isatty()

    def __call__(self, progress: Mapping[str, Any]) -> None:
        if self._enabled and progress:
            text = shortened(f"{self._what}: {self._describe(progress)}", COLUMNS - 1)
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            self._shown = True

    def clear(self) -> None:
        """Takes the line away before something else is printed."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False


def print_json(value: Mapping[str, Any]) -> None:
    """An answer for programs: one object, indented, ASCII. See `cli.schemas`."""
    print(json.dumps({"schema": SCHEMA, **value}, indent=2))


def json_line(value: Mapping[str, Any]) -> str:
    """One of many answers, each in a line."""
    return json.dumps({"schema": SCHEMA, **value})


def run_command(program: str, body: Callable[[], int], *, as_json: bool = False) -> int:
    """Runs a command's body and turns every end of it into an exit code and one line."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test's or a service's own stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = body()
        sys.stdout.flush()
    except ExitError as error:
        code = int(error.code)
        print(f"{program}: {printable(error)}", file=sys.stderr)
        if as_json:
            print_json({"error": {"exit_code": code, "message": str(error), "errno": error.errno}})
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # the reader has seen enough (`| head`); what is still buffered must not fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = int(ExitCode.FAILED)
    return code
