"""The background scan: names of the whole bucket come into the index, so that no program waits for a first listing.

First the bucket is listed flat (see traversal.py), 1,000 keys with each LIST; then the tree is walked, and directories
that are not listed even so are listed by themselves: those that changed meanwhile, and all of them where the server has
no order. Only names are asked for; the first use of a directory asks for attributes.

How far it came is in the index with each page, so a restart goes on there. Once done, it is done for this cache: later
mounts only list directories that nobody has listed by then. Programs that wait for a directory go first.
"""

import enum
import json
import logging
from collections.abc import Iterable
from typing import Any, Final

import trio
from attrs import frozen

from tierfs.clock import Clock
from tierfs.config.sections import ImportSettings
from tierfs.errors import FsError, IndexDamageError, TierfsError
from tierfs.index import inodes
from tierfs.index import settings as stored
from tierfs.index.env import Index
from tierfs.sync.flat import UnorderedError
from tierfs.sync.importer import Importer
from tierfs.sync.keyrange import KeyRange
from tierfs.sync.seen import Visit
from tierfs.sync.traversal import Traversal
from tierfs.sync.walk import is_listed, walk
from tierfs.units import NS_PER_S

_SETTING: Final = "scan"
_RETRY_S: Final = 60.0
_USERS_FIRST_S: Final = 1.0  # a page comes at least so often, however busy the mount is
_log: Final = logging.getLogger(__name__)


class Phase(enum.Enum):
    """What a scan is at."""

    NEW = "new"
    FLAT = "flat"
    WALK = "walk"
    DONE = "done"


@frozen
class Progress:
    """How far it came; `left`: ranges that are not listed flat yet; `done_ns`: when it ended."""

    phase: Phase = Phase.NEW
    left: tuple[KeyRange, ...] = ()
    done_ns: int = 0

    def encode(self) -> bytes:
        ranges = [(keys.after, keys.until) for keys in self.left]
        return json.dumps((self.phase.value, ranges, self.done_ns), separators=(",", ":")).encode()

    @staticmethod
    def decode(record: bytes) -> "Progress":
        """Raises IndexDamageError."""
        try:
            phase, ranges, done_ns = json.loads(record)
            return Progress(Phase(phase), tuple(KeyRange(after, until) for after, until in ranges), int(done_ns))
        except (ValueError, TypeError) as error:
            raise IndexDamageError(f"progress of the scan: {error}") from error


class Pace:
    """At most so many LISTs a second in the long run, and none while a program waits for a directory."""

    def __init__(self, importer: Importer, requests_s: int) -> None:
        self.requests = 0
        self._importer = importer
        self._gap_s = 1 / requests_s
        self._free_s = 0.0
        self._ahead = 0

    async def wait(self) -> None:
        """Before a LIST."""
        await self._importer.let_users_first(_USERS_FIRST_S)
        until_s = self._spend()
        self._ahead += 1
        await trio.sleep_until(until_s)

    def spent(self) -> None:
        """There was a LIST: one that was waited for, or a further page of that."""
        self.requests += 1
        if self._ahead:
            self._ahead -= 1
        else:
            self._spend()

    def _spend(self) -> float:
        now_s = max(self._free_s, trio.current_time())
        self._free_s = now_s + self._gap_s
        return now_s


class Scan:
    """`run` once, in a nursery; it returns when all is done. Raises IndexDamageError."""

    def __init__(self, *, index: Index, importer: Importer, clock: Clock, settings: ImportSettings) -> None:
        self._index = index
        self._importer = importer
        self._clock = clock
        self._is_on = settings.scan
        self._listings = settings.scan_concurrency
        self._pace = Pace(importer, settings.scan_requests_s)
        self._visit = Visit(paged=self._pace.spent)
        self._traversal: Traversal | None = None
        self._directories = 0
        self._error = ""
        record = stored.get(index, _SETTING)
        self._progress = Progress.decode(record) if record is not None else Progress()

    async def run(self) -> None:
        """Until all names are in the index; when the store is away, or the index full, it tries again, and again."""
        while self._is_on:
            try:
                await self._scan()
                return
            except TierfsError as error:
                self._error = str(error)
                _log.info("the scan of the bucket stopped, it goes on in %g s: %s", _RETRY_S, error)
            await trio.sleep(_RETRY_S)
            self._error = ""

    async def _scan(self) -> None:
        if self._progress.phase in (Phase.NEW, Phase.FLAT):
            await self._list_flat()
            self._save(Phase.WALK)
        await walk(self._index, self._list_missing)
        if self._progress.phase is not Phase.DONE:
            self._save(Phase.DONE)
            _log.info("the scan is done: the index has the names of the whole bucket")

    async def _list_flat(self) -> None:
        if not self._importer.lists_in_order:
            return
        traversal = self._traversal = Traversal(
            index=self._index, importer=self._importer, listings=self._listings, visit=self._visit,
            enters=lambda inode: True, pace=self._pace.wait,
            progressed=lambda: self._save(Phase.FLAT, traversal.left),
        )  # fmt: skip
        try:
            is_new = self._progress.phase is Phase.NEW
            await traversal.run(await traversal.begin() if is_new else self._progress.left)
        except UnorderedError as error:
            _log.info("directories are scanned one by one: %s", error)
        finally:
            self._directories += traversal.directories
            self._traversal = None

    async def _list_missing(self, directory: int) -> bool:
        inode = inodes.get(self._index, directory)
        if inode is None or not inode.is_dir or inode.parent == 0:
            return False
        if not is_listed(inode):
            await self._pace.wait()
            try:
                await self._importer.relist(directory, self._visit)
            except FsError as error:
                _log.debug("directory %#x went while it was scanned: %s", directory, error)
            self._directories += 1
        return True

    def _save(self, phase: Phase, left: Iterable[KeyRange] = ()) -> None:
        done_ns = self._clock.now_ns() if phase is Phase.DONE else 0
        self._progress = Progress(phase, tuple(left), done_ns)
        with self._index.transaction() as txn:
            stored.put(txn, _SETTING, self._progress.encode())

    def status(self) -> dict[str, Any] | None:
        """For people: {state, directories, requests, at, age_s, error}; None when it is off."""
        if not self._is_on:
            return None
        progress, traversal = self._progress, self._traversal
        return {
            "state": progress.phase.value,
            "directories": self._directories + (traversal.directories if traversal is not None else 0),
            "requests": self._pace.requests,
            "at": [keys.after for keys in progress.left],
            "age_s": (self._clock.now_ns() - progress.done_ns) / NS_PER_S if progress.done_ns else None,
            "error": self._error,
        }
