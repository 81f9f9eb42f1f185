"""The journal by itself: the ring, what a replay takes and what it must not."""

import errno
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash

from tests.support.lossy_disk import LossyDisk
from tierfs.errors import FsError, IndexDamageError
from tierfs.index.journal import (
    Changes,
    Journal,
    JournalDisk,
    JournalFull,
    Origin,
    OsDisk,
    Record,
    count_changes,
    decode_changes,
    encode_changes,
    merge_changes,
)
from tierfs.index.schema import Table

SEGMENT_BYTES = 4096
INDEX_ID, EPOCH = 77, 3
ORIGIN = Origin(INDEX_ID, node=5, epoch=EPOCH)


def change(number: int, size_bytes: int = 40) -> Changes:
    return changes_in({Table.INODES: {b"%d" % number: b"v" * size_bytes}, Table.DIRENTS: {b"gone": None}})


def changes_in(tables: dict[Table, dict[bytes, bytes | None]]) -> Changes:
    return [tables.get(table) for table in Table]


@pytest.fixture(params=[OsDisk, LossyDisk])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """Begun at LSN 1, over the real disk and over the fake one."""
    made = make(tmp_path, request.param())
    yield made
    made.close()


def make(directory: Path, disk: JournalDisk | None = None, *, origin: Origin = ORIGIN, next_lsn: int = 1) -> Journal:
    made = Journal(directory, disk or OsDisk(), segment_bytes=SEGMENT_BYTES, segment_count=3)
    made.start(origin, next_lsn=next_lsn, now_ns=1)
    return made


def replay(directory: Path, after_lsn: int = 0, epoch: int = EPOCH) -> list[Record]:
    reader = Journal(directory, OsDisk(), segment_bytes=SEGMENT_BYTES, segment_count=3)
    return list(reader.replay(INDEX_ID, epoch, after_lsn))


def fill(journal: Journal, count: int, *, size_bytes: int = 40) -> None:
    for number in range(count):
        journal.append(encode_changes(change(number, size_bytes)), op=number, token=number * 2, job=9)


def test_changes_come_back() -> None:
    changes = changes_in(
        {Table.SETTINGS: {b"k" * 511: b"", b"l": None}, Table.HOT: {b"\0": None}, Table.AGES: {b"a": b"x" * 99_999}}
    )
    assert decode_changes(encode_changes(changes)) == changes
    assert count_changes(changes) == 4


def test_merged_changes_leave_what_both_leave() -> None:
    first = changes_in({Table.HOT: {b"a": b"1", b"b": b"1"}, Table.AGES: {b"c": b"1"}})
    later = changes_in({Table.HOT: {b"a": None, b"d": b"2"}, Table.LINKS: {b"e": b"2"}})
    merge_changes(first, later)
    assert first == changes_in(
        {Table.HOT: {b"a": None, b"b": b"1", b"d": b"2"}, Table.AGES: {b"c": b"1"}, Table.LINKS: {b"e": b"2"}}
    )
    merge_changes(first, changes_in({Table.LINKS: {b"f": b"3"}}))
    assert later[Table.LINKS] == {b"e": b"2"}


@pytest.mark.parametrize("payload", [b"\x63" + bytes(6), b"\0", encode_changes(change(1))[:-1]])
def test_a_payload_of_an_unknown_form_is_damage(payload: bytes) -> None:
    with pytest.raises(IndexDamageError):
        decode_changes(payload)


def test_what_is_appended_is_replayed(journal: Journal, tmp_path: Path) -> None:
    fill(journal, 3)
    assert replay(tmp_path) == [Record(n + 1, op=n, token=n * 2, job=9, changes=change(n)) for n in range(3)]
    assert [record.lsn for record in replay(tmp_path, after_lsn=2)] == [3]
    assert replay(tmp_path, after_lsn=3) == []
    assert journal.appended_lsn == 3


def test_segments_follow_each_other(journal: Journal, tmp_path: Path) -> None:
    fill(journal, 60)
    assert [record.lsn for record in replay(tmp_path)] == list(range(1, 61))
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {SEGMENT_BYTES}


def test_full_means_commit_first(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(JournalFull):
        fill(journal, 10_000)
    last = journal.appended_lsn
    assert len(replay(tmp_path)) == last
    assert journal.room_bytes < 200
    journal.recycle(last - 1)  # frees the first two segments
    with pytest.raises(JournalFull):
        fill(journal, 10_000)  # over the two that are free, and not over the record that is not committed
    assert [record.lsn for record in replay(tmp_path, after_lsn=last - 1)] == list(
        range(last, journal.appended_lsn + 1)
    )


def test_the_ring_goes_round_many_times(journal: Journal, tmp_path: Path) -> None:
    for _ in range(40):
        fill(journal, 25)
        journal.recycle(journal.appended_lsn - 3)
    last = journal.appended_lsn
    assert [record.lsn for record in replay(tmp_path, after_lsn=last - 3)] == [last - 2, last - 1, last]


def test_a_record_that_no_segment_holds(journal: Journal, tmp_path: Path) -> None:
    fill(journal, 1)
    with pytest.raises(FsError) as caught:
        fill(journal, 1, size_bytes=SEGMENT_BYTES)
    assert caught.value.errno == errno.E2BIG
    payload = encode_changes(changes_in({Table.INODES: {b"k": b"x" * (journal.max_payload_bytes - 8)}}))
    assert len(payload) == journal.max_payload_bytes
    journal.append(payload, op=1)
    assert len(replay(tmp_path)) == 2


@pytest.mark.parametrize("rest", ["zeros", "noise", "older records"])
def test_a_tail_torn_at_any_byte_ends_the_replay(tmp_path: Path, rest: str) -> None:
    journal = make(tmp_path)
    path = tmp_path / "0"
    size_bytes = 56 + len(encode_changes(change(1)))
    fill(journal, 90)  # once around the ring, so that file 0 is full of an earlier use
    before = path.read_bytes()
    first = 0
    while path.read_bytes() == before:
        journal.recycle(journal.appended_lsn)
        first = journal.appended_lsn
        fill(journal, 1)
    fill(journal, 4)
    journal.close()
    whole = path.read_bytes()
    written = replay(tmp_path, after_lsn=first)
    assert len(written) == 5
    ends = [64 + size_bytes * (number + 1) for number in range(5)]
    for cut in range(ends[-1] + 1):
        tails = {
            "zeros": bytes(SEGMENT_BYTES),
            "noise": random.Random(cut).randbytes(SEGMENT_BYTES),
            "older records": before,
        }
        image = whole[:cut] + tails[rest][cut:]
        path.write_bytes(image)
        intact = sum(1 for end in ends if image[:end] == whole[:end])
        assert replay(tmp_path, after_lsn=first) == written[:intact]


def test_a_flipped_bit_ends_the_replay(tmp_path: Path) -> None:
    journal = make(tmp_path)
    fill(journal, 3)
    journal.close()
    path = tmp_path / "0"
    whole = path.read_bytes()
    size_bytes = 56 + len(encode_changes(change(1)))
    for at in range(64 + size_bytes, 64 + 2 * size_bytes):
        spoiled = bytearray(whole)
        spoiled[at] ^= 1
        path.write_bytes(spoiled)
        assert [record.lsn for record in replay(tmp_path)] == [1]


def test_a_gap_ends_the_replay(tmp_path: Path) -> None:
    """Power loss kept a later segment and lost the end of the one before it."""
    journal = make(tmp_path)
    fill(journal, 60)
    journal.close()
    first = tmp_path / "0"
    whole = first.read_bytes()
    first.write_bytes(whole[:2000] + bytes(SEGMENT_BYTES - 2000))
    lsns = [record.lsn for record in replay(tmp_path)]
    assert lsns == list(range(1, len(lsns) + 1))
    assert 0 < len(lsns) < 30


def test_another_epoch_or_index_does_not_count(tmp_path: Path) -> None:
    journal = make(tmp_path)
    fill(journal, 3)
    journal.close()
    assert replay(tmp_path, epoch=EPOCH + 1) == []
    reader = Journal(tmp_path, OsDisk(), segment_bytes=SEGMENT_BYTES, segment_count=3)
    assert list(reader.replay(INDEX_ID + 1, EPOCH, 0)) == []


def test_a_new_epoch_never_brings_lost_records_back(tmp_path: Path) -> None:
    """101 to 110 survived a power loss, 100 did not; a new 100 must not join them."""
    journal = make(tmp_path, next_lsn=100)
    fill(journal, 60)
    journal.close()
    (tmp_path / "0").write_bytes(bytes(SEGMENT_BYTES))
    assert replay(tmp_path, after_lsn=99) == []
    journal = make(tmp_path, origin=Origin(INDEX_ID, 5, EPOCH + 1), next_lsn=100)
    fill(journal, 40)
    journal.close()
    assert [record.lsn for record in replay(tmp_path, after_lsn=99, epoch=EPOCH + 1)] == list(range(100, 140))


def test_a_retracted_record_is_gone(journal: Journal, tmp_path: Path) -> None:
    fill(journal, 2)
    payload = encode_changes(change(7))
    lsn = journal.append(payload, op=7)
    journal.retract(lsn, len(payload))
    assert [record.lsn for record in replay(tmp_path)] == [1, 2]
    journal.append(encode_changes(change(8)), op=8)
    assert [record.op for record in replay(tmp_path)] == [0, 1, 8]


def test_other_settings_at_the_next_start(tmp_path: Path) -> None:
    journal = make(tmp_path)
    fill(journal, 3)
    journal.close()
    other = Journal(tmp_path, OsDisk(), segment_bytes=2 * SEGMENT_BYTES, segment_count=2)
    assert len(list(other.replay(INDEX_ID, EPOCH, 0))) == 3
    other.start(Origin(INDEX_ID, 5, EPOCH + 1), next_lsn=4, now_ns=1)
    other.close()
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"0": 8192, "1": 8192}


def test_segments_are_allocated_beforehand(journal: Journal, tmp_path: Path) -> None:
    assert all(path.stat().st_blocks * 512 >= SEGMENT_BYTES for path in tmp_path.iterdir())


def test_a_failed_sync_is_never_repeated(tmp_path: Path) -> None:
    disk = LossyDisk()
    journal = make(tmp_path, disk)
    fill(journal, 1)
    disk.fail_syncs = True
    with pytest.raises(FsError) as caught:
        journal.sync()
    assert caught.value.errno == errno.EROFS
    disk.fail_syncs = False
    syncs = disk.syncs
    refused: list[Callable[[], object]] = [journal.sync, lambda: fill(journal, 1)]
    for call in refused:
        with pytest.raises(FsError):
            call()
    assert disk.syncs == syncs
    assert journal.synced_lsn == 0
    journal.close()


def test_a_failed_write_ends_it(tmp_path: Path) -> None:
    disk = LossyDisk()
    journal = make(tmp_path, disk)
    fill(journal, 1)
    disk.fail_writes = errno.EIO
    with pytest.raises(FsError):
        fill(journal, 1)
    disk.fail_writes = 0
    with pytest.raises(FsError):
        fill(journal, 1)
    assert journal.appended_lsn == 1
    journal.close()


def test_a_disk_that_breaks_its_promise_of_room(tmp_path: Path) -> None:
    disk = LossyDisk()
    journal = make(tmp_path, disk)
    fill(journal, 3)
    for _ in range(60):  # over the ends of segments, too
        disk.fail_writes = errno.ENOSPC
        with pytest.raises(FsError) as caught:
            fill(journal, 1)
        assert caught.value.errno == errno.ENOSPC
        assert len(replay(tmp_path)) == journal.appended_lsn
        disk.fail_writes = 0
        fill(journal, 1)
        assert len(replay(tmp_path)) == journal.appended_lsn
    journal.close()


def test_a_sync_covers_what_was_appended_before_it(tmp_path: Path) -> None:
    disk = LossyDisk()
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    journal = make(before, disk)
    fill(journal, 45)
    covered = journal.sync()
    assert covered == 45
    fill(journal, 10)
    for seed in range(20):
        disk.lose_power(random.Random(seed), after)
        assert len(replay(after)) >= covered
    syncs = disk.syncs
    journal.recycle(journal.appended_lsn)
    journal.sync()
    assert disk.syncs <= syncs + 1  # a committed segment needs none
    journal.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    body = struct.pack("<8sHHIIQQq12x", b"tierfsJ\n", 2, 5, EPOCH, 1, INDEX_ID, 1, 0)
    (tmp_path / "0").write_bytes(xxhash.xxh3_64_digest(body) + body)
    with pytest.raises(IndexDamageError, match="newer"):
        replay(tmp_path)


def test_a_disk_without_room(tmp_path: Path) -> None:
    class FullDisk(OsDisk):
        def open(self, path: Path, size_bytes: int) -> int:
            if path.name == "1":
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().open(path, size_bytes)

    with pytest.raises(FsError) as caught:
        make(tmp_path, FullDisk())
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value)


def test_a_symlink_in_the_place_of_a_segment_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"of another")
    (tmp_path / "0").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="Too many levels"):
        OsDisk().open(tmp_path / "0", 4096)
    assert (tmp_path / "target").read_bytes() == b"of another"
