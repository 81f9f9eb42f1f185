"""From messages of any source to the index: each event is one more reason to look at a key.

Promises: when `take` returns, what the message tells is in the index and survives power loss; when it raises, the
message has to come again. Events of one key that wait together are one look; many of one directory are one listing.
What is known already (an own write, a version that the index has, a directory that nobody has used) costs nothing.

Tasks: the sources call `take`, any number at a time; each directory with waiting keys has one task, at most
`directories_at_a_time` of them at work. `take` waits for room when `keys_max` keys wait. Checkpoints: every await;
the decisions on an event are sync code.
"""

import enum
import itertools
import logging
from collections.abc import Callable, Collection
from typing import Final

import trio
from attrs import define, field, frozen

from tierfs.clock import Clock
from tierfs.errors import StoreError, StoreErrorKind, TierfsError
from tierfs.index import dirents, inodes
from tierfs.index.env import Index
from tierfs.model import HIDDEN_PREFIX, Base, InodeFlag
from tierfs.namespace.locations import Locations
from tierfs.sync.activity import Activity
from tierfs.sync.eventflow import Canary
from tierfs.sync.events import EventKind, ObjectEvent, parse
from tierfs.sync.importer import Importer
from tierfs.sync.looking import base_at, directory_above, doubt_listing, is_moving
from tierfs.units import NS_PER_S

_LOOKS_AT_A_TIME: Final = 100  # keys of one directory: a slow store answers in time, too
_KEYS_PER_LIST: Final = 16  # HEADs that one LIST of 1,000 keys is worth
_ENTRIES_COUNTED_MAX: Final = 4000
_LIST_PAGE_KEYS: Final = 1000
_ROUTES_MAX: Final = 3
_log: Final = logging.getLogger(__name__)


@define
class FeedCounts:
    """Since the start. What was received is one of the four that follow."""

    received: int = 0
    applied: int = 0  # led to a look at the bucket, done or due
    own: int = 0  # of this mount's own writes
    known: int = 0  # of what the index has, or of what nobody has looked at
    ignored: int = 0  # of other buckets, prefixes and kinds
    malformed: int = 0
    errors: int = 0  # looks that failed; their messages come again
    last_event_ns: int = 0  # when it came
    lag_s: float = 0.0  # of the last one: from the server's clock when it happened to ours when it was applied


@define
class _Ticket:
    """A look that is due; those who wait for it share it."""

    told_ns: int
    done: trio.Event = field(factory=trio.Event)
    error: TierfsError | None = None


class _Verdict(enum.Enum):
    LOOK = enum.auto()
    OWN = enum.auto()
    KNOWN = enum.auto()
    IGNORED = enum.auto()


@frozen(kw_only=True)
class FeedLimits:
    """Ceilings of memory and requests."""

    keys_max: int = 10_000
    directories_at_a_time: int = 8


class Feed:
    """See the module. `run` once, in a nursery, before `take` is called."""

    def __init__(
        self,
        *,
        index: Index,
        locations: Locations,
        importer: Importer,
        activity: Activity,
        canary: Canary,
        clock: Clock,
        bucket: str,
        prefix: str,
        on_told: Callable[[str], None],
        limits: FeedLimits | None = None,
    ) -> None:
        """Of `bucket`, keys below `prefix` ("" or "a/b/"). `on_told`: an event spoke of this key of the mount."""
        self.counts = FeedCounts()
        self._index = index
        self._locations = locations
        self._importer = importer
        self._activity = activity
        self._canary = canary
        self._clock = clock
        self._bucket = bucket
        self._prefix = prefix
        self._on_told = on_told
        self._limits = limits or FeedLimits()
        self._waiting: dict[int, dict[str, _Ticket]] = {}  # directory -> key; also of directories at work
        self._at_work: dict[str, list[int]] = {}  # keys that are being looked at, and when they were told of (ns)
        self._due = trio.Event()
        self._shrunk = trio.Event()
        self._slots = trio.CapacityLimiter(self._limits.directories_at_a_time)
        self._nursery: trio.Nursery | None = None

    @property
    def pending(self) -> int:
        """Keys that wait for a look, or are being looked at."""
        return sum(map(len, self._waiting.values())) + len(self._at_work)

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest of them was told of."""
        waiting_ns = (ticket.told_ns for lane in self._waiting.values() for ticket in lane.values())
        at_work_ns = (told_ns for times in self._at_work.values() for told_ns in times)
        return min(itertools.chain(waiting_ns, at_work_ns), default=None)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The looks, until it is cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def take(self, body: str | bytes) -> None:
        """Applies what a message tells. TierfsError when it has to come again; a malformed one is taken."""
        parsed = parse(body)
        counts = self.counts
        counts.ignored += parsed.ignored
        counts.received += parsed.ignored + len(parsed.events)
        if parsed.malformed:
            if not counts.malformed:
                _log.warning(
                    "a message that is no notification (others are only counted): %s",
                    parsed.malformed[0],
                    extra={"event": "TFS5006"},
                )
            counts.malformed += len(parsed.malformed)
        tickets: list[_Ticket] = []
        for event in parsed.events:
            ticket = await self._note(event)
            if ticket is not None:
                tickets.append(ticket)
        for ticket in tickets:
            await ticket.done.wait()
        failed = next((ticket.error for ticket in tickets if ticket.error is not None), None)
        if failed is not None:
            counts.errors += 1
            raise failed
        if tickets:
            await self._index.durable()
        if parsed.events:
            self._note_lag(parsed.events)

    def _note_lag(self, events: Collection[ObjectEvent]) -> None:
        happened_ns = max(event.time_ns for event in events)
        if happened_ns:
            self.counts.lag_s = max(0.0, (self._clock.now_ns() - happened_ns) / NS_PER_S)

    # ---- one event ----

    async def _note(self, event: ObjectEvent) -> _Ticket | None:
        counts = self.counts
        counts.last_event_ns = self._clock.now_ns()
        while self.pending >= self._limits.keys_max:
            await self._shrunk.wait()
        if event.bucket != self._bucket or not event.key.startswith(self._prefix):
            counts.ignored += 1
            return None
        key = event.key[len(self._prefix) :]
        match self._verdict(key, event):
            case _Verdict.LOOK:
                counts.applied += 1
                return self._enqueue(key)
            case _Verdict.OWN:
                counts.own += 1
            case _Verdict.KNOWN:
                counts.known += 1
            case _Verdict.IGNORED:
                counts.ignored += 1
        return None

    def _verdict(self, key: str, event: ObjectEvent) -> _Verdict:
        if not key:
            return _Verdict.IGNORED
        if key.startswith(HIDDEN_PREFIX):
            return _Verdict.OWN if self._canary.claims(key, event.kind) else _Verdict.IGNORED
        self._on_told(key)
        if event.kind is EventKind.CREATED and self._activity.claim(key, event.etag):
            return _Verdict.OWN
        moving = is_moving(self._index, key)
        if moving is not None:
            doubt_listing(self._index, moving)  # the rename takes along what it finds
            return _Verdict.KNOWN
        directory = directory_above(self._index, key)
        if self._is_in_question(directory.ino, key):
            return _Verdict.LOOK
        base, is_shown = base_at(self._index, self._locations, key)
        if event.kind is EventKind.REMOVED:
            is_known = base is None and not self._importer.may_be_gone(directory.ino)
        else:
            is_known = not is_shown or (base is not None and _is_version(event, base))
        return _Verdict.KNOWN if is_known else _Verdict.LOOK

    def _is_in_question(self, directory: int, key: str) -> bool:
        """A look or a listing is under way that may bring what was before the event."""
        return key in self._at_work or key in self._waiting.get(directory, ()) or self._importer.is_busy(directory)

    # ---- looks ----

    def _enqueue(self, key: str) -> _Ticket:
        directory = directory_above(self._index, key).ino
        lane = self._waiting.get(directory)
        if lane is None:
            assert self._nursery is not None, "run() comes first"
            lane = self._waiting[directory] = {}
            self._nursery.start_soon(self._work, directory)
        if key not in lane:
            lane[key] = _Ticket(self._clock.now_ns())
        return lane[key]

    async def _work(self, directory: int) -> None:
        """Looks at what waits of one directory, also at what comes meanwhile."""
        while self._waiting[directory]:
            async with self._slots:
                batch = self._next_batch(directory)
                error: TierfsError | None = StoreError(StoreErrorKind.UNAVAILABLE, "the daemon ends")
                try:
                    await self._look(directory, batch.keys())
                    error = None
                except TierfsError as raised:
                    error = raised
                    _log.info("%d changed keys could not be looked at: %s", len(batch), raised)
                finally:
                    self._finish(batch, error)
        del self._waiting[directory]

    def _next_batch(self, directory: int) -> dict[str, _Ticket]:
        lane = self._waiting[directory]
        batch = {key: lane.pop(key) for key in list(lane)[:_LOOKS_AT_A_TIME]}
        for key, ticket in batch.items():
            self._at_work.setdefault(key, []).append(ticket.told_ns)
        return batch

    def _finish(self, batch: dict[str, _Ticket], error: TierfsError | None) -> None:
        for key, ticket in batch.items():
            self._at_work[key].remove(ticket.told_ns)
            if not self._at_work[key]:
                del self._at_work[key]
            ticket.error = error
            ticket.done.set()
        self._shrunk.set()
        self._shrunk = trio.Event()

    async def _look(self, directory: int, keys: Collection[str], tries: int = _ROUTES_MAX) -> None:
        if self._is_listing_cheaper(directory, len(keys)):
            is_there = await self._importer.relist(directory)
        else:
            is_there = await self._importer.look(directory, keys)
        if is_there:
            return
        if not tries:
            raise StoreError(StoreErrorKind.UNAVAILABLE, "directories change faster than they can be looked at")
        routes: dict[int, list[str]] = {}
        for key in keys:
            routes.setdefault(directory_above(self._index, key).ino, []).append(key)
        for other, some in routes.items():
            await self._look(other, some, tries - 1)

    def _is_listing_cheaper(self, directory: int, keys: int) -> bool:
        """One LIST brings 1,000 entries, one HEAD a single one."""
        entries_max = min(_ENTRIES_COUNTED_MAX, keys // _KEYS_PER_LIST * _LIST_PAGE_KEYS)
        inode = inodes.get(self._index, directory)
        if not entries_max or inode is None or InodeFlag.LISTED not in inode.flags:
            return False
        return len(dirents.page(self._index, directory, b"", entries_max)) < entries_max


def _is_version(event: ObjectEvent, base: Base) -> bool:
    """The event is of this very version. Without version ids nobody can tell: metadata alone change no ETag."""
    is_of_version = bool(event.version_id) and event.version_id == base.version_id and event.etag == base.etag
    return is_of_version and event.kind is EventKind.CREATED
