"""What rules see of the index: paths, attributes, and the rules of the tree with their precedence."""

from pathlib import Path

from tests.support.tiering import Tiered, run_tiered
from tierfs.index import xattrs
from tierfs.model import ROOT_INO, Residency
from tierfs.policy.placement import place

RULES = """
[[tiering.rules]]
name = "alpha"
xattr = "user.project=alpha"
cache = false
[[tiering.rules]]
name = "deep"
path = "a/b"
pin = true
"""


def rule(tiered: Tiered, ino: int) -> str:
    subject = tiered.placements.view().subject(tiered.world.inode(ino), tiered.world.record(ino))
    return place(subject.rules, subject.file, 0.0).rule


def test_a_file_is_seen_with_its_path_and_what_rules_ask_for(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        inner = tiered.directory("b", parent=tiered.directory("a"))
        ino = tiered.named(tiered.world.add_object(b"bytes"), "f", parent=inner, uid=9)
        with tiered.world.index.transaction() as txn:
            xattrs.put(txn, ino, b"user.project", b"alpha")
            xattrs.put(txn, ino, b"user.other", b"x")
        file = tiered.placements.view().subject(tiered.world.inode(ino), None).file
        assert file.path == ("a", "b", "f") and (file.uid, file.size_bytes) == (9, 5)
        assert file.xattrs == {"user.project": b"alpha"} and file.storage_class == "STANDARD"
        assert file.residency is Residency.COLD
        assert rule(tiered, ino) == "alpha"
        await tiered.world.read(ino)
        hot = tiered.placements.view().subject(tiered.world.inode(ino), tiered.world.record(ino)).file
        assert hot.residency is Residency.COLD, "a rule has it read past the tier"

    run_tiered(tmp_path, main, rules=RULES)


def test_the_nearest_rule_of_the_tree_wins_over_the_settings(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        outer = tiered.directory("a")
        inner = tiered.directory("b", parent=outer)
        ino = tiered.named(tiered.world.add_object(b"bytes"), "f", parent=inner)
        assert rule(tiered, ino) == "deep"
        tiered.set_rule(ROOT_INO, "cache = true")
        assert rule(tiered, ino) == "user.tierfs.tiering of /"
        tiered.set_rule(outer, "cache = true")
        assert rule(tiered, ino) == "user.tierfs.tiering of /a"
        tiered.set_rule(inner, "min_size_bytes = 100\ncache = true")
        assert rule(tiered, ino) == "user.tierfs.tiering of /a", "the nearest does not name it"
        tiered.set_rule(ino, "pin = true")
        assert rule(tiered, ino) == "user.tierfs.tiering of /a/b/f"
        tiered.rulebook.load("n", "[tiering]\ntree_rules = false\n" + RULES)
        assert rule(tiered, ino) == "deep"

    run_tiered(tmp_path, main, rules=RULES)


def test_a_rule_that_another_client_has_set_wrong_is_passed_over_and_told(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        directory = tiered.directory("a")
        ino = tiered.named(tiered.world.add_object(b"bytes"), "f", parent=directory)
        tiered.set_rule(directory, "pinn = true")
        view = tiered.placements.view()
        assert (
            place(
                view.subject(tiered.world.inode(ino), None).rules, view.subject(tiered.world.inode(ino), None).file, 0.0
            ).rule
            == ""
        )
        assert view.problems == ["/a: unknown key 'pinn'; did you mean 'pin'?"]

    run_tiered(tmp_path, main)


def test_a_file_without_a_name_has_the_rules_for_all(tmp_path: Path) -> None:
    async def main(tiered: Tiered) -> None:
        ino = tiered.named(tiered.world.add_object(b"bytes"), "f", parent=0)
        assert rule(tiered, ino) == ""
        tiered.rulebook.load("n", '[[tiering.rules]]\nname = "all"\npin = true\n')
        assert rule(tiered, ino) == "all"

    run_tiered(tmp_path, main, rules=RULES)
