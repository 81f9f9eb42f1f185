"""What is asked of the bucket, counted: in memory at once, in the index every minute.

Requests are told of in the threads that make them (`note`), which takes 5 us and no I/O. A SIGKILL loses what was
counted since the last write. The groups of a month are bounded: what comes beyond them is counted under OTHERS. The
class of a GET that does not say it is looked up in the index, where objects of more than one class lie.

Checkpoints: between the writes of `run`; `write` has none.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio
from attrs import evolve, frozen

from tierfs.clock import Clock
from tierfs.config.money import CostSettings
from tierfs.errors import TierfsError
from tierfs.index import spent
from tierfs.index.env import Index
from tierfs.index.spent import MonthRow
from tierfs.policy.cost import STANDARD, Held, Month, PriceTable, Traffic, Use
from tierfs.tiering import prices
from tierfs.units import GIB, NS_PER_S

OTHERS: Final = "*"
GROUPS_MAX: Final = 1000
_KEYS_MAX: Final = 2000  # looked up with each write: 20 us each
_WRITE_S: Final = 60.0
_ROWS_A_WRITE: Final = 500
_log: Final = logging.getLogger(__name__)


@frozen
class Accounts:
    """What one mount spends, and by which prices."""

    spending: "Spending"
    table: PriceTable
    pays_transfer: bool


@frozen
class Counted:
    """One month: its requests by group and use, and how long its objects lay there."""

    month: Month
    row: MonthRow
    traffic: Mapping[tuple[str, Use], Traffic]


class Spending:
    """The count of one mount. `class_of`: the storage class of the object with a key; "" where it is not known."""

    def __init__(self, *, index: Index, clock: Clock, depth: int, class_of: Callable[[str], str]) -> None:
        self._index = index
        self._clock = clock
        self._depth = depth
        self._class_of = class_of
        self._lock = threading.Lock()
        self._fresh: dict[tuple[str, Use], Traffic] = {}
        self._unsaid: dict[tuple[str, Use], Traffic] = {}  # by key
        self._month: Month | None = None
        self._groups: set[str] = set()
        self._is_failing = False

    def note(self, key: str, use: Use, traffic: Traffic) -> None:
        """Counts requests; see `objectstore.s3_billing.Tell`. From any thread."""
        with self._lock:
            if not use.storage_class and ((key, use) in self._unsaid or len(self._unsaid) < _KEYS_MAX):
                counts, at = self._unsaid, (key, use)
            else:
                counts, at = self._fresh, (spent.group_of(key, self._depth), _with_class(use, STANDARD))
            counts[at] = counts[at] + traffic if at in counts else traffic

    async def run(self) -> None:
        """Writes every minute what was counted."""
        while True:
            await trio.sleep(_WRITE_S)
            try:
                self.write()
                self._is_failing = False
            except TierfsError as error:
                if not self._is_failing:
                    _log.warning(
                        "what is asked of the bucket is counted in memory only: %s", error, extra={"event": "TFS6003"}
                    )
                self._is_failing = True

    def write(self) -> None:
        """Brings the index up to date. Raises TierfsError; what is not written is kept."""
        self._resolve()
        month = Month.at(self._clock.now_ns())
        row = self._sample(month)
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        try:
            while True:
                some = [fresh.popitem() for _ in range(min(len(fresh), _ROWS_A_WRITE))]
                try:
                    with self._index.transaction() as txn:
                        for (group, use), traffic in some:
                            spent.add(txn, month.name, self._known(group), use, traffic)
                        spent.put_month(txn, month.name, row)
                        spent.forget_before(txn, month.a_year_before, _ROWS_A_WRITE)
                except TierfsError:
                    fresh.update(some)
                    raise
                if not fresh:
                    break
        finally:
            with self._lock:
                for at, traffic in fresh.items():
                    self._fresh[at] = self._fresh[at] + traffic if at in self._fresh else traffic

    def _resolve(self) -> None:
        """Counts the GETs of no known class under the one that the index has for their object."""
        with self._lock:
            unsaid, self._unsaid = self._unsaid, {}
        classes = [name for name, held in self._index.totals.held.items() if held.objects]
        only = (classes[0] or STANDARD) if len(classes) == 1 else ""
        for (key, use), traffic in unsaid.items():
            storage_class = only or (self._class_of(key) if classes else "") or STANDARD
            self.note(key, _with_class(use, storage_class), traffic)

    def _sample(self, month: Month) -> MonthRow:
        """The month's row with the time since the last one: as if all had lain there so long that lies there now."""
        now_ns = self._clock.now_ns()
        row = spent.month_row(self._index, month.name)
        if self._month is None or self._month.name != month.name:
            rolled_over = self._month is not None
            self._month = month
            self._groups = {group for group, _ in spent.of_month(self._index, month.name)}
            if row is None:
                since_ns = month.start_ns if rolled_over else now_ns
                row = MonthRow(since_ns, since_ns)
        if row is None:
            row = MonthRow(now_ns, now_ns)
        passed_s = max(0, now_ns - row.sampled_ns) / NS_PER_S
        gib_s, watched_s = dict(row.gib_s), dict(row.watched_s)
        for storage_class, held in self._index.totals.held.items():
            name = storage_class or STANDARD
            gib_s[name] = gib_s.get(name, 0.0) + _billed_gib(held) * passed_s
            watched_s[name] = watched_s.get(name, 0.0) + held.watched * passed_s
        return evolve(row, sampled_ns=now_ns, gib_s=gib_s, watched_s=watched_s)

    def _known(self, group: str) -> str:
        if group in self._groups or len(self._groups) < GROUPS_MAX:
            self._groups.add(group)
            return group
        return OTHERS

    def close(self) -> None:
        """Writes what is left; an index that takes nothing any more has said so."""
        with contextlib.suppress(TierfsError):
            self.write()

    def counted(self) -> Counted:
        """This month until now. Raises TierfsError."""
        self.write()
        month = Month.at(self._clock.now_ns())
        row = spent.month_row(self._index, month.name)
        now_ns = self._clock.now_ns()
        return Counted(month, row or MonthRow(now_ns, now_ns), spent.of_month(self._index, month.name))


def accounts_of(chosen: CostSettings, index: Index, class_of: Callable[[str], str]) -> Accounts:
    """By the settings of a mount. ConfigError for its price table."""
    return Accounts(
        spending=Spending(index=index, clock=index.clock, depth=chosen.prefix_depth, class_of=class_of),
        table=prices.load(Path(chosen.prices) if chosen.prices else None),
        pays_transfer=chosen.pays_transfer,
    )


def _with_class(use: Use, storage_class: str) -> Use:
    return use if use.storage_class else evolve(use, storage_class=storage_class)


def _billed_gib(held: Held) -> float:
    return (held.size_bytes + held.small_bytes) / GIB
