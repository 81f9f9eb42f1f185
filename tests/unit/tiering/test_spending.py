"""What is asked of the bucket: counted from any thread, kept over restarts, bounded, by month."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from tierfs.clock import ManualClock
from tierfs.errors import FsError
from tierfs.index import inodes
from tierfs.index.env import Index, IndexSettings
from tierfs.index.options import IndexState
from tierfs.model import Base, Inode
from tierfs.policy.cost import RequestKind, Traffic, Use
from tierfs.tiering import spending as spendings
from tierfs.tiering.spending import GROUPS_MAX, OTHERS, Spending
from tierfs.units import GIB, NS_PER_S

START_NS = 1_739_620_800 * NS_PER_S  # 2025-02-15 12:00 UTC
HALF_OF_FEBRUARY_S = 13.5 * 86_400
PUT, UNSAID = Use(RequestKind.PUT), Use(RequestKind.GET, "")
SMALL = IndexSettings(map_size_bytes=256 << 20, journal_segment_bytes=1 << 20, journal_segments=3, node=5)
FILE = Inode(
    ino=10, mode=0o100644, uid=0, gid=0, size_bytes=0, nlink=1, atime_ns=0, mtime_ns=0, ctime_ns=0, btime_ns=0,
    parent=1, name=b"f",
)  # fmt: skip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_NS)


@pytest.fixture
def index(tmp_path: Path, clock: ManualClock) -> Iterator[Index]:
    index = Index.open(tmp_path / "index", clock=clock, settings=SMALL, boot_id=1)
    yield index
    index.close()


def count_of(index: Index, clock: ManualClock, class_of: Callable[[str], str] = lambda key: "") -> Spending:
    return Spending(index=index, clock=clock, depth=1, class_of=class_of)


def put_object(index: Index, ino: int, storage_class: str, size_bytes: int) -> None:
    with index.transaction() as txn:
        inodes.put(txn, evolve(FILE, ino=ino, base=Base("etag", size_bytes, 0, storage_class=storage_class)))


def test_requests_are_counted_by_group_and_use(index: Index, clock: ManualClock) -> None:
    spending = count_of(index, clock)
    spending.note("a/1", PUT, Traffic(1, 5, 0))
    spending.note("a/b/2", PUT, Traffic(1, 6, 0))
    spending.note("root", PUT, Traffic(1, 7, 0))
    counted = spending.counted()
    assert counted.month.name == "2025-02"
    assert counted.traffic == {("a", PUT): Traffic(2, 11, 0), ("", PUT): Traffic(1, 7, 0)}
    spending.note("a/1", PUT, Traffic(1, 1, 0))
    assert spending.counted().traffic["a", PUT] == Traffic(3, 12, 0)


def test_what_was_written_is_there_for_the_next_daemon(index: Index, clock: ManualClock) -> None:
    first = count_of(index, clock)
    first.note("a/1", PUT, Traffic(1, 5, 0))
    first.write()
    second = count_of(index, clock)
    second.note("a/1", PUT, Traffic(1, 5, 0))
    assert second.counted().traffic == {("a", PUT): Traffic(2, 10, 0)}


def test_threads_lose_nothing_while_it_is_written(index: Index, clock: ManualClock) -> None:
    spending = count_of(index, clock)

    def ask() -> None:
        for number in range(2000):
            spending.note(f"d{number % 7}/f", PUT, Traffic(1, 1, 0))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        spending.write()
    for thread in threads:
        thread.join()
    assert sum(traffic.requests for traffic in spending.counted().traffic.values()) == 8000


def test_the_class_that_a_get_does_not_say_is_the_one_of_its_object(index: Index, clock: ManualClock) -> None:
    put_object(index, 10, "STANDARD", 1)
    put_object(index, 11, "GLACIER_IR", 1)
    classes = {"a/cold": "GLACIER_IR", "a/hot": "STANDARD"}
    spending = count_of(index, clock, lambda key: classes.get(key, ""))
    for key in ("a/cold", "a/cold", "a/hot", "a/gone"):
        spending.note(key, UNSAID, Traffic(1, 0, 9))
    assert spending.counted().traffic == {
        ("a", Use(RequestKind.GET, "GLACIER_IR")): Traffic(2, 0, 18),
        ("a", Use(RequestKind.GET)): Traffic(2, 0, 18),
    }


def test_where_one_class_is_all_there_is_nothing_is_looked_up(index: Index, clock: ManualClock) -> None:
    put_object(index, 10, "STANDARD_IA", 1)
    asked: list[str] = []
    spending = count_of(index, clock, lambda key: asked.append(key) or "")
    spending.note("a/1", UNSAID, Traffic(1, 0, 9))
    assert spending.counted().traffic == {("a", Use(RequestKind.GET, "STANDARD_IA")): Traffic(1, 0, 9)}
    assert asked == []


def test_look_ups_are_bounded_and_the_rest_counts_as_standard(
    index: Index, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spendings, "_KEYS_MAX", 2)
    put_object(index, 10, "STANDARD_IA", 1)
    spending = count_of(index, clock)
    for key in ("a/1", "a/2", "a/3", "a/2"):
        spending.note(key, UNSAID, Traffic(1))
    assert spending.counted().traffic == {
        ("a", Use(RequestKind.GET, "STANDARD_IA")): Traffic(3),
        ("a", Use(RequestKind.GET)): Traffic(1),
    }


def test_groups_are_bounded(index: Index, clock: ManualClock) -> None:
    spending = count_of(index, clock)
    for number in range(GROUPS_MAX + 5):
        spending.note(f"d{number}/f", PUT, Traffic(1))
    counted = spending.counted().traffic
    assert len(counted) == GROUPS_MAX + 1
    assert counted[OTHERS, PUT] == Traffic(5)
    again = count_of(index, clock)
    again.note("one-more/f", PUT, Traffic(1))
    assert again.counted().traffic[OTHERS, PUT] == Traffic(6)


def test_storage_is_what_lay_there_for_as_long_as_it_did(index: Index, clock: ManualClock) -> None:
    spending = count_of(index, clock)
    assert spending.counted().row.counted_from_ns == START_NS
    put_object(index, 10, "STANDARD", 2 * GIB)
    clock.advance_s(100)
    spending.write()
    put_object(index, 10, "GLACIER", 2 * GIB)
    clock.advance_s(10)
    row = spending.counted().row
    assert row.gib_s == {"STANDARD": 200.0, "GLACIER": pytest.approx(20.0, rel=1e-3)}
    assert row.watched_s == {"STANDARD": 100.0, "GLACIER": 10.0}


def test_the_time_without_a_daemon_counts_and_a_clock_that_is_set_back_does_not(
    index: Index, clock: ManualClock
) -> None:
    put_object(index, 10, "STANDARD", GIB)
    count_of(index, clock).write()
    clock.advance_s(3600)
    assert count_of(index, clock).counted().row.gib_s == {"STANDARD": 3600.0}
    clock.advance_s(-1800)
    assert count_of(index, clock).counted().row.gib_s == {"STANDARD": 3600.0}


def test_the_next_month_begins_with_nothing_and_from_its_first_second(index: Index, clock: ManualClock) -> None:
    put_object(index, 10, "STANDARD", GIB)
    spending = count_of(index, clock)
    spending.note("a/1", PUT, Traffic(1))
    spending.write()
    clock.advance_s(HALF_OF_FEBRUARY_S + 100)
    spending.note("a/1", PUT, Traffic(1))
    counted = spending.counted()
    assert (counted.month.name, counted.traffic) == ("2025-03", {("a", PUT): Traffic(1)})
    assert counted.row.counted_from_ns == counted.month.start_ns
    assert counted.row.gib_s == {"STANDARD": 100.0}


def test_who_begins_in_the_middle_of_a_month_counts_from_there(index: Index, clock: ManualClock) -> None:
    count_of(index, clock).write()
    clock.advance_s(HALF_OF_FEBRUARY_S + 100)
    assert count_of(index, clock).counted().row.counted_from_ns == clock.now_ns()


def test_what_cannot_be_written_is_kept(index: Index, clock: ManualClock) -> None:
    spending = count_of(index, clock)
    spending.note("a/1", PUT, Traffic(1, 5, 0))
    index.freeze("a test")
    with pytest.raises(FsError):
        spending.write()
    index.state = IndexState.HEALTHY
    assert spending.counted().traffic == {("a", PUT): Traffic(1, 5, 0)}


def test_it_is_written_every_minute(index: Index, clock: ManualClock) -> None:
    spending = count_of(index, clock)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spending.run)
            await trio.testing.wait_all_tasks_blocked()
            spending.note("a/1", PUT, Traffic(1))
            await trio.sleep(61)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert count_of(index, clock).counted().traffic == {("a", PUT): Traffic(1)}
