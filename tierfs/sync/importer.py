"""Import: directories are listed when they are used, attributes are read when they are needed.

Promises: after `ensure_listed` the index has what the bucket had at some moment since the call began (or
since at most `revalidate_s` before it, or, while events tell of every change, what they told); after
`ensure_attributes` an inode's attributes are known. Many callers share one request. When the store cannot be
reached, a directory that was listed before is served as it was: the first use waits a few seconds for the
store, the uses that follow do not for a while.

Tasks: each caller works for itself, the first one for all who want the same; `run` reads attributes of
listed directories in the background. Checkpoints: every request, and every slice of a listing.
"""

import errno
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import trio
from attrs import define

from tierfs.clock import Clock
from tierfs.config.sections import ImportSettings
from tierfs.content.handles import Files
from tierfs.errors import FsError, StoreError, TierfsError
from tierfs.index import dirents, inodes
from tierfs.index import locations as rows
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag
from tierfs.namespace.keys import unreachable_reason
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore.base import ObjectInfo, ObjectStore
from tierfs.sync import attributes
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier, Seen
from tierfs.sync.flat import FlatListing
from tierfs.sync.guard import Removal
from tierfs.sync.keyrange import KeyRange
from tierfs.sync.listing import Lister, UnreachableKey
from tierfs.sync.looking import Looker
from tierfs.sync.news import Direction
from tierfs.sync.paths import Place, ancestors, display_path
from tierfs.sync.sampling import Sampler
from tierfs.sync.seen import Visit
from tierfs.sync.turns import Turns
from tierfs.units import NS_PER_S

_FILL_PAGE: Final = 256
_FILL_DIRECTORIES_KEPT: Final = 1000
_REPORT_KEYS_MAX: Final = 10_000
_AWAY_S: Final = 10.0  # a store that did not answer is not asked for known names for so long
_log: Final = logging.getLogger(__name__)


@define
class _Flight:
    """One request that several callers wait for. A cancelled leader leaves `is_complete` False."""

    done: trio.Event
    is_complete: bool = False
    error: TierfsError | None = None


class Importer:
    """See the module."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        files: Files,
        clock: Clock,
        settings: ImportSettings,
        applier: Applier,
        activity: Activity,
        notify: Notify,
        is_told_of: Callable[[int], bool] = lambda listed_ns: False,
    ) -> None:
        """`is_told_of`: events tell of every change since this time, so that a listing of then is as good as new."""
        self._index = index
        self._store = store
        self._locations = locations
        self._is_told_of = is_told_of
        self._clock = clock
        self.settings = settings
        self._applier = applier
        self.guard = applier.guard
        self._notify = notify
        self._activity = activity
        self.heads = trio.CapacityLimiter(settings.head_concurrency)
        self._lister = Lister(
            index=index, store=store, locations=locations, files=files, clock=clock, applier=applier,
            activity=activity, notify=notify, heads=self.heads, sample=settings.sample, policy=settings.attributes,
        )  # fmt: skip
        self._looker = Looker(
            index=index, store=store, locations=locations, lister=self._lister, applier=applier, activity=activity,
            notify=notify, heads=self.heads, takes_attributes=settings.attributes != "never",
        )  # fmt: skip
        self._sampler = Sampler(index=index, store=store, locations=locations, heads=self.heads, sample=settings.sample)
        self._turns = Turns()
        self._listings: dict[int, _Flight] = {}
        self._attribute_reads: dict[int, _Flight] = {}
        self._to_fill: dict[int, None] = {}
        self._fill_wake = trio.Event()
        self._away_until_s = -math.inf  # by trio's clock

    # ---- directories ----

    async def ensure_listed(self, ino: int) -> None:
        """The directory's names are those of the bucket, not older than `revalidate_s`.

        Returns at once for what is fresh, and for what is no directory. Raises StoreError when the
        directory was never listed and the store does not answer; one that was listed is served as it was.
        """
        while True:
            inode = inodes.get(self._index, ino)
            if inode is None or self._is_ready(inode):
                return
            flight = self._listings.get(ino)
            if flight is None:
                await self._lead(self._listings, ino, self._list)
                return
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error
            if flight.is_complete:
                return

    def _is_ready(self, inode: Inode) -> bool:
        is_fresh = self._is_fresh(inode)
        return is_fresh and (InodeFlag.UNSAMPLED not in inode.flags or trio.current_time() < self._away_until_s)

    def _is_fresh(self, inode: Inode) -> bool:
        if not inode.is_dir or inode.parent == 0 or self._is_local(inode):
            return True
        if InodeFlag.LISTED not in inode.flags:
            return False
        if trio.current_time() < self._away_until_s:
            return True
        if self._is_told_of(inode.listed_ns):
            return True
        age_ns = self._clock.now_ns() - inode.listed_ns
        return 0 <= age_ns < self.settings.revalidate_s * NS_PER_S or self._is_overlaid(inode)

    def hold_s(self, ino: int) -> float:
        """How long from now the names of a directory are taken as they are, without asking the bucket."""
        inode = inodes.get(self._index, ino)
        if inode is None or not self._is_fresh(inode):
            return 0.0
        is_current = self._is_told_of(inode.listed_ns) or self._is_local(inode)
        age_s = 0.0 if is_current else (self._clock.now_ns() - inode.listed_ns) / NS_PER_S
        return max(0.0, self.settings.revalidate_s - age_s)

    def _is_local(self, inode: Inode) -> bool:
        """A rule keeps out what the bucket has there."""
        return self._applier.rules.ignores(self._index, inode)

    def _is_overlaid(self, inode: Inode) -> bool:
        """Under its prefix lies what a renamed directory has not taken away yet: not to be told from its own."""
        overrides = rows.overrides(self._index)
        if not overrides:
            return False
        prefix = self._locations.actual_prefix(self._index, inode.ino)
        own = {inode.ino, *ancestors(self._index, inode)}
        return any(ino not in own and prefix.startswith(there) for ino, there in overrides)

    async def _lead(self, flights: dict[int, _Flight], ino: int, work: Callable[[int], Awaitable[None]]) -> None:
        """Does the work for all who ask meanwhile."""
        flight = flights[ino] = _Flight(trio.Event())
        try:
            await work(ino)
            flight.is_complete = True
        except TierfsError as error:
            flight.error = error
            raise
        finally:
            del flights[ino]
            flight.done.set()

    async def _list(self, ino: int) -> None:
        try:
            async with self._turns.of(ino):
                is_worth_filling = await self._bring_up_to_date(ino)
        except StoreError as error:
            inode = inodes.get(self._index, ino)
            if not error.retryable or inode is None or InodeFlag.LISTED not in inode.flags:
                raise
            self._away_until_s = trio.current_time() + _AWAY_S
            self._applier.news.failed(Direction.IMPORT, display_path(self._index, ino), str(error))
            _log.warning(
                "directories are shown as they were when they were last listed: %s", error, extra={"event": "TFS5003"}
            )
            return
        self._away_until_s = -math.inf
        if is_worth_filling and len(self._to_fill) < _FILL_DIRECTORIES_KEPT:
            self._to_fill[ino] = None
            self._fill_wake.set()

    async def _bring_up_to_date(self, ino: int) -> bool:
        """Lists it, unless a sweep or a scan just did; whether attributes of its entries are worth reading."""
        is_worth_filling = False
        inode = inodes.get(self._index, ino)
        if inode is None or not self._is_fresh(inode):
            is_worth_filling = await self._lister.refresh(ino)
            inode = inodes.get(self._index, ino)
        if inode is not None and InodeFlag.UNSAMPLED in inode.flags:
            is_worth_filling |= await self._sampler.settle(ino)
        return is_worth_filling

    # ---- listings for nobody in particular ----

    def flat(self, keys: KeyRange, visit: Visit, enters: Callable[[Inode], bool]) -> FlatListing:
        """A range of the bucket's keys, to be listed page by page."""
        return FlatListing(
            keys, index=self._index, store=self._store, locations=self._locations, clock=self._clock,
            lister=self._lister, activity=self._activity, turns=self._turns, visit=visit,
            enters=lambda inode: not self._is_local(inode) and enters(inode),
        )  # fmt: skip

    @property
    def lists_in_order(self) -> bool:
        """Whether the server's keys come in the order of their bytes, as a flat listing needs them."""
        return self._store.capabilities.ordered_listing

    async def let_users_first(self, limit_s: float) -> None:
        """Returns when no program waits for a directory, or after `limit_s`."""
        with trio.move_on_after(limit_s):
            while self._listings:
                await next(iter(self._listings.values())).done.wait()

    # ---- changes that somebody told of ----

    def is_busy(self, directory: int) -> bool:
        """A picture of the directory, or of many, is on its way, and may be older than what is known now."""
        return self._turns.is_taken(directory) or self._turns.ended.is_any

    def may_be_gone(self, directory: int) -> bool:
        """A directory that only shows in keys, and of which the index knows none."""
        return self._looker.may_be_gone(directory)

    async def look(self, directory: int, keys: Collection[str]) -> bool:
        """Brings single names of a directory up to date, and takes away what is no directory any more.

        False, and nothing done, when it was gone before. StoreError.
        """
        async with self._turns.of(directory):
            is_there = await self._looker.look(directory, keys)
        await self._prune(directory)
        return is_there

    async def relist(self, directory: int, visit: Visit | None = None) -> bool:
        """The same for all names: lists it, however fresh. StoreError."""
        async with self._turns.of(directory):
            await self._lister.refresh(directory, visit)
            inode = inodes.get(self._index, directory)
        await self._prune(directory)
        return inode is not None and inode.parent != 0

    async def remove_gone(self, place: Place, ino: int) -> bool:
        """Removes a name if the bucket has nothing of it; whether it did. The guard is not asked. StoreError."""
        async with self._turns.of(place.parent):
            is_removed = await self._looker.remove_gone(place, ino)
        await self._prune(place.parent)
        return is_removed

    async def is_gone(self, place: Place, ino: int) -> bool:
        """Whether the bucket has nothing of a name. StoreError."""
        return await self._looker.is_gone(place, ino)

    async def _prune(self, directory: int) -> None:
        at: int | None = directory
        while at is not None and self._looker.may_be_gone(at):
            parent = self._parent_of(at)
            async with self._turns.of(parent), self._turns.of(at):
                at = await self._looker.prune(at)

    def _parent_of(self, ino: int) -> int:
        inode = inodes.get(self._index, ino)
        return inode.parent if inode is not None else 0

    # ---- attributes ----

    async def ensure_attributes(self, ino: int) -> int:
        """The inode's attributes are known. Returns the inode number that its name has now.

        That is another one when the name turned out to be a further link of a known inode, or to lead to
        another version while the inode is open. Raises
        StoreError; FsError(ENOENT) when the object is gone.
        """
        while True:
            inode = inodes.get(self._index, ino)
            if inode is None or inode.parent == 0 or InodeFlag.ATTRS_KNOWN in inode.flags:
                return ino
            place = Place(inode.parent, inode.name)
            flight = self._attribute_reads.get(ino)
            if flight is None:
                await self._lead(self._attribute_reads, ino, self._read_attributes)
                return self._now_at(place, ino)
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error
            if flight.is_complete:
                return self._now_at(place, ino)

    def _now_at(self, place: Place, ino: int) -> int:
        inode = inodes.get(self._index, ino)
        if inode is not None and inode.parent:
            return ino
        entry = dirents.get(self._index, place.parent, place.name)
        return entry.ino if entry is not None else ino

    def doubt(self, ino: int) -> None:
        """A read found that the object is another version, or gone: the next use of the inode asks again."""
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or inode.is_dirty or InodeFlag.ATTRS_KNOWN not in inode.flags:
            return
        self._applier.unlearn(ino)
        self._notify.inode_changed(ino, content=False)

    async def _read_attributes(self, ino: int) -> None:
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or self.guard.is_held(Place(inode.parent, inode.name), ino):
            return
        key = self._key_of(inode)
        mark = self._activity.begin()
        try:
            async with self.heads:
                info = await attributes.head(self._store, key)
                details = await attributes.read_details(self._store, info) if info is not None else None
            # what was asked while we wrote or deleted it says nothing
            is_ours = self._activity.touched_since(mark, key)
        finally:
            self._activity.end(mark)
        asked, inode = inode, inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or InodeFlag.ATTRS_KNOWN in inode.flags or self._key_of(inode) != key:
            return  # something else told them meanwhile, or it has to be asked again
        if inode.base != asked.base:
            return  # the answer may be older than what an event has told
        if info is None:
            if not is_ours:
                self._absent(inode)
            return
        if inode.is_dir:
            self._applier.take_marker(ino, info)
        elif inode.base is not None and inode.base.etag != info.etag:
            self._applier.replace(inode.parent, Seen(inode.name, key, info), assume=False)
            return
        self._applier.absorb(ino, info, details)

    def _key_of(self, inode: Inode) -> str:
        if inode.base is not None:
            return self._locations.actual_key(self._index, inode)
        return self._locations.derived_key(self._index, inode)

    def _absent(self, inode: Inode) -> None:
        """No object there: an implicit directory, or a file that was deleted since the listing."""
        place = Place(inode.parent, inode.name)
        if inode.is_dir:
            self._applier.without_marker(inode.ino)
        elif not inode.is_dirty and self.guard.admit_one(Removal(place, inode.ino)):
            self._applier.remove_name(place)
            raise FsError(errno.ENOENT, "the object was deleted from the bucket")

    def absorb(self, ino: int, info: ObjectInfo) -> None:
        """Metadata that came for free with a GET."""
        self._applier.absorb(ino, info)

    async def run(self) -> None:
        """Reads the attributes of the entries of listed directories in the background, until it is cancelled."""
        while True:
            while self._to_fill:
                ino = next(iter(self._to_fill))
                del self._to_fill[ino]
                await self._fill(ino)
            self._fill_wake = trio.Event()
            await self._fill_wake.wait()

    async def _fill(self, directory: int) -> None:
        after = b""
        while page := dirents.page(self._index, directory, after, _FILL_PAGE):
            after = page[-1].name
            async with trio.open_nursery() as nursery:
                for entry in page:
                    inode = inodes.get(self._index, entry.ino)
                    if inode is not None and InodeFlag.ATTRS_KNOWN not in inode.flags:
                        nursery.start_soon(self._fill_one, entry.ino)
            await trio.lowlevel.checkpoint()

    async def _fill_one(self, ino: int) -> None:
        """Whoever needs the attributes asks again and gets the error; here it only costs the head start."""
        try:
            await self.ensure_attributes(ino)
        except TierfsError as error:
            _log.debug("attributes of inode %#x could not be read ahead: %s", ino, error)

    # ---- odd keys ----

    async def report(self) -> list[UnreachableKey]:
        """Every key of the bucket that no path leads to, with its reason; walks all keys. At most 10,000 are told."""
        found: dict[str, str] = dict(self._lister.unreachable)
        token = ""
        while len(found) < _REPORT_KEYS_MAX:
            page = await self._store.list("", delimited=False, token=token)
            for info in page.objects:
                for part in info.key.removesuffix("/").split("/"):
                    if reason := unreachable_reason(part):
                        found[info.key] = reason
                        break
            token = page.token
            if not token:
                break
        return [UnreachableKey(key, reason) for key, reason in sorted(found.items())]
