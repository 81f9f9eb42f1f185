"""Rules of tiering over the hot tier of `tests.support.tier`, with time that a test moves.

def test_x(tmp_path):
    async def main(tiered):
        ino = tiered.world.add_object(b"bytes")
        ...
    run_tiered(tmp_path, main, rules='[[tiering.rules]]\\nhot_at_most_s = "1d"')
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tests.support.tier import World, run
from tierfs import config
from tierfs.index import inodes, xattrs
from tierfs.model import ROOT_INO, Inode, Residency
from tierfs.tiering.ages import Ages
from tierfs.tiering.engine import Engine, Watermarks
from tierfs.tiering.explaining import Explainer
from tierfs.tiering.placements import Placements
from tierfs.tiering.rulebook import Rulebook
from tierfs.units import Level

DAY: Final = 86_400
FULL: Final = Level(share=1.0)


class Tiered:
    """A world, its rules and its engine. The wall clock and the machine's count of time go together."""

    def __init__(self, rules: str, watermarks: Watermarks) -> None:
        self.uptime_s = 1000.0
        self.rulebook = Rulebook(config.load_text("rules.toml", rules.encode()).tiering)
        self._watermarks = watermarks
        self.world: World
        self.placements: Placements
        self.engine: Engine
        self.explainer: Explainer

    def placements_of(self, world: World) -> Placements:
        """For the files of the world."""
        ages = Ages(world.index, world.clock, lambda: self.uptime_s)
        self.placements = Placements(world.index, self.rulebook, ages, world.space, lambda reader, inode: 5.0)
        return self.placements

    def begin(self, world: World) -> None:
        """Once the world is there."""
        self.world = world
        self.engine = Engine(
            index=world.index, files=world.files, space=world.space, placements=self.placements,
            watermarks=self._watermarks,
        )  # fmt: skip
        self.explainer = Explainer(index=world.index, files=world.files, placements=self.placements)
        if inodes.get(world.index, ROOT_INO) is None:
            self.put(Inode(ROOT_INO, 0o40755, 0, 0, 0, 1, 0, 0, 0, 0, ROOT_INO, b""))

    def pass_s(self, seconds: float) -> None:
        """By both clocks."""
        self.world.clock.advance_s(seconds)
        self.uptime_s += seconds

    def put(self, inode: Inode) -> None:
        self.world.put(inode)

    def named(self, ino: int, name: str, *, parent: int = ROOT_INO, uid: int = 0) -> int:
        """Gives a file of the world its name and owner."""
        self.put(evolve(self.world.inode(ino), name=name.encode(), parent=parent, uid=uid))
        return ino

    def directory(self, name: str, *, parent: int = ROOT_INO) -> int:
        """A directory; returns its inode number."""
        ino = self.world.index.next_ino()
        self.put(Inode(ino, 0o40755, 0, 0, 0, 2, 0, 0, 0, 0, parent, name.encode()))
        return ino

    def set_rule(self, ino: int, rule: str) -> None:
        """As setfattr on a file or directory."""
        with self.world.index.transaction() as txn:
            xattrs.put(txn, ino, xattrs.TIERING, rule.encode())

    def is_here(self, ino: int) -> bool:
        record = self.world.record(ino)
        return record is not None and record.residency is Residency.FULL


def run_tiered(
    directory: Path,
    main: Callable[[Tiered], Awaitable[Any]],
    *,
    rules: str = "",
    limit_bytes: int = 64 << 20,
    start: Level = FULL,
    stop: Level = FULL,
) -> None:
    """Runs a test in a fresh world with these rules, and watermarks."""
    tiered = Tiered(rules, Watermarks(start, stop))

    async def test(world: World) -> None:
        tiered.begin(world)
        await main(tiered)

    run(directory, test, limit_bytes=limit_bytes, rules_of=tiered.placements_of)
