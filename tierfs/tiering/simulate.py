"""What a policy, or a set of rules, would have made of recorded accesses: hits, bytes that move, requests, money.

Runs without a mount. Rules go with the mount's own eviction; of their terms these are played: `pin` (the room is taken
from the others'), `cached = false`, `hot_at_most`, `demote_to` with `demote_after`. `hot_at_least` is not: what it
keeps depends on who waits for room. A file's age begins anew with each access, and before the first one it has none;
its object lies in the bucket for the whole time of the trace. What has to be restored is, at standard speed, before it
is read. Pure but for its caches, which are its own; time is the trace's.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Final

from attrs import define, field, frozen

from tierfs.model import Residency
from tierfs.policy.caches import Cache, Ranked
from tierfs.policy.classes import MONTH_S, Speed
from tierfs.policy.cost import STANDARD, Bill, PriceTable, RequestKind, Traffic, Use, bill_all
from tierfs.policy.placement import Action, File, RuleSet, decisions, next_change, place
from tierfs.tiering.traces import Access, Trace
from tierfs.units import MIB

_PART_BYTES: Final = 8 * MIB
_SLICES: Final = 200
_ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@frozen
class Outcome:
    """What came of one simulation. `slices`: hits in percent of equal parts of the trace, for a plot."""

    name: str
    reads: int
    hits: int
    read_bytes: int
    hit_bytes: int
    requests: Mapping[Use, Traffic]
    demotions: int = 0
    releases: int = 0
    slices: Sequence[float] = ()
    storage_months: Mapping[tuple[str, int], float] = field(factory=dict)
    """By class and size of objects: how many lay there, times the months."""

    @property
    def hits_percent(self) -> float:
        return 100 * self.hits / max(1, self.reads)

    @property
    def hit_bytes_percent(self) -> float:
        return 100 * self.hit_bytes / max(1, self.read_bytes)

    @property
    def moved_bytes(self) -> int:
        """Over the network, both ways; copies within the bucket are not."""
        return sum(
            traffic.received_bytes + traffic.sent_bytes
            for use, traffic in self.requests.items()
            if use.kind in (RequestKind.GET, RequestKind.PUT)
        )

    @property
    def request_count(self) -> int:
        return sum(traffic.requests for traffic in self.requests.values())

    def bill(self, prices: PriceTable, *, pays_transfer: bool) -> Bill:
        """For the time of the trace: requests, and what lay in the bucket."""
        storage = sum(
            prices.of(storage_class).month(size_bytes) * months
            for (storage_class, size_bytes), months in self.storage_months.items()
        )
        return bill_all(prices, self.requests.items(), pays_transfer=pays_transfer) + Bill(storage=storage)


@define
class _Account:
    """Counts of requests; immutable values for each would be most of the time."""

    counts: Counter[tuple[RequestKind, str]] = field(factory=Counter)
    sent: Counter[tuple[RequestKind, str]] = field(factory=Counter)
    received: Counter[tuple[RequestKind, str]] = field(factory=Counter)

    def get(self, storage_class: str, size_bytes: int) -> None:
        if storage_class in _ARCHIVED:
            self.counts[RequestKind.RESTORE, storage_class] += 1
            self.received[RequestKind.RESTORE, storage_class] += size_bytes
        self.counts[RequestKind.GET, storage_class] += -(-size_bytes // _PART_BYTES) or 1
        self.received[RequestKind.GET, storage_class] += size_bytes

    def put(self, size_bytes: int) -> None:
        self.counts[RequestKind.PUT, STANDARD] += -(-size_bytes // _PART_BYTES) or 1
        self.sent[RequestKind.PUT, STANDARD] += size_bytes
        if size_bytes > _PART_BYTES:
            self.counts[RequestKind.POST, STANDARD] += 2

    def demote(self, old: str, new: str, size_bytes: int) -> None:
        self.counts[RequestKind.HEAD, old] += 1
        self.counts[RequestKind.COPY, new] += 1
        # a copy is billed by the class that it writes, and the bytes that it reads by that of the old one
        self.counts[RequestKind.COPY, old] += 0
        self.received[RequestKind.COPY, old] += size_bytes

    def requests(self) -> dict[Use, Traffic]:
        """By what is billed alike."""
        return {
            Use(kind, name, Speed.STANDARD if kind is RequestKind.RESTORE else ""): Traffic(
                count, self.sent[kind, name], self.received[kind, name]
            )
            for (kind, name), count in self.counts.items()
        }


@frozen
class _Plan:
    """What the rules have for a file from its use on: (age, action, class) in the order of ages."""

    steps: tuple[tuple[float, Action, str], ...] = ()
    is_cached: bool = True
    is_pinned: bool = False


@define
class _Object:
    """What is known of one file on the way."""

    storage_class: str
    since_s: float
    used_s: float


def simulate(trace: Trace, cache: Cache, *, name: str) -> Outcome:
    """The trace over one policy; everything is in STANDARD."""
    account, meter = _Account(), _Meter(len(trace.accesses))
    access_at, get, put = cache.access, account.get, account.put
    for time_s, number, size_bytes, is_write in trace.accesses:
        is_hit = access_at(number, size_bytes, time_s)
        if is_write:
            put(size_bytes)
        elif not is_hit:
            get(STANDARD, size_bytes)
        meter.count(size_bytes, is_hit=is_hit, is_write=is_write)
    lying = Counter((STANDARD, size_bytes) for size_bytes in trace.sizes.values())
    months = (trace.accesses[-1][0] - trace.accesses[0][0]) / MONTH_S
    return meter.outcome(name, account, {key: count * months for key, count in lying.items()})


class RuledTier:
    """A tier under rules, over one trace."""

    def __init__(self, trace: Trace, rules: RuleSet, tier_bytes: int) -> None:
        """Pinned files have their room before the others."""
        self._trace = trace
        self._rules = rules
        self._plans: dict[tuple[int, str], _Plan] = {}
        self._objects: dict[int, _Object] = {}
        self._pinned: set[int] = set()
        self._due: list[tuple[float, int]] = []
        self._account = _Account()
        self._seconds: defaultdict[tuple[str, int], float] = defaultdict(float)
        self._sizes = trace.sizes
        self._begin_s = trace.accesses[0][0]
        self.demotions = 0
        self.releases = 0
        pinned_bytes = sum(size for number, size in self._sizes.items() if self._plan(number, STANDARD).is_pinned)
        self._cache = Ranked(max(0, tier_bytes - pinned_bytes))

    def run(self, name: str) -> Outcome:
        """The whole trace."""
        meter = _Meter(len(self._trace.accesses))
        for access in self._trace.accesses:
            meter.count(access[2], is_hit=self._access(access), is_write=access[3])
        end_s = self._trace.accesses[-1][0]
        for number in self._objects:
            self._age(number, end_s)
            self._lay(number, end_s)
        months = {key: seconds / MONTH_S for key, seconds in self._seconds.items()}
        return meter.outcome(name, self._account, months, demotions=self.demotions, releases=self.releases)

    def _access(self, access: Access) -> bool:
        now_s, number, size_bytes, is_write = access
        while self._due and self._due[0][0] <= now_s:
            self._release(*heappop(self._due))
        known = self._objects.get(number)
        if known is None:
            known = self._objects[number] = _Object(STANDARD, self._begin_s, now_s)
        else:
            self._age(number, now_s)
        plan = self._plan(number, known.storage_class)
        is_hit = self._use(plan, number, size_bytes, now_s)
        if is_write:
            self._account.put(size_bytes)
            self._lay(number, now_s)
            known.storage_class = STANDARD
        elif not is_hit:
            self._account.get(known.storage_class, size_bytes)
        known.used_s = now_s
        leaves = next((age_s for age_s, action, _ in plan.steps if action is Action.RELEASE), None)
        if leaves is not None and not plan.is_pinned:
            heappush(self._due, (now_s + leaves, number))
        return is_hit

    def _use(self, plan: _Plan, number: int, size_bytes: int, now_s: float) -> bool:
        if plan.is_pinned:
            is_hit = number in self._pinned
            self._pinned.add(number)
            return is_hit
        return plan.is_cached and self._cache.access(number, size_bytes, now_s)

    def _release(self, due_s: float, number: int) -> None:
        """Unless it was used since."""
        used_s = self._objects[number].used_s
        plan = self._plan(number, self._objects[number].storage_class)
        if any(action is Action.RELEASE and used_s + age_s <= due_s for age_s, action, _ in plan.steps):
            self._cache.drop(number)
            self.releases += 1

    def _age(self, number: int, now_s: float) -> None:
        """What became of its object since its last use."""
        known = self._objects[number]
        while step := next(
            (
                (known.used_s + age_s, target)
                for age_s, action, target in self._plan(number, known.storage_class).steps
                if action is Action.DEMOTE and known.used_s + age_s <= now_s
            ),
            None,
        ):
            at_s, target = step
            self._account.demote(known.storage_class, target, self._sizes[number])
            self._lay(number, max(at_s, known.since_s))
            known.storage_class = target
            self.demotions += 1

    def _lay(self, number: int, until_s: float) -> None:
        known = self._objects[number]
        self._seconds[known.storage_class, self._sizes[number]] += until_s - known.since_s
        known.since_s = until_s

    def _plan(self, number: int, storage_class: str) -> _Plan:
        """The same for each use: what rules say depends on the age alone."""
        plan = self._plans.get((number, storage_class))
        if plan is None:
            path = tuple(part for part in self._trace.names[number].split("/") if part)
            file = File(path, self._sizes[number], 0.0, residency=Residency.FULL, storage_class=storage_class)
            plan = self._plans[number, storage_class] = _plan_of(self._rules, file)
        return plan


def _plan_of(rules: RuleSet, file: File) -> _Plan:
    """`file` was used at 0."""
    now_s, placement = 0.0, place(rules, file, 0.0)
    first, steps = placement, list[tuple[float, Action, str]]()
    while True:
        change = next_change(rules, file, now_s)
        stop_s = float("inf") if change is None else change[0]
        steps += [
            (max(now_s, decision.at_s), decision.action, decision.storage_class)
            for decision in decisions(placement, file)
            if decision.at_s < stop_s
        ]
        if change is None:
            return _Plan(tuple(sorted(steps, key=lambda step: step[0])), first.is_cached, first.is_pinned)
        now_s, placement = change


class _Meter:
    """Hits, all and by parts of the trace."""

    def __init__(self, accesses: int) -> None:
        self._slice = max(1, -(-accesses // _SLICES))
        self._left = self._slice
        self._slice_reads = self._slice_hits = 0
        self._slices: list[float] = []
        self.reads = self.hits = self.read_bytes = self.hit_bytes = 0

    def count(self, size_bytes: int, *, is_hit: bool, is_write: bool) -> None:
        """One access."""
        if not is_write:
            self._slice_reads += 1
            self.read_bytes += size_bytes
            if is_hit:
                self._slice_hits += 1
                self.hit_bytes += size_bytes
        self._left -= 1
        if not self._left:
            self._end_slice()

    def _end_slice(self) -> None:
        self._slices.append(100 * self._slice_hits / max(1, self._slice_reads))
        self.reads += self._slice_reads
        self.hits += self._slice_hits
        self._slice_reads = self._slice_hits = 0
        self._left = self._slice

    def outcome(
        self,
        name: str,
        account: _Account,
        storage_months: Mapping[tuple[str, int], float],
        *,
        demotions: int = 0,
        releases: int = 0,
    ) -> Outcome:
        """At the end."""
        if self._slice_reads:
            self._end_slice()
        return Outcome(
            name, self.reads, self.hits, self.read_bytes, self.hit_bytes, account.requests(), demotions, releases,
            self._slices, storage_months,
        )  # fmt: skip
