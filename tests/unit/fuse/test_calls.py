"""Requests that pyfuse3 does not know: what becomes of errors. Their bytes are in tests/native/test_holder_wire.py."""

import errno
import struct

import pytest
import trio

from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.fuse.calls import answer

LSEEK, LOOKUP = 46, 1


class SeekDouble:
    """Answers the offset, or raises `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

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
    assert trio.run(answer, SeekDouble(error), LSEEK, argument) == (code, 0)
    assert trio.run(answer, SeekDouble(), LSEEK, argument) == (0, 10)


def test_nobody_to_ask_is_enosys() -> None:
    assert trio.run(answer, None, LSEEK, b"") == (errno.ENOSYS, 0)
    assert trio.run(answer, SeekDouble(), LOOKUP, b"") == (errno.ENOSYS, 0)
