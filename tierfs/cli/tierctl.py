"""tierctl: asks running mounts over their control sockets.

Only a client: it imports nothing but the standard library and `tierfs.control`'s light half, because
it runs in scripts and prompts and has to start within 150 ms.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from tierfs import __version__
from tierfs.cli import (
    classes,
    configuring,
    conflicts,
    cost,
    dashboard,
    doctor,
    events,
    live,
    oplog,
    profiling,
    space,
    status,
    syncing,
    tasks,
    terminal,
    tiering,
    versions,
    watching,
)
from tierfs.cli.grammar import CODES, GroupedHelp, Parser, Verbs
from tierfs.control.exitcodes import table as exit_code_table

# in the order that --help has; a module of verbs is a line
_MODULES: Final = (
    (
        "a mount and its files",
        status,
        space,
    ),
    (
        "here and in the bucket",
        syncing,
        watching,
        conflicts,
        versions,
        events,
        classes,
    ),
    (
        "long work on a path",
        tasks,
    ),
    (
        "what stays on the local disk",
        tiering,
        profiling,
    ),
    (
        "what it costs",
        cost,
    ),
    (
        "what happens now",
        live,
        oplog,
        dashboard,
    ),
    (
        "running it",
        configuring,
        doctor,
    ),
)
_EXAMPLES: Final = """\
examples:
  tierctl status                        the only mount of this machine
  tierctl status /mnt/data --json       one of several, for programs
  tierctl info /mnt/data/model.pt       is it here, is it in the bucket?
  tierctl sync /mnt/data/results        upload now, and wait for it
  tierctl wait --synced /mnt/data/results --timeout 10min
  tierctl queue                         what waits for the bucket, and why
  tierctl watch --json                  what happens on both sides, a line each
  tierctl top                           throughput, hit rate, latency, busiest files
  tierctl dashboard                     a web page of all that, for this machine
  tierctl du /mnt/data/train            how large, and how much of it is here
  tierctl sync held                     what the bucket has lost and is kept here
  tierctl warm /mnt/data/train          bring it to the local disk, and wait
  tierctl profile record /mnt/data/train  what a job opens; replay brings it for the next
  tierctl explain /mnt/data/model.pt    which rule does it have, what becomes of it when?
  tierctl tasks list                    long work that goes on
  tierctl state -r /mnt/data/old        here, in the bucket, in an archive?
  tierctl archive /mnt/data/2019        to where it costs least
  tierctl restore /mnt/data/2019        and back; tierctl tier ls shows the classes
  tierctl cost explain 'mv /mnt/data/a /mnt/data/b'
  tierctl conflicts list                files that were changed here and in the bucket
  tierctl undelete /mnt/data/results    what was deleted there, from the versions of the bucket
  tierctl events setup --dry-run        what the bucket needs to tell of its changes
  tierctl config set export.quiet_s=30s  until the mount ends
  tierctl restart /mnt/data             another daemon, without unmounting
  tierctl doctor /mnt/data              what is wrong, and what to do
  tierctl mounts                        what is mounted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = parser().parse_args(syncing.joined(sys.argv[1:] if argv is None else argv))
    return terminal.run_command("tierctl", lambda: int(options.run(options)), as_json=options.json)


def parser() -> argparse.ArgumentParser:
    """The command line: what is parsed, and what manual pages and completions are made from."""
    made = Parser(
        prog="tierctl",
        description="Asks and steers tierfs mounts. PATH is any path in a mount; with one mount it may be left out.",
        epilog=f"{_EXAMPLES}\nexit codes:\n{exit_code_table(*CODES)}",
        formatter_class=GroupedHelp,
    )
    made.add_argument("--version", action="version", version=f"tierctl {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    verbs = Verbs(made, "VERB", common)
    for heading, *modules in _MODULES:
        verbs.begin(heading)
        for module in modules:
            module.add_verbs(verbs)
    return made


if __name__ == "__main__":
    sys.exit(main())
