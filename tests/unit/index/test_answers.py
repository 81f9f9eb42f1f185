"""Which changes a request that is asked again must not repeat, over crashes, commits and other holders."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tierfs.clock import ManualClock
from tierfs.errors import FsError, IndexDamageError
from tierfs.index.answers import ATTRIBUTE_WAS_NEW, Answers
from tierfs.index.env import Index, Table

from .conftest import SMALL

OpenIndex = Callable[..., Index]
Restart = Callable[..., Index]


def change(index: Index, token: int, size_bytes: int = 1) -> None:
    with index.transaction(token=token) as txn:
        txn.put(Table.COUNTERS, b"%d" % token, bytes(size_bytes))


@pytest.fixture
def restart(tmp_path: Path, clock: ManualClock, request: pytest.FixtureRequest) -> Restart:
    """What a daemon finds when the one before got SIGKILL now, and the holder waits for the answers to `unanswered`."""
    lives = iter(range(1000))

    def restart(index: Index, *unanswered: int) -> Index:
        directory = tmp_path / f"life_{next(lives)}"
        shutil.copytree(index.directory, directory)
        found = Index.open(directory, clock=clock, settings=SMALL, boot_id=1, unanswered=frozenset(unanswered))
        request.addfinalizer(found.close)
        return found

    return restart


@pytest.mark.parametrize("is_committed", [False, True])
def test_what_was_made_and_not_answered_is_known(index: Index, restart: Restart, is_committed: bool) -> None:
    change(index, 1)
    change(index, 2)
    if is_committed:
        index.commit()
    found = restart(index, 1, 2, 3)
    assert [found.answers.was_made(number) for number in (1, 2, 3)] == [True, True, False]


def test_it_stays_known_until_it_is_answered(index: Index, restart: Restart) -> None:
    change(index, 1)
    change(index, 2)
    second = restart(index, 1, 2)
    second.answers.sent(1)
    third = restart(second, 1, 2)
    assert third.answers.was_made(1), "no commit has told that it was answered; the holder would, and not ask for it"
    second.commit()
    assert [restart(second, 1, 2).answers.was_made(number) for number in (1, 2)] == [False, True]


def test_what_the_holder_has_answered_is_forgotten(index: Index, restart: Restart) -> None:
    change(index, 1)
    change(index, 2)
    second = restart(index, 2)
    assert not second.answers.was_made(1)
    assert not restart(second, 1).answers.was_made(1)


def test_another_holder_begins_its_numbers_anew(index: Index, restart: Restart) -> None:
    change(index, 1)
    mounted_again = restart(index)
    assert not restart(mounted_again, 1).answers.was_made(1)


def test_what_was_refused_was_not_made(index: Index, restart: Restart) -> None:
    with pytest.raises(FsError):
        change(index, 1, size_bytes=SMALL.journal_segment_bytes)
    assert not index.answers.was_made(1)
    assert not restart(index, 1).answers.was_made(1)


def test_a_change_without_rows_can_be_noted(index: Index, restart: Restart) -> None:
    with index.transaction(token=1):
        pass
    assert restart(index, 1).answers.was_made(1)


@pytest.mark.parametrize("is_committed", [False, True])
def test_what_is_known_beside_the_number_comes_back(index: Index, restart: Restart, is_committed: bool) -> None:
    with index.transaction(token=1) as txn:
        txn.put(Table.COUNTERS, b"1", b"")
        txn.token |= ATTRIBUTE_WAS_NEW
    change(index, 2)
    if is_committed:
        index.commit()
    found = restart(index, 1, 2)
    assert [found.answers.attribute_was_new(number) for number in (1, 2, 3)] == [True, False, False]
    assert found.answers.was_made(1)


def test_a_row_of_another_form_is_damage() -> None:
    with pytest.raises(IndexDamageError):
        Answers().load(b"1234567", frozenset())
