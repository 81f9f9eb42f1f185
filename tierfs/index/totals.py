"""Sums over all inodes, kept while rows change, since to add them up would read every row.

How many bytes they hold together is for statfs; how many objects of which size lie in each storage class is for cost.
An inode stands for one object: those of further hard links are not counted.

SETTINGS, key NUL "totals", written with every commit
u64  LSN of the last journal record that is counted: that of the state row, or an older tierfs has written since
u64  sum of the sizes

SETTINGS, key NUL "objects", the same
u64  LSN, as above
then for each class that has objects
u8   length of its name, the name
u64  objects, their bytes, bytes that are billed beyond these because objects are small, objects of 128 KiB or more
"""

import struct
from collections.abc import Iterator
from typing import Final

from tierfs.index.codec import encoded_object, encoded_size_bytes
from tierfs.index.journal import Changes
from tierfs.index.lmdbenv import Environment
from tierfs.index.schema import KEY_STOP, Table
from tierfs.policy.cost import Held, rung_of

TOTALS_KEY: Final = b"\0totals"
OBJECTS_KEY: Final = b"\0objects"
_ROW: Final = struct.Struct("<QQ")
_LSN: Final = struct.Struct("<Q")
_HELD: Final = struct.Struct("<QQQQ")
_PAGE_ROWS: Final = 10_000
_NONE: Final = Held()


class Totals:
    """The sums over one environment, through which every change of rows goes. Raises what the environment raises.

    `held`: by storage class; "" for a class that S3 has not today.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self.content_bytes = 0
        self.held: dict[str, Held] = {}

    def load(self, applied_lsn: int) -> None:
        """As of the last commit. Without rows of that commit every inode is read: 2 s for a million."""
        totals, objects = self._env.get(Table.SETTINGS, TOTALS_KEY), self._env.get(Table.SETTINGS, OBJECTS_KEY)
        if totals is not None and len(totals) == _ROW.size:
            lsn, self.content_bytes = _ROW.unpack(totals)
            held = _decode_held(objects, applied_lsn)
            if lsn == applied_lsn and held is not None:
                self.held = held
                return
        self.content_bytes, self.held = 0, {}
        for record in self._records():
            self.content_bytes += encoded_size_bytes(record)
            self._count(encoded_object(record), 1)

    def _records(self) -> Iterator[bytes]:
        start = b""
        while rows := self._env.scan(Table.INODES, start, KEY_STOP, _PAGE_ROWS):
            yield from (record for _, record in rows)
            start = rows[-1][0] + b"\0"

    def apply(self, changes: Changes) -> None:
        """The environment's `apply`, counted."""
        grown_bytes = 0
        changed = []
        for key, record in (changes[Table.INODES] or {}).items():
            before = self._env.get(Table.INODES, key)
            grown_bytes += encoded_size_bytes(record) - encoded_size_bytes(before)
            old, new = encoded_object(before), encoded_object(record)
            if old != new:
                changed.append((old, new))
        self._env.apply(changes)
        self.content_bytes += grown_bytes
        for old, new in changed:
            self._count(old, -1)
            self._count(new, 1)

    def _count(self, found: tuple[str, int] | None, count: int) -> None:
        if found is not None:
            storage_class, size_bytes = found
            held = self.held.get(storage_class, _NONE)
            self.held[storage_class] = held.plus(rung_of(storage_class), size_bytes, count)

    def rows(self, applied_lsn: int) -> dict[bytes, bytes | None]:
        """What a commit writes."""
        objects = _LSN.pack(applied_lsn)
        for storage_class, held in self.held.items():
            name = storage_class.encode()
            numbers = _HELD.pack(held.objects, held.size_bytes, held.small_bytes, held.watched)
            objects += bytes([len(name)]) + name + numbers
        return {TOTALS_KEY: _ROW.pack(applied_lsn, self.content_bytes), OBJECTS_KEY: objects}


def _decode_held(row: bytes | None, applied_lsn: int) -> dict[str, Held] | None:
    """None for a row of another commit, or what is none."""
    if row is None or len(row) < _LSN.size or _LSN.unpack_from(row) != (applied_lsn,):
        return None
    held, at = {}, _LSN.size
    while at < len(row):
        stop = at + 1 + row[at]
        if len(row) < stop + _HELD.size:
            return None
        held[row[at + 1 : stop].decode(errors="replace")] = Held(*_HELD.unpack_from(row, stop))
        at = stop + _HELD.size
    return held
