"""The verbs about held names: pages, and what a decision would do and did."""

from pathlib import Path

import trio

from tests.support.sync_rig import Rig, run_rig
from tests.unit.sync.test_guard import filled, lose, verdicts_of
from tierfs.control.removals import Removals
from tierfs.policy.guard import Verdict


def removals_of(rig: Rig) -> Removals:
    return Removals(index=rig.index, guard=rig.guard, verdicts=verdicts_of(rig))


def test_pages(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "d/")
        lose(rig, range(99), "d/")
        await rig.list("d")
        removals = removals_of(rig)
        page = removals.page((0, b""))
        assert page["removals"][0] == {"path": "d/f000", "entries": 1, "moved_to": None, "state": "asked"}
        parent, name = page["next"]
        rest = removals.page((parent, bytes.fromhex(name)))
        assert [row["path"] for row in rest["removals"]] == [f"d/f{number:03}" for number in range(50, 99)]
        assert rest["next"] is None

    run_rig(tmp_path, main)


def test_where_a_directory_went(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "up/old/")
        for number in range(100):
            rig.put_remote(f"up/new/f{number:03}", b"bytes")
        lose(rig, range(100), "up/old/")
        await rig.list("up")
        (row,) = removals_of(rig).page((0, b""))["removals"]
        assert (row["path"], row["entries"], row["moved_to"]) == ("up/old", 101, "up/new")

    run_rig(tmp_path, main)


def test_a_dry_run_says_and_does_nothing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig, "d/")
        assert await rig.read("d/f000") == b"bytes"
        lose(rig, range(100), "d/")
        await rig.list()
        removals = removals_of(rig)
        told: list[int] = []
        approve = await removals.decide(Verdict.APPROVE, told.append, dry_run=True)
        assert (approve["names"], approve["removed"], approve["dry_run"]) == (1, 101, True)
        reject = await removals.decide(Verdict.REJECT, told.append, dry_run=True)
        assert (reject["uploaded"], reject["unreadable"], reject["removed"]) == (2, 99, 0)
        assert not told and not rig.pending() and rig.guard.status() is not None
        assert len(rig.names("d")) == 100

    run_rig(tmp_path, main, reads_ahead=False)


def test_who_decides_waits_for_the_end(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await filled(rig)
        lose(rig, range(99))
        await rig.list()
        verdicts = verdicts_of(rig)
        removals = Removals(index=rig.index, guard=rig.guard, verdicts=verdicts)
        told: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(verdicts.run)
            done = await removals.decide(Verdict.APPROVE, told.append, dry_run=False)
            nursery.cancel_scope.cancel()
        assert (done["names"], done["removed"], done["returned"]) == (99, 99, 0)
        assert told[0] == 99 and rig.names() == ["f099"]
        nothing = await removals.decide(Verdict.REJECT, told.append, dry_run=False)
        assert nothing["names"] == 0

    run_rig(tmp_path, main)
