"""The rules in force: from the settings, or loaded into the running mount. Those of the tree come from `view`."""

from typing import Final

from tierfs import config
from tierfs.config import RecallRuleSettings, TieringRuleSettings, TieringSettings
from tierfs.errors import ConfigError
from tierfs.index import settings as stored
from tierfs.index.env import Index
from tierfs.model import Residency
from tierfs.policy.classes import Abilities, refusal
from tierfs.policy.placement import NEVER, Match, Rule, RuleSet, Terms
from tierfs.policy.recalls import Recall, RecallRule

_LOADED: Final = "tiering-rules"
_TIERS: Final = {"hot": Residency.FULL, "partial": Residency.PARTIAL, "cold": Residency.COLD}


class Rulebook:
    """See the module. `load` replaces all of it or nothing."""

    def __init__(self, settings: TieringSettings) -> None:
        self.source = "settings"
        """Where the rules are from: "settings", or the name of a file that was loaded."""
        self._take(settings)

    def _take(self, settings: TieringSettings) -> None:
        self.settings = settings
        self.has_tree_rules = settings.tree_rules
        self.rules = RuleSet(tuple(rule_of(rule, f"rule {at}") for at, rule in enumerate(settings.rules, start=1)))
        # asked for each file that is fetched or may be evicted
        self.xattr_names = self.rules.xattr_names
        self.keeps_some, self.bars_some = self.rules.keeps_some, self.rules.bars_some
        self.recalls = tuple(recall_of(rule) for rule in settings.recalls)

    def load(self, name: str, text: str, abilities: Abilities = Abilities()) -> None:  # noqa: B008 - frozen
        """The section [tiering] of a settings file counts from now on. ConfigError, with its line; nothing changes.

        `abilities`: of the store; rules that need more are refused.
        """
        settings = config.load_text(name, text.encode()).tiering
        check_classes(settings, abilities)
        self._take(settings)
        self.source = name


def keep(index: Index, name: str, text: str) -> None:
    """What was loaded outlives a daemon that dies, as long as there is the mount."""
    with index.transaction() as txn:
        stored.put(txn, _LOADED, f"{name}\n{text}".encode())


def take_up(index: Index, rulebook: Rulebook, *, is_same_mount: bool) -> None:
    """At start: what was loaded into this mount before its daemon died. A new mount has its settings."""
    kept = stored.get(index, _LOADED)
    if kept and is_same_mount:
        name, _, text = kept.decode().partition("\n")
        rulebook.load(name, text)
    elif kept:
        with index.transaction() as txn:
            stored.put(txn, _LOADED, b"")


def check_classes(settings: TieringSettings, abilities: Abilities) -> None:
    """ConfigError for a rule whose class the store does not have, or does not change to."""
    for at, rule in enumerate(settings.rules, start=1):
        why = refusal("STANDARD", rule.demote_to, abilities) if rule.demote_to not in (None, "STANDARD") else ""
        if why:
            raise ConfigError(f"[[tiering.rules]] {rule.name or f'rule {at}'}: demote_to = {rule.demote_to!r}: {why}")


def rule_of(settings: TieringRuleSettings, name: str) -> Rule:
    """`name`: of a rule without one."""
    return Rule(settings.name or name, _match_of(settings), _terms_of(settings))


def _match_of(rule: TieringRuleSettings) -> Match:
    attribute, has_value, value = (rule.xattr or "").partition("=")
    return Match(
        pattern=tuple(rule.path.split("/")) if rule.path else (),
        min_size_bytes=rule.min_size_bytes or 0,
        max_size_bytes=rule.max_size_bytes,
        min_age_s=-NEVER if rule.min_age_s is None else rule.min_age_s,
        max_age_s=NEVER if rule.max_age_s is None else rule.max_age_s,
        uid=rule.user,
        gid=rule.group,
        residency=None if rule.tier is None else _TIERS[rule.tier],
        storage_class=rule.storage_class,
        xattr=(attribute, value.encode() if has_value else None) if attribute else None,
    )


def _terms_of(rule: TieringRuleSettings) -> Terms:
    return Terms(
        hot_at_least_s=rule.hot_at_least_s or 0.0,
        hot_at_most_s=NEVER if rule.hot_at_most_s is None else rule.hot_at_most_s,
        is_pinned=bool(rule.pin),
        is_cached=rule.cache is not False,
        demote_to=rule.demote_to or "",
        demote_after_s=rule.demote_after_s or 0.0,
        quiet_s=rule.quiet_s,
    )


def recall_of(rule: RecallRuleSettings) -> RecallRule:
    """As `policy.recalls` has it."""
    return RecallRule(rule.command, rule.user, Recall(rule.action), rule.limit_files, rule.window_s)
