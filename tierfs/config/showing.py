"""The settings in use as rows for people and programs: each with its value, its default, and whether it is one."""

from collections.abc import Iterator

from attrs import frozen

from tierfs.config.describe import describe
from tierfs.config.live import LIVE
from tierfs.config.sections import Settings, value_of


@frozen
class Row:
    """One setting; `value` and `default` as they would stand in the file."""

    key: str  # section.name
    value: str
    default: str
    is_default: bool
    is_live: bool  # `tierctl config set` can change it; the others need a new mount


def rows(settings: Settings) -> Iterator[Row]:
    """Every setting in the order of the example file."""
    usual = Settings()
    for info in describe():
        key = f"{info.section}.{info.name}"
        value = value_of(settings, key)
        is_default = value == value_of(usual, key)
        # "auto" stands for what it means on this machine
        yield Row(key, info.default if is_default else info.kind.show(value), info.default, is_default, key in LIVE)
