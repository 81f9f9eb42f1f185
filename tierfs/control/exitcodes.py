"""The exit codes of `tierfs` and `tierctl`: the one table that both programs, the manual and the tests use."""

import enum
from typing import Final


class ExitCode(enum.IntEnum):
    """What a program ends with. Values never change their meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 3
    TIMEOUT = 4
    PERMISSION = 5
    NOT_FOUND = 6
    INCOMPATIBLE = 7
    CANCELLED = 8
    NO_FUSE = 10
    MOUNTPOINT = 11
    BUSY = 12
    NOT_EMPTY = 13
    NO_BUCKET = 14
    ACCESS_DENIED = 15
    UNREACHABLE = 16
    BAD_CREDENTIALS = 17
    CACHE_IN_USE = 18
    INDEX_UNUSABLE = 19
    CONFIG = 20
    REPAIRED = 21
    DAMAGED = 22
    DOUBTFUL = 23
    FAULTY = 24
    INTERRUPTED = 130


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed for another reason, which standard error tells",
    ExitCode.USAGE: "wrong usage of the command line",
    ExitCode.NO_DAEMON: "no tierfs mount there, or its daemon is gone or does not answer",
    ExitCode.TIMEOUT: "the time given by --timeout was over",
    ExitCode.PERMISSION: "you may not do that",
    ExitCode.NOT_FOUND: "no such file in the mount, or no such conflict or task",
    ExitCode.INCOMPATIBLE: "the daemon speaks another version of the protocol",
    ExitCode.CANCELLED: "the task was cancelled, or ended with the daemon",
    ExitCode.NO_FUSE: "FUSE cannot be used on this machine",
    ExitCode.MOUNTPOINT: "the mountpoint is missing or cannot be used",
    ExitCode.BUSY: "the mountpoint is mounted already, or in use",
    ExitCode.NOT_EMPTY: "the mountpoint is not empty",
    ExitCode.NO_BUCKET: "there is no such bucket or directory",
    ExitCode.ACCESS_DENIED: "the bucket refuses access (403)",
    ExitCode.UNREACHABLE: "the endpoint cannot be reached",
    ExitCode.BAD_CREDENTIALS: "credentials are missing, wrong or expired",
    ExitCode.CACHE_IN_USE: "another daemon uses this cache",
    ExitCode.INDEX_UNUSABLE: "the index in the cache is damaged or of a newer version",
    ExitCode.CONFIG: "a setting cannot be used",
    ExitCode.REPAIRED: "fsck found damage and has repaired all of it",
    ExitCode.DAMAGED: "fsck found damage that is still there",
    ExitCode.DOUBTFUL: "doctor found what works now and may not tomorrow",
    ExitCode.FAULTY: "doctor found what does not work",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}


class ExitError(Exception):
    """One clear line for the user, and the exit code that goes with it."""

    def __init__(self, code: ExitCode, message: str, *, errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.errno = errno


def table(*codes: ExitCode) -> str:
    """The codes and what they mean, a line each, for --help; all of them when none is named."""
    return "\n".join(f"  {code.value:>3}  {MEANINGS[code]}" for code in codes or ExitCode)
