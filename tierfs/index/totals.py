"""How many bytes all inodes hold together, for statfs: kept while rows change, since a sum would read all of them.

SETTINGS, key NUL "totals", written with every commit
u64  LSN of the last journal record that is counted: that of the state row, or an older tierfs has written since
u64  sum of the sizes
"""

import struct
from typing import Final

from tierfs.index.codec import encoded_size_bytes
from tierfs.index.journal import Changes
from tierfs.index.lmdbenv import Environment
from tierfs.index.schema import KEY_STOP, Table

TOTALS_KEY: Final = b"\0totals"
_ROW: Final = struct.Struct("<QQ")
_PAGE_ROWS: Final = 10_000


class Totals:
    """The sum over one environment, through which every change of rows goes. Raises what the environment raises."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self.content_bytes = 0

    def load(self, applied_lsn: int) -> None:
        """As of the last commit. Without a row of that commit every inode is read: 2 s for a million."""
        row = self._env.get(Table.SETTINGS, TOTALS_KEY)
        if row is not None and len(row) == _ROW.size:
            lsn, self.content_bytes = _ROW.unpack(row)
            if lsn == applied_lsn:
                return
        self.content_bytes = 0
        start = b""
        while rows := self._env.scan(Table.INODES, start, KEY_STOP, _PAGE_ROWS):
            self.content_bytes += sum(encoded_size_bytes(record) for _, record in rows)
            start = rows[-1][0] + b"\0"

    def apply(self, changes: Changes) -> None:
        """The environment's `apply`, counted."""
        grown_bytes = 0
        for key, record in (changes[Table.INODES] or {}).items():
            before = self._env.get(Table.INODES, key)
            grown_bytes += encoded_size_bytes(record) - encoded_size_bytes(before)
        self._env.apply(changes)
        self.content_bytes += grown_bytes

    def rows(self, applied_lsn: int) -> dict[bytes, bytes | None]:
        """What a commit writes."""
        return {TOTALS_KEY: _ROW.pack(applied_lsn, self.content_bytes)}
