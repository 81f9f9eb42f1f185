"""The sums over all inodes, through changes, restarts, crashes, and software that does not know it."""

from collections.abc import Callable

import pytest
from attrs import evolve

from tierfs.errors import FsError
from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.index.schema import Table
from tierfs.index.totals import OBJECTS_KEY, TOTALS_KEY
from tierfs.model import Base, Inode
from tierfs.policy.cost import Held
from tierfs.units import KIB, MIB

OpenIndex = Callable[..., Index]


def file(ino: int, size_bytes: int) -> Inode:
    return Inode(
        ino=ino, mode=0o100644, uid=0, gid=0, size_bytes=size_bytes, nlink=1, atime_ns=0, mtime_ns=0, ctime_ns=0,
        btime_ns=0, parent=1, name=b"%d" % ino,
    )  # fmt: skip


def put(index: Index, ino: int, size_bytes: int) -> None:
    with index.transaction() as txn:
        inodes.put(txn, file(ino, size_bytes))


def delete(index: Index, ino: int) -> None:
    with index.transaction() as txn:
        inodes.delete(txn, ino)


def test_sizes_are_counted_as_they_change(index: Index) -> None:
    put(index, 10, 100)
    put(index, 11, 1 << 42)
    put(index, 10, 30)
    assert index.totals.content_bytes == (1 << 42) + 30
    delete(index, 11)
    delete(index, 12)
    assert index.totals.content_bytes == 30


def test_what_did_not_happen_is_not_counted(index: Index) -> None:
    with pytest.raises(FsError), index.transaction() as txn:
        inodes.put(txn, file(10, 7))
        raise FsError(5)
    assert index.totals.content_bytes == 0


def test_the_sum_is_there_after_a_restart(open_index: OpenIndex) -> None:
    index = open_index()
    put(index, 10, 100)
    index.close()
    again = open_index()
    assert again.totals.content_bytes == 100
    put(again, 11, 5)
    assert again.totals.content_bytes == 105


@pytest.mark.parametrize("row", [None, b"short", bytes(16)], ids=["none", "damaged", "of another commit"])
def test_without_a_row_of_the_last_commit_all_inodes_are_read(open_index: OpenIndex, row: bytes | None) -> None:
    index = open_index()
    for ino in range(10, 30):
        put(index, ino, 3)
    index.commit()
    changes: list[dict[bytes, bytes | None] | None] = [None] * len(Table)
    changes[Table.SETTINGS] = {TOTALS_KEY: row}
    index._env.apply(changes)
    index.totals.load(index._row.applied_lsn)
    assert index.totals.content_bytes == 60


def with_object(ino: int, storage_class: str, size_bytes: int) -> Inode:
    return evolve(file(ino, 0), base=Base("etag", size_bytes, 0, storage_class=storage_class))


def put_object(index: Index, ino: int, storage_class: str, size_bytes: int) -> None:
    with index.transaction() as txn:
        inodes.put(txn, with_object(ino, storage_class, size_bytes))


def test_objects_are_counted_by_class(index: Index) -> None:
    put(index, 9, 100)  # nothing in the bucket yet
    put_object(index, 10, "STANDARD", MIB)
    put_object(index, 11, "STANDARD_IA", 28 * KIB)
    put_object(index, 12, "STANDARD", 2 * MIB)
    put_object(index, 10, "GLACIER", MIB)
    assert index.totals.held == {
        "STANDARD": Held(1, 2 * MIB, 0, 1),
        "STANDARD_IA": Held(1, 28 * KIB, 100 * KIB, 0),
        "GLACIER": Held(1, MIB, 40 * KIB, 1),
    }
    delete(index, 10)
    assert index.totals.held["GLACIER"] == Held()


def test_a_class_of_next_year_has_no_name_here(index: Index) -> None:
    put_object(index, 10, "GLACIER_OF_NEXT_YEAR", MIB)
    assert index.totals.held == {"": Held(1, MIB, 0, 1)}


def test_objects_are_there_after_a_restart(open_index: OpenIndex) -> None:
    index = open_index()
    put_object(index, 10, "STANDARD_IA", 28 * KIB)
    index.close()
    again = open_index()
    assert again.totals.held == {"STANDARD_IA": Held(1, 28 * KIB, 100 * KIB, 0)}


@pytest.mark.parametrize(
    "row", [None, b"short", bytes(8), "cut"], ids=["none", "damaged", "of another commit", "cut short"]
)
def test_without_a_row_of_the_last_commit_all_objects_are_counted(
    open_index: OpenIndex, row: bytes | str | None
) -> None:
    index = open_index()
    for ino in range(10, 30):
        put_object(index, ino, "GLACIER", MIB)
    index.commit()
    changes: list[dict[bytes, bytes | None] | None] = [None] * len(Table)
    stored = index.get(Table.SETTINGS, OBJECTS_KEY) or b""
    changes[Table.SETTINGS] = {OBJECTS_KEY: stored[:-1] if isinstance(row, str) else row}
    index._env.apply(changes)
    index.totals.load(index._row.applied_lsn)
    assert index.totals.held == {"GLACIER": Held(20, 20 * MIB, 20 * 40 * KIB, 20)}
