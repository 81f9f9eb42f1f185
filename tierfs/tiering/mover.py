"""Moves of files between storage classes, within budgets: who asks for one waits until it is made, or is told why not.

A move passes, in this order: the breaker of its rule, the money of the day, a free hand, the rates. The money that was
spent today is in the index. A move that finds the file in use costs nothing; one that the store refuses counts against
its rule. `policy.breaker` and `policy.budget` have the decisions.

Checkpoints: the waits for rates, and the move itself.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import attrs
import trio
from attrs import define, field, frozen

from tierfs.clock import Clock
from tierfs.errors import StoreError, TierfsError
from tierfs.index import inodes, settings
from tierfs.index.env import Index
from tierfs.policy.breaker import Breaker
from tierfs.policy.budget import Purse, Rate
from tierfs.policy.tasks import FileError

_SPENT: Final = "moves-spent"
_RULES_KEPT: Final = 1000
_REQUESTS_EACH: Final = 3  # HEAD, and for the copy HEAD and COPY
_log: Final = logging.getLogger(__name__)

NO_RULE: Final = ""
"""Of moves that somebody asked for by hand: no breaker stops them."""


class Changer(Protocol):
    """What moves one object; see `sync.classes`."""

    async def change(self, ino: int, storage_class: str) -> FileError | None:
        """None: it is in the class now. Else why it is left as it is. StoreError when it cannot be moved."""
        ...


MoveCost = Callable[[int, str, str], float]
"""What it costs to move so many bytes from a class to another: money."""


@frozen
class Budgets:
    """0: no limit. `bytes_s`: of the objects that are moved, which the store copies."""

    at_a_time: int = 8
    bytes_s: float = 0.0
    requests_s: float = 0.0
    money_day: float = 0.0


@define
class RuleMoves:
    """What became of one rule's moves since the start."""

    moved: int = 0
    moved_bytes: int = 0
    left: int = 0  # in use, dirty, pinned: for another time
    failed: int = 0
    breaker: Breaker = field(factory=Breaker)


class Mover:
    """See the module."""

    def __init__(
        self, *, index: Index, changer: Changer, clock: Clock, budgets: Budgets, cost_of: MoveCost = lambda *_: 0.0
    ) -> None:
        self._index = index
        self._changer = changer
        self._clock = clock
        self._hands = trio.CapacityLimiter(budgets.at_a_time)
        self._turn = trio.Lock()  # those who wait for the rates go in the order of asking
        self._bytes = Rate(budgets.bytes_s)
        self._requests = Rate(budgets.requests_s)
        self._purse = attrs.evolve(_spent(index), per_day=budgets.money_day)
        self._cost_of = cost_of
        self._rules: dict[str, RuleMoves] = {}

    async def move(self, ino: int, storage_class: str, rule: str = NO_RULE) -> FileError | None:
        """None: the file is in the class now. Else why it is not, and may be at another time.

        StoreError and FsError when the store refuses; they count against the rule.
        """
        account = self._account(rule)
        if rule != NO_RULE and not account.breaker.lets_through(self._clock.now_ns()):
            return FileError.RULE_STOPPED
        async with self._hands:
            inode = inodes.get(self._index, ino)
            if inode is None or inode.base is None:
                return FileError.NOT_UPLOADED
            cost = self._cost_of(inode.size_bytes, inode.base.storage_class, storage_class)
            if not self._purse.allows(cost, self._clock.now_ns()):
                return FileError.OVER_BUDGET
            self._spend(cost)  # before others ask what is left
            is_moved = False
            try:
                left = await self._change(ino, inode.size_bytes, storage_class, rule)
                is_moved = left is None
            finally:
                if not is_moved:
                    self._spend(-cost)
        if is_moved:
            account.moved += 1
            account.moved_bytes += inode.size_bytes
        return left

    async def _change(self, ino: int, size_bytes: int, storage_class: str, rule: str) -> FileError | None:
        account = self._account(rule)
        await self._wait_for_rates(size_bytes)
        before = account.breaker
        if rule != NO_RULE:
            if not before.lets_through(self._clock.now_ns()):
                return FileError.RULE_STOPPED
            account.breaker = before.tried(self._clock.now_ns())
        try:
            left = await self._changer.change(ino, storage_class)
        except TierfsError as error:
            self._note_failure(rule, account, error)
            raise
        if left is None:
            account.breaker = account.breaker.succeeded()
        else:
            account.left += 1
            if before.opened_ns:
                account.breaker = before  # a trial that says nothing
        return left

    def status(self) -> Mapping[str, object]:
        """For people: {"spent_today", "rules": {name: {moved, moved_bytes, left, failed, stopped}}}."""
        now_ns = self._clock.now_ns()
        rules = {
            name: {
                **{"moved": account.moved, "moved_bytes": account.moved_bytes},
                **{"left": account.left, "failed": account.failed},
                "stopped": "" if account.breaker.lets_through(now_ns) else account.breaker.reason,
            }
            for name, account in self._rules.items()
        }
        return {"spent_today": self._purse.at(now_ns).spent, "rules": rules}

    def _account(self, rule: str) -> RuleMoves:
        if rule not in self._rules and len(self._rules) >= _RULES_KEPT:
            del self._rules[next(iter(self._rules))]
        return self._rules.setdefault(rule, RuleMoves())

    async def _wait_for_rates(self, size_bytes: int) -> None:
        async with self._turn:
            await trio.sleep(max(rate.wait_s(self._clock.now_ns()) for rate in (self._bytes, self._requests)))
            now_ns = self._clock.now_ns()
            self._bytes = self._bytes.take(size_bytes, now_ns)
            self._requests = self._requests.take(_REQUESTS_EACH, now_ns)

    def _spend(self, money: float) -> None:
        if money:
            self._purse = self._purse.take(money, self._clock.now_ns())
            with self._index.transaction() as txn:
                settings.put(txn, _SPENT, json.dumps([self._purse.day, self._purse.spent]).encode())

    def _note_failure(self, rule: str, account: RuleMoves, error: TierfsError) -> None:
        account.failed += 1
        was_open = bool(account.breaker.opened_ns)
        account.breaker = account.breaker.failed_with(str(error), self._clock.now_ns())
        if rule != NO_RULE and account.breaker.opened_ns and not was_open:
            _log.error(
                "the moves of rule %r are stopped for %.0f min, since half of them fail; the last with: %s",
                rule, account.breaker.pause_s / 60, error,
                extra={"event": "TFS9001", "key": error.key if isinstance(error, StoreError) else ""},
            )  # fmt: skip


def _spent(index: Index) -> Purse:
    row = settings.get(index, _SPENT)
    day, spent = json.loads(row) if row is not None else (0, 0.0)
    return Purse(0.0, day, spent)
