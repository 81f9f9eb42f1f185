"""The requests that the holder carries past pyfuse3: FALLOCATE, LSEEK and COPY_FILE_RANGE, which it does not know, and
READs of absent bytes, which the holder answers when they are here."""

import errno
import logging
import struct
from time import monotonic_ns
from typing import Final, Protocol

from attrs import field, frozen

from tierfs.errors import FsError, TierfsError
from tierfs.fuse.failures import Failures
from tierfs.fuse.observer import INTERRUPTED, Observer

_log: Final = logging.getLogger(__name__)
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
_HANDLE: Final = struct.Struct("=Q")  # what each argument begins with
_READ_IN: Final = struct.Struct("=QqI20x")  # fh, offset, size
_FALLOCATE_IN: Final = struct.Struct("=QqqIxxxx")  # fh, offset, length, mode
_LSEEK_IN: Final = struct.Struct("=QqIxxxx")  # fh, offset, whence
_COPY_IN: Final = struct.Struct("=QqQQqQQ")  # fh, offset, inode, fh, offset, length, flags


class Requests(Protocol):
    """Who answers; handles are those that it gave to OPEN and CREATE. Errors: TierfsError, OSError."""

    def path_of_handle(self, handle: int) -> str:
        """The file's path in the mount, for the log."""
        ...

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


@frozen
class Calls:
    """Those requests, answered; a failure is logged as one of a request that came through pyfuse3 is."""

    _requests: Requests
    _failures: Failures
    _observer: Observer = field(factory=Observer)

    async def answer(self, opcode: int, argument: bytes, *, is_told: bool = False) -> tuple[int, int]:
        """(errno or 0, value) of one request. `is_told`: the program has its answer, and none waits for this one."""
        if is_told:
            return await self._prepare(opcode, argument)
        verb = _VERBS.get(opcode, "call")
        began_ns = monotonic_ns()
        watched = self._observer.begin(lambda: {"fh": _handle_of(argument)}, lambda about: self._known_path(argument))
        failure, value = INTERRUPTED, 0
        try:
            value = await _call(self._requests, opcode, argument)
            failure = ""
            return 0, value
        except Exception as error:
            code = self._failures.errno_of(error, verb, lambda: self._path_in(argument))
            failure = errno.errorcode.get(code, str(code))
            return code, 0
        finally:
            size_bytes = 0 if failure else _size_of(opcode, argument, value)
            self._observer.end(watched, verb, began_ns, failure, size_bytes)

    async def _prepare(self, opcode: int, argument: bytes) -> tuple[int, int]:
        try:
            return 0, await _call(self._requests, opcode, argument)
        except TierfsError as error:
            _log.debug("what was to be read ahead does not come: %s", error)
            return error.errno, 0
        except Exception as error:
            return self._failures.errno_of(error, _VERBS.get(opcode, "call"), lambda: self._path_in(argument)), 0

    def _path_in(self, argument: bytes) -> str:
        return self._requests.path_of_handle(_handle_of(argument))

    def _known_path(self, argument: bytes) -> str:
        try:
            return self._path_in(argument)
        except TierfsError:
            return ""


def _handle_of(argument: bytes) -> int:
    (handle,) = _HANDLE.unpack_from(argument)
    return int(handle)


def _size_of(opcode: int, argument: bytes, value: int) -> int:
    """The bytes that were read or copied; a read beyond the end of the file has fewer."""
    if opcode == _READ:
        return int(_READ_IN.unpack(argument)[2])
    return value if opcode in _COPY_FILE_RANGE else 0


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
