"""Who may bring cold files into the hot tier: a scanner that reads everything must not push out what others use.

A rule names programs by command or by user. What it says holds at once, or from the moment when a program has opened
so many cold files within a time: its breaker trips then, and closes again when the program has slowed down to half.

Pure. The breaker is a level that drains: `limit_files` in `window_s` fill it, and so does any faster burst of so many.
"""

import enum
import fnmatch
from collections.abc import Iterable
from typing import Final

from attrs import frozen

COMMAND_MAX_BYTES: Final = 15
"""What the kernel keeps of a command's name (/proc/PID/comm)."""


class Recall(enum.StrEnum):
    """What becomes of the open of a cold file."""

    ADMIT = "admit"  # its bytes come into the hot tier
    READ_THROUGH = "read-through"  # they are fetched for the reader alone
    FAIL = "fail"  # EAGAIN


@frozen
class Program:
    """Who opens a file. `commands`: the names of the thread and of its process, () where they cannot be told."""

    uid: int
    commands: tuple[str, ...] = ()


@frozen
class RecallRule:
    """`command`: a pattern as in a shell, "" for any; `uid`: None for any. `limit_files` 0: it holds at once."""

    command: str
    uid: int | None
    recall: Recall
    limit_files: int = 0
    window_s: float = 0.0

    def names(self, program: Program) -> bool:
        """Is it about the program?"""
        if self.uid not in (None, program.uid):
            return False
        return not self.command or any(fnmatch.fnmatchcase(command, self.command) for command in program.commands)


@frozen
class Breaker:
    """How many cold files a program has opened of late, as of `at_s`."""

    level: float = 0.0
    at_s: float = 0.0
    is_open: bool = False  # tripped: it lets nothing pass


def first(rules: Iterable[RecallRule], program: Program) -> RecallRule | None:
    """The rule that counts for a program."""
    return next((rule for rule in rules if rule.names(program)), None)


def after_open(breaker: Breaker, rule: RecallRule, now_s: float) -> Breaker:
    """One cold file more is opened. `now_s` may be any clock that does not go back."""
    drained = breaker.level - (now_s - breaker.at_s) * rule.limit_files / rule.window_s
    # what is refused counts, too, but not without end: who stops is let in again after a window and a half
    level = min(max(0.0, drained) + 1, 2.0 * rule.limit_files)
    is_open = level > rule.limit_files or (breaker.is_open and level > rule.limit_files / 2)
    return Breaker(level, now_s, is_open)
