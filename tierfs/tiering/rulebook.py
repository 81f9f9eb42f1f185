"""The rules in force: from the settings, or loaded into the running mount. Those of the tree come from `view`."""

from typing import Final

from tierfs import config
from tierfs.config import TieringSettings
from tierfs.errors import ConfigError
from tierfs.index import settings as stored
from tierfs.index.env import Index
from tierfs.policy.classes import Abilities, refusal
from tierfs.tiering.rules import recall_of, rule_set

_LOADED: Final = "tiering-rules"


class Rulebook:
    """See the module. `load` replaces all of it or nothing."""

    def __init__(self, settings: TieringSettings) -> None:
        self.source = "settings"
        """Where the rules are from: "settings", or the name of a file that was loaded."""
        self._take(settings)

    def _take(self, settings: TieringSettings) -> None:
        self.settings = settings
        self.has_tree_rules = settings.tree_rules
        self.rules = rule_set(settings)
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
