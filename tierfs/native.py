"""Checksums and checksumming copies: the C functions of `tierfs._native`, or their Python twins.

Both give the same results and raise the same exceptions; the twins of the CRCs are a thousand times slower.
Which one is in use is never a secret: `ACCELERATED`, and `why_not` for people when it is False.
`TIERFS_NATIVE=0` in the environment forces the twins.

No task state here. The functions are synchronous and those on descriptors block: call them in a
worker thread. The C functions drop the GIL, the short checksums (up to 32 KiB) excepted. A buffer
must not change during a call, else the checksum is that of neither state.

A CRC continues with `previous`: crc(a + b) == crc(b, crc(a)). Parameters of both: reflected, start
and final exclusive-or all ones (the CRC catalogue's CRC-64/NVME and CRC-32/ISCSI).
"""

import errno
import functools
import importlib
import operator
import os
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import Final, Protocol, TypeAlias, cast

import xxhash

from tierfs.units import MIB

Readable: TypeAlias = bytes | bytearray | memoryview | mmap
Writable: TypeAlias = bytearray | memoryview | mmap

CHUNK_BYTES: Final = MIB
_ABI: Final = 1  # of native/module.c
_OFFSET_MAX: Final = (1 << 63) - 1
_CRC32_MAX: Final = (1 << 32) - 1
_CRC64_MAX: Final = (1 << 64) - 1


class Kernels(Protocol):
    """What C and Python both offer. Arguments are positional.

    All raise TypeError for arguments of a wrong kind, BufferError for a buffer that is not contiguous
    (or not writable where it must be), and ValueError for numbers out of range: a checksum beyond its
    width, an offset or length below 0, or a range that ends beyond 2^63 - 1.
    """

    def crc64nvme(self, data: Readable, previous: int = 0, /) -> int:
        """CRC-64/NVME, the checksum that S3 keeps with every new object; 0xAE8B14860A799888 of b"123456789"."""
        ...

    def crc64nvme_combine(self, crc_a: int, crc_b: int, len_b: int, /) -> int:
        """The CRC-64/NVME of a + b from those of a and b; `len_b` in bytes."""
        ...

    def crc32c(self, data: Readable, previous: int = 0, /) -> int:
        """CRC-32C (Castagnoli); 0xE3069283 of b"123456789"."""
        ...

    def crc32c_combine(self, crc_a: int, crc_b: int, len_b: int, /) -> int:
        """The CRC-32C of a + b from those of a and b; `len_b` in bytes."""
        ...

    def xxh3_64(self, data: Readable, /) -> int:
        """XXH3 of 64 bits, seed 0: a fast fingerprint, not proof against an adversary."""
        ...

    def copy_crc64nvme(self, destination: Writable, source: Readable, previous: int = 0, /) -> int:
        """Copies all of `source` to the beginning of `destination` and returns the CRC-64/NVME of it.

        ValueError when it does not fit. The two may overlap, as for memmove.
        """
        ...

    def pwrite_crc64nvme(self, fd: int, data: Readable, offset: int, /) -> int:
        """Writes all of `data` at `offset`, however many calls that takes, and returns its CRC-64/NVME.

        Repeatable. OSError with errno; then any part of the range may have been written.
        """
        ...

    def pread_crc64nvme(self, fd: int, length: int, offset: int, /) -> tuple[bytes, int]:
        """Reads `length` bytes at `offset`, fewer only at the end of the file, and their CRC-64/NVME.

        OSError with errno; MemoryError when there is no room for `length` bytes.
        """
        ...

    def copy_range_crc64nvme(
        self, fd_in: int, off_in: int, fd_out: int, off_out: int, length: int, /
    ) -> tuple[int, int]:
        """Copies up to `length` bytes between files through a buffer of 1 MiB.

        Returns how many (fewer only at the end of the source) and their CRC-64/NVME. Repeatable.
        OSError with errno, EINVAL for ranges that overlap in one file; then any part of the target
        range may have been written.
        """
        ...

    def variants(self) -> dict[str, str]:
        """For diagnostics: which implementation this CPU got, by checksum."""
        ...


def _within(value: int, limit: int, what: str) -> int:
    number = operator.index(value)
    if not 0 <= number <= limit:
        raise ValueError(f"{what} must be 0 to {limit}")
    return number


def _range(offset: int, length: int, what: str) -> int:
    number = _within(offset, _OFFSET_MAX, what)
    if length > _OFFSET_MAX - number:
        raise ValueError(f"{what} plus the length must be at most {_OFFSET_MAX}")
    return number


def _readable(data: Readable) -> memoryview:
    """The bytes of a contiguous buffer, whatever its items are."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer is not contiguous")
    if view.ndim == 1 and view.itemsize == 1:
        return view
    return memoryview(view.tobytes())


class _Crc:
    """A reflected CRC that starts from all ones and ends with a complement."""

    def __init__(self, polynomial: int, width: int) -> None:
        self._polynomial = polynomial  # reflected: bit width - 1 stands for x^0
        self._width = width
        self.mask = (1 << width) - 1

    def _times_x(self, value: int) -> int:
        return (value >> 1) ^ (self._polynomial if value & 1 else 0)

    @functools.cached_property
    def _table(self) -> list[int]:
        table = []
        for byte in range(256):
            value = byte
            for _ in range(8):
                value = self._times_x(value)
            table.append(value)
        return table

    def update(self, previous: int, data: memoryview) -> int:
        table = self._table
        register = previous ^ self.mask
        for byte in data.cast("B") if data.format != "B" else data:
            register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
        return register ^ self.mask

    def _multiply(self, a: int, b: int) -> int:
        product = 0
        for bit in range(self._width - 1, -1, -1):
            if a >> bit & 1:
                product ^= b
            b = self._times_x(b)
        return product

    def combine(self, crc_a: int, crc_b: int, len_b: int) -> int:
        shift = 1 << (self._width - 1 - 8)  # x^8: one byte; squared with each bit of the length
        while len_b:
            if len_b & 1:
                crc_a = self._multiply(crc_a, shift)
            shift = self._multiply(shift, shift)
            len_b >>= 1
        return crc_a ^ crc_b


_CRC64NVME: Final = _Crc(0x9A6C9329AC4BC9B5, 64)
_CRC32C: Final = _Crc(0x82F63B78, 32)


def _write_fully(fd: int, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        count = os.pwrite(fd, view[done:], offset + done)
        if count == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done += count


class PythonKernels:
    """The twins: `Kernels` in Python. XXH3 is the xxhash package's."""

    @staticmethod
    def crc64nvme(data: Readable, previous: int = 0, /) -> int:
        return _CRC64NVME.update(_within(previous, _CRC64_MAX, "previous"), _readable(data))

    @staticmethod
    def crc64nvme_combine(crc_a: int, crc_b: int, len_b: int, /) -> int:
        first, second = _within(crc_a, _CRC64_MAX, "crc_a"), _within(crc_b, _CRC64_MAX, "crc_b")
        return _CRC64NVME.combine(first, second, _within(len_b, _OFFSET_MAX, "len_b"))

    @staticmethod
    def crc32c(data: Readable, previous: int = 0, /) -> int:
        return _CRC32C.update(_within(previous, _CRC32_MAX, "previous"), _readable(data))

    @staticmethod
    def crc32c_combine(crc_a: int, crc_b: int, len_b: int, /) -> int:
        first, second = _within(crc_a, _CRC32_MAX, "crc_a"), _within(crc_b, _CRC32_MAX, "crc_b")
        return _CRC32C.combine(first, second, _within(len_b, _OFFSET_MAX, "len_b"))

    @staticmethod
    def xxh3_64(data: Readable, /) -> int:
        return xxhash.xxh3_64_intdigest(_readable(data))

    @staticmethod
    def copy_crc64nvme(destination: Writable, source: Readable, previous: int = 0, /) -> int:
        crc = _within(previous, _CRC64_MAX, "previous")
        target, view = memoryview(destination), _readable(source)
        if target.readonly or not target.c_contiguous:
            raise BufferError("the destination is not writable or not contiguous")
        if target.nbytes < view.nbytes:
            raise ValueError(f"{view.nbytes} bytes do not fit in a destination of {target.nbytes}")
        copied = target.cast("B")[: view.nbytes]
        copied[:] = view.cast("B")
        return _CRC64NVME.update(crc, copied)

    @staticmethod
    def pwrite_crc64nvme(fd: int, data: Readable, offset: int, /) -> int:
        view = _readable(data)
        _write_fully(fd, view, _range(offset, view.nbytes, "offset"))
        return _CRC64NVME.update(0, view)

    @staticmethod
    def pread_crc64nvme(fd: int, length: int, offset: int, /) -> tuple[bytes, int]:
        left = _within(length, _OFFSET_MAX, "length")
        position = _range(offset, left, "offset")
        chunks = []
        while left and (chunk := os.pread(fd, min(left, CHUNK_BYTES), position)):
            chunks.append(chunk)
            position += len(chunk)
            left -= len(chunk)
        data = b"".join(chunks)
        return data, _CRC64NVME.update(0, memoryview(data))

    @staticmethod
    def copy_range_crc64nvme(fd_in: int, off_in: int, fd_out: int, off_out: int, length: int, /) -> tuple[int, int]:
        left = _within(length, _OFFSET_MAX, "length")
        source, target = _range(off_in, left, "off_in"), _range(off_out, left, "off_out")
        if os.path.samestat(os.fstat(fd_in), os.fstat(fd_out)) and abs(source - target) < left:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        copied, crc = 0, 0
        while copied < left and (chunk := os.pread(fd_in, min(left - copied, CHUNK_BYTES), source + copied)):
            _write_fully(fd_out, memoryview(chunk), target + copied)
            crc = _CRC64NVME.update(crc, memoryview(chunk))
            copied += len(chunk)
        return copied, crc

    @staticmethod
    def variants() -> dict[str, str]:
        return {"crc64nvme": "python", "crc32c": "python", "xxh3_64": "xxhash"}


def load_native() -> Kernels:
    """The C functions. ImportError when they are missing or of another version of this file."""
    module = importlib.import_module("tierfs._native")
    found = getattr(module, "ABI", None)
    if found != _ABI:
        raise ImportError(f"tierfs._native has ABI {found}, this tierfs needs {_ABI}: build it again (pip install)")
    return cast(Kernels, module)


def choose(environment: Mapping[str, str], load: Callable[[], Kernels]) -> tuple[Kernels, str]:
    """What to use, and why it is not the C functions ("" when it is)."""
    if environment.get("TIERFS_NATIVE") == "0":
        return PythonKernels(), "TIERFS_NATIVE=0 is set in the environment"
    try:
        return load(), ""
    except ImportError as error:
        return PythonKernels(), str(error)


kernels, why_not = choose(os.environ, load_native)
ACCELERATED: Final[bool] = not why_not

crc64nvme = kernels.crc64nvme
crc64nvme_combine = kernels.crc64nvme_combine
crc32c = kernels.crc32c
crc32c_combine = kernels.crc32c_combine
xxh3_64 = kernels.xxh3_64
copy_crc64nvme = kernels.copy_crc64nvme
pwrite_crc64nvme = kernels.pwrite_crc64nvme
pread_crc64nvme = kernels.pread_crc64nvme
copy_range_crc64nvme = kernels.copy_range_crc64nvme
variants = kernels.variants
