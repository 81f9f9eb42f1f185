"""A decision about names that the bucket has no more, carried out name by name; see `guard`.

Before each name the bucket is asked again: what is there by now is no matter of the decision any more. Then

    approve   the name goes, with what is below it; what was changed here meanwhile stays, and is uploaded
    reject    a bucket that keeps versions gets its objects back. Of the others, what is here whole, and each directory,
              is uploaded as if it were new; any other file keeps its name and what is here of it, and its other bytes
              cannot be read. So does every file of a read-only mount.

A row goes when it is carried out, so this goes on after a crash and after a failure of the store.
Checkpoints: the requests for each name, and each page of a directory.
"""

import enum
import logging
from collections.abc import Callable
from typing import Final, TypeAlias

import trio
from attrs import define

from tierfs.clock import Clock
from tierfs.errors import StoreError
from tierfs.index import dirents, held, inodes, intents, links, residency
from tierfs.index import locations as rows
from tierfs.index.env import Index, Txn
from tierfs.index.held import Row
from tierfs.model import Inode, InodeFlag, revise
from tierfs.namespace.keys import name_to_part
from tierfs.namespace.locations import Locations
from tierfs.policy.guard import Verdict
from tierfs.sync.guard import Guard
from tierfs.sync.history import History
from tierfs.sync.importer import Importer
from tierfs.sync.paths import Place, display_path
from tierfs.sync.seen import SeenNames

_PAGE_ROWS: Final = 256
_RETRY_S: Final = 10.0
_TELL_S: Final = 1.0
_log: Final = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int], None]
"""Is given how many names are left, now and then."""


@define
class Outcome:
    """Of a decision, in files and directories."""

    names: int = 0  # what was held by itself: of a directory, not what is below it
    removed: int = 0
    restored: int = 0  # from versions of the bucket
    uploaded: int = 0
    unreadable: int = 0  # kept, and some of their bytes are nowhere
    returned: int = 0  # in the bucket again, or changed here: nothing was done


class _Fate(enum.Enum):
    """Of what is rejected to go."""

    PENDING = enum.auto()  # changed here: on its way to the bucket already
    UPLOADED = enum.auto()
    STAYS = enum.auto()


class Verdicts:
    """`run` once, in a nursery."""

    def __init__(
        self,
        *,
        index: Index,
        guard: Guard,
        importer: Importer,
        history: History,
        locations: Locations,
        clock: Clock,
        wake_export: Callable[[], None],
        read_only: bool,
    ) -> None:
        self._index = index
        self._guard = guard
        self._importer = importer
        self._history = history
        self._locations = locations
        self._clock = clock
        self._wake_export = wake_export
        self._read_only = read_only
        self.outcome = Outcome()
        """Of the decision that is, or was last, carried out since the start."""

    async def run(self) -> None:
        """Carries out each decision, also one of an earlier life, until it is cancelled."""
        while True:
            changed = self._guard.changed
            if self._guard.verdict is None:
                await changed.wait()
                continue
            try:
                await self.carry_out(self._guard.verdict)
            except StoreError as error:
                _log.warning(
                    "tierctl sync %s goes on when the store answers: %s",
                    self._guard.verdict,
                    error,
                    extra={"event": "TFS5008"},
                )
                await trio.sleep(_RETRY_S)

    async def decide(self, verdict: Verdict, tell: Progress) -> Outcome:
        """Decides about all that is held; returns when it is carried out, by `run`. FsError(EBUSY).

        Who does not wait for the end changes nothing.
        """
        names = self._guard.decide(verdict)
        if not names:
            return Outcome()
        while self._guard.verdict is not None:
            changed, outcome = self._guard.changed, self.outcome
            tell(max(0, names - outcome.names))
            with trio.move_on_after(_TELL_S):
                await changed.wait()
        return self.outcome

    async def forecast(self, verdict: Verdict) -> Outcome:
        """What `decide` would do now, as far as it can be told without asking the bucket again."""
        outcome, after = Outcome(), (0, b"")
        while page := self._guard.page(after, _PAGE_ROWS):
            after = (page[-1][0].parent, page[-1][0].name)
            for row, state in page:
                if state != "asked" or not self._leads_there(row):
                    continue
                outcome.names += 1
                if verdict is Verdict.APPROVE:
                    outcome.removed += row.held.entries
                    continue
                await self._walk(row, lambda _, inode: self._count(outcome, self._fate(inode), inode))
            await trio.lowlevel.checkpoint()
        return outcome

    async def carry_out(self, verdict: Verdict) -> None:
        """All of it. StoreError; what was done by then is done."""
        after = (0, b"")
        self.outcome = outcome = Outcome()
        while page := held.page(self._index, after, _PAGE_ROWS):
            after = (page[-1].parent, page[-1].name)
            for row in page:
                if not self._leads_there(row):
                    self._guard.returned(Place(row.parent, row.name))
                elif self._guard.is_decided(row.held):
                    await self._carry_out(verdict, row)
                    outcome.names += 1
            await trio.lowlevel.checkpoint()
        self._guard.finish()
        _log.info(
            "tierctl sync %s is carried out: %d removed, %d restored from versions, %d to be uploaded, %d kept that "
            "are not here whole; %d were in the bucket again, or changed here",
            verdict, outcome.removed, outcome.restored, outcome.uploaded, outcome.unreadable, outcome.returned,
            extra={"event": "TFS5002"},
        )  # fmt: skip

    async def _carry_out(self, verdict: Verdict, row: Row) -> None:
        place, ino = Place(row.parent, row.name), row.held.ino
        if verdict is Verdict.APPROVE:
            if await self._importer.remove_gone(place, ino):
                self.outcome.removed += row.held.entries
            else:
                self.outcome.returned += 1
            self._guard.returned(place)
        elif row.held.is_confirmed or (await self._importer.is_gone(place, ino) and self._leads_there(row)):
            self._guard.confirm(row)
            await self._keep(row)
        else:
            self.outcome.returned += 1
            self._guard.returned(place)

    def _leads_there(self, row: Row) -> bool:
        entry = dirents.get(self._index, row.parent, row.name)
        return entry is not None and entry.ino == row.held.ino

    # ---- what stays ----

    async def _keep(self, row: Row) -> None:
        """The row goes last: until then it keeps the only copies from being evicted."""
        back = await self._restored(row)
        await self._walk(row, lambda place, inode: self._keep_one(place, inode, back))
        found = held.get(self._index, row.parent, row.name)
        if found is not None and self._guard.is_decided(found):
            self._guard.returned(Place(row.parent, row.name))
        self._wake_export()

    async def _restored(self, row: Row) -> SeenNames:
        """The keys of what the bucket has from its versions again."""
        back, place = SeenNames(), Place(row.parent, row.name)
        top = inodes.get(self._index, row.held.ino)
        if top is None:
            return back
        try:
            await self._history.restore(self._key_of(place, top), lambda key: back.add(key.encode()))
        except StoreError as error:
            if error.retryable:
                raise
            _log.warning(
                "%s is not restored from versions: %s",
                display_path(self._index, top.ino),
                error,
                extra={"event": "TFS5007"},
            )
        return back

    async def _walk(self, row: Row, see: Callable[[Place, Inode], None]) -> None:
        """Shows `see` a held name and all below it, directories first. Checkpoint for each page of a directory."""
        stack = [row.held.ino]
        top = inodes.get(self._index, row.held.ino)
        if top is not None:
            see(Place(row.parent, row.name), top)
        while stack:
            directory, after = stack.pop(), b""
            while page := dirents.page(self._index, directory, after, _PAGE_ROWS):
                after = page[-1].name
                for entry in page:
                    inode = inodes.get(self._index, entry.ino)
                    if inode is not None:
                        see(Place(directory, entry.name), inode)
                        stack += [inode.ino] if inode.is_dir else []
                await trio.lowlevel.checkpoint()

    def _key_of(self, place: Place, inode: Inode) -> str:
        if (inode.parent, inode.name) == (place.parent, place.name):
            return self._locations.actual_key(self._index, inode)
        return self._locations.actual_prefix(self._index, place.parent) + name_to_part(place.name)

    def _keep_one(self, place: Place, inode: Inode, back: SeenNames) -> None:
        if self._key_of(place, inode).encode() in back:
            self.outcome.restored += 1
            return
        fate = self._fate(inode)
        if fate is _Fate.STAYS:
            self._guard.keep(place, inode.ino)
        elif fate is _Fate.UPLOADED:
            with self._index.transaction() as txn:
                self._mark_new(txn, place, inode)
        self._count(self.outcome, fate, inode)

    def _fate(self, inode: Inode) -> "_Fate":
        if inode.is_dirty:
            return _Fate.PENDING
        return _Fate.STAYS if self._read_only or not residency.is_whole(self._index, inode) else _Fate.UPLOADED

    def _count(self, outcome: Outcome, fate: "_Fate", inode: Inode) -> None:
        outcome.uploaded += fate is _Fate.UPLOADED
        outcome.unreadable += fate is _Fate.STAYS and not residency.is_whole(self._index, inode)

    def _mark_new(self, txn: Txn, place: Place, inode: Inode) -> None:
        """The bucket has nothing of it."""
        now_ns = self._clock.now_ns()
        if (inode.parent, inode.name) != (place.parent, place.name):
            links.put(txn, inode.ino, place.parent, place.name, None)
            intents.mark_dirty(txn, inode, InodeFlag.META_DIRTY, now_ns=now_ns, quiet_s=0)
            return
        rows.clear_location(txn, inode.ino)
        flags = inode.flags & ~InodeFlag.IMPLICIT
        dirty = InodeFlag.META_DIRTY if inode.is_dir else InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY
        intents.mark_dirty(txn, revise(inode, base=None, flags=flags), dirty, now_ns=now_ns, quiet_s=0)
