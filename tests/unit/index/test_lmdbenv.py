"""LMDB behind its wall: rows, what is lost without a commit, and errors in tierfs's own words."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tierfs.errors import FsError, IndexDamageError
from tierfs.index.env import IndexSettings, Table
from tierfs.index.journal import Changes
from tierfs.index.lmdbenv import EnvFailure, Environment

from .test_env import OpenIndex, keys, put


def changes_in(tables: dict[Table, dict[bytes, bytes | None]]) -> Changes:
    return [tables.get(table) for table in Table]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path, 64 << 20)
    made.open()
    yield made
    made.close()


def test_rows_of_tables_are_apart(environment: Environment) -> None:
    environment.apply(changes_in({Table.HOT: {b"a": b"1"}, Table.AGES: {b"a": b"2"}}))
    assert environment.get(Table.HOT, b"a") == b"1"
    assert environment.get(Table.AGES, b"a") == b"2"
    assert environment.get(Table.LINKS, b"a") is None
    assert [environment.count(table) for table in (Table.HOT, Table.AGES, Table.LINKS)] == [1, 1, 0]


def test_only_a_commit_stays(environment: Environment) -> None:
    environment.apply(changes_in({Table.HOT: {b"a": b"1"}}))
    environment.commit()
    environment.begin()
    environment.apply(changes_in({Table.HOT: {b"a": None, b"b": b"2"}}))
    environment.close()
    assert not environment.is_open
    environment.open()
    assert environment.scan(Table.HOT, b"", b"\xff", 9) == [(b"a", b"1")]


def test_the_last_row_before_a_key(environment: Environment) -> None:
    assert environment.last_before(Table.HOT, b"z", b"") is None
    environment.apply(changes_in({Table.HOT: {b"b": b"1", b"d": b"2"}}))
    assert environment.last_before(Table.HOT, b"z", b"a") == (b"d", b"2")
    assert environment.last_before(Table.HOT, b"d", b"a") == (b"b", b"1")
    assert environment.last_before(Table.HOT, b"d", b"c") is None
    assert environment.last_before(Table.HOT, b"b", b"a") is None


def test_without_a_transaction_every_read_is_a_failure(environment: Environment) -> None:
    environment.close()
    reads: list[Callable[[], object]] = [
        lambda: environment.get(Table.HOT, b"a"),
        lambda: environment.scan(Table.HOT, b"", b"z", 1),
        lambda: environment.last_before(Table.HOT, b"z", b"a"),
        lambda: environment.count(Table.HOT),
    ]
    for read in reads:
        with pytest.raises(EnvFailure):
            read()


def test_a_file_that_lmdb_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not LMDB" * 10_000)
    with pytest.raises(IndexDamageError, match="damaged"):
        Environment(tmp_path, 64 << 20).open()


def test_a_full_map_refuses_the_change_and_keeps_the_others(open_index: OpenIndex) -> None:
    small = IndexSettings(map_size_bytes=16 << 20, journal_segment_bytes=1 << 20, journal_segments=8, node=5)
    index = open_index(settings=small)
    acknowledged = []
    with pytest.raises(FsError) as caught:
        for number in range(100):
            put(index, b"%03d" % number, b"v" * 300_000)
            acknowledged.append(b"%03d" % number)
    assert caught.value.errno == errno.ENOSPC
    assert len(acknowledged) > 30
    assert keys(index) == acknowledged
    index.close()
    larger = open_index(settings=evolve(small, map_size_bytes=64 << 20))
    assert keys(larger) == acknowledged
    put(larger, b"more", b"v" * 300_000)


def test_a_kept_count_follows_every_change(environment: Environment) -> None:
    assert environment.count(Table.INODES) == 0
    environment.apply(changes_in({Table.INODES: {b"a": b"1", b"b": b"2"}}))
    assert environment.count(Table.INODES) == 2
    environment.apply(changes_in({Table.INODES: {b"%d" % number: b"" for number in range(100)}}))
    assert environment.count(Table.INODES) == 102
    environment.commit()
    environment.begin()
    assert environment.count(Table.INODES) == 102
    environment.apply(changes_in({Table.INODES: {b"a": None}}))
    assert environment.count(Table.INODES) == 101
    environment.close()
    environment.open()
    assert environment.count(Table.INODES) == 102
