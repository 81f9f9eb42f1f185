"""Rows of TASKS and TASK_FAILURES: long work that somebody asked for, and which files it failed for.

A task's key is its number, which counts from 1 and never comes back; but a rename has the seq of its intent, far above.
The record is a version byte, then JSON of the fields of `policy.tasks.Task`. It is written when a task is asked for and
when it ends; how far it is meanwhile is known in memory alone.

A failure's key is the task's number and a number that counts from 1. The record is a version byte, then JSON of
[path, code], the path as lossless text (surrogateescape).
"""

import json
from typing import Any, Final

import attrs

from tierfs.errors import IndexDamageError
from tierfs.index import settings
from tierfs.index.schema import KEY_STOP, Reader, Table, pack_id, pack_pair, unpack_pair
from tierfs.index.txn import Txn
from tierfs.policy.tasks import Counts, Options, Task, TaskKind, TaskState

_VERSION: Final = b"\x01"
_COUNTER: Final = "tasks-started"


def next_number(txn: Txn) -> int:
    """Of a task that is about to be put."""
    number = int(settings.get(txn, _COUNTER) or 0) + 1
    settings.put(txn, _COUNTER, str(number).encode())
    return number


def put(txn: Txn, task: Task) -> None:
    """Adds or replaces."""
    text = json.dumps(attrs.asdict(task), separators=(",", ":"))
    txn.put(Table.TASKS, pack_id(task.number), _VERSION + text.encode())


def get(reader: Reader, number: int) -> Task | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.TASKS, pack_id(number))
    return _decode(record) if record is not None else None


def page(reader: Reader, after: int, limit: int) -> list[Task]:
    """The next `limit` tasks above `after`, oldest first. Raises IndexDamageError."""
    rows = reader.scan(Table.TASKS, pack_id(after + 1), KEY_STOP, limit=limit)
    return [_decode(record) for _, record in rows]


def _decode(record: bytes) -> Task:
    fields = _json(record, "task")
    try:
        given = {"kind": TaskKind(fields["kind"]), "state": TaskState(fields["state"])}
        asked = {"options": Options(**fields.get("options", {})), "others": tuple(fields.get("others", ()))}
        return Task(**{**fields, **given, **asked, "counts": Counts(**fields["counts"])})
    except (ValueError, TypeError, KeyError) as error:
        raise IndexDamageError(f"task: {error}") from error


def _json(record: bytes, what: str) -> dict[str, Any]:
    if record[:1] != _VERSION:
        raise IndexDamageError(f"{what} of unknown version {record[:1].hex()}")
    try:
        fields = json.loads(record[1:])
    except ValueError as error:
        raise IndexDamageError(f"{what}: {error}") from error
    if not isinstance(fields, dict):
        raise IndexDamageError(f"{what}: no object of JSON")
    return fields


def delete(txn: Txn, number: int) -> None:
    """Forgets a task; its failures go by `clear_failures`."""
    txn.delete(Table.TASKS, pack_id(number))


def put_failure(txn: Txn, number: int, count: int, path: str, code: str) -> None:
    """The `count`-th file that a task failed for."""
    text = json.dumps({"path": path, "code": code}, separators=(",", ":"))
    txn.put(Table.TASK_FAILURES, pack_pair(number, count), _VERSION + text.encode())


def failures(reader: Reader, number: int, after: int, limit: int) -> list[tuple[int, str, str]]:
    """(count, path, code) of the next `limit` failures above `after`. Raises IndexDamageError."""
    rows = reader.scan(Table.TASK_FAILURES, pack_pair(number, after + 1), pack_id(number + 1), limit=limit)
    return [(unpack_pair(key)[1], *_decode_failure(record)) for key, record in rows]


def _decode_failure(record: bytes) -> tuple[str, str]:
    fields = _json(record, "failure of a task")
    path, code = fields.get("path"), fields.get("code")
    if not isinstance(path, str) or not isinstance(code, str):
        raise IndexDamageError("failure of a task: no path and code")
    return path, code


def clear_failures(txn: Txn, number: int, limit: int) -> int:
    """Forgets the first `limit` failures of a task; returns how many there were of these."""
    rows = txn.scan(Table.TASK_FAILURES, pack_pair(number, 0), pack_id(number + 1), limit=limit)
    for key, _ in rows:
        txn.delete(Table.TASK_FAILURES, key)
    return len(rows)
