"""The door to the hot tier: who opens a file that is not here, and may its bytes stay?

Asked at each open(2) for reading that comes through the daemon; files that are here whole are open to everybody. Rules
name programs (`policy.recalls`), hints name files that will be read once. No checkpoints, but the names of a program
are read from /proc.
"""

import errno
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from attrs import define

from tierfs.errors import FsError
from tierfs.index import inodes, residency
from tierfs.index.env import Index
from tierfs.model import Inode
from tierfs.namespace.verbs import Caller
from tierfs.policy.recalls import Breaker, Program, Recall, RecallRule, after_open, first
from tierfs.tiering.programs import program
from tierfs.tiering.rulebook import Rulebook

_BREAKERS_MAX: Final = 1000
_HINTS_MAX: Final = 10_000
_DEPTH_MAX: Final = 2048
_log: Final = logging.getLogger(__name__)


@define
class Counts:
    """Opens of files that were not here, since the start."""

    admitted: int = 0
    read_through: int = 0
    refused: int = 0


class Admission:
    """See the module."""

    def __init__(
        self,
        index: Index,
        rulebook: Rulebook,
        *,
        monotonic_s: Callable[[], float],
        identify: Callable[[int, int], Program] = program,
    ) -> None:
        """`identify`: the program of a user and a thread."""
        self._index = index
        self._rulebook = rulebook
        self._monotonic_s = monotonic_s
        self._identify = identify
        self._breakers: OrderedDict[tuple[RecallRule, Program], Breaker] = OrderedDict()
        self._once: OrderedDict[int, float] = OrderedDict()
        self.counts = Counts()

    def admits(self, inode: Inode, caller: Caller) -> bool:
        """May what `caller` reads of the file stay in the tier? FsError(EAGAIN): he may not even open it now."""
        if residency.is_whole(self._index, inode):
            return True
        recall = self._recall(caller)
        if recall is Recall.FAIL:
            self.counts.refused += 1
            raise FsError(errno.EAGAIN, "a rule of the settings keeps this program from files that are not here")
        if recall is Recall.READ_THROUGH or self._is_read_once(inode):
            self.counts.read_through += 1
            return False
        self.counts.admitted += 1
        return True

    def _recall(self, caller: Caller) -> Recall:
        rules = self._rulebook.recalls
        if not rules:
            return Recall.ADMIT
        who = self._identify(caller.uid, caller.pid)
        rule = first(rules, who)
        if rule is None:
            return Recall.ADMIT
        return rule.recall if not rule.limit_files or self._trips(rule, who) else Recall.ADMIT

    def _trips(self, rule: RecallRule, who: Program) -> bool:
        before = self._breakers.pop((rule, who), Breaker())
        after = self._breakers[rule, who] = after_open(before, rule, self._monotonic_s())
        if len(self._breakers) > _BREAKERS_MAX:
            self._breakers.popitem(last=False)
        if after.is_open and not before.is_open:
            _log.warning(
                "%s of user %d has opened %d files that are not here within %.0f s: from now on %s",
                "/".join(who.commands) or "a program", who.uid, rule.limit_files, rule.window_s, rule.recall.value,
                extra={"event": "TFS3009"},
            )  # fmt: skip
        return after.is_open

    # ---- hints ----

    def read_once(self, ino: int, for_s: float) -> None:
        """Files at and below it that are opened within `for_s` leave nothing in the tier."""
        self._once.pop(ino, None)
        self._once[ino] = self._monotonic_s() + for_s
        if len(self._once) > _HINTS_MAX:
            self._once.popitem(last=False)

    def forget_hint(self, ino: int) -> None:
        """They are like any others again."""
        self._once.pop(ino, None)

    def _is_read_once(self, inode: Inode) -> bool:
        now_s = self._monotonic_s()
        current: Inode | None = inode
        depth = 0
        while self._once and current is not None and depth < _DEPTH_MAX:
            until_s = self._once.get(current.ino)
            if until_s is not None and until_s > now_s:
                return True
            if until_s is not None:
                del self._once[current.ino]
            current = inodes.get(self._index, current.parent) if current.parent else None
            depth += 1
        return False
