"""Which settings of the export a path has: the first rule that names it, or the mount's own.

A rule's path is a pattern of names, from the root of the mount: `results/raw`, `*.tmp`, `**/checkpoints`. It speaks of
what has that path and of all below it. Within a name `*`, `?` and `[...]` are as in a shell; the name `**` stands for
any number of names, at the end for at least one.
"""

import enum
import fnmatch
from typing import Final

from attrs import frozen

_ANY_NAMES: Final = "**"


class Mode(enum.StrEnum):
    """When a change goes to the bucket."""

    WRITE_BACK = "write-back"  # when the file has rested
    ON_CLOSE = "on-close"  # close(2) waits for it
    READ_ONLY = "read-only"  # there is none: EROFS
    IGNORE = "ignore"  # never, nor comes what the bucket has there


@frozen
class Rule:
    """The settings of a part of the tree. `pattern`: its names, () for the whole mount."""

    pattern: tuple[str, ...]
    mode: Mode
    quiet_s: float


@frozen
class Rules:
    """All of a mount. A path is a tuple of names, () for the root."""

    default: Rule
    rules: tuple[Rule, ...] = ()

    @property
    def ignores_some(self) -> bool:
        """Whether any path has to be asked for."""
        return any(rule.mode is Mode.IGNORE for rule in self.rules)

    def of(self, path: tuple[str, ...]) -> Rule:
        """The first rule that names the path or a directory above it."""
        return next((rule for rule in self.rules if names(rule.pattern, path)), self.default)

    def has_below(self, path: tuple[str, ...], mode: Mode) -> bool:
        """Whether a rule gives the mode to something below the directory, which would lose it with its path.

        What begins with `**` has it wherever it lies, so a directory takes it along.
        """
        return any(rule.mode is mode and _leads_below(rule.pattern, path) for rule in self.rules)


def names(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether the pattern names the path itself, or what it lies in."""
    if not pattern:
        return True
    if not path:
        return False
    if pattern[0] == _ANY_NAMES:
        return len(pattern) == 1 or names(pattern[1:], path) or names(pattern, path[1:])
    return fnmatch.fnmatchcase(path[0], pattern[0]) and names(pattern[1:], path[1:])


def _leads_below(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Something below the path may be named, and the path is not."""
    if not pattern or pattern[0] == _ANY_NAMES:
        return False
    if not path:
        return True
    return fnmatch.fnmatchcase(path[0], pattern[0]) and _leads_below(pattern[1:], path[1:])
