"""The section [tiering]: rules of placement and of recalls, each a table of its own."""

import grp
import pwd
import tomllib
from collections.abc import Callable
from typing import Final

from attrs import frozen

from tierfs.config.kinds import (
    DURATION,
    GLOB,
    INTEGER,
    SIZE,
    SWITCH,
    TEXT,
    Kind,
    TableError,
    one_of,
    parse_table,
    setting,
    tables_of,
)
from tierfs.errors import ConfigError

# as in policy.classes.LADDER
CLASSES: Final = (
    "EXPRESS_ONEZONE",
    "STANDARD",
    "INTELLIGENT_TIERING",
    "STANDARD_IA",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
_SPAN_MAX_S: Final = 86400 * 365 * 100
_ACTIONS: Final = ("hot_at_least_s", "hot_at_most_s", "demote_to", "pin", "cache", "quiet_s")


def _account(what: str, number_of: Callable[[str], int]) -> Kind[int]:
    """A user or a group of this machine."""

    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not the name or number of a {what}")
        if value.isascii() and value.isdecimal():
            return int(value)
        try:
            return number_of(value)
        except KeyError:
            raise ValueError(f"this machine has no {what} {value!r}") from None

    return Kind(f"{what}, by name or number", parse, str)


USER: Final = _account("user", lambda name: pwd.getpwnam(name).pw_uid)
GROUP: Final = _account("group", lambda name: grp.getgrnam(name).gr_gid)


@frozen(kw_only=True)
class TieringRuleSettings:
    """Which files a rule is about, and what becomes of them."""

    name: str = setting("", TEXT, "What tierctl explain calls the rule; empty: its number, from 1.")
    path: str = setting(
        "",
        GLOB,
        """Only what has this path or lies below it, from the root of the mount, as in export.rules; left out: the whole
        mount.""",
    )
    min_size_bytes: int | None = setting(None, SIZE, "Only files of at least this size.", at_least=0)
    max_size_bytes: int | None = setting(None, SIZE, "Only smaller files.", at_least=1)
    min_age_s: float | None = setting(
        None,
        DURATION,
        "Only files whose last use (the latest of atime, mtime, ctime and the last open here) is at least so long ago.",
        at_least=0,
        at_most=_SPAN_MAX_S,
    )
    max_age_s: float | None = setting(
        None, DURATION, "Only files that were used since.", at_least=0, at_most=_SPAN_MAX_S
    )
    user: int | None = setting(None, USER, "Only files of this user.")
    group: int | None = setting(None, GROUP, "Only files of this group.")
    tier: str | None = setting(
        None, one_of("hot", "partial", "cold"), "Only files that are here as a whole, in part, or not at all."
    )
    storage_class: str | None = setting(None, one_of(*CLASSES), "Only files whose object has this class.")
    xattr: str | None = setting(
        None, TEXT, """Only files with this extended attribute: "user.project", or "user.project=alpha"."""
    )
    hot_at_least_s: float | None = setting(
        None,
        DURATION,
        "So long after their last use they are not evicted, unless writers wait for room.",
        at_least=0,
        at_most=_SPAN_MAX_S,
    )
    hot_at_most_s: float | None = setting(
        None, DURATION, "So long after their last use they are evicted.", at_least=0, at_most=_SPAN_MAX_S
    )
    demote_to: str | None = setting(
        None, one_of(*CLASSES), "The class that their objects get, if it is one further down."
    )
    demote_after_s: float | None = setting(
        None, DURATION, "How long after their last use; left out: at once.", at_least=0, at_most=_SPAN_MAX_S
    )
    pin: bool | None = setting(None, SWITCH, "What is here stays, whoever needs room.")
    cache: bool | None = setting(None, SWITCH, "false: they are read past the hot tier and keep nothing there.")
    quiet_s: float | None = setting(
        None,
        DURATION,
        "How long they rest before they are uploaded, instead of export.quiet_s.",
        at_least=0,
        at_most=86400,
    )

    def __attrs_post_init__(self) -> None:
        if all(getattr(self, name) is None for name in _ACTIONS):
            raise ValueError(f"the rule says nothing; give it one of: {', '.join(_ACTIONS)}")
        _check_order("min_size_bytes", self.min_size_bytes, "max_size_bytes", self.max_size_bytes)
        _check_order("min_age_s", self.min_age_s, "max_age_s", self.max_age_s)
        if self.hot_at_most_s is not None and (self.hot_at_least_s or 0) > self.hot_at_most_s:
            raise ValueError("hot_at_least_s must not be longer than hot_at_most_s")
        if self.demote_after_s is not None and self.demote_to is None:
            raise ValueError("demote_after_s needs a demote_to")
        if self.xattr is not None and not self.xattr.partition("=")[0].startswith(("user.", "trusted.")):
            raise ValueError(f"xattr must begin with user. or trusted., not {self.xattr!r}")
        if self.pin:
            for name in ("hot_at_most_s", "demote_to"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} has no meaning for files that are pinned")
            if self.cache is False:
                raise ValueError("cache = false has no meaning for files that are pinned")


def _check_order(low_name: str, low: float | None, high_name: str, high: float | None) -> None:
    if low is not None and high is not None and low >= high:
        raise ValueError(f"{high_name} must be more than {low_name}, or no file fits")


@frozen(kw_only=True)
class RecallRuleSettings:
    """What becomes of a program that opens files which are not here."""

    command: str = setting(
        "",
        TEXT,
        """Programs by their name in /proc/PID/comm, of which the kernel keeps 15 bytes, with *, ? and [...] as in a
        shell: "updatedb*".""",
    )
    user: int | None = setting(None, USER, "Programs of this user.")
    action: str = setting(
        "read-through",
        one_of("read-through", "fail", "admit"),
        """"read-through": it gets the bytes, and nothing of them stays here; "fail": open(2) fails with EAGAIN;
        "admit": as without a rule.""",
    )
    limit_files: int = setting(
        0,
        INTEGER,
        "The action begins when a program has opened so many such files within window_s; 0: at once.",
        at_least=0,
        at_most=2**40,
    )
    window_s: float = setting(600.0, DURATION, "See limit_files.", at_least=1, at_most=86400 * 30)

    def __attrs_post_init__(self) -> None:
        if not self.command and self.user is None and not self.limit_files:
            raise ValueError("command is missing, or user; a rule for every program needs limit_files")


@frozen(kw_only=True)
class TieringSettings:
    """What stays on the local disk, what goes, and who may bring files there."""

    tree_rules: bool = setting(
        True,
        SWITCH,
        """Whoever may write a file or directory may give it, and all that is below it, a rule of its own in the
        attribute user.tierfs.tiering. The nearest one counts, and wins over the rules here.""",
    )
    rules: tuple[TieringRuleSettings, ...] = setting(
        (),
        tables_of(TieringRuleSettings),
        "Each under a header [[tiering.rules]]; the first whose conditions all hold for a file counts.",
    )
    recalls: tuple[RecallRuleSettings, ...] = setting(
        (),
        tables_of(RecallRuleSettings),
        "Each under a header [[tiering.recalls]]; the first that names a program counts.",
    )

    def __attrs_post_init__(self) -> None:
        names = [rule.name for rule in self.rules if rule.name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"rules has two of the name {twice!r}")


def tree_rule(text: str) -> TieringRuleSettings:
    """A rule that a directory or file has of its own: the keys of one of [[tiering.rules]], without name and path.

    Raises ConfigError.
    """
    try:
        rule = parse_table(TieringRuleSettings, 0, tomllib.loads(text))
        if rule.name or rule.path:
            raise ConfigError("a rule of the tree has no name and no path: it is about what it is set on, and below")
    except TableError as error:
        raise ConfigError(str(error)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"this is no TOML: {error}") from None
    return rule
