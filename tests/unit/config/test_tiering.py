"""The section [tiering]: what it takes, and every refusal with its line."""

import pytest

from tierfs import config
from tierfs.config.tiering import CLASSES, tree_rule
from tierfs.errors import ConfigError
from tierfs.policy.classes import LADDER
from tierfs.units import Level


def load(text: str) -> config.Settings:
    return config.load_text("rules.toml", text.encode())


def test_rules_keep_their_order_and_names_become_numbers() -> None:
    tiering = load(
        """
        [[tiering.rules]]
        path = "scratch"
        user = "root"
        hot_at_most_s = "30d"
        [[tiering.rules]]
        name = "big"
        min_size_bytes = "1GiB"
        group = 12
        cache = false
        [[tiering.recalls]]
        command = "updatedb*"
        action = "fail"
        [[tiering.recalls]]
        user = "0"
        """
    ).tiering
    scratch, big = tiering.rules
    assert (scratch.path, scratch.user, scratch.hot_at_most_s) == ("scratch", 0, 30 * 86400)
    assert (big.name, big.group, big.min_size_bytes, big.cache) == ("big", 12, 1 << 30, False)
    assert [(rule.command, rule.user, rule.action) for rule in tiering.recalls] == [
        ("updatedb*", None, "fail"),
        ("", 0, "read-through"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[[tiering.rules]]\npath = "a"\n', 1, "the rule says nothing; give it one of: hot_at_least_s,"),
        (
            "[[tiering.rules]]\npin = true\n[[tiering.rules]]\npinn = true\n",
            4,
            "unknown key 'pinn'; did you mean 'pin'?",
        ),
        ('[[tiering.rules]]\nuser = "nobody-of-that-name"\npin = true\n', 2, "this machine has no user 'nobody-of-"),
        ("[[tiering.rules]]\ngroup = -1\npin = true\n", 2, "-1 is not the name or number of a group"),
        ('[[tiering.rules]]\npin = true\nhot_at_most_s = "1d"\n', 3, "hot_at_most_s has no meaning for files that are"),
        ("[[tiering.rules]]\npin = true\ncache = false\n", 3, "cache = false has no meaning"),
        ('[[tiering.rules]]\nhot_at_least_s = "2d"\nhot_at_most_s = "1d"\n', 2, "must not be longer"),
        (
            '[[tiering.rules]]\nmin_age_s = "2d"\nmax_age_s = "1d"\npin = true\n',
            3,
            "max_age_s must be more than min_age_s",
        ),
        ('[[tiering.rules]]\ndemote_to = "ICE"\n', 2, "'ICE' is not one of: EXPRESS_ONEZONE,"),
        ('[[tiering.rules]]\ndemote_after_s = "1d"\n', 1, "the rule says nothing"),
        ('[[tiering.rules]]\ncache = true\ndemote_after_s = "1d"\n', 3, "demote_after_s needs a demote_to"),
        ('[[tiering.rules]]\nxattr = "project"\npin = true\n', 2, "xattr must begin with user."),
        ('[[tiering.rules]]\ntier = "warm"\npin = true\n', 2, "'warm' is not one of: hot, partial, cold"),
        (
            '[[tiering.rules]]\nname = "a"\npin = true\n[[tiering.rules]]\nname = "a"\npin = true\n',
            None,
            "two of the name",
        ),
        ("[[tiering.recalls]]\naction = 'fail'\n", 1, "command is missing, or user"),
        ("[tiering]\ntree_rule = true\n", 2, "unknown key 'tree_rule' in [tiering]; did you mean 'tree_rules'?"),
        ('[hot_tier]\nevict_start = "101%"\n', 2, "'101%' is more than 100 %"),
        ('[hot_tier]\nevict_start = "much"\n', 2, "'much' is neither a share nor a size"),
        ('[hot_tier]\nevict_start = "50%"\n', None, "evict_stop must not be above evict_start"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert message in str(caught.value)
    assert line is None or str(caught.value).startswith(f"rules.toml:{line}: ")


def test_watermarks_are_shares_or_sizes() -> None:
    tier = load('[hot_tier]\nevict_start = "80%"\nevict_stop = "1GiB"\n').hot_tier
    assert tier.evict_start == Level(share=0.8) and tier.evict_stop == Level(size_bytes=1 << 30)
    assert (tier.evict_start.bytes_of(1000), tier.evict_stop.bytes_of(1000)) == (800, 1000)


def test_a_rule_of_the_tree_is_a_rule_without_name_and_path() -> None:
    assert tree_rule('hot_at_most_s = "1h"\nmin_size_bytes = 5').hot_at_most_s == 3600
    for wrong in ('path = "a"\npin = true', 'name = "a"\npin = true', "", "pin", "pin = 1", "pinn = true", "a" * 9000):
        with pytest.raises(ConfigError):
            tree_rule(wrong)


def test_the_classes_are_those_of_the_ladder() -> None:
    assert tuple(rung.name for rung in LADDER) == CLASSES
