"""Recorded accesses, read from CSV: tierfs' own, and the two layouts that block and object traces are published in.

| layout | first line | an object is |
|---|---|---|
| tierfs | `time_s,op,key,size_bytes` and more columns, in any order | a file, by its path from the root of the mount |
| CacheLib | `key,op,size,op_count,key_size` and the like | a key |
| MSR Cambridge | no names: `128166372003061629,usr,0,Read,7014609920,24576,41286` | 64 KiB of a disk |

Where there is a header, columns go by their names. Without times each access is a second after the one before it.
A file whose name ends in .gz or .xz is unpacked as it is read. What cannot be read is an error with its line.
"""

import csv
import gzip
import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO, TypeAlias

from attrs import define, field, frozen

from tierfs.errors import ConfigError
from tierfs.units import KIB

COLUMNS: Final = ("time_s", "op", "key", "size_bytes")
"""Of tierfs' own layout, those that every line has."""
_KEYS: Final = ("key", "path", "object", "id")
_SIZES: Final = ("size_bytes", "size")
_TIMES: Final = ("time_s", "op_time", "timestamp", "time")
_OPS: Final = ("op", "type")
_COUNTS: Final = ("op_count",)
_READS: Final = frozenset({"read", "r", "get", "get_lease", "open"})
_WRITES: Final = frozenset({"write", "w", "set", "set_lease", "put", "add", "replace", "create"})
_PASSED_OVER: Final = frozenset({"delete", "del", "touch", "stat"})
_MSR_COLUMNS: Final = 7
_MSR_TICKS_PER_S: Final = 10_000_000
_MSR_BLOCK_BYTES: Final = 64 * KIB
_REPEATS_MAX: Final = 1000
_ERRORS: Final = "surrogateescape"  # a path need not be UTF-8

Access: TypeAlias = tuple[float, int, int, bool]
"""(time in s, number of the object, its size in bytes, is it written?)"""


@frozen
class Trace:
    """Accesses in the order of the file, and the names of the objects by their numbers."""

    accesses: Sequence[Access]
    names: Sequence[str]

    @property
    def sizes(self) -> Mapping[int, int]:
        """By the number of the object, as it was seen last."""
        return {number: size_bytes for _, number, size_bytes, _ in self.accesses}

    @property
    def total_bytes(self) -> int:
        """Of all objects."""
        return sum(self.sizes.values())


@define
class _Numbers:
    """Numbers for names, and what an object's size was."""

    names: list[str] = field(factory=list)
    sizes: list[int] = field(factory=list)
    _numbers: dict[str, int] = field(factory=dict)

    def of(self, name: str, size_bytes: int) -> tuple[int, int]:
        """(number, size): the size that was known where none is told."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
            self.sizes.append(size_bytes)
        elif size_bytes:
            self.sizes[number] = size_bytes
        return number, self.sizes[number]


def read(path: Path) -> Trace:
    """The whole trace. Raises ConfigError with line and reason."""
    numbers = _Numbers()
    try:
        with _opened(path) as file:
            accesses = list(_accesses(path, csv.reader(file), numbers))
    except (OSError, EOFError, csv.Error, lzma.LZMAError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not accesses:
        raise ConfigError(f"{path}: there is no access in it")
    return Trace(accesses, numbers.names)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors=_ERRORS, newline="")
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8", errors=_ERRORS, newline="")
    return path.open(encoding="utf-8", errors=_ERRORS, newline="")


def _accesses(path: Path, rows: Iterator[list[str]], numbers: _Numbers) -> Iterator[Access]:
    first = next(rows, None)
    if first is None:
        return
    line = 1
    try:
        parse: Callable[[list[str], int, _Numbers], Iterator[Access]]
        if len(first) == _MSR_COLUMNS and first[0].isdigit():
            parse = partial(_msr, begin=int(first[0]))
            yield from parse(first, line, numbers)
        else:
            parse = _Layout.of(first).accesses
        for line, row in enumerate(rows, 2):
            yield from parse(row, line, numbers)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{path}:{line}: {error}") from error


def _msr(row: list[str], line: int, numbers: _Numbers, *, begin: int) -> Iterator[Access]:
    """One request as the blocks that it touches."""
    ticks, host, disk, kind, offset, size, _ = row
    time_s = (int(ticks) - begin) / _MSR_TICKS_PER_S
    first, last = int(offset) // _MSR_BLOCK_BYTES, (int(offset) + max(1, int(size)) - 1) // _MSR_BLOCK_BYTES
    for block in range(first, last + 1):
        number, size_bytes = numbers.of(f"{host}.{disk}/{block}", _MSR_BLOCK_BYTES)
        yield time_s, number, size_bytes, kind.lower() in _WRITES


@frozen
class _Layout:
    """Which column is what; -1: there is none."""

    key: int
    size: int
    time: int
    op: int
    count: int

    @classmethod
    def of(cls, header: list[str]) -> "_Layout":
        names = [name.strip().lower() for name in header]
        key, size, time, op, count = (_position(names, known) for known in (_KEYS, _SIZES, _TIMES, _OPS, _COUNTS))
        if key < 0 or size < 0:
            raise ValueError(f"no layout that is known: {','.join(header)[:100]!r}; it has no key or no size")
        return cls(key, size, time, op, count)

    def accesses(self, row: list[str], line: int, numbers: _Numbers) -> Iterator[Access]:
        op = "read" if self.op < 0 else row[self.op].strip().lower()
        if op in _PASSED_OVER:
            return
        if op not in _READS and op not in _WRITES:
            raise ValueError(f"{op!r} is no kind of access")
        size_bytes = int(row[self.size])
        if size_bytes < 0:
            raise ValueError(f"a size of {size_bytes}")
        number, size_bytes = numbers.of(row[self.key], size_bytes)
        time_s = float(line) if self.time < 0 else float(row[self.time])
        access = (time_s, number, size_bytes, op in _WRITES)
        yield access
        for _ in range(min(_REPEATS_MAX, int(row[self.count])) - 1 if self.count >= 0 else 0):
            yield access


def _position(names: list[str], known: Iterable[str]) -> int:
    return next((names.index(name) for name in known if name in names), -1)
