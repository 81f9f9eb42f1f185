"""What the rules say where files are evicted, fetched and queued for their upload."""

from pathlib import Path

from tests.support.tiering import Tiered, run_tiered

RULES = """
[[tiering.rules]]
path = "soon"
quiet_s = 1
[[tiering.rules]]
path = "pinned"
pin = true
"""


def test_a_rule_says_how_long_a_file_rests(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        def quiet_s(ino: int) -> float:
            return tiered.placements.quiet_s(tiered.world.index, tiered.world.inode(ino))

        soon, other = (tiered.named(tiered.world.add_object(b"x"), name) for name in ("soon", "other"))
        assert (quiet_s(soon), quiet_s(other)) == (1.0, 5.0), "else what the export has"
        tiered.set_rule(other, "quiet_s = 2")
        assert (quiet_s(soon), quiet_s(other)) == (1.0, 2.0)
        assert tiered.placements.quiet_s(tiered.world.index, tiered.world.inode(1)) == 5.0, "of a directory"

    run_tiered(tmp_path, main, rules=RULES)


def test_a_pinned_file_is_kept_and_every_file_is_cached_without_a_rule(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        for name, is_kept in (("pinned", True), ("other", False)):
            ino = tiered.named(tiered.world.add_object(b"x"), name)
            assert tiered.placements.caches(tiered.world.inode(ino))
            await tiered.world.read(ino)
            record = tiered.world.record(ino)
            assert record is not None
            assert tiered.placements.keeps(tiered.world.inode(ino), record) is is_kept

    run_tiered(tmp_path, main, rules=RULES)
