"""What a user is told of a file: the rule, why it stays, and what becomes of it when."""

from pathlib import Path

from tests.support.tier import BLOCK, noise
from tests.support.tiering import DAY, Tiered, run_tiered

RULES = """
[[tiering.rules]]
name = "old"
min_age_s = "90d"
demote_to = "GLACIER"
[[tiering.rules]]
name = "scratch"
path = "s"
hot_at_least_s = "1d"
hot_at_most_s = "7d"
"""


def test_it_tells_the_rule_and_what_comes(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        ino = tiered.named(tiered.world.add_object(noise(BLOCK)), "s")
        await tiered.world.read(ino)
        tiered.pass_s(DAY // 2)
        told = tiered.explainer.explain(tiered.world.inode(ino))
        assert (told["rule"], told["age_s"], told["hot_bytes"], told["storage_class"]) == (
            "scratch", DAY / 2, BLOCK, "STANDARD",
        )  # fmt: skip
        assert told["kept"] == "kept by scratch, unless writers wait for room"
        assert [(each["action"], each["in_s"]) for each in told["decisions"]] == [("release", 6.5 * DAY)]
        assert (told["next"]["rule"], told["next"]["in_s"]) == ("old", 89.5 * DAY)
        assert [each["storage_class"] for each in told["next"]["decisions"]] == ["GLACIER"]
        tiered.pass_s(DAY)
        assert tiered.explainer.explain(tiered.world.inode(ino))["kept"] is None
        tiered.world.files.keeping.pin(ino)
        told = tiered.explainer.explain(tiered.world.inode(ino))
        assert told["pinned"] and told["kept"] == "pinned" and told["decisions"] == []

    run_tiered(tmp_path, main, rules=RULES)


def test_it_tells_why_a_file_cannot_go_and_which_rule_is_not_used(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        ino = tiered.named(await tiered.world.write_new(noise(BLOCK)), "f")
        tiered.set_rule(ino, "pinn = true")
        told = tiered.explainer.explain(tiered.world.inode(ino))
        assert told["rule"] is None and told["next"] is None
        assert told["kept"] == "not uploaded yet"
        assert told["problems"] == ["/f: unknown key 'pinn'; did you mean 'pin'?"]
        assert not told["clock_set"]

    run_tiered(tmp_path, main)
