"""LMDB with one write transaction that is always open: the one file that knows LMDB.

Its types and errors do not leave: what LMDB refuses is an `EnvFailure`, and `open` raises tierfs's own errors.

Each table is a named database, not a prefix in a common one: rows that arrive in rising order fill their
pages only at the end of a tree. Seen for 500,000 entries: 199 bytes an entry against 331 in sorted order,
239 against 323 in random order; reads equally fast. LMDB then also counts the rows of a table for free.
"""

import errno
import os
from pathlib import Path
from typing import Any, Final

import lmdb

from tierfs.errors import FsError, IndexDamageError
from tierfs.index.journal import Changes
from tierfs.index.schema import Table

_BULK_ROWS: Final = 16
_TABLES: Final = tuple(Table)
_PROBE_BYTES: Final = 64 * 1024
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class EnvFailure(Exception):
    """LMDB refused; the write transaction is lost. Never leaves the index package."""

    def __init__(self, error: Exception, directory: Path) -> None:
        super().__init__(str(error))
        code = getattr(error, "code", 0) or 0
        is_full = isinstance(error, lmdb.MapFullError | lmdb.DiskError) or code in _NO_ROOM
        if is_full or (code == errno.EIO and not _can_grow(directory / "data.mdb")):
            code = errno.ENOSPC
        self.errno = code if code > 0 else errno.EIO


def _can_grow(path: Path) -> bool:
    """Asks the disk again: LMDB reports a short write, which a disk gives that has just become full, as EIO.

    Only called when no transaction is open. LMDB does not mind bytes after its last page.
    """
    with path.open("r+b", buffering=0) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        try:
            file.write(bytes(_PROBE_BYTES))
        except OSError as error:
            return error.errno not in _NO_ROOM
        finally:
            file.truncate(size_bytes)
        return True


class Environment:
    """LMDB with one write transaction that is always open."""

    def __init__(self, directory: Path, map_size_bytes: int) -> None:
        self._directory = directory
        self._map_size_bytes = map_size_bytes
        self._env: Any = None
        self._txn: Any = None
        self._tables: list[Any] = []
        self._counts: dict[Table, int] = {}  # of tables that did not change since they were counted

    def open(self) -> None:
        """Raises IndexDamageError, or FsError with the errno of the disk."""
        try:
            self._env = lmdb.open(
                str(self._directory),
                map_size=self._map_size_bytes,
                max_dbs=len(Table),
                mode=0o600,
                readahead=False,  # random reads of an index larger than memory
                meminit=False,
                sync=True,
                metasync=True,
                lock=True,
                subdir=True,
            )
            with self._env.begin(write=True) as txn:  # one commit for all: each costs an fdatasync
                self._tables = [self._env.open_db(table.name.lower().encode(), txn=txn) for table in Table]
            self.begin()
        except lmdb.Error as error:
            raise self._open_error(error) from error
        except EnvFailure as failure:
            raise FsError(failure.errno, f"cannot begin a transaction in {self._directory}: {failure}") from failure

    def _open_error(self, error: lmdb.Error) -> Exception:
        failure = EnvFailure(error, self._directory)
        damage = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
        if isinstance(error, damage) or failure.errno == errno.EIO:
            return IndexDamageError(
                f"the index in {self._directory} is damaged: {error}; see tierfs fsck, or use another --cache directory"
            )
        return FsError(failure.errno, f"cannot open the index in {self._directory}: {error}")

    def begin(self) -> None:
        """Opens the one write transaction. Raises EnvFailure."""
        try:
            self._counts.clear()
            self._txn = self._env.begin(write=True)
        except lmdb.Error as error:
            self._txn = None
            raise EnvFailure(error, self._directory) from error

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value. The readers raise EnvFailure, also where a failed reopening left no transaction."""
        try:
            value: bytes | None = self._txn.get(key, None, self._tables[table])
        except (lmdb.Error, AttributeError) as error:
            raise EnvFailure(error, self._directory) from error
        return value

    def scan(self, table: Table, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Rows of [start, stop); the cursor ends with the call."""
        rows: list[tuple[bytes, bytes]] = []
        try:
            with self._txn.cursor(self._tables[table]) as cursor:
                if limit > 0 and cursor.set_range(start):
                    for row in cursor.iternext():
                        if row[0] >= stop:
                            break
                        rows.append(row)
                        if len(rows) == limit:
                            break
        except (lmdb.Error, AttributeError) as error:
            raise EnvFailure(error, self._directory) from error
        return rows

    def last_before(self, table: Table, key: bytes, floor: bytes) -> tuple[bytes, bytes] | None:
        """The last row of [floor, key)."""
        try:
            with self._txn.cursor(self._tables[table]) as cursor:
                found = cursor.prev() if cursor.set_range(key) else cursor.last()
                row: tuple[bytes, bytes] = cursor.item()
        except (lmdb.Error, AttributeError) as error:
            raise EnvFailure(error, self._directory) from error
        return row if found and row[0] >= floor else None

    def count(self, table: Table) -> int:
        """Rows of the table; LMDB keeps the number in the tree's root. An import asks it for each entry."""
        entries = self._counts.get(table)
        if entries is None:
            try:
                entries = self._counts[table] = self._txn.stat(self._tables[table])["entries"]
            except (lmdb.Error, AttributeError) as error:
                raise EnvFailure(error, self._directory) from error
        return entries

    def apply(self, changes: Changes) -> None:
        """All of them, or EnvFailure and the transaction is good for nothing but an abort."""
        try:
            put, delete = self._txn.put, self._txn.delete
            for number, rows in enumerate(changes):
                if not rows:
                    continue
                table = self._tables[number]
                self._counts.pop(_TABLES[number], None)
                if len(rows) > _BULK_ROWS:
                    self._apply_many(rows, table)
                    continue
                for key, value in rows.items():
                    if value is None:
                        delete(key, b"", table)
                    else:
                        put(key, value, True, True, False, table)
        except lmdb.Error as error:
            raise EnvFailure(error, self._directory) from error

    def _apply_many(self, rows: dict[bytes, bytes | None], table: Any) -> None:
        """In the order of their keys: neighbours share pages, which means fewer descents and fuller pages."""
        puts = []
        for row in sorted(rows.items()):
            if row[1] is None:
                self._txn.delete(row[0], b"", table)
            else:
                puts.append(row)
        with self._txn.cursor(table) as cursor:
            cursor.putmulti(puts)

    def commit(self) -> None:
        """Durable; the next transaction is not begun yet."""
        txn, self._txn = self._txn, None
        self._counts.clear()
        try:
            txn.commit()
        except lmdb.Error as error:
            raise EnvFailure(error, self._directory) from error

    def close(self) -> None:
        """Drops what is not committed."""
        self._counts.clear()
        if self._txn is not None:
            self._txn.abort()
            self._txn = None
        if self._env is not None:
            self._env.close()
            self._env = None

    @property
    def is_open(self) -> bool:
        """There is a transaction to read and write through."""
        return self._txn is not None

    @property
    def data_path(self) -> Path:
        """LMDB's file."""
        return self._directory / "data.mdb"
