"""Whether events can be relied on: only while they are seen to arrive.

A queue that answers proves nothing: the bucket may send its events elsewhere, or only some of them, or another client
may take them. So the daemon writes and deletes an object of its own now and then, the *canary*, and waits for both
events. From the moment at which the first canary that came back was written, every change is told of, and a listing
made since then is as good as a new one. When a canary does not come back, or the source fails, listings grow old again
as without events.

S3 delivers at least once, mostly within a second, but promises no time: what an event does not tell the sweep finds.
Shared by the importer (asks), the sources and the canary (tell). `Flow` is sync code only.
"""

import enum
import logging
import math
from typing import Final

import trio

from tierfs.clock import Clock
from tierfs.errors import StoreError
from tierfs.index.env import Index
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import Always, ObjectMeta, ObjectStore
from tierfs.sync.events import EventKind

_PREFIX: Final = HIDDEN_PREFIX + "events/"
_UNPROVEN: Final = "no event has come back yet"
_log: Final = logging.getLogger(__name__)


class FlowState(enum.Enum):
    """What is known of the source."""

    UNPROVEN = "unproven"  # nothing has come back yet
    FLOWING = "flowing"
    BROKEN = "broken"


class Flow:
    """The state of the source."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.state = FlowState.UNPROVEN
        self.reason = _UNPROVEN
        self.changed_ns = clock.now_ns()
        self._since_ns: float = math.inf
        self.doubted = trio.Event()
        """Set when the source has failed, and replaced by the next proof."""

    def tells_of(self, time_ns: int) -> bool:
        """Every change since `time_ns` was told of, or is about to be."""
        return time_ns >= self._since_ns

    def prove(self, since_ns: int) -> None:
        """What was written at `since_ns` has come back as an event."""
        if self.state is FlowState.FLOWING:
            return
        self._enter(FlowState.FLOWING, "")
        self._since_ns = since_ns
        self.doubted = trio.Event()
        _log.info("events arrive: directories that are listed from now on are not listed again")

    def fail(self, reason: str) -> None:
        """Events may be late or lost. Logged when it is news."""
        if self.state is not FlowState.BROKEN:
            _log.warning(
                "events cannot be relied on, directories are listed again when they are used: %s",
                reason,
                extra={"event": "TFS5004"},
            )
            self._enter(FlowState.BROKEN, reason)
        self.reason = reason
        self._since_ns = math.inf
        self.doubted.set()

    def recover(self) -> None:
        """The source that had failed answers again: whether events arrive has to be seen."""
        if self.state is FlowState.BROKEN:
            self._enter(FlowState.UNPROVEN, _UNPROVEN)

    def _enter(self, state: FlowState, reason: str) -> None:
        self.state, self.reason, self.changed_ns = state, reason, self._clock.now_ns()


class Canary:
    """Writes and deletes an object again and again and waits for its events. `run` once, in a nursery."""

    def __init__(
        self, *, index: Index, store: ObjectStore, flow: Flow, clock: Clock, interval_s: float, lost_after_s: float
    ) -> None:
        self._index = index
        self._store = store
        self._flow = flow
        self._clock = clock
        self._interval_s = interval_s
        self._lost_after_s = lost_after_s
        self._key = ""  # another one each time, so that no old event is taken for a new one
        self._awaited: set[EventKind] = set()
        self._has_returned = trio.Event()

    def claims(self, key: str, kind: EventKind) -> bool:
        """An event of a key of tierfs's own: whether it is of the canary."""
        if key != self._key:
            return False
        self._awaited.discard(kind)
        if not self._awaited:
            self._has_returned.set()
        return True

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began_ns = self._clock.now_ns()
            try:
                await self._send()
            except StoreError as error:
                self._flow.fail(f"the object that proves that events arrive cannot be written: {error}")
            else:
                with trio.move_on_after(self._lost_after_s):
                    await self._has_returned.wait()
                if self._has_returned.is_set():
                    self._flow.prove(began_ns)
                else:
                    kinds = " and ".join(sorted(kind.name.lower() for kind in self._awaited))
                    self._flow.fail(f"no event within {self._lost_after_s:g} s that {self._key!r} was {kinds}")
            await self._pause()

    async def _send(self) -> None:
        op_id = self._index.next_op_id()
        self._key = _PREFIX + op_id
        self._awaited = {EventKind.CREATED, EventKind.REMOVED}
        self._has_returned = trio.Event()
        await self._store.put(self._key, op_id.encode(), ObjectMeta(user={"tierfs-op": op_id}), Always())
        await self._store.delete(self._key, if_match="")

    async def _pause(self) -> None:
        if self._flow.state is FlowState.FLOWING:
            with trio.move_on_after(self._interval_s):
                await self._flow.doubted.wait()
        else:
            await trio.sleep(min(self._interval_s, self._lost_after_s))
