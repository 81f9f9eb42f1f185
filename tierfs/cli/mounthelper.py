"""mount.tierfs and umount.tierfs: what mount(8) and umount(8) call for an entry of fstab or for -t tierfs.

mount(8) gives SOURCE DIR [-sfnvr] [-N namespace] [-o options] [-t type]; umount(8) gives DIR [-flnrv] [-N ..] [-t ..].
They are linked into /sbin, also under the names of the type that the kernel shows, fuse.tierfs.

Exit codes are mount(8)'s, which knows what follows from them (`nofail`, for one).
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from tierfs.cli import tierfs
from tierfs.control.exitcodes import ExitCode

USAGE: Final = 1
SYSTEM_ERROR: Final = 2
INTERRUPTED: Final = 8
FAILED: Final = 32
_CODES: Final = {
    ExitCode.OK: 0,
    ExitCode.USAGE: USAGE,
    ExitCode.CONFIG: USAGE,
    ExitCode.NO_FUSE: SYSTEM_ERROR,
    ExitCode.INTERRUPTED: INTERRUPTED,
}
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Parser(argparse.ArgumentParser):
    """Wrong usage is 1 for mount(8), where argparse would say 2."""

    def error(self, message: str) -> "argparse.NoReturn":  # type: ignore[name-defined]
        self.exit(USAGE, f"{self.prog}: {message}\n")


def mount(argv: Sequence[str] | None = None) -> int:
    """mount.tierfs; returns the exit code."""
    options = _arguments("mount.tierfs", argv, ["source", "directory"], switches="sfnvr").parse_args(argv)
    words = ["ro"] if options.r else []
    words += [word for text in options.options for word in text.split(",") if _concerns_us(word)]
    arguments = ["mount", *(["-o", ",".join(words)] if words else []), "--", options.source, options.directory]
    if options.f:  # all but the mounting, as mount --fake asks for
        return 0
    _provide_environment()
    return _CODES.get(ExitCode(tierfs.main(arguments)), FAILED)


def umount(argv: Sequence[str] | None = None) -> int:
    """umount.tierfs; returns the exit code."""
    options = _arguments("umount.tierfs", argv, ["directory"], switches="flnrv").parse_args(argv)
    # -f is for servers that do not answer: nothing is waited for, as with -l
    lazy = ["--lazy"] if options.l or options.f else []
    _provide_environment()
    return _CODES.get(ExitCode(tierfs.main(["umount", *lazy, "--", options.directory])), FAILED)


def _arguments(
    program: str, argv: Sequence[str] | None, positionals: Sequence[str], *, switches: str
) -> argparse.ArgumentParser:
    parser = _Parser(prog=program, description="Called by mount(8) and umount(8); people call tierfs.")
    for name in positionals:
        parser.add_argument(name)
    for letter in switches:
        parser.add_argument(f"-{letter}", action="store_true")
    parser.add_argument("-o", dest="options", action="append", default=[])
    for letter in "tN":
        parser.add_argument(f"-{letter}", metavar="TEXT")
    return parser


def _concerns_us(word: str) -> bool:
    """mount(8) adds user=NAME where an entry lets users mount, and helper= for umount; comments are fstab's own."""
    return bool(word) and not word.startswith(("user=", "helper=", "uhelper=", "comment="))


def _provide_environment() -> None:
    """At boot there may be no PATH, by which fusermount3 is found, and no HOME, in which credentials are looked for."""
    os.environ.setdefault("PATH", _PATH)
    if os.geteuid() == 0:
        os.environ.setdefault("HOME", "/root")


if __name__ == "__main__":
    sys.exit(mount())
