"""Which failure ends with which exit code."""

import errno

import pytest

from tierfs.cli.failures import as_exit_error, exit_code_of, root_cause
from tierfs.control.exitcodes import ExitCode
from tierfs.errors import (
    CacheBusyError,
    ConfigError,
    FsError,
    IndexDamageError,
    MountError,
    MountProblem,
    StoreError,
    StoreErrorKind,
    TierfsError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MountError(MountProblem.NO_FUSE, "m"), 10),
        (MountError(MountProblem.UNUSABLE, "m"), 11),
        (MountError(MountProblem.BUSY, "m"), 12),
        (MountError(MountProblem.NOT_EMPTY, "m"), 13),
        (StoreError(StoreErrorKind.NO_SUCH_BUCKET, "m"), 14),
        (StoreError(StoreErrorKind.ACCESS_DENIED, "m"), 15),
        (StoreError(StoreErrorKind.UNAVAILABLE, "m"), 16),
        (StoreError(StoreErrorKind.TIMEOUT, "m"), 16),
        (StoreError(StoreErrorKind.BAD_CREDENTIALS, "m"), 17),
        (CacheBusyError("m"), 18),
        (IndexDamageError("m"), 19),
        (ConfigError("m"), 20),
        (StoreError(StoreErrorKind.CORRUPT, "m"), 1),
        (FsError(errno.EIO), 1),
    ],
)
def test_codes(error: TierfsError, code: int) -> None:
    assert exit_code_of(error) == code
    said = as_exit_error(error)
    assert (said.code, str(said), said.errno) == (code, str(error), error.errno)


def test_every_problem_of_a_mountpoint_has_a_code_of_its_own() -> None:
    codes = {exit_code_of(MountError(problem, "m")) for problem in MountProblem}
    assert len(codes) == len(MountProblem) and ExitCode.FAILED not in codes


def test_the_cause_is_found_in_nested_groups() -> None:
    inner = ConfigError("x")
    group = BaseExceptionGroup("a", [KeyboardInterrupt(), BaseExceptionGroup("b", [ValueError("v"), inner])])
    assert root_cause(group) is inner
    assert root_cause(inner) is inner
    assert root_cause(ExceptionGroup("c", [ValueError("v")])) is None
    assert root_cause(OSError(5, "x")) is None
