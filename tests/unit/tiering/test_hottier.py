"""How large the hot tier is."""

from pathlib import Path

from tests.support.tier import World, run
from tierfs.config import HotTierSettings
from tierfs.tiering.hottier import open_hot_tier
from tierfs.units import GIB


def test_the_size_that_is_set_counts(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        _, space = open_hot_tier(HotTierSettings(size_bytes=GIB), world.index, tmp_path)
        assert space.limit_bytes == GIB and space.used_bytes == 0

    run(tmp_path, main)


def test_else_it_is_a_share_of_what_was_free_at_the_first_mount(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        hot, space = open_hot_tier(HotTierSettings(), world.index, tmp_path / "a")
        assert 0 < space.limit_bytes < hot.free_bytes()
        _, again = open_hot_tier(HotTierSettings(), world.index, tmp_path / "b")
        assert again.limit_bytes == space.limit_bytes, "whatever is free by now"

    run(tmp_path, main)
