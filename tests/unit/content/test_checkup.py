"""fsck of index and hot tier together: what is found after damage, what is put right, and that no byte is deleted."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve, frozen

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import INDEX_SETTINGS, Rig, run_rig
from tests.support.tier import noise
from tierfs.clock import ManualClock
from tierfs.content import checkup
from tierfs.content.checkup import Outcome
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import LOST_AND_FOUND, HotFiles
from tierfs.index import inodes, residency
from tierfs.index.env import Index
from tierfs.index.schema import Table, pack_id
from tierfs.model import HotRecord, Residency
from tierfs.policy.fsck import FindingKind, Repair

CLEAN, CHANGED = noise(300_000, 1), noise(200_000, 2)
K = FindingKind


@frozen
class Cache:
    """A cache that no daemon uses, with one file that the bucket has and one that it has not."""

    index: Index
    hot: HotFiles
    clean: int
    changed: int

    def path(self, ino: int) -> Path:
        return Path(self.hot.path(ino))

    def record(self, ino: int) -> HotRecord:
        record = residency.hot_get(self.index, ino)
        assert record is not None
        return record

    def put_record(self, ino: int, record: HotRecord) -> None:
        with self.index.transaction() as txn:
            residency.hot_put(txn, ino, record)

    def found(self) -> list[FindingKind]:
        return sorted((finding.kind for finding in checkup.find(self.index, self.hot)), key=lambda kind: kind.name)

    def repaired(self) -> tuple[list[Outcome], int]:
        outcomes: list[Outcome] = []
        left = checkup.repair(self.index, self.hot, outcomes.append)
        return outcomes, left

    def saved(self) -> dict[str, bytes]:
        home = self.hot.root.parent / LOST_AND_FOUND
        return {path.name: path.read_bytes() for path in home.iterdir()} if home.exists() else {}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    inos: list[int] = []

    async def main(rig: Rig) -> None:
        inos.append(await rig.write("clean", CLEAN))
        await rig.sync()
        rig.mkdir("dir")
        inos.append(await rig.write("dir/changed", CHANGED))
        assert rig.inode(inos[1]).is_dirty

    run_rig(tmp_path, main, store=MemoryStore())
    index = Index.open(tmp_path / "index", clock=ManualClock(), settings=INDEX_SETTINGS, boot_id=7)
    found = Cache(index, HotFiles(Disk(), tmp_path / "hot"), *inos)
    assert not found.found()
    return found


@pytest.fixture(autouse=True)
def closed(cache: Cache) -> Iterator[None]:
    yield
    cache.index.close()


def test_bytes_without_a_record_are_moved_aside(cache: Cache) -> None:
    with cache.index.transaction() as txn:
        inodes.delete(txn, cache.changed)
    assert K.NO_INODE in cache.found()
    outcomes, left = cache.repaired()
    assert left == 0
    assert cache.saved() == {f"{cache.changed:x}": CHANGED}
    assert [outcome.saved for outcome in outcomes if outcome.saved] == [
        cache.hot.root.parent / LOST_AND_FOUND / f"{cache.changed:x}"
    ]
    assert not cache.found()


def test_a_lost_hot_record_of_changes_saves_their_bytes(cache: Cache) -> None:
    with cache.index.transaction() as txn:
        residency.hot_delete(txn, cache.changed)
    assert cache.found() == [K.UNKNOWN_FILE]
    assert cache.repaired()[1] == 0
    assert cache.saved() == {f"{cache.changed:x}": CHANGED}


def test_a_copy_of_what_the_bucket_has_goes(cache: Cache) -> None:
    with cache.index.transaction() as txn:
        residency.hot_delete(txn, cache.clean)
    assert cache.found() == [K.COPY_LEFT]
    assert cache.repaired()[1] == 0
    assert (cache.saved(), cache.path(cache.clean).exists()) == ({}, False)


def test_a_record_whose_copy_is_gone_is_forgotten(cache: Cache) -> None:
    cache.path(cache.clean).unlink()
    assert cache.found() == [K.NO_FILE]
    assert cache.repaired()[1] == 0
    assert residency.hot_get(cache.index, cache.clean) is None


def test_changes_whose_bytes_are_gone_are_told_and_stay(cache: Cache) -> None:
    cache.path(cache.changed).unlink()
    assert cache.found() == [K.LOST_BYTES]
    assert cache.repaired() == ([], 1)
    assert cache.record(cache.changed) is not None


def test_a_copy_of_another_length_is_moved_aside_and_fetched_again(cache: Cache) -> None:
    os.truncate(cache.path(cache.clean), len(CLEAN) - 1)
    assert cache.found() == [K.WRONG_SIZE]
    assert cache.repaired()[1] == 0
    assert cache.saved() == {f"{cache.clean:x}": CLEAN[:-1]}
    assert residency.hot_get(cache.index, cache.clean) is None


def test_a_changed_file_of_another_length_is_told_and_stays(cache: Cache) -> None:
    os.truncate(cache.path(cache.changed), 5)
    assert cache.found() == [K.WRONG_SIZE_CHANGED]
    assert cache.repaired() == ([], 1)
    assert cache.path(cache.changed).read_bytes() == CHANGED[:5]


def test_a_file_that_the_next_start_adopts_is_no_finding(cache: Cache) -> None:
    cache.put_record(cache.changed, evolve(cache.record(cache.changed), writing=True))
    os.truncate(cache.path(cache.changed), 5)
    assert not cache.found()


def test_a_charge_is_what_the_blocks_take(cache: Cache) -> None:
    right = cache.record(cache.clean)
    cache.put_record(cache.clean, evolve(right, bytes_charged=right.bytes_charged + (1 << 20)))
    assert cache.found() == [K.WRONG_CHARGE]
    assert cache.repaired()[1] == 0
    assert cache.record(cache.clean) == right


@pytest.mark.parametrize("place", ["note", "zz", "00/note", "00/1"])
def test_what_is_none_of_ours_is_moved_aside(cache: Cache, place: str) -> None:
    (cache.hot.root / place).write_bytes(b"whose?")
    assert cache.found() == [K.FOREIGN_FILE]
    assert cache.repaired()[1] == 0
    assert cache.saved() == {place.rpartition("/")[2]: b"whose?"}


def test_names_in_lost_and_found_are_never_written_over(cache: Cache) -> None:
    for count in range(3):
        (cache.hot.root / "note").write_bytes(b"%d" % count)
        assert cache.repaired()[1] == 0
    assert cache.saved() == {"note": b"0", "note.1": b"1", "note.2": b"2"}


def test_a_record_of_rubbish_saves_the_bytes(cache: Cache) -> None:
    with cache.index.transaction() as txn:
        txn.put(Table.HOT, pack_id(cache.changed), b"\x09")
    assert K.UNREADABLE in cache.found()
    outcomes, left = cache.repaired()
    assert left == 0
    assert Repair.SAVE_BYTES in {outcome.how for outcome in outcomes}
    assert cache.saved() == {f"{cache.changed:x}": CHANGED}


def test_extents_beyond_the_end_are_cut(cache: Cache) -> None:
    with cache.index.transaction() as txn:
        residency.hot_put(txn, cache.clean, evolve(cache.record(cache.clean), residency=Residency.PARTIAL))
        residency.extents_add(txn, cache.clean, 0, len(CLEAN) + 10)
    assert cache.found() == [K.EXTENT_BEYOND_END]
    assert cache.repaired()[1] == 0
    assert residency.extents_get(cache.index, cache.clean) == [(0, len(CLEAN))]
