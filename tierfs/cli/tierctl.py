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
    dashboard,
    doctor,
    events,
    live,
    oplog,
    space,
    status,
    syncing,
    tasks,
    terminal,
    tiering,
    versions,
    watching,
)
from tierfs.cli.grammar import CODES, Verbs
from tierfs.control.exitcodes import table as exit_code_table

_MODULES: Final = (
    status,
    syncing,
    watching,
    live,
    oplog,
    space,
    dashboard,
    conflicts,
    events,
    versions,
    tasks,
    tiering,
    configuring,
    classes,
    doctor,
)  # in the order that --help has
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
  tierctl explain /mnt/data/model.pt    which rule does it have, what becomes of it when?
  tierctl tasks list                    long work that goes on
  tierctl state -r /mnt/data/old        here, in the bucket, in an archive?
  tierctl archive /mnt/data/2019        to where it costs least
  tierctl restore /mnt/data/2019        and back; tierctl tier ls shows the classes
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
    options = _parser().parse_args(syncing.joined(sys.argv[1:] if argv is None else argv))
    return terminal.run_command("tierctl", lambda: int(options.run(options)), as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tierctl",
        description="Asks and steers tierfs mounts. PATH is any path in a mount; with one mount it may be left out.",
        epilog=f"{_EXAMPLES}\nexit codes:\n{exit_code_table(*CODES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tierctl {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    verbs = Verbs(parser, "VERB", common)
    for module in _MODULES:
        module.add_verbs(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
