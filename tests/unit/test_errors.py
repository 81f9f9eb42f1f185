"""Errors say what they are: kinds stay apart, and carry errno and retryable."""

import errno

import pytest

from tierfs.errors import FsError, MountError, MountProblem, StoreError, StoreErrorKind


def test_every_kind_of_store_error_is_a_member_of_its_own() -> None:
    """Equal values make aliases in an Enum: a lost answer was then the same as a throttled request."""
    assert [kind.name for kind in StoreErrorKind] == list(StoreErrorKind.__members__)


@pytest.mark.parametrize(
    ("kind", "number", "retryable", "name"),
    [
        (StoreErrorKind.NOT_FOUND, errno.ENOENT, False, "not found"),
        (StoreErrorKind.BAD_CREDENTIALS, errno.EACCES, False, "bad credentials"),
        (StoreErrorKind.CORRUPT, errno.EIO, True, "corrupt"),
        (StoreErrorKind.UNCLEAR, errno.EIO, True, "unclear"),
        (StoreErrorKind.PERMANENT, errno.EIO, False, "permanent"),
    ],
)
def test_a_store_error_carries_errno_retryable_and_its_own_name(
    kind: StoreErrorKind, number: int, retryable: bool, name: str
) -> None:
    error = StoreError(kind, "what happened", key="a/b", request_id="r1")
    assert (error.errno, error.retryable) == (number, retryable)
    assert str(error) == f"{name}: what happened (key 'a/b') (request id r1)"


def test_problems_of_a_mountpoint_are_told_apart() -> None:
    assert [problem.name for problem in MountProblem] == list(MountProblem.__members__)
    assert MountError(MountProblem.BUSY, "m").errno == errno.EBUSY


def test_a_posix_error_says_what_the_system_would() -> None:
    assert str(FsError(errno.ENOENT)) == "No such file or directory"
    assert str(FsError(errno.ENOENT, "no such thing")) == "no such thing"
