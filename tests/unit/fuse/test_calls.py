"""Requests that pyfuse3 does not know: what becomes of errors. Their bytes are in tests/native/test_holder_wire.py."""

import errno
import functools
import logging
import struct

import pytest
import trio

from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.fuse.calls import Calls
from tierfs.fuse.failures import Failures

LOOKUP, READ, LSEEK = 1, 15, 46


class SeekDouble:
    """Answers the offset, or raises `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def path_of_handle(self, handle: int) -> str:
        """`calls.Requests`."""
        return f"/file-of-{handle}"

    async def bring(self, handle: int, offset: int, size: int) -> None:
        """`calls.Requests`."""
        if self.error is not None:
            raise self.error

    async def fallocate(self, handle: int, offset: int, length: int, mode: int) -> None:
        """`calls.Requests`."""

    async def seek(self, handle: int, offset: int, whence: int) -> int:
        """`calls.Requests`."""
        if self.error is not None:
            raise self.error
        return offset

    async def copy_range(self, handle_in: int, offset_in: int, handle_out: int, offset_out: int, length: int) -> int:
        """`calls.Requests`."""
        return length


def answer(requests: SeekDouble, opcode: int, argument: bytes) -> tuple[int, int]:
    return trio.run(Calls(requests, Failures()).answer, opcode, argument)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FsError(errno.ENXIO), errno.ENXIO),
        (ExceptionGroup("of a nursery", [FsError(errno.ENOSPC)]), errno.ENOSPC),
        (StoreError(StoreErrorKind.ACCESS_DENIED, "no"), errno.EACCES),
        (OSError(errno.EDQUOT, "full"), errno.EDQUOT),
        (KeyError("a bug"), errno.EIO),
    ],
)
def test_every_error_has_an_errno(error: Exception, code: int) -> None:
    argument = struct.pack("=QqII", 7, 10, 3, 0)
    assert answer(SeekDouble(error), LSEEK, argument) == (code, 0)
    assert answer(SeekDouble(), LSEEK, argument) == (0, 10)


def test_a_parked_read_that_fails_is_logged_with_its_file(caplog: pytest.LogCaptureFixture) -> None:
    error = StoreError(StoreErrorKind.TIMEOUT, "no answer", key="d/f", request_id="R1")
    argument = struct.pack("=QqI20x", 7, 10, 4096)
    assert answer(SeekDouble(error), READ, argument) == (errno.EIO, 0)
    (line,) = caplog.messages
    assert line.startswith("read /file-of-7 failed with EIO: timeout: no answer (key 'd/f') (request id R1).")


def test_a_read_that_has_its_answer_does_not_fail(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(SeekDouble(StoreError(StoreErrorKind.TIMEOUT, "no answer", key="d/f")), Failures())
    argument = struct.pack("=QqI20x", 7, 10, 4096)
    assert trio.run(functools.partial(calls.answer, READ, argument, is_told=True)) == (errno.EIO, 0)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_what_nobody_knows_is_enosys(caplog: pytest.LogCaptureFixture) -> None:
    assert answer(SeekDouble(), LOOKUP, b"") == (errno.ENOSYS, 0)
    assert not caplog.records
