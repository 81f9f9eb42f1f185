"""One mutation in the making: changes are collected here and reach journal and LMDB together, or not at all."""

from types import TracebackType
from typing import TYPE_CHECKING

from tierfs.index.journal import Changes, no_changes
from tierfs.index.schema import KEY_MAX_BYTES, Table

if TYPE_CHECKING:
    from tierfs.index.env import Index


class Txn:
    """A context manager made by `Index.transaction`: leaving it normally is the acknowledgement.

    An exception inside leaves no trace. Reads see the writes made so far. Sync code only, one at a time.
    Leaving raises FsError: ENOSPC where the journal is full and LMDB cannot commit, E2BIG for more than
    a journal segment holds, EROFS where the journal cannot be written. Nothing happened then.

    `token`: of the request that it carries out (see Answers), 0 for none.
    """

    __slots__ = ("_changes", "index", "job", "token")

    def __init__(self, index: "Index", token: int, job: int) -> None:
        self.index = index
        self.token = token
        self.job = job
        self._changes = no_changes()

    def __enter__(self) -> "Txn":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.index._leave(self, kind is None)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """See Reader."""
        changes = self._changes[table]
        if changes is not None and key in changes:
            return changes[key]
        return self.index.get(table, key)

    def scan(self, table: Table, start: bytes, stop: bytes, *, limit: int) -> list[tuple[bytes, bytes]]:
        """See Reader. Costs a pass over this transaction's changes of the table."""
        changes = self._changes[table]
        if not changes:
            return self.index.scan(table, start, stop, limit=limit)
        here = {key: value for key, value in changes.items() if start <= key < stop}
        rows = dict(self.index.scan(table, start, stop, limit=limit + len(here)))
        for key, value in here.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return sorted(rows.items())[:limit]

    def last_before(self, table: Table, key: bytes, floor: bytes) -> tuple[bytes, bytes] | None:
        """See Reader."""
        changes = self._changes[table] or {}
        row = self.index.last_before(table, key, floor)
        while row is not None and row[0] in changes:  # changed here: counted below, or gone
            row = self.index.last_before(table, row[0], floor)
        best = row
        for changed, value in changes.items():
            if value is not None and floor <= changed < key and (best is None or changed > best[0]):
                best = (changed, value)
        return best

    def count(self, table: Table) -> int:
        """See Reader: without this transaction's own writes."""
        return self.index.count(table)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Sets a row. Raises ValueError for a key that LMDB cannot hold, or an empty one."""
        if not 0 < len(key) <= KEY_MAX_BYTES:
            raise ValueError(f"a key of {len(key)} bytes in {table.name}")
        changes = self._changes[table]
        if changes is None:
            self._changes[table] = {key: value}
        else:
            changes[key] = value

    def delete(self, table: Table, key: bytes) -> None:
        """Removes a row; no error where there is none."""
        changes = self._changes[table]
        if changes is None:
            self._changes[table] = {key: None}
        else:
            changes[key] = None

    def changes(self) -> Changes:
        """What it would do."""
        return self._changes
