"""The settings in use as rows for people and programs: each with its value, its default, and whether it is one."""

from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

from tierfs.config.describe import describe
from tierfs.config.sections import Settings


@frozen
class Row:
    """One setting; `value` and `default` as they would stand in the file."""

    key: str  # section.name
    value: str
    default: str
    is_default: bool


def rows(settings: Settings) -> Iterator[Row]:
    """Every setting in the order of the example file."""
    usual = Settings()
    for info in describe():
        key = f"{info.section}.{info.name}"
        value = value_of(settings, key)
        is_default = value == value_of(usual, key)
        # "auto" stands for what it means on this machine
        yield Row(key, info.default if is_default else info.kind.show(value), info.default, is_default)


def value_of(settings: Settings, key: str) -> Any:
    """The value of "section.name"."""
    section, _, name = key.partition(".")
    return getattr(getattr(settings, attribute_of(section)), name)


def changed(settings: Settings, key: str, value: Any) -> Settings:
    """The settings with another value of "section.name". ValueError where it is out of bounds."""
    section, _, name = key.partition(".")
    attribute = attribute_of(section)
    return attrs.evolve(settings, **{attribute: attrs.evolve(getattr(settings, attribute), **{name: value})})


def attribute_of(section: str) -> str:
    """What a section is called in `Settings`: import is a word of Python's."""
    return "import_" if section == "import" else section
