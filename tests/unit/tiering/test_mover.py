"""Moves within budgets, and rules that are stopped when theirs fail."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve

from tests.support.clocks import TrioWallClock
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import inodes
from tierfs.index.env import Index, IndexSettings
from tierfs.model import Base, Inode
from tierfs.policy.breaker import PAUSE_S
from tierfs.policy.classes import DAY_S
from tierfs.policy.tasks import FileError
from tierfs.tiering.mover import Budgets, Mover
from tierfs.units import MIB

IA = "STANDARD_IA"


class Changer:
    """Moves everything, unless it is told otherwise; remembers when."""

    def __init__(self) -> None:
        self.moved: list[tuple[int, float]] = []
        self.leaves: FileError | None = None
        self.fails = False
        self.hold: trio.Event | None = None
        self.at_work = self.most_at_work = 0

    async def change(self, ino: int, storage_class: str) -> FileError | None:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.at_work -= 1
        if self.fails:
            raise StoreError(StoreErrorKind.ACCESS_DENIED, "not yours", key=f"k{ino}")
        if self.leaves is None:
            self.moved.append((ino, trio.current_time()))
        return self.leaves


class Bench:
    """An index with files of a MiB, and movers over it."""

    def __init__(self, directory: Path) -> None:
        self.clock = TrioWallClock()
        self.changer = Changer()
        self.index = Index.open(directory / "index", clock=self.clock, settings=IndexSettings(map_size_bytes=64 * MIB))

    def mover(self, cost: float = 0.0, **budgets: float) -> Mover:
        return Mover(
            index=self.index, changer=self.changer, clock=self.clock,
            budgets=evolve(Budgets(), **budgets), cost_of=lambda size, old, new: cost,
        )  # fmt: skip

    def file(self) -> int:
        ino = self.index.next_ino()
        inode = Inode(ino, 0o100644, 0, 0, MIB, 1, 0, 0, 0, 0, 1, b"f", base=Base("e", MIB, 0))
        with self.index.transaction() as txn:
            inodes.put(txn, inode)
        return ino


def run(directory: Path, main: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench(directory)
        try:
            await main(bench)
        finally:
            bench.index.close()

    trio.run(whole, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("budgets", [{"bytes_s": MIB / 2}, {"requests_s": 1.5}])
def test_moves_keep_to_their_rate(tmp_path: Path, budgets: dict[str, float]) -> None:
    async def main(bench: Bench) -> None:
        mover, began = bench.mover(**budgets), trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(mover.move, bench.file(), IA)
        times = [round(when - began, 3) for _, when in bench.changer.moved]
        assert times == pytest.approx([0, 1, 3, 5, 7], abs=0.01), "two seconds each, less the one that was saved"

    run(tmp_path, main)


def test_a_few_at_a_time(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        mover, bench.changer.hold = bench.mover(at_a_time=3), trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(mover.move, bench.file(), IA)
            await trio.testing.wait_all_tasks_blocked()
            assert bench.changer.at_work == 3
            bench.changer.hold.set()
        assert (len(bench.changer.moved), bench.changer.most_at_work) == (10, 3)

    run(tmp_path, main)


def test_the_money_of_a_day_outlives_the_daemon(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        mover, ino = bench.mover(0.4, money_day=1.0), bench.file()
        assert [await mover.move(ino, IA) for _ in range(3)] == [None, None, FileError.OVER_BUDGET]
        again = bench.mover(0.4, money_day=1.0)
        assert await again.move(ino, IA) is FileError.OVER_BUDGET
        assert again.status()["spent_today"] == pytest.approx(0.8)
        await trio.sleep(DAY_S)
        assert await again.move(ino, IA) is None and again.status()["spent_today"] == pytest.approx(0.4)

    run(tmp_path, main)


def test_money_is_kept_for_moves_under_way(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        mover, bench.changer.hold, answers = bench.mover(0.4, money_day=1.0), trio.Event(), []

        async def move(ino: int) -> None:
            answers.append(await mover.move(ino, IA))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(move, bench.file())
            await trio.testing.wait_all_tasks_blocked()
            bench.changer.hold.set()
        assert answers.count(None) == 2 == len(bench.changer.moved) and set(answers) == {None, FileError.OVER_BUDGET}

    run(tmp_path, main)


async def fail(mover: Mover, ino: int, times: int, rule: str = "old") -> None:
    for _ in range(times):
        with pytest.raises(StoreError):
            await mover.move(ino, IA, rule)


def test_a_rule_whose_moves_fail_is_stopped_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(bench: Bench) -> None:
        mover, ino = bench.mover(), bench.file()
        bench.changer.fails = True
        await fail(mover, ino, 10)
        assert await mover.move(ino, IA, "old") is FileError.RULE_STOPPED
        assert caplog.text.count("are stopped") == 1 and "not yours" in caplog.text
        rules = mover.status()["rules"]
        assert isinstance(rules, dict) and "not yours" in rules["old"]["stopped"]
        bench.changer.fails = False
        assert await mover.move(ino, IA, "another") is None, "by its own moves"
        assert await mover.move(ino, IA) is None, "who asks by hand is not stopped"
        await trio.sleep(PAUSE_S)
        bench.changer.leaves = FileError.IN_USE
        assert await mover.move(ino, IA, "old") is FileError.IN_USE, "a trial that says nothing"
        bench.changer.leaves = None
        assert [await mover.move(ino, IA, "old") for _ in range(2)] == [None, None]

    run(tmp_path, main)


def test_what_is_in_use_is_no_failure(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        mover, ino = bench.mover(0.4, money_day=1.0), bench.file()
        bench.changer.leaves = FileError.IN_USE
        for _ in range(20):
            assert await mover.move(ino, IA, "old") is FileError.IN_USE
        rules = mover.status()["rules"]
        assert isinstance(rules, dict) and (rules["old"]["left"], rules["old"]["stopped"]) == (20, "")
        assert mover.status()["spent_today"] == 0.0

    run(tmp_path, main)


def test_what_is_not_in_the_bucket_is_left(tmp_path: Path) -> None:
    async def main(bench: Bench) -> None:
        assert await bench.mover().move(12345, IA) is FileError.NOT_UPLOADED and not bench.changer.moved

    run(tmp_path, main)
