"""Objects go down the classes when their rule says so; what cannot go is left for another time."""

from pathlib import Path

from attrs import evolve

from tests.support.tier import BLOCK, noise
from tests.support.tiering import DAY, Tiered, run_tiered
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.policy.tasks import FileError
from tierfs.tiering.demotion import Demotions

RULES = '[[tiering.rules]]\nname = "old"\nmin_age_s = "30d"\ndemote_to = "GLACIER"\n'


def test_what_is_due_is_moved_once_and_a_failure_ends_nothing(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        names = ("plain", "failing", "busy", "pinned")
        inos = {name: tiered.named(tiered.world.add_object(noise(BLOCK)), name) for name in names}
        tiered.world.files.keeping.pin(inos["pinned"])
        asked: list[tuple[int, str, str]] = []

        async def move(ino: int, storage_class: str, rule: str) -> FileError | None:
            asked.append((ino, storage_class, rule))
            if ino == inos["failing"]:
                raise StoreError(StoreErrorKind.ACCESS_DENIED, "no")
            if ino == inos["busy"]:
                return FileError.IN_USE
            inode = tiered.world.inode(ino)
            assert inode.base is not None
            tiered.put(evolve(inode, base=evolve(inode.base, storage_class=storage_class)))
            return None

        demotions = Demotions(index=tiered.world.index, placements=tiered.placements, move=move)
        assert await demotions.sweep() == 0 and asked == []
        tiered.pass_s(30 * DAY)
        assert await demotions.sweep() == 1
        assert sorted(asked) == sorted((inos[name], "GLACIER", "old") for name in ("plain", "failing", "busy"))
        asked.clear()
        assert await demotions.sweep() == 0
        assert {ino for ino, _, _ in asked} == {inos["failing"], inos["busy"]}, "these are tried again"

    run_tiered(tmp_path, main, rules=RULES)


def test_without_such_a_rule_nothing_is_looked_at(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        tiered.named(tiered.world.add_object(noise(BLOCK)), "f")
        tiered.pass_s(365 * DAY)

        async def move(_ino: int, _storage_class: str, _rule: str) -> FileError | None:
            raise AssertionError("nobody asked for it")

        assert await Demotions(index=tiered.world.index, placements=tiered.placements, move=move).sweep() == 0

    run_tiered(tmp_path, main, rules='[[tiering.rules]]\nhot_at_most_s = "1d"\n')
