"""The settings as text: what each key is, and the example file that is made from it."""

from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

from tierfs.config.kinds import Kind
from tierfs.config.loading import DEFAULT_CONFIG_PATH
from tierfs.config.sections import SECTIONS


@frozen
class KeyInfo:
    """What `describe` tells of one key."""

    section: str
    name: str
    kind: Kind[Any]
    default: str  # as TOML
    help: str


def describe() -> Iterator[KeyInfo]:
    """Every key in the order of the example file."""
    for section, cls in SECTIONS.items():
        for field in attrs.fields(cls):
            kind, auto = field.metadata["kind"], field.metadata["auto"]
            default = '"auto"' if auto else kind.show(field.default)
            yield KeyInfo(section, field.name, kind, default, field.metadata["help"])


def example_toml() -> str:
    """The text of deploy/tierfs.example.toml: every key, commented out, with its default."""
    lines = [
        "# Every setting of tierfs with its default. Take the # away from a key to change it.",
        f"# tierfs reads {DEFAULT_CONFIG_PATH}, or the file named by --config; options of the command line win.",
        '# Sizes: "16MiB", "10GiB" or bytes. Durations: "250ms", "5s", "2min", "1h" or seconds.',
    ]
    section = ""
    for info in describe():
        if info.section != section:
            section = info.section
            summary = (SECTIONS[section].__doc__ or "").splitlines()[0]
            lines += ["", f"# {summary}", f"[{section}]"]
        lines += ["", *_wrapped(f"{info.help} ({info.kind.what})")]
        for field in attrs.fields(info.kind.table) if info.kind.table is not None else ():
            kind = field.metadata["kind"]
            lines += _wrapped(f"- {field.name}: {field.metadata['help']} ({kind.what})")
        lines.append(f"#{info.name} = {info.default}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int = 100) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > width:
            yield line
            line = "#"
        line += f" {word}"
    yield line
