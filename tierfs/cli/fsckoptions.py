"""What `tierfs fsck` takes; apart from the command, which brings the index: help and `mount` start without it."""

import argparse
from typing import Any, Final

from tierfs.control.exitcodes import ExitCode
from tierfs.control.exitcodes import table as exit_code_table

_EXIT_CODES: Final = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.CACHE_IN_USE,
    ExitCode.INDEX_UNUSABLE,
    ExitCode.REPAIRED,
    ExitCode.DAMAGED,
)
_EXAMPLES: Final = f"""\
examples:
  tierfs fsck --cache /var/cache/tierfs/1f2e               # what is wrong
  tierfs fsck --cache /var/cache/tierfs/1f2e --repair      # and what would be done about it
  tierfs fsck --cache /var/cache/tierfs/1f2e --repair --yes
  tierfs fsck --cache /var/cache/tierfs/1f2e --rebuild     # the index is past repair: begin a new one

exit codes:
{exit_code_table(*_EXIT_CODES)}
"""


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """The verb and its arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "fsck",
        help="check the cache of a mount that is not mounted",
        description="Checks index and hot tier of a cache against each other. Bytes that may be nowhere else are "
        "never deleted: they go to lost+found in the cache.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cache", required=True, metavar="DIR", help="the cache, as tierctl status tells it")
    parser.add_argument("--config", default="", metavar="FILE", help="settings; default: /etc/tierfs/tierfs.toml")
    parser.add_argument("--repair", action="store_true", help="say what would be done about each finding")
    parser.add_argument(
        "--rebuild", action="store_true", help="put the index away; the next mount makes one, from bucket and hot tier"
    )
    parser.add_argument("--yes", action="store_true", help="with --repair or --rebuild: do it")
    return parser
