"""The time that files age by, over restarts."""

import logging
from pathlib import Path

import pytest

from tests.support.tier import World, run
from tierfs.tiering.ages import Ages


def test_a_jump_is_told_once_and_a_restart_does_not_make_it_true(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(world: World) -> None:
        uptime_s = 50.0
        ages = Ages(world.index, world.clock, lambda: uptime_s)
        before_s = ages.now_s()
        ages.keep()
        world.clock.advance_s(86_400 * 3650)
        uptime_s += 30
        again = Ages(world.index, world.clock, lambda: uptime_s)
        assert again.now_s() == before_s + 30 and again.has_jumped
        assert again.now_s() == before_s + 30
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "the wall clock was set by +315360000 s" in caplog.text or "was set by +3153599" in caplog.text
        caplog.clear()  # it was meant
        again.keep()
        uptime_s += 86_400 + 601
        world.clock.advance_s(86_400 + 601)
        assert Ages(world.index, world.clock, lambda: uptime_s).now_s() > before_s + 86_400 * 3650

    run(tmp_path, main)


def test_it_goes_with_the_wall_clock(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ages = Ages(world.index, world.clock, lambda: world.clock.now_ns() / 1e9)
        for _ in range(3):
            world.clock.advance_s(1000)
            assert ages.now_s() == world.clock.now_ns() / 1e9 and not ages.has_jumped

    run(tmp_path, main)
