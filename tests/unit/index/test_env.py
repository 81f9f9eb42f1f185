"""The index as a whole: opening, closing, numbers, full disks and failing ones."""

import errno
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
import trio
import trio.testing
from attrs import evolve

from tests.support.lossy_disk import LossyDisk
from tierfs.clock import ManualClock
from tierfs.errors import ConfigError, FsError, IndexDamageError
from tierfs.index.env import Index, IndexState, Table
from tierfs.index.state import STATE_KEY

from .conftest import SMALL

OpenIndex = Callable[..., Index]


def put(index: Index, key: bytes, value: bytes = b"v") -> None:
    with index.transaction() as txn:
        txn.put(Table.COUNTERS, key, value)


def keys(index: Index) -> list[bytes]:
    return [key for key, _ in index.scan(Table.COUNTERS, b"", b"\xff", limit=1_000_000)]


def crash(index: Index, to: Path) -> Path:
    """What another process would find if this one got SIGKILL now: files as the page cache has them."""
    shutil.copytree(index.directory, to)
    return to


# --- opening and closing


def test_a_new_index_is_private(index: Index) -> None:
    for path in [index.directory, *index.directory.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert stat.S_IMODE(index.directory.stat().st_mode) == 0o700


def test_what_was_closed_is_there(open_index: OpenIndex) -> None:
    index = open_index()
    put(index, b"a")
    index.close()
    index.close()
    again = open_index()
    assert keys(again) == [b"a"]
    assert again.epoch == index.epoch + 1
    assert again.node == index.node == 5


def test_what_was_only_acknowledged_is_there(open_index: OpenIndex, tmp_path: Path) -> None:
    index = open_index()
    put(index, b"a")
    index.commit()
    put(index, b"b")
    assert index.uncommitted_changes == 1
    again = open_index(crash(index, tmp_path / "crashed"))
    assert keys(again) == [b"a", b"b"]
    third = open_index(crash(again, tmp_path / "crashed again"))
    assert keys(third) == [b"a", b"b"]


def test_a_closed_index_says_so(open_index: OpenIndex) -> None:
    index = open_index()
    index.close()
    with pytest.raises(IndexDamageError, match="closed"):
        index.get(Table.COUNTERS, b"a")
    with pytest.raises(FsError, match="closed"):
        index.transaction()


@pytest.mark.parametrize(
    ("is_closed", "boot_id", "is_unclean"), [(True, 1, False), (True, 2, False), (False, 1, False), (False, 2, True)]
)
def test_an_unclean_boot(
    open_index: OpenIndex, tmp_path: Path, is_closed: bool, boot_id: int, is_unclean: bool
) -> None:
    index = open_index()
    assert not index.was_unclean_boot
    if is_closed:
        index.close()
    again = open_index(crash(index, tmp_path / "later"), boot_id=boot_id)
    assert again.was_unclean_boot is is_unclean
    again.mark_recovered()
    again.close()
    assert not open_index(tmp_path / "later", boot_id=boot_id).was_unclean_boot


def test_an_unclean_boot_is_remembered_until_somebody_has_recovered_from_it(
    open_index: OpenIndex, tmp_path: Path
) -> None:
    """A start that fails before it comes to the hot tier must not make the next one trust what is there."""
    later = crash(open_index(), tmp_path / "later")
    for boot_id in (2, 2, 3):
        index = open_index(later, boot_id=boot_id)
        assert index.was_unclean_boot
        index.close()
    index = open_index(later, boot_id=3)
    index.mark_recovered()
    again = open_index(crash(index, tmp_path / "same boot"), boot_id=3)
    assert again.was_unclean_boot  # nothing was committed since
    again.mark_recovered()
    again.commit()
    assert not open_index(crash(again, tmp_path / "committed"), boot_id=3).was_unclean_boot


def rewrite_state(directory: Path, row: bytes) -> None:
    with lmdb.open(str(directory / "lmdb"), max_dbs=20) as env:
        table = env.open_db(b"settings")
        with env.begin(write=True) as txn:
            txn.put(STATE_KEY, row, db=table)


@pytest.mark.parametrize(
    ("at", "value", "message"), [(2, 2, "newer tierfs"), (0, 2, "newer tierfs"), (2, 0, "not of format")]
)
def test_another_format(open_index: OpenIndex, at: int, value: int, message: str) -> None:
    index = open_index()
    row = bytearray(index.get(Table.SETTINGS, STATE_KEY) or b"")
    index.close()
    row[at] = value
    rewrite_state(index.directory, bytes(row))
    with pytest.raises(IndexDamageError, match=message):
        open_index()
    rewrite_state(index.directory, bytes(row[:-1]))
    with pytest.raises(IndexDamageError):
        open_index()


def test_a_file_that_is_no_index(open_index: OpenIndex) -> None:
    index = open_index()
    index.close()
    (index.directory / "lmdb" / "data.mdb").write_bytes(b"not LMDB" * 10_000)
    with pytest.raises(IndexDamageError, match="damaged"):
        open_index()


def test_a_directory_that_cannot_be_made(open_index: OpenIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FsError) as caught:
        open_index(tmp_path / "file" / "index")
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


def test_a_failed_opening_frees_the_lock(open_index: OpenIndex) -> None:
    open_index().close()
    with pytest.raises(ConfigError, match="node 5"):
        open_index(settings=evolve(SMALL, node=6))
    open_index(settings=evolve(SMALL, node=0))


def test_a_node_of_its_own(open_index: OpenIndex) -> None:
    index = open_index(settings=evolve(SMALL, node=0))
    assert 1 <= index.node <= 0x7FFF
    node = index.node
    index.close()
    assert open_index(settings=evolve(SMALL, node=0)).node == node


# --- numbers


def test_inode_numbers_are_never_given_out_twice(open_index: OpenIndex, tmp_path: Path) -> None:
    seen: set[int] = set()
    index = open_index()
    for life in range(4):
        numbers = [index.next_ino() for _ in range(1000)]
        assert numbers == sorted(set(numbers))
        assert seen.isdisjoint(numbers)
        seen.update(numbers)
        if life == 2:
            index.close()
        index = open_index(crash(index, tmp_path / f"life {life}"))
    assert {ino >> 48 for ino in seen} == {5}
    assert max(seen) < 2**63


def test_a_bound_of_inode_numbers_is_committed_before_it_is_passed(open_index: OpenIndex, tmp_path: Path) -> None:
    index = open_index()
    with index.transaction():
        last = max(index.next_ino() for _ in range(1_100_000))
    assert open_index(crash(index, tmp_path / "crashed")).next_ino() > last


def test_sequence_numbers_rise_over_crashes(open_index: OpenIndex, tmp_path: Path) -> None:
    index = open_index()
    numbers = [index.next_seq() for _ in range(10)]
    again = open_index(crash(index, tmp_path / "crashed"))
    numbers += [again.next_seq() for _ in range(10)]
    assert numbers == sorted(set(numbers))


def test_operation_ids_name_node_and_epoch(open_index: OpenIndex, tmp_path: Path) -> None:
    index = open_index()
    again = open_index(crash(index, tmp_path / "crashed"))
    ids = [each.next_op_id() for each in (index, index, again, again)]
    assert len(set(ids)) == 4
    assert ids[0].startswith(f"5-{index.epoch:x}-")


# --- commits


def test_many_changes_commit_by_themselves(open_index: OpenIndex) -> None:
    index = open_index(settings=evolve(SMALL, max_uncommitted_changes=10))
    for number in range(25):
        put(index, b"%02d" % number)
    assert index.uncommitted_changes == 5
    assert len(keys(index)) == 25


def test_a_full_journal_commits_by_itself(open_index: OpenIndex, tmp_path: Path) -> None:
    index = open_index()
    for number in range(300):
        put(index, b"%03d" % number, b"v" * 4000)
    assert index.state is IndexState.HEALTHY
    assert len(keys(index)) == 300
    assert len(keys(open_index(crash(index, tmp_path / "crashed")))) == 300


def test_a_transaction_that_no_segment_holds(index: Index) -> None:
    with pytest.raises(FsError) as caught:
        put(index, b"a", b"v" * (SMALL.journal_segment_bytes))
    assert caught.value.errno == errno.E2BIG
    put(index, b"b")
    assert keys(index) == [b"b"]


def test_size_and_entries(index: Index) -> None:
    assert index.entries == 0
    assert index.size_on_disk_bytes >= 3 * SMALL.journal_segment_bytes


# --- a disk without room


@pytest.fixture
def no_room(index: Index) -> Iterator[Callable[[bool], None]]:
    """Makes LMDB's file unable to grow much, as a full disk does, and able again; the journal is below the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    data_bytes = (index.directory / "lmdb" / "data.mdb").stat().st_size
    limit_bytes = max(data_bytes, SMALL.journal_segment_bytes) + 40_000

    def switch(is_full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes if is_full else soft, hard))

    yield switch
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_until_full(index: Index) -> int:
    """Writes rows until one is refused; their number."""
    for number in range(10_000):
        try:
            put(index, b"%05d" % number, b"v" * 500)
        except FsError as error:
            assert error.errno == errno.ENOSPC
            return number
    raise AssertionError("never full")


def test_a_full_disk_loses_nothing(
    index: Index, open_index: OpenIndex, clock: ManualClock, no_room: Callable[[bool], None], tmp_path: Path
) -> None:
    told: list[IndexState] = []
    index.on_state = lambda state, _: told.append(state)
    no_room(True)
    count = write_until_full(index)
    assert count > 200  # more than LMDB could take: the journal took the rest
    assert index.state is IndexState.STALLED
    assert "cannot commit" in index.reason
    assert len(keys(index)) == count
    with pytest.raises(FsError) as caught:
        index.commit()
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(FsError):
        put(index, b"refused")
    no_room(False)
    assert keys(open_index(crash(index, tmp_path / "crashed"))) == [b"%05d" % number for number in range(count)]
    clock.advance_s(10)
    put(index, b"after")  # tries the commit again by itself
    assert told == [IndexState.STALLED, IndexState.HEALTHY]
    assert len(keys(index)) == count + 1
    index.close()
    assert len(keys(open_index())) == count + 1


def test_closing_on_a_full_disk(index: Index, open_index: OpenIndex, no_room: Callable[[bool], None]) -> None:
    no_room(True)
    count = write_until_full(index)
    with pytest.raises(FsError, match="without a commit"):
        index.close()
    no_room(False)
    assert len(keys(open_index())) == count


def test_freeing_rows_is_possible_on_a_full_disk(index: Index, no_room: Callable[[bool], None]) -> None:
    no_room(True)
    for number in range(150):
        put(index, b"%05d" % number, b"v" * 500)
    with pytest.raises(FsError):
        index.commit()
    with index.transaction() as txn:
        for number in range(150):
            txn.delete(Table.COUNTERS, b"%05d" % number)
    assert keys(index) == []
    with pytest.raises(FsError):
        index.commit()  # still has the pages of rows that are gone
    index.commit()  # after the journal was folded
    assert index.state is IndexState.HEALTHY


# --- durability


@pytest.fixture
def disk() -> LossyDisk:
    return LossyDisk()


@pytest.fixture
def on_disk(tmp_path: Path, clock: ManualClock, disk: LossyDisk) -> Iterator[Index]:
    index = Index.open(tmp_path / "lossy", clock=clock, settings=SMALL, boot_id=1, disk=disk)
    yield index
    index.close()


def test_waiters_share_a_sync(on_disk: Index, disk: LossyDisk) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                put(on_disk, b"%d" % number)
                nursery.start_soon(on_disk.durable)

    trio.run(main)
    assert 1 <= disk.syncs <= 2


def test_nothing_to_make_durable_costs_nothing(on_disk: Index, disk: LossyDisk) -> None:
    put(on_disk, b"a")
    on_disk.commit()
    trio.run(on_disk.durable)
    assert disk.syncs == 0


def test_a_cancelled_waiter_leaves_the_others(on_disk: Index, disk: LossyDisk) -> None:
    async def cancelled() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await on_disk.durable()

    async def main() -> None:
        put(on_disk, b"a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancelled)
            nursery.start_soon(on_disk.durable)
            nursery.start_soon(cancelled)

    trio.run(main)
    assert disk.syncs == 1


def test_a_failed_sync_makes_it_read_only_and_lmdb_saves_the_rest(
    on_disk: Index, disk: LossyDisk, open_index: OpenIndex, tmp_path: Path
) -> None:
    put(on_disk, b"a")
    disk.fail_syncs = True
    trio.run(on_disk.durable)  # the commit that follows the failure made it durable
    assert on_disk.state is IndexState.READ_ONLY
    assert "fdatasync" in on_disk.reason
    with pytest.raises(FsError) as caught:
        put(on_disk, b"b")
    assert caught.value.errno == errno.EROFS
    assert keys(on_disk) == [b"a"]
    lost = crash(on_disk, tmp_path / "lost")
    shutil.rmtree(lost / "journal")
    assert keys(open_index(lost)) == [b"a"]


def test_durable_does_not_lie_when_nothing_could_save_it(on_disk: Index, disk: LossyDisk) -> None:
    put(on_disk, b"a", b"v" * 60_000)
    disk.fail_syncs = True
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        with pytest.raises(FsError) as caught:
            trio.run(on_disk.durable)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EIO
    assert on_disk.state is IndexState.READ_ONLY
    assert keys(on_disk) == [b"a"]


def test_a_failed_write_is_not_acknowledged(on_disk: Index, disk: LossyDisk) -> None:
    put(on_disk, b"a")
    disk.fail_writes = errno.EIO
    with pytest.raises(FsError) as caught:
        put(on_disk, b"b")
    assert caught.value.errno == errno.EROFS
    assert on_disk.state is IndexState.READ_ONLY
    assert keys(on_disk) == [b"a"]


def test_a_write_without_room_is_refused_and_forgotten(on_disk: Index, disk: LossyDisk) -> None:
    put(on_disk, b"a")
    disk.fail_writes = errno.ENOSPC
    with pytest.raises(FsError) as caught:
        put(on_disk, b"b")
    assert caught.value.errno == errno.ENOSPC
    disk.fail_writes = 0
    put(on_disk, b"c")
    assert on_disk.state is IndexState.HEALTHY
    assert keys(on_disk) == [b"a", b"c"]


def test_who_finds_damage_freezes_it(index: Index) -> None:
    told: list[tuple[IndexState, str]] = []
    index.on_state = lambda state, reason: told.append((state, reason))
    put(index, b"a")
    index.freeze("inode 7 cannot be read")
    index.freeze("a later reason")
    with pytest.raises(FsError, match="inode 7") as caught:
        index.transaction()
    assert caught.value.errno == errno.EROFS
    assert keys(index) == [b"a"]
    assert told == [(IndexState.READ_ONLY, "inode 7 cannot be read")]


def test_the_background_commits_and_rests(on_disk: Index, disk: LossyDisk) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on_disk.run)
            for number in range(3):
                put(on_disk, b"%d" % number)
                await trio.sleep(on_disk.settings.commit_interval_s / 2)
                assert on_disk.uncommitted_changes == 1
                await trio.sleep(20)
                assert on_disk.uncommitted_changes == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_background_syncs_while_commits_fail(
    on_disk: Index, disk: LossyDisk, no_room: Callable[[bool], None]
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on_disk.run)
            put(on_disk, b"big", b"v" * 60_000)
            put(on_disk, b"too big", b"v" * 60_000)
            while not disk.syncs:  # noqa: ASYNC110 by a thread, which the mocked clock does not wait for
                await trio.sleep(1)
            no_room(False)
            while on_disk.uncommitted_changes:  # noqa: ASYNC110 has no event to wait for
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    told: list[IndexState] = []
    on_disk.on_state = lambda state, _: told.append(state)
    no_room(True)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert (told[0], told[-1]) == (IndexState.STALLED, IndexState.HEALTHY)
