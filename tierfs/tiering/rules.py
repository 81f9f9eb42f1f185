"""From the rules that a user writes to those of `policy`. Needs no mount."""

from typing import Final

from tierfs.config import RecallRuleSettings, TieringRuleSettings, TieringSettings
from tierfs.model import Residency
from tierfs.policy.placement import NEVER, Match, Rule, RuleSet, Terms
from tierfs.policy.recalls import Recall, RecallRule

_TIERS: Final = {"hot": Residency.FULL, "partial": Residency.PARTIAL, "cold": Residency.COLD}


def rule_set(settings: TieringSettings) -> RuleSet:
    """All rules for files."""
    return RuleSet(tuple(rule_of(rule, f"rule {at}") for at, rule in enumerate(settings.rules, start=1)))


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
