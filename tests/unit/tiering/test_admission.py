"""Who may bring files into the tier: rules by program, their breakers, and hints."""

import errno
import logging
from pathlib import Path

import pytest

from tests.support.tier import BLOCK, noise
from tests.support.tiering import Tiered, run_tiered
from tierfs.errors import FsError
from tierfs.model import ROOT_INO
from tierfs.namespace.verbs import Caller
from tierfs.policy.recalls import Program
from tierfs.tiering.admission import Admission, Counts

RULES = """
[[tiering.recalls]]
command = "updatedb*"
action = "fail"
[[tiering.recalls]]
user = 34
[[tiering.recalls]]
command = "find"
limit_files = 3
window_s = 60
"""
COMMANDS = {1: "updatedb.plocat", 2: "tar", 3: "find"}


class Door:
    """An admission over a tiered world, with a clock of its own."""

    def __init__(self, tiered: Tiered) -> None:
        self.now_s = 0.0
        self.admission = Admission(
            tiered.world.index, tiered.rulebook, monotonic_s=lambda: self.now_s,
            identify=lambda uid, tid: Program(uid, (COMMANDS[tid],) if tid in COMMANDS else ()),
        )  # fmt: skip
        self._tiered = tiered

    def admits(self, ino: int, *, uid: int = 0, pid: int = 0) -> bool:
        return self.admission.admits(self._tiered.world.inode(ino), Caller(uid, 0, pid=pid))


def test_programs_are_kept_away_by_command_or_user(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        door, ino = Door(tiered), tiered.world.add_object(noise(BLOCK))
        assert door.admits(ino) and door.admits(ino, pid=2)
        assert not door.admits(ino, uid=34, pid=2)
        with pytest.raises(FsError) as caught:
            door.admits(ino, uid=34, pid=1)
        assert caught.value.errno == errno.EAGAIN
        assert door.admission.counts == Counts(admitted=2, read_through=1, refused=1)
        await tiered.world.read(ino)
        assert door.admits(ino, pid=1) and door.admits(ino, uid=34), "what is here is open to everybody"

    run_tiered(tmp_path, main, rules=RULES)


def test_a_storm_trips_the_breaker_of_that_program_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(tiered: Tiered) -> None:
        door, ino = Door(tiered), tiered.world.add_object(noise(BLOCK))
        assert [door.admits(ino, pid=3) for _ in range(6)] == [True] * 3 + [False] * 3
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "find of user 0 has opened 3 files that are not here within 60 s: from now on read-" in caplog.text
        assert door.admits(ino, uid=7, pid=3) and door.admits(ino, pid=2)
        door.now_s = 200.0
        assert door.admits(ino, pid=3)
        caplog.clear()  # it was meant

    run_tiered(tmp_path, main, rules=RULES)


def test_a_hint_holds_at_and_below_its_path_for_its_time(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        directory = tiered.directory("d")
        inside = tiered.named(tiered.world.add_object(noise(BLOCK, 1)), "f", parent=directory)
        outside = tiered.named(tiered.world.add_object(noise(BLOCK, 2)), "g")
        door = Door(tiered)
        door.admission.read_once(directory, 60.0)
        assert not door.admits(inside) and door.admits(outside)
        door.now_s = 61.0
        assert door.admits(inside)
        door.admission.read_once(ROOT_INO, 60.0)
        assert not door.admits(inside) and not door.admits(outside)
        door.admission.forget_hint(ROOT_INO)
        assert door.admits(inside) and door.admits(outside)

    run_tiered(tmp_path, main)


def test_who_passes_leaves_nothing_unless_somebody_else_reads_along(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        world = tiered.world
        for size in (2 * BLOCK, 40 * BLOCK):  # fetched at the open, and by ranges
            data = noise(size, size)
            ino = world.add_object(data)
            handle = await world.files.open(ino, write=False, truncate=False, passes=True)
            assert await world.read_handle(handle) == data
            await world.files.release(handle)
            assert world.record(ino) is None
            other = await world.files.open(ino, write=False, truncate=False)
            passing = await world.files.open(ino, write=False, truncate=False, passes=True)
            assert await world.read_handle(passing) == data
            for handle in (passing, other):
                await world.files.release(handle)
            assert tiered.is_here(ino)

    run_tiered(tmp_path, main)
