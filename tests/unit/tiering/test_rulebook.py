"""The rules in force: from settings to policy, replaced as a whole or not at all, kept over a crash."""

from pathlib import Path

import pytest

from tests.support.tier import World, run
from tierfs import config
from tierfs.errors import ConfigError
from tierfs.model import Residency
from tierfs.policy.classes import Abilities
from tierfs.policy.placement import NEVER, Match, Rule, Terms
from tierfs.policy.recalls import Recall, RecallRule
from tierfs.tiering import rulebook as rulebooks
from tierfs.tiering.rulebook import Rulebook, check_classes


def book(text: str) -> Rulebook:
    return Rulebook(config.load_text("rules.toml", text.encode()).tiering)


def test_every_key_comes_through() -> None:
    rulebook = book(
        """
        [[tiering.rules]]
        name = "all of it"
        path = "a/*.ckpt"
        min_size_bytes = 1
        max_size_bytes = 2
        min_age_s = 3
        max_age_s = 4
        user = 5
        group = 6
        tier = "partial"
        storage_class = "STANDARD_IA"
        xattr = "user.p=v=w"
        hot_at_least_s = 7
        hot_at_most_s = 8
        demote_to = "GLACIER"
        demote_after_s = 9
        quiet_s = 10
        [[tiering.rules]]
        cache = false
        xattr = "user.p"
        [[tiering.rules]]
        pin = true
        [[tiering.recalls]]
        command = "tar"
        user = 3
        action = "fail"
        limit_files = 4
        window_s = 5
        """
    )
    match = Match(("a", "*.ckpt"), 1, 2, 3.0, 4.0, 5, 6, Residency.PARTIAL, "STANDARD_IA", ("user.p", b"v=w"))
    assert rulebook.rules.rules == (
        Rule("all of it", match, Terms(7.0, 8.0, demote_to="GLACIER", demote_after_s=9.0, quiet_s=10.0)),
        Rule("rule 2", Match(xattr=("user.p", None)), Terms(is_cached=False)),
        Rule("rule 3", Match(), Terms(hot_at_most_s=NEVER, is_pinned=True)),
    )
    assert rulebook.recalls == (RecallRule("tar", 3, Recall.FAIL, 4, 5.0),)


def test_a_file_with_an_error_leaves_the_old_rules_in_force() -> None:
    rulebook = book("[[tiering.rules]]\npin = true\n")
    before = rulebook.rules
    with pytest.raises(ConfigError, match=r"^new\.toml:2: "):
        rulebook.load("new.toml", "[[tiering.rules]]\npinn = true\n")
    assert rulebook.rules is before and rulebook.source == "settings"
    rulebook.load("new.toml", "[[tiering.rules]]\ncache = false\n")
    assert rulebook.rules != before and rulebook.source == "new.toml"


def test_a_rule_needs_a_store_that_has_its_class() -> None:
    text = '[[tiering.rules]]\nname = "sink"\ndemote_to = "GLACIER"\n'
    rulebook = book(text)
    with pytest.raises(ConfigError, match="sink: demote_to = 'GLACIER': the store does not change the class"):
        check_classes(rulebook.settings, Abilities(changes_classes=False))
    with pytest.raises(ConfigError, match="knows no storage classes"):
        rulebook.load("new.toml", text, Abilities(keeps_classes=False))
    assert rulebook.source == "settings"
    rulebook.load("new.toml", text, Abilities())


def test_what_was_loaded_outlives_a_daemon_but_not_its_mount(tmp_path: Path) -> None:
    text = '[[tiering.rules]]\nname = "loaded"\npin = true\n'

    async def main(world: World) -> None:
        rulebooks.keep(world.index, "new.toml", text)
        for is_same_mount, source in ((True, "new.toml"), (False, "settings"), (True, "settings")):
            rulebook = book("")
            rulebooks.take_up(world.index, rulebook, is_same_mount=is_same_mount)
            assert rulebook.source == source and len(rulebook.rules.rules) == (source != "settings")

    run(tmp_path, main)
