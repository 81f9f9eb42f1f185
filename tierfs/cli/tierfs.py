"""tierfs: mounts a bucket and unmounts it.

`mount` returns when programs can use the mount. The daemon is this same program with --foreground.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tierfs import __version__
from tierfs.cli import background, fsckoptions, iam, mounting, terminal, unmounting
from tierfs.cli.failures import as_exit_error
from tierfs.cli.grammar import Parser
from tierfs.config import Settings
from tierfs.control.exitcodes import ExitCode
from tierfs.control.exitcodes import table as exit_code_table
from tierfs.errors import TierfsError
from tierfs.fuse import takeover

_EXAMPLES: Final = """\
examples:
  tierfs mount s3://bucket/prefix /mnt/data
  tierfs mount s3://bucket /mnt/data --cache /nvme/tierfs -o ro
  tierfs mount s3://bucket /mnt/data -o store.endpoint_url=https://s3.example.org:9000
  tierfs mount file:///srv/store /mnt/data --foreground
  tierfs umount /mnt/data
"""
_OPTIONS_HELP: Final = (
    "comma-separated: ro, nonempty, nosuid, nodev, noexec, any key of [mount] (uid=1000), any other key with "
    "its section (export.quiet_s=1s); see deploy/tierfs.example.toml"
)


def _run_daemon(settings: Settings, source: str, mountpoint: Path, cache: Path, ready: Callable[[], None]) -> int:
    # here, not above: help, wrong usage and the start in the background need none of it
    from tierfs import daemon

    return daemon.run(settings, source, mountpoint, cache, ready)


def main(argv: Sequence[str] | None = None, *, run_daemon: mounting.RunDaemon = _run_daemon) -> int:
    """The command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments)

    def body() -> int:
        try:
            if options.verb == "umount":
                return _umount(options)
            if options.verb == "fsck":
                from tierfs.cli import fsck  # here, not above: it brings the index, which the others start without

                return fsck.run(options)
            if options.verb == "iam":
                return iam.run(options)
            return _mount(options, run_daemon)
        except TierfsError as error:
            raise as_exit_error(error) from error

    return terminal.run_command("tierfs", body, as_json=options.json)


def parser() -> argparse.ArgumentParser:
    """The command line: what is parsed, and what manual pages and completions are made from."""
    made = Parser(
        prog="tierfs",
        description="Mounts an object bucket as a file system whose hot files live on the local disk.",
        epilog=f"{_EXAMPLES}\nexit codes:\n{exit_code_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"tierfs {__version__}")
    verbs = made.add_subparsers(dest="verb", metavar="VERB", required=True)
    mount = verbs.add_parser(
        "mount",
        help="mount a bucket; returns when the mount works",
        description="Mounts a bucket or a directory that serves as one. Returns when programs can use the mount.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mount.add_argument("source", metavar="SOURCE", help="s3://bucket/prefix or file:///directory")
    mount.add_argument("directory", metavar="DIR", help="an empty directory")
    mount.add_argument("--cache", default="", metavar="DIR", help="where hot files and the index live; one a mount")
    mount.add_argument("--config", default="", metavar="FILE", help="settings; default: /etc/tierfs/tierfs.toml")
    mount.add_argument("--foreground", action="store_true", help="do not go to the background; log to standard error")
    mount.add_argument("-o", dest="options", action="append", default=[], metavar="OPT[,OPT]", help=_OPTIONS_HELP)
    mount.add_argument("--status-fd", type=int, default=None, help=argparse.SUPPRESS)
    mount.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    mount.add_argument(takeover.CHECK_ONLY, action="store_true", help=argparse.SUPPRESS)
    umount = verbs.add_parser(
        "umount",
        help="upload what is pending and unmount",
        description="Uploads what is pending, unmounts and waits for the end of the daemon.",
        epilog="example:\n  tierfs umount /mnt/data --no-drain",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    umount.add_argument("directory", metavar="DIR", help="the mountpoint")
    umount.add_argument("--no-drain", action="store_true", help="leave pending uploads for the next mount")
    umount.add_argument("--lazy", action="store_true", help="also while it is in use; open files go on")
    for verb in (mount, umount, fsckoptions.add_parser(verbs), iam.add_parser(verbs)):
        verb.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return made


def _mount(options: argparse.Namespace, run_daemon: mounting.RunDaemon) -> int:
    status = background.StatusPipe(options.status_fd)
    try:
        wanted = mounting.plan(
            options.source,
            options.directory,
            cache=options.cache,
            config_file=options.config,
            options=options.options,
        )
    except TierfsError as error:
        status.failed(as_exit_error(error))
        raise
    if options.check_only:
        return mounting.try_out(wanted)
    if options.foreground:
        return mounting.serve(
            wanted, status, run_daemon, in_background=options.in_background or options.status_fd is not None
        )
    arguments = [f"--cache={wanted.cache}", *(f"-o{words}" for words in options.options)]
    arguments += [f"--config={Path(options.config).absolute()}"] if options.config else []
    pid = mounting.start(wanted, [*arguments, "--", wanted.source, str(wanted.mountpoint)])
    if options.json:
        place, cache = str(wanted.mountpoint), str(wanted.cache)
        terminal.print_json({"mountpoint": place, "source": wanted.source, "cache": cache, "pid": pid})
    return ExitCode.OK


def _umount(options: argparse.Namespace) -> int:
    result = unmounting.umount(options.directory, drain=not options.no_drain, lazy=options.lazy)
    if options.json:
        terminal.print_json(result)
    elif told := unmounting.told(result, lazy=options.lazy):
        print(f"tierfs: {terminal.printable(options.directory)}: {told}", file=sys.stderr)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
