"""Every setting: its key, default, unit, limits and help text. The only place where they are written.

`load` layers them: defaults, then the file, then the command line. The example file in `deploy/`
and the manual are made from the same fields (`python -m tierfs.config` prints the former).
A value that cannot be used is a `ConfigError` that names file, line, key and what would be right;
nothing is guessed and nothing unknown is passed over.

All values are frozen; reading them is free of checkpoints and safe from any task or thread.
"""

from tierfs.config.checking import GuardSettings
from tierfs.config.describe import KeyInfo, describe, example_toml
from tierfs.config.loading import DEFAULT_CONFIG_PATH, load, load_text
from tierfs.config.operating import ControlSettings, IndexSettings, LogSettings
from tierfs.config.sections import (
    SECTIONS,
    ContentSettings,
    EventSettings,
    ExportRuleSettings,
    ExportSettings,
    HotTierSettings,
    ImportSettings,
    MountSettings,
    Settings,
    StoreSettings,
)
from tierfs.config.tiering import RecallRuleSettings, TieringRuleSettings, TieringSettings, tree_rule

__all__ = [
    "DEFAULT_CONFIG_PATH",
    "SECTIONS",
    "ContentSettings",
    "ControlSettings",
    "EventSettings",
    "ExportRuleSettings",
    "ExportSettings",
    "GuardSettings",
    "HotTierSettings",
    "ImportSettings",
    "IndexSettings",
    "KeyInfo",
    "LogSettings",
    "MountSettings",
    "RecallRuleSettings",
    "Settings",
    "StoreSettings",
    "TieringRuleSettings",
    "TieringSettings",
    "describe",
    "example_toml",
    "load",
    "load_text",
    "tree_rule",
]
