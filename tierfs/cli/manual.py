"""Manual pages and shell completions, made from the parsers themselves: `python -m tierfs.cli.manual DIRECTORY`.

Below DIRECTORY, which is a `share`: man/man1, bash-completion/completions, zsh/site-functions. The installation calls
it, so that what is there is never older than the commands. It takes the extra `manual` (argparse-manpage and shtab).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import shtab
from argparse_manpage.manpage import Manpage

from tierfs import __version__
from tierfs.cli import schemas, tierctl, tierfs

_PARSERS: Final = (tierfs.parser, tierctl.parser)
_FILES: Final = frozenset({"PATH", "FILE", "PATH|SOURCE"})


def files() -> Iterator[tuple[str, str]]:
    """(path below the directory, text) of each."""
    for make in _PARSERS:
        name = make().prog
        page = Manpage(make(), _data={"project_name": "tierfs", "version": __version__, "manual_title": "tierfs"})
        yield f"man/man1/{name}.1", str(page) + (_answers() if make is tierctl.parser else "")
        yield f"bash-completion/completions/{name}", shtab.complete(_with_paths(make()), "bash")
        yield f"zsh/site-functions/_{name}", shtab.complete(_with_paths(make()), "zsh")


def _answers() -> str:
    """The section about --json."""
    blocks = [schemas.general(), *(f"{verb}\n{schemas.text_of(verb)}" for verb in schemas.ANSWERS)]
    text = "\n\n".join(blocks).replace("\\", "\\\\").replace("-", "\\-")
    return f"\n.SH ANSWERS FOR PROGRAMS\n.nf\n{text}\n.fi\n"


def _with_paths(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser with what completes to names of files."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _with_paths(below)
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Writes them; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m tierfs.cli.manual", description="Writes manual pages.")
    arguments.add_argument("directory", type=Path, metavar="DIRECTORY")
    directory: Path = arguments.parse_args(argv).directory
    for name, text in files():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
