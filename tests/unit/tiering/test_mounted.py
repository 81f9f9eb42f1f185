"""The rules of one mount, put together."""

from pathlib import Path

from tests.support.tier import World, run
from tierfs import config
from tierfs.tiering import rulebook as rulebooks
from tierfs.tiering.mounted import Tiering

SETTINGS = config.load_text("s.toml", b'[[tiering.rules]]\nname = "mine"\npin = true\n')


def test_its_parts_share_the_rules_and_a_mount_that_goes_on_keeps_what_was_loaded(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        rulebooks.keep(world.index, "new.toml", "[[tiering.rules]]\ncache = false\n")
        for is_same_mount, source in ((True, "new.toml"), (False, "settings")):
            tiering = Tiering(
                SETTINGS, index=world.index, space=world.space, clock=world.clock, quiet_s=lambda reader, inode: 5.0,
                is_same_mount=is_same_mount,
            )  # fmt: skip
            ino = world.add_object(b"x")
            assert tiering.rulebook.source == source
            assert tiering.placements.caches(world.inode(ino)) is (source == "settings")
            assert tiering.explainer(world.files).explain(world.inode(ino))["rules_from"] == source
            assert await tiering.engine(world.files).make_room()

    run(tmp_path, main)
