"""From tierfs's errors to exit codes: which end of a mount is told to scripts by which number."""

from typing import Final

from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.errors import (
    CacheBusyError,
    ConfigError,
    IndexDamageError,
    MountError,
    MountProblem,
    StoreError,
    StoreErrorKind,
    TierfsError,
)

_MOUNT: Final = {
    MountProblem.NO_FUSE: ExitCode.NO_FUSE,
    MountProblem.UNUSABLE: ExitCode.MOUNTPOINT,
    MountProblem.BUSY: ExitCode.BUSY,
    MountProblem.NOT_EMPTY: ExitCode.NOT_EMPTY,
}
_STORE: Final = {
    StoreErrorKind.NO_SUCH_BUCKET: ExitCode.NO_BUCKET,
    StoreErrorKind.ACCESS_DENIED: ExitCode.ACCESS_DENIED,
    StoreErrorKind.BAD_CREDENTIALS: ExitCode.BAD_CREDENTIALS,
    StoreErrorKind.UNAVAILABLE: ExitCode.UNREACHABLE,
    StoreErrorKind.TIMEOUT: ExitCode.UNREACHABLE,
    StoreErrorKind.THROTTLED: ExitCode.UNREACHABLE,
}
_OTHERS: Final[tuple[tuple[type[TierfsError], ExitCode], ...]] = (
    (CacheBusyError, ExitCode.CACHE_IN_USE),
    (IndexDamageError, ExitCode.INDEX_UNUSABLE),
    (ConfigError, ExitCode.CONFIG),
)


def exit_code_of(error: TierfsError) -> ExitCode:
    """The documented code; FAILED for what has none of its own."""
    if isinstance(error, MountError):
        return _MOUNT[error.problem]
    if isinstance(error, StoreError):
        return _STORE.get(error.kind, ExitCode.FAILED)
    return next((code for kind, code in _OTHERS if isinstance(error, kind)), ExitCode.FAILED)


def as_exit_error(error: TierfsError) -> ExitError:
    """The same failure as the command line tells it."""
    return ExitError(exit_code_of(error), str(error), errno=error.errno)


def root_cause(error: BaseException) -> TierfsError | None:
    """The first error of ours in an exception or in a group of them, as trio's nurseries raise; or None."""
    if isinstance(error, TierfsError):
        return error
    if isinstance(error, BaseExceptionGroup):
        causes = (root_cause(inner) for inner in error.exceptions)
        return next((cause for cause in causes if cause is not None), None)
    return None
