"""Who is asked before a name goes because the bucket has it no more: too many of them stay, until somebody decides.

Names that go in small numbers pass, and are counted (`policy.guard`). Once too many go, or would go at once, they are
*held*: their rows stay, and so does every further name that the bucket loses, until there is a decision about all of
that round. Held names that come back to the bucket are not held any more. All of it is in the index and survives a
restart; carrying out a decision is `sync.verdicts`'.

Sync code but for `admit`, which has a checkpoint for each slice of what it holds.
"""

import errno
import json
import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

import trio
from attrs import evolve, field, frozen

from tierfs.clock import Clock
from tierfs.errors import FsError, IndexDamageError
from tierfs.index import dirents, held, settings
from tierfs.index.env import Index, Txn
from tierfs.index.held import KEPT, Held, Row
from tierfs.policy.guard import Limits, Recent, Verdict, is_too_many
from tierfs.sync.paths import Place, text_path
from tierfs.units import NS_PER_S

_SETTING: Final = "guard"
_SLICE_ROWS: Final = 256
_EXAMPLES: Final = 5
_EXAMPLE_ROWS: Final = 200
_log: Final = logging.getLogger(__name__)


@frozen
class Removal:
    """A name that is about to go; see `index.held.Held`."""

    place: Place
    ino: int
    entries: int = 1
    moved_to: str = ""


class Gate(Protocol):
    """Who lets names go."""

    def would_hold(self, entries: int) -> bool:
        """Whether so many entries would be too many."""
        ...

    async def admit(self, removals: Sequence[Removal]) -> bool:
        """True when they may go now, all of them; otherwise they stay, and what becomes of them is seen to."""
        ...


@frozen
class _State:
    """What is asked, and what was decided about the round before (`verdict`, None when nothing is left to do)."""

    round: int = KEPT + 1
    since_ns: int = 0  # 0: nothing is asked
    names: int = 0
    entries: int = 0
    recent: Recent = field(factory=Recent)
    verdict: Verdict | None = None

    def encode(self) -> bytes:
        fields = (self.round, self.since_ns, self.names, self.entries, self.recent.steps, self.verdict)
        return json.dumps(fields, separators=(",", ":")).encode()

    @staticmethod
    def decode(record: bytes) -> "_State":
        try:
            number, since_ns, names, entries, steps, verdict = json.loads(record)
            recent = Recent(tuple((int(step), int(count)) for step, count in steps))
            return _State(number, since_ns, names, entries, recent, Verdict(verdict) if verdict is not None else None)
        except (ValueError, TypeError) as error:
            raise IndexDamageError(f"state of the guard: {error}") from error


class Guard(Gate):
    """The guard of one mount. Raises IndexDamageError."""

    def __init__(self, *, index: Index, clock: Clock, limits: Limits) -> None:
        self._index = index
        self._clock = clock
        self.limits = limits
        record = settings.get(index, _SETTING)
        self._state = _State.decode(record) if record is not None else _State()
        self.changed = trio.Event()
        """Set, and replaced, when there is a decision and when it is carried out."""

    # ---- before a name goes ----

    def would_hold(self, entries: int) -> bool:
        state, now_ns = self._state, self._clock.now_ns()
        return state.since_ns != 0 or is_too_many(
            self.limits, new=entries, recent=state.recent.within(self.limits, now_ns), known=self._index.entries
        )

    async def admit(self, removals: Sequence[Removal]) -> bool:
        entries = sum(removal.entries for removal in removals)
        if not entries or self._lets_pass(entries):
            return True
        for start in range(0, len(removals), _SLICE_ROWS):
            self._hold(removals[start : start + _SLICE_ROWS], entries)
            await trio.lowlevel.checkpoint()
        return False

    def admit_one(self, removal: Removal) -> bool:
        """The same for a single name, without a checkpoint."""
        if self._lets_pass(removal.entries):
            return True
        self._hold([removal], removal.entries)
        return False

    def _lets_pass(self, entries: int) -> bool:
        if self.would_hold(entries):
            return False
        recent = self._state.recent.plus(entries, self.limits, self._clock.now_ns())
        with self._index.transaction() as txn:
            self._save(txn, evolve(self._state, recent=recent))
        return True

    def _hold(self, removals: Sequence[Removal], entries: int) -> None:
        state = self._state
        if not state.since_ns:
            self._tell(removals[0], entries)
            state = evolve(state, since_ns=max(1, self._clock.now_ns()))
        with self._index.transaction() as txn:
            for removal in removals:
                parent, name = removal.place.parent, removal.place.name
                state = self._without(state, held.get(txn, parent, name))
                held.put(txn, parent, name, Held(removal.ino, state.round, removal.entries, removal.moved_to))
                state = evolve(state, names=state.names + 1, entries=state.entries + removal.entries)
            self._save(txn, state)

    def _tell(self, first: Removal, entries: int) -> None:
        recent = self._state.recent.within(self.limits, self._clock.now_ns())
        before = f", after {recent} within {self.limits.window_s:g} s" if recent else ""
        _log.error(
            "the bucket has lost %d of %d files and directories%s, %s among them: they are kept here until somebody "
            "decides with tierctl sync approve, or reject",
            entries, self._index.entries, before, text_path(self._index, first.place.parent, first.place.name),
            extra={"event": "TFS5001"},
        )  # fmt: skip

    def _without(self, state: _State, row: Held | None) -> _State:
        """The counts when the row goes."""
        if row is None or row.round != state.round:
            return state
        return evolve(state, names=state.names - 1, entries=state.entries - row.entries)

    def _save(self, txn: Txn, state: _State) -> None:
        settings.put(txn, _SETTING, state.encode())
        self._state = state

    # ---- what is held ----

    @property
    def holds_any(self) -> bool:
        """In constant time."""
        return held.is_any(self._index)

    def is_held(self, place: Place, ino: int) -> bool:
        """Whether the name, or a directory above it, is kept although the bucket has it no more."""
        return held.covers(self._index, place.parent, place.name, ino)

    def returned(self, place: Place) -> None:
        """The bucket has the name again, or somebody has seen to it here."""
        row = held.get(self._index, place.parent, place.name)
        if row is None:
            return
        state = self._without(self._state, row)
        if state.since_ns and not state.names:
            state = evolve(state, since_ns=0)
            _log.info("nothing is missing from the bucket any more: there is nothing to decide")
        with self._index.transaction() as txn:
            held.delete(txn, place.parent, place.name)
            self._save(txn, state)

    def tidy(self, directory: int) -> None:
        """Forgets names of a directory that lead to something else by now."""
        after = (directory, b"")
        while self.holds_any and (rows := held.page(self._index, after, _SLICE_ROWS, parent=directory)):
            after = (directory, rows[-1].name)
            for row in rows:
                entry = dirents.get(self._index, directory, row.name)
                if entry is None or entry.ino != row.held.ino:
                    self.returned(Place(directory, row.name))

    # ---- decisions ----

    @property
    def verdict(self) -> Verdict | None:
        """What is being carried out."""
        return self._state.verdict

    def decide(self, verdict: Verdict) -> int:
        """Decides about all that is held; returns how many names that are. EBUSY: the last one is not done yet."""
        state = self._state
        if state.verdict is not None:
            raise FsError(errno.EBUSY, "the last decision is still being carried out")
        if not state.since_ns:
            return 0
        decided = _State(round=state.round + 1, verdict=verdict)  # what went before has been looked at: count anew
        with self._index.transaction() as txn:
            self._save(txn, decided)
        self._ring()
        return state.names

    def is_decided(self, row: Held) -> bool:
        """Whether the decision that is being carried out is about it."""
        return KEPT < row.round < self._state.round

    def confirm(self, row: Row) -> None:
        """The bucket was asked again: what is decided about the row holds, whatever is uploaded meanwhile."""
        with self._index.transaction() as txn:
            held.put(txn, row.parent, row.name, evolve(row.held, is_confirmed=True))

    def keep(self, place: Place, ino: int) -> None:
        """It stays although nothing can put it back into the bucket, and nobody is asked about it any more."""
        with self._index.transaction() as txn:
            held.put(txn, place.parent, place.name, Held(ino, KEPT))

    def finish(self) -> None:
        """The decision is carried out."""
        with self._index.transaction() as txn:
            self._save(txn, evolve(self._state, verdict=None))
        self._ring()

    def _ring(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    # ---- for people ----

    def status(self) -> dict[str, Any] | None:
        """{since_s, names, entries, examples (paths), verdict}; None: nothing is asked, and nothing to be done."""
        state = self._state
        if not state.since_ns and state.verdict is None:
            return None
        examples = [
            text_path(self._index, row.parent, row.name).lstrip("/")
            for row in held.page(self._index, (0, b""), _EXAMPLE_ROWS)
            if row.held.round == state.round
        ]
        return {
            "since_s": (self._clock.now_ns() - state.since_ns) / NS_PER_S if state.since_ns else None,
            "names": state.names,
            "entries": state.entries,
            "examples": examples[:_EXAMPLES],
            "verdict": state.verdict,
        }

    def page(self, after: tuple[int, bytes], limit: int) -> list[tuple[Row, str]]:
        """The next rows in the order of the index, each with its state: "asked", "approve", "reject" or "kept"."""
        named = []
        for row in held.page(self._index, after, limit):
            is_asked = row.held.round == self._state.round
            verdict = self._state.verdict.value if self._state.verdict is not None else "asked"
            named.append((row, "kept" if row.held.round == KEPT else "asked" if is_asked else verdict))
        return named
