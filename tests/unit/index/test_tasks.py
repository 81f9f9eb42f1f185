"""Tasks and the files that they failed for."""

import pytest

from tierfs.errors import IndexDamageError
from tierfs.index import tasks
from tierfs.index.env import Index, Table
from tierfs.index.schema import pack_id, pack_pair
from tierfs.policy.tasks import Counts, Task, TaskKind, TaskState

WARM = Task(7, TaskKind.WARM, "d/\udcff", 1, TaskState.DONE, 2, 3, Counts(4, 3, 1, 40, 30, 5, {"x": 1}), "c", "m")
IMPORT = Task(9, TaskKind.IMPORT, "", 1)


def test_tasks(index: Index) -> None:
    with index.transaction() as txn:
        tasks.put(txn, IMPORT)
        tasks.put(txn, WARM)
    assert tasks.get(index, 7) == WARM and tasks.get(index, 8) is None
    assert tasks.page(index, 0, 9) == [WARM, IMPORT]
    assert tasks.page(index, 7, 9) == [IMPORT]


def test_numbers_never_come_back(index: Index) -> None:
    with index.transaction() as txn:
        assert [tasks.next_number(txn) for _ in range(3)] == [1, 2, 3]
    with index.transaction() as txn:
        assert tasks.next_number(txn) == 4


def test_failures_are_forgotten_in_slices(index: Index) -> None:
    with index.transaction() as txn:
        for number in (6, 7, 8):
            tasks.put_failure(txn, number, 1, "d/\udcff", "in_use")
        tasks.put_failure(txn, 7, 2, "e", "no_room")
        tasks.put(txn, WARM)
    assert tasks.failures(index, 7, 0, 9) == [(1, "d/\udcff", "in_use"), (2, "e", "no_room")]
    assert tasks.failures(index, 7, 1, 9) == [(2, "e", "no_room")]
    with index.transaction() as txn:
        assert tasks.clear_failures(txn, 7, 1) == 1
        assert tasks.failures(txn, 7, 0, 9) == [(2, "e", "no_room")]
        assert tasks.clear_failures(txn, 7, 9) == 1
        tasks.delete(txn, 7)
    assert tasks.get(index, 7) is None and tasks.failures(index, 7, 0, 9) == []
    assert tasks.failures(index, 6, 0, 9) and tasks.failures(index, 8, 0, 9)


RECORDS = [b"\x02{}", b"\x01{}", b"\x01[1", b"\x01[]", b'\x01{"kind":"of-tomorrow","state":"done","counts":{}}']


@pytest.mark.parametrize("record", RECORDS)
def test_damaged_records(index: Index, record: bytes) -> None:
    with index.transaction() as txn:
        txn.put(Table.TASKS, pack_id(7), record)
        txn.put(Table.TASK_FAILURES, pack_pair(7, 1), record)
    with pytest.raises(IndexDamageError):
        tasks.page(index, 0, 9)
    with pytest.raises(IndexDamageError):
        tasks.failures(index, 7, 0, 9)
