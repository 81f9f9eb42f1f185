"""The requests that the holder carries past pyfuse3: FALLOCATE, LSEEK and COPY_FILE_RANGE, which it does not know, and
READs of absent bytes, which the holder answers when they are here."""

import errno
import struct
from typing import Final, Protocol

from tierfs.errors import FsError
from tierfs.fuse.failures import errno_of

# opcodes and arguments as in native/holder/fuse_wire.h
_READ: Final = 15
_FALLOCATE: Final = 43
_LSEEK: Final = 46
_COPY_FILE_RANGE: Final = (47, 53)
_VERBS: Final = {
    _READ: "read",
    _FALLOCATE: "fallocate",
    _LSEEK: "seek",
    **dict.fromkeys(_COPY_FILE_RANGE, "copy_range"),
}
_READ_IN: Final = struct.Struct("=QqI20x")  # fh, offset, size
_FALLOCATE_IN: Final = struct.Struct("=QqqIxxxx")  # fh, offset, length, mode
_LSEEK_IN: Final = struct.Struct("=QqIxxxx")  # fh, offset, whence
_COPY_IN: Final = struct.Struct("=QqQQqQQ")  # fh, offset, inode, fh, offset, length, flags


class Requests(Protocol):
    """Who answers; handles are those that it gave to OPEN and CREATE. Errors: TierfsError, OSError."""

    async def bring(self, handle: int, offset: int, size: int) -> None:
        """read(2) up to its answer: the bytes are in the backing file and the holder was told, or cannot be there."""
        ...

    async def fallocate(self, handle: int, offset: int, length: int, mode: int) -> None:
        """fallocate(2)."""
        ...

    async def seek(self, handle: int, offset: int, whence: int) -> int:
        """lseek(2) with SEEK_DATA or SEEK_HOLE."""
        ...

    async def copy_range(self, handle_in: int, offset_in: int, handle_out: int, offset_out: int, length: int) -> int:
        """copy_file_range(2): how many bytes were copied, fewer than asked at the end of the file or at any time."""
        ...


async def answer(requests: Requests | None, opcode: int, argument: bytes) -> tuple[int, int]:
    """(errno or 0, value) of one request. ENOSYS, after which the kernel does not ask again, without `requests`."""
    if requests is None:
        return errno.ENOSYS, 0
    try:
        return 0, await _call(requests, opcode, argument)
    except Exception as error:
        return errno_of(error, _VERBS.get(opcode, "call")), 0


async def _call(requests: Requests, opcode: int, argument: bytes) -> int:
    if opcode == _READ:
        await requests.bring(*_READ_IN.unpack(argument))
        return 0
    if opcode == _FALLOCATE:
        await requests.fallocate(*_FALLOCATE_IN.unpack(argument))
        return 0
    if opcode == _LSEEK:
        return await requests.seek(*_LSEEK_IN.unpack(argument))
    if opcode in _COPY_FILE_RANGE:
        handle_in, offset_in, _, handle_out, offset_out, length, _ = _COPY_IN.unpack(argument)
        return await requests.copy_range(handle_in, offset_in, handle_out, offset_out, length)
    raise FsError(errno.ENOSYS)
