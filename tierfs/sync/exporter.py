"""The export engine: intents, oldest first, until the bucket has seen all of them.

Promises: every intent is tried until it succeeds or is void; one that fails never holds up others; what
fails for good is shown with its reason and tried again ever more rarely. While the store cannot be reached
nothing but one probe asks it, and everything goes on by itself when it answers. Work is bounded: so many
large files, so many small ones at a time.

An intent is due when its inode has rested (`not_before_ns`), when it has waited `max_dirty_age_s` although
it never rests, or at once while somebody hurries; `sync.due` has the rule.

Tasks: `run` scans and starts one worker for each intent, `export_now` one; `sync` only waits and looks. They share the
tables in memory below, in sync code; the index is the truth, and an exporter that is started over it anew needs
nothing else. Checkpoints: in `run`, `sync` and `export_now` where they wait; in the workers see `reconcile`.
"""

import errno
import logging
import math
from typing import Final

import trio
from attrs import evolve

from tierfs.clock import Clock
from tierfs.config.sections import ExportSettings
from tierfs.content.handles import Files
from tierfs.errors import FsError, StoreError, StoreErrorKind, TierfsError
from tierfs.index import intents, residency
from tierfs.index.env import Index
from tierfs.model import Intent, IntentKind
from tierfs.namespace.authority import Authority, SoleNode
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.merge import ConflictRules
from tierfs.sync import backlog
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier
from tierfs.sync.aside import Aside
from tierfs.sync.attempts import Blocked, Outcome, SizeClass, Watch
from tierfs.sync.bodies import Uploader
from tierfs.sync.claims import Claims
from tierfs.sync.deletes import Deleter
from tierfs.sync.disputes import Disputes
from tierfs.sync.due import AT_ONCE, Haste, aged_ns, backoff_s, due_ns
from tierfs.sync.linkwriter import LinkWriter
from tierfs.sync.localonly import LocalOnly
from tierfs.sync.news import Direction
from tierfs.sync.outcomes import BlockedError, NotYetError
from tierfs.sync.reconcile import Reconciler
from tierfs.sync.records import Records
from tierfs.sync.renames import TreeMover
from tierfs.sync.report import Failing, Outage, PendingSummary, Progress, Reporter, advice
from tierfs.sync.waiting import Standing
from tierfs.units import NS_PER_S

_PAGE_INTENTS: Final = 128
_SLICE_S: Final = 0.005
_IDLE_S: Final = 300.0
_LOOK_S: Final = 10.0
_NEWS_S: Final = 1.0
_RESCAN_FACTOR: Final = 10  # a scan of a long queue may take a tenth of the time
_BLOCKED_S: Final = 2.0
_BLOCKED_KEPT: Final = 10_000
_PROBE_S: Final = (1.0, 10.0)  # first and longest pause: what waits goes on soon after the store is back
_TREES_AT_A_TIME: Final = 4
_FAILING_KEPT: Final = 1000
_AWAY: Final = (StoreErrorKind.UNAVAILABLE, StoreErrorKind.TIMEOUT)
_STORE_WIDE: Final = frozenset({*_AWAY, StoreErrorKind.BAD_CREDENTIALS, StoreErrorKind.NO_SUCH_BUCKET})
_log: Final = logging.getLogger(__name__)


class Exporter:
    """See the module. Made by the daemon; `run` in its nursery, once."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        settings: ExportSettings,
        applier: Applier,
        activity: Activity,
        notify: Notify,
        rules: ConflictRules,
        authority: Authority | None = None,
    ) -> None:
        self._index, self._store, self._locations = index, store, locations
        self._clock, self.settings = clock, settings  # exchanged while it works, see `tierfs.tuning`
        self.claims = claims = Claims()
        self.records = records = Records(index, locations, clock, activity, quiet_s=settings.quiet_s)
        disputes = Disputes(
            index=index, store=store, locations=locations, files=files, clock=clock, applier=applier,
            notify=notify, rules=rules,
        )  # fmt: skip
        self._local = LocalOnly(
            index, store, locations, files, clock, disputes=disputes, claims=claims, rules=applier.rules
        )
        aside = Aside(index=index, store=store, locations=locations, records=records, claims=claims)
        self.uploader = Uploader(index, store, buffers=2 * settings.concurrency)
        link_writer = LinkWriter(
            index=index, store=store, locations=locations, records=records, disputes=disputes, claims=claims,
            clock=clock,
        )  # fmt: skip
        self._reconciler = Reconciler(
            index=index, store=store, locations=locations, files=files, clock=clock, records=records,
            disputes=disputes, claims=claims, aside=aside, uploader=self.uploader, link_writer=link_writer,
            local=self._local, authority=authority or SoleNode(),
        )  # fmt: skip
        self._deleter = Deleter(
            index=index, store=store, locations=locations, claims=claims, disputes=disputes,
            reconciler=self._reconciler, aside=aside, activity=activity, local=self._local,
        )  # fmt: skip
        self.mover = TreeMover(
            index=index, store=store, locations=locations, clock=clock, applier=applier, disputes=disputes,
            activity=activity, next_change=self._next_change, wake=self.wake, local=self._local,
        )  # fmt: skip
        self._nursery: trio.Nursery | None = None
        self._news = applier.news
        self._scan_waited_s = 0.0  # of the scan under way, for a free slot: not work
        self._running, self._blocked = dict[int, Intent](), dict[int, Blocked]()
        self._failing: dict[int, Failing] = {}
        # tried now whatever their backoff says; failed because the store was away
        self._urgent, self._starved = set[int](), set[int]()
        self._watches: dict[int, list[Watch]] = {}
        self._running_by_class = dict.fromkeys(SizeClass, 0)
        self._haste = Haste.NOBODY
        self._last_seq, self._ended = 0, 0  # of the intents that a scan has met; how many attempts have ended
        self._wake, self._change = trio.Event(), trio.Event()  # the latter: some work ended, or the state changed
        self._news_at_s = math.inf  # trio time
        self._resting = trio.CancelScope()
        self._outage: Outage | None = None

    # ---- what others ask ----

    @property
    def degraded(self) -> tuple[int, str] | None:
        """(since ns, reason) while the store cannot be reached."""
        return (self._outage.since_ns, self._outage.reason) if self._outage is not None else None

    def wake(self) -> None:
        """There are new intents. None is due before its quiet time, so they are looked at together, not one by one."""
        soon_s = trio.current_time() + min(self.settings.quiet_s, _NEWS_S)
        if soon_s < self._news_at_s:
            self._news_at_s = soon_s
            self._resting.deadline = min(self._resting.deadline, soon_s)

    def hurry(self) -> None:
        """Nothing waits for its quiet time until all that can be exported is."""
        self._haste = Haste.ALL
        self._wake.set()

    def retry(self, ino: int) -> None:
        """What kept a change of the inode back is over: it is tried now, and again if it is being tried."""
        intent = intents.of_inode(self._index, ino)
        if intent is not None:
            self._urgent.add(intent.seq)
            self._wake.set()

    def make_room(self) -> None:
        """As `hurry`, for the hot tier alone; see sync.due."""
        self._haste = max(self._haste, Haste.ROOM)
        self._wake.set()

    def pending(self) -> PendingSummary:
        """What is left, and what fails with which reason."""
        left, now = backlog.survey(self._index), self._clock.now_ns()
        self._forget_settled()
        failing = tuple((failure.path, failure.error) for failure in self._failing.values())
        age_s = (now - left.oldest_ns) / NS_PER_S if left.oldest_ns is not None else None
        return PendingSummary(left.count, left.bytes, left.failures, age_s, failing)

    def standing(self, intent: Intent) -> Standing:
        """What is known here of why it waits."""
        is_written, blocked = self._is_written(intent), self._blocked.get(intent.seq)
        return Standing(
            self._due_ns_of(intent, is_written=is_written),
            is_running=intent.seq in self._running,
            outage=self._outage.reason if self._outage is not None else "",
            blocked_by=blocked.by if blocked is not None else "",
            is_written=is_written,
        )

    def _forget_settled(self) -> None:
        """What is kept in memory about intents that have gone otherwise (an unlink, say)."""
        for table in (self._failing, self._blocked):
            for seq in [seq for seq in table if intents.get(self._index, seq) is None]:
                del table[seq]

    # ---- the engine ----

    async def run(self) -> None:
        """Exports until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.uploader.drop_left)
            nursery.start_soon(self._local.review, self.wake)
            due_at_s = -math.inf
            while True:
                # what is new alone is looked at by itself: a pass over a long queue for each burst would be dear
                is_whole = self._wake.is_set() or bool(self._haste) or trio.current_time() >= due_at_s
                self._wake, self._news_at_s = trio.Event(), math.inf
                began, self._scan_waited_s = trio.current_time(), 0.0
                due_in_s = await self._scan(0 if is_whole else self._last_seq)
                took_s = trio.current_time() - began - self._scan_waited_s
                if is_whole and not self._running and due_in_s > 0:
                    self._haste = Haste.NOBODY
                due_at_s = min(math.inf if is_whole else due_at_s, trio.current_time() + due_in_s)
                await self._wait_for_work(due_at_s)
                await trio.sleep(max(0.0, began + self._scan_waited_s + _RESCAN_FACTOR * took_s - trio.current_time()))
                if self._outage is not None:
                    await self._probe()
                    self._wake.set()

    async def _wait_for_work(self, until: float) -> None:
        """Until somebody wakes the engine, the next intent is due, or there is one that was not there before.

        The last costs one look into the index every few seconds; nothing depends on who forgets to call `wake`.
        """
        while trio.current_time() < min(until, self._news_at_s) and not self._wake.is_set():
            with trio.move_on_at(min(until, self._news_at_s, trio.current_time() + _LOOK_S)) as self._resting:
                await self._wake.wait()
            if intents.page(self._index, self._last_seq, 1):
                return

    async def _scan(self, after: int) -> float:
        """One pass over the queue behind `after`, starting what is due; returns in how many seconds the next is."""
        next_ns = math.inf
        slice_began = trio.current_time()
        if len(self._blocked) > _BLOCKED_KEPT:
            self._forget_settled()
        while page := intents.page(self._index, after, _PAGE_INTENTS):
            after = page[-1].seq
            self._last_seq = max(self._last_seq, after)
            for intent in page:
                if self._outage is not None:
                    return 0.0
                if intent.seq in self._running:
                    continue
                due_ns = self._due_ns(intent)
                if due_ns > self._clock.now_ns():
                    next_ns = min(next_ns, due_ns)
                    continue
                if self._is_blocked(intent):
                    next_ns = min(next_ns, self._clock.now_ns() + _BLOCKED_S * NS_PER_S)
                    continue
                size_class = self._size_class(intent)
                while size_class is SizeClass.SMALL and self._outage is None and not self._has_slot(size_class):
                    waits_since = trio.current_time()
                    await self._next_change()  # small ones are quick: no use to look further
                    self._scan_waited_s += trio.current_time() - waits_since
                fresh = intents.get(self._index, intent.seq)
                if fresh is not None and self._outage is None and self._has_slot(size_class):
                    self._start(fresh, size_class)
            if trio.current_time() - slice_began > _SLICE_S:
                await trio.lowlevel.checkpoint()
                slice_began = trio.current_time()
        if next_ns is math.inf:
            return _IDLE_S
        return min(_IDLE_S, max(0.0, (next_ns - self._clock.now_ns()) / NS_PER_S))

    def _due_ns(self, intent: Intent) -> float:
        """When the intent may be worked on, or at least has to be looked at again."""
        may_be_due = bool(self._haste) or intent.not_before_ns <= self._clock.now_ns()
        return self._due_ns_of(intent, is_written=may_be_due and self._is_written(intent))

    def _due_ns_of(self, intent: Intent, *, is_written: bool) -> float:
        if intent.seq in self._urgent:
            return AT_ONCE
        return due_ns(intent, self._haste, is_written=is_written, max_dirty_age_s=self.settings.max_dirty_age_s)

    def _is_written(self, intent: Intent) -> bool:
        hot = residency.hot_get(self._index, intent.ino) if intent.kind is IntentKind.RECONCILE else None
        return hot is not None and hot.writing

    def _block(self, intent: Intent, by: str) -> None:
        """It is offered again when other work has ended, or else after a while."""
        self._blocked[intent.seq] = Blocked(self._ended, trio.current_time() + _BLOCKED_S, by)

    def _is_blocked(self, intent: Intent) -> bool:
        blocked = self._blocked.get(intent.seq)
        return blocked is not None and blocked.ended == self._ended and trio.current_time() < blocked.until_s

    def _size_class(self, intent: Intent) -> SizeClass:
        if intent.kind is IntentKind.MOVE_TREE:
            return SizeClass.TREE
        is_large = backlog.bytes_of(self._index, intent) > self._store.part_size_bytes
        return SizeClass.LARGE if is_large else SizeClass.SMALL

    def _has_slot(self, size_class: SizeClass) -> bool:
        limits = {
            SizeClass.SMALL: self.settings.small_concurrency,
            SizeClass.LARGE: self.settings.concurrency,
            SizeClass.TREE: _TREES_AT_A_TIME,
        }
        return self._running_by_class[size_class] < limits[size_class]

    async def _next_change(self) -> None:
        self._change = trio.Event() if self._change.is_set() else self._change
        await self._change.wait()

    def _start(self, intent: Intent, size_class: SizeClass) -> None:
        assert self._nursery is not None, "run() comes first"
        self._urgent.discard(intent.seq)
        self._blocked.pop(intent.seq, None)
        for watch in self._watches.get(intent.seq, ()):
            watch.has_begun = True
        self._running[intent.seq] = intent
        self._running_by_class[size_class] += 1
        self._nursery.start_soon(self._work, intent, size_class)

    async def _work(self, intent: Intent, size_class: SizeClass) -> None:
        """One intent, once; never raises but Cancelled."""
        outcome = Outcome.LATER
        try:
            await self._carry_out(intent)
            self._failing.pop(intent.seq, None)
            outcome = Outcome.DONE
        except BlockedError as blocked:
            self._block(intent, str(blocked))
        except NotYetError:
            self._postpone(intent, self.settings.quiet_s or 1.0)
        except (TierfsError, OSError) as error:
            outcome = self._failed(intent, error)
        except Exception as error:
            _log.exception("exporting %s failed in a way that was not foreseen", backlog.label(self._index, intent),
                           extra={"event": "TFS4002"})  # fmt: skip
            outcome = self._failed(intent, error)
        finally:
            for watch in self._watches.get(intent.seq, ()):
                watch.outcome = outcome if watch.has_begun else None
            del self._running[intent.seq]
            self._running_by_class[size_class] -= 1
            self._change.set()
            if intent.seq not in self._blocked:
                # who was blocked has changed nothing: two of them would call each other up for ever
                self._ended += 1
                self._wake.set()

    async def _carry_out(self, intent: Intent) -> None:
        if intent.kind is IntentKind.RECONCILE:
            is_aged = self._clock.now_ns() >= aged_ns(intent, self.settings.max_dirty_age_s)
            is_awaited = self._haste is not Haste.NOBODY or intent.seq in self._watches
            await self._reconciler.reconcile(intent.ino, is_aged=is_aged or is_awaited)
        elif intent.kind is IntentKind.DELETE:
            await self._deleter.delete(intent.seq)
        else:
            await self.mover.move(intent.seq)

    # ---- failures ----

    def _failed(self, intent: Intent, error: Exception) -> Outcome:
        kind = error.kind if isinstance(error, StoreError) else None
        text = str(error) or type(error).__name__
        if kind in _STORE_WIDE:
            self._starved.add(intent.seq)
            self._lose_store(str(error))
        if intents.get(self._index, intent.seq) is None:
            return Outcome.DONE  # void since an unlink, say
        if backlog.is_void(self._index, intent):
            _log.debug("intent %d has nothing to bring up any more, after it failed: %s", intent.seq, error)
            self._block(intent, text)  # the next look at it ends it
            return Outcome.LATER
        is_permanent = not (isinstance(error, TierfsError) and error.retryable)
        wait_s = backoff_s(kind, intent.attempts, is_permanent=is_permanent)
        path = backlog.label(self._index, intent)
        if kind not in _STORE_WIDE and self._failing.get(intent.seq, Failing("", "", 0, False)).error != text:
            self._news.failed(Direction.EXPORT, backlog.path_of(self._index, intent), text)
            said = (path, text, wait_s, advice(kind, intent.kind))
            _log.warning("%s is not in the bucket yet: %s; tried again in %.0f s.%s", *said, extra={"event": "TFS4001"})
        if len(self._failing) < _FAILING_KEPT or intent.seq in self._failing:
            number = (error.errno if isinstance(error, TierfsError | OSError) else None) or errno.EIO
            self._failing[intent.seq] = Failing(path, text, number, is_permanent)
        self._postpone(intent, wait_s, attempts=intent.attempts + 1, error=text)
        return Outcome.FAILED if is_permanent and kind not in _STORE_WIDE else Outcome.PASSING

    def _postpone(self, intent: Intent, wait_s: float, *, attempts: int = 0, error: str = "") -> None:
        """Tried again later; what the index does not take (a full disk) waits in memory alone."""
        try:
            with self._index.transaction() as txn:
                current = intents.get(txn, intent.seq)
                if current is not None:
                    later_ns = self._clock.now_ns() + int(wait_s * NS_PER_S)
                    attempts = attempts or current.attempts
                    intents.put(txn, evolve(current, not_before_ns=later_ns, attempts=attempts, last_error=error))
        except FsError as refusal:
            self._block(intent, str(refusal))
            _log.warning("the index does not take that an export failed: %s", refusal, extra={"event": "TFS6003"})

    def _lose_store(self, reason: str) -> None:
        if self._outage is None:
            self._outage = Outage(self._clock.now_ns(), reason)
            self._news.failed(Direction.EXPORT, "", f"the store cannot be reached: {reason}")
            _log.error("the store cannot be reached, exports wait for it: %s", reason, extra={"event": "TFS4003"})
            self._change.set()

    async def _probe(self) -> None:
        """Asks the store until it answers; then all that failed meanwhile is tried at once."""
        delay_s, longest_s = _PROBE_S
        while True:
            await trio.sleep(delay_s)
            try:
                await self._store.check()
                break
            except StoreError as error:
                assert self._outage is not None
                self._outage = evolve(self._outage, reason=str(error))
                delay_s = min(longest_s, 2 * delay_s)
        assert self._outage is not None
        away_s = (self._clock.now_ns() - self._outage.since_ns) / NS_PER_S
        _log.warning("the store answers again after %.0f s", away_s, extra={"event": "TFS4004"})
        self._outage = None
        self._urgent |= self._starved
        self._starved.clear()

    # ---- waiting for it ----

    async def sync(self, ino: int | None, on_progress: Progress | None = None) -> None:
        """Returns when all that was pending at or below `ino` (None: anywhere) at the call is in the bucket.

        Also waits for what the export itself leaves to do there (deleting what was moved). Raises FsError
        with the store's reason when something there fails for good.
        """
        bound, reporter = self._index.next_seq(), Reporter(on_progress, self.pending)
        await self._sync_up_to(ino, 0, bound, reporter, deletes_only=False)
        await self._sync_up_to(ino, bound, self._index.next_seq(), reporter, deletes_only=True)

    async def _sync_up_to(
        self, ino: int | None, after: int, bound: int, reporter: Reporter, *, deletes_only: bool
    ) -> None:
        scope = backlog.Scope(self._locations, ino, bound, deletes_only)
        while page := await backlog.page_in(scope, self._index, after):
            after = page[-1].seq
            for intent in page:
                await reporter.tell()
                await self.settle(intent)

    async def export_now(self, ino: int) -> None:
        """Returns when the bucket has the inode as it is at the call; nothing else is hurried for it.

        Raises FsError with what an attempt failed with, at once while the store cannot be reached; the change stays
        pending and goes on being tried.
        """
        intent = intents.of_inode(self._index, ino)
        if intent is not None:
            await self.settle(intent, is_patient=False)

    async def settle(self, intent: Intent, *, is_patient: bool = True) -> None:
        """Waits until the intent is gone, or an attempt that began after this call has succeeded.

        Who is patient has all others hurried, since it may wait for them, and takes no failure that may pass for one.
        """
        watch = Watch()
        self._watches.setdefault(intent.seq, []).append(watch)
        try:
            self._urgent.add(intent.seq)
            if not is_patient and intent.seq not in self._running and self._has_slot(size := self._size_class(intent)):
                self._start(intent, size)  # a scan of a long queue takes its time
            while intents.get(self._index, intent.seq) is not None:
                if watch.outcome is Outcome.DONE:
                    return
                is_failure = watch.outcome is Outcome.FAILED or (watch.outcome is Outcome.PASSING and not is_patient)
                if is_failure and (failing := self._failing.get(intent.seq)) is not None:
                    raise FsError(failing.errno, f"{failing.path}: {failing.error}")
                if is_patient:
                    self.hurry()
                elif self._outage is not None:
                    raise FsError(errno.EIO, f"the store cannot be reached: {self._outage.reason}")
                else:
                    self._urgent.add(intent.seq)
                    self._wake.set()
                await self._next_change()
        finally:
            self._watches[intent.seq].remove(watch)
            if not self._watches[intent.seq]:
                del self._watches[intent.seq]
