"""Where a file belongs by its age and its owner's wishes: in the hot tier or not, and in which class of the bucket.

Rules are data, and the first one whose match holds for a file counts; a file that none names is kept and evicted as
room asks for it. The age of a file is the time since its last use, and that the latest of atime, mtime, ctime and the
last open that the hot tier knows of. `place` says what the rule has for a file now, `decisions` what is to be done with
it and when, `next_change` when another rule will count because the file has aged.

Pure. Times are seconds since the epoch.
"""

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import field, frozen

from tierfs.model import Inode, Residency
from tierfs.policy import prefixes
from tierfs.policy.classes import LADDER
from tierfs.units import NS_PER_S

NEVER: Final = math.inf
_HEIGHT: Final = {rung.name: -at for at, rung in enumerate(LADDER)}


@frozen
class File:
    """What rules look at. `path`: its names from the root of the mount, () for the root."""

    path: tuple[str, ...]
    size_bytes: int
    last_use_s: float
    uid: int = 0
    gid: int = 0
    residency: Residency = Residency.COLD
    storage_class: str = ""  # "": the bucket has nothing of it yet
    xattrs: Mapping[str, bytes] = field(factory=dict)  # those that a rule asks for


def last_use_s(inode: Inode, hot_use_s: int = 0) -> float:
    """When a file was used last. `hot_use_s`: what the hot tier knows, 0 for nothing."""
    return max(inode.atime_ns / NS_PER_S, inode.mtime_ns / NS_PER_S, inode.ctime_ns / NS_PER_S, hot_use_s)


@frozen
class Match:
    """Which files a rule is about: all of what is given must hold.

    `pattern` is as in `policy.prefixes`. A file of exactly `min_size_bytes` or `min_age_s` fits, one of exactly
    `max_size_bytes` or `max_age_s` does not. `xattr`: a name and its value, None for any.
    """

    pattern: tuple[str, ...] = ()
    min_size_bytes: int = 0
    max_size_bytes: int | None = None
    min_age_s: float = -NEVER
    max_age_s: float = NEVER
    uid: int | None = None
    gid: int | None = None
    residency: Residency | None = None
    storage_class: str | None = None
    xattr: tuple[str, bytes | None] | None = None

    def holds(self, file: File, now_s: float) -> bool:
        """Does it, now?"""
        # not as an age, so that the moment which `next_change` computes is the one when it changes, bit for bit
        return (
            file.last_use_s + self.min_age_s <= now_s < file.last_use_s + self.max_age_s
            and self.min_size_bytes <= file.size_bytes
            and (self.max_size_bytes is None or file.size_bytes < self.max_size_bytes)
            and self.uid in (None, file.uid)
            and self.gid in (None, file.gid)
            and self.residency in (None, file.residency)
            and self.storage_class in (None, file.storage_class)
            and self._has_xattr(file)
            and prefixes.names(self.pattern, file.path)
        )

    def _has_xattr(self, file: File) -> bool:
        if self.xattr is None:
            return True
        name, value = self.xattr
        return name in file.xattrs and value in (None, file.xattrs[name])


@frozen
class Terms:
    """What a rule says of its files. Spans count from the last use."""

    hot_at_least_s: float = 0.0  # not evicted before, unless writers wait for room
    hot_at_most_s: float = NEVER  # evicted then, room or not
    is_pinned: bool = False  # never evicted and never demoted
    is_cached: bool = True  # else: read past the hot tier
    demote_to: str = ""  # a class below the one that it has; "": none
    demote_after_s: float = 0.0
    quiet_s: float | None = None  # rest before an upload; None: what the export has

    @property
    def longest_stay_s(self) -> float:
        """After their last use, what is left here of the files has to leave; NEVER: it need not."""
        if self.is_pinned:
            return NEVER
        return self.hot_at_most_s if self.is_cached else 0.0


@frozen
class Rule:
    """`name`: for people."""

    name: str
    match: Match
    terms: Terms


@frozen
class RuleSet:
    """All of a mount, first match first."""

    rules: tuple[Rule, ...] = ()

    @property
    def xattr_names(self) -> frozenset[str]:
        """What a `File` has to have in `xattrs`, where it is set."""
        return frozenset(rule.match.xattr[0] for rule in self.rules if rule.match.xattr is not None)

    @property
    def shortest_stay_s(self) -> float:
        """No file has to leave the hot tier that was used since; NEVER without a rule that has files leave."""
        return min((rule.terms.longest_stay_s for rule in self.rules), default=NEVER)

    @property
    def keeps_some(self) -> bool:
        """May a file have to stay?"""
        return any(rule.terms.is_pinned or rule.terms.hot_at_least_s > 0 for rule in self.rules)

    @property
    def bars_some(self) -> bool:
        """May a file have to be read past the hot tier?"""
        return not all(rule.terms.is_cached for rule in self.rules)

    @property
    def demotes_some(self) -> bool:
        """May an object have to go down the classes?"""
        return any(rule.terms.demote_to for rule in self.rules)

    @property
    def has_quiet_times(self) -> bool:
        """Does a rule say how long files rest before their upload?"""
        return any(rule.terms.quiet_s is not None for rule in self.rules)


@frozen
class Placement:
    """What the rules have for one file at one moment. `rule`: the name of the one that counts, "" for none."""

    rule: str = ""
    is_pinned: bool = False
    is_cached: bool = True
    stays_until_s: float = -NEVER
    leaves_at_s: float = NEVER
    storage_class: str = ""  # that it shall have from `demote_at_s` on; "": the one that it has
    demote_at_s: float = NEVER
    quiet_s: float | None = None


class Action(enum.StrEnum):
    """What can be due for a file."""

    RELEASE = "release"  # its bytes leave the hot tier
    DEMOTE = "demote"  # its object gets a class further down


@frozen
class Decision:
    """Something that is to be done with a file from `at_s` on, and by which rule."""

    action: Action
    at_s: float
    rule: str
    storage_class: str = ""  # of a DEMOTE


def place(rules: RuleSet, file: File, now_s: float) -> Placement:
    """What the first rule has that names the file now."""
    rule = next((rule for rule in rules.rules if rule.match.holds(file, now_s)), None)
    return Placement() if rule is None else placed_by(rule.name, rule.terms, file)


def placed_by(name: str, terms: Terms, file: File) -> Placement:
    """What the terms of the rule `name` come to for the file."""
    return Placement(
        rule=name,
        is_pinned=terms.is_pinned,
        is_cached=terms.is_cached,
        stays_until_s=file.last_use_s + terms.hot_at_least_s if terms.hot_at_least_s else -NEVER,
        leaves_at_s=file.last_use_s + terms.longest_stay_s,
        storage_class="" if terms.is_pinned else terms.demote_to,
        demote_at_s=NEVER if terms.is_pinned or not terms.demote_to else file.last_use_s + terms.demote_after_s,
        quiet_s=terms.quiet_s,
    )


def decisions(placement: Placement, file: File) -> Sequence[Decision]:
    """What the placement means for the file as it is, first things first; what lies in the future may not come."""
    found = []
    if placement.leaves_at_s < NEVER and file.residency is not Residency.COLD:
        found.append(Decision(Action.RELEASE, placement.leaves_at_s, placement.rule))
    if placement.demote_at_s < NEVER and is_below(placement.storage_class, file.storage_class):
        found.append(Decision(Action.DEMOTE, placement.demote_at_s, placement.rule, placement.storage_class))
    return sorted(found, key=lambda decision: decision.at_s)


def is_below(storage_class: str, other: str) -> bool:
    """Is the first class further down the ladder? Not where either is none of it."""
    return storage_class in _HEIGHT and other in _HEIGHT and _HEIGHT[storage_class] < _HEIGHT[other]


def next_change(rules: RuleSet, file: File, now_s: float) -> tuple[float, Placement] | None:
    """(when another rule will count, what it has), if nobody uses the file until then; None: never."""
    ages = {age for rule in rules.rules for age in (rule.match.min_age_s, rule.match.max_age_s)}
    now = place(rules, file, now_s)
    for at_s in sorted(file.last_use_s + age for age in ages if now_s < file.last_use_s + age < NEVER):
        then = place(rules, file, at_s)
        if then != now:
            return at_s, then
    return None
