"""Fetching absent ranges: from the base object or a spill, through the gate, into the backing file.

A flight runs in the nursery of `Files.run`, not in its first reader, so that a cancelled reader does not
take it along. Checkpoints: waiting for the gate, the GET, room in the tier, the lock of the file, the write
in a worker thread. What is checked after them is in `_land`.
"""

import errno
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from tierfs import native
from tierfs.content.checks import RangeChecks, expected_crc
from tierfs.content.flights import Flight, Gate, Source, Ticket
from tierfs.content.ledger import Ledger
from tierfs.content.live import LiveFile
from tierfs.errors import FsError, StoreError, StoreErrorKind, TierfsError
from tierfs.faultpoints import Point, reach
from tierfs.index import inodes, sums
from tierfs.model import InodeFlag, Sum
from tierfs.objectstore.base import ObjectStore

_log: Final = logging.getLogger(__name__)
_GET_TRIES: Final = 2  # a body that arrived broken is asked for once more; other failures are the store's to repeat


class Fetcher:
    """Starts flights, lands them, and reads past the tier."""

    def __init__(
        self,
        ledger: Ledger,
        store: ObjectStore,
        locate: Callable[[int], str],
        nursery: Callable[[], trio.Nursery],
    ) -> None:
        settings = ledger.settings
        self._ledger = ledger
        self._store = store
        self._locate = locate
        self._nursery = nursery
        self._gate = Gate(settings.fetch_memory_bytes, settings.file_fetch_memory_bytes)
        # the twin of the native checksum needs a second for 8 MiB
        self._verifies = settings.verify and native.ACCELERATED
        self._carried: deque[tuple[LiveFile, Flight]] = deque()
        self._carried_bytes = 0

    # ---- where absent bytes are ----

    def source_at(self, live: LiveFile, offset: int) -> Source:
        """The object that has the byte.

        FsError(EIO) when nothing has it: an index or a bucket was damaged. FsError(ESTALE) for an unlinked file whose
        object was deleted: another client replaced it, or nobody had the file open.
        """
        spills = self._ledger.spills(live)
        spill = next((each for each in spills if each.start <= offset < each.stop), None)
        if spill is not None:
            return Source(spill.key, spill.etag, spill.start, is_spill=True)
        inode = inodes.get(self._ledger.index, live.ino)
        if inode is not None and inode.base is None and inode.parent == 0:
            raise FsError(errno.ESTALE, f"the object of inode {live.ino:#x} went with its name")
        if inode is None or inode.base is None or offset >= inode.base.size_bytes:
            raise FsError(errno.EIO, f"no object has byte {offset} of inode {live.ino:#x}")
        return Source(self._locate(live.ino), inode.base.etag)

    async def admit(self, live: LiveFile) -> None:
        """A file is about to be opened: returns when what is absent of it can be fetched.

        FsError(ESTALE) when it lost its name, and its object with it, a moment ago; StoreError(ARCHIVED).
        """
        gaps = live.missing(0, live.size_bytes)
        inode = self._ledger.inode(live.ino)
        if inode.parent == 0:
            for start, stop in gaps:
                self.pieces(live, start, stop)
        if gaps:
            await self._ledger.archive.admit(inode)

    def pieces(self, live: LiveFile, start: int, stop: int) -> list[tuple[int, int, Source]]:
        """An absent range cut where its source changes and at part boundaries."""
        part = self._store.part_size_bytes
        spills = self._ledger.spills(live)
        cuts = sorted({edge for spill in spills for edge in (spill.start, spill.stop) if start < edge < stop})
        found = []
        at = start
        while at < stop:
            end = min(stop, (at // part + 1) * part, next((cut for cut in cuts if cut > at), stop))
            found.append((at, end, self.source_at(live, at)))
            at = end
        return found

    # ---- flights ----

    def launch(self, live: LiveFile, start: int, stop: int, *, is_urgent: bool) -> None:
        """Sees that everything absent in [start, stop) is on its way. Plain function: no checkpoint."""
        stop = min(stop, live.size_bytes)
        for gap_start, gap_stop in live.missing(start, stop):
            at = gap_start
            for flight in sorted([*live.flights, *self._carried_of(live)], key=lambda each: each.start):
                if not flight.overlaps(gap_start, gap_stop):
                    continue
                if is_urgent:
                    self.hasten(flight)
                if at < flight.start:
                    self._launch_pieces(live, at, flight.start, is_urgent=is_urgent)
                at = max(at, flight.stop)
            if at < gap_stop:
                self._launch_pieces(live, at, gap_stop, is_urgent=is_urgent)

    def hasten(self, flight: Flight) -> None:
        """A reader waits for it now."""
        flight.is_urgent = True
        if flight.ticket is not None:
            self._gate.promote(flight.ticket)

    def _launch_pieces(self, live: LiveFile, start: int, stop: int, *, is_urgent: bool) -> None:
        for piece_start, piece_stop, source in self.pieces(live, start, stop):
            self._start(live, Flight(piece_start, piece_stop, source, is_urgent=is_urgent))

    def launch_whole(self, live: LiveFile, *, is_urgent: bool) -> Flight | None:
        """One request for all of a small cold file. None where some of it is here or on its way already."""
        if (
            live.flights
            or self._ledger.spills(live)
            or live.record is not None
            or live.is_whole
            or self._carried_of(live)
        ):
            return None
        flight = Flight(0, live.size_bytes, self.source_at(live, 0), is_urgent=is_urgent, is_whole=True)
        self._start(live, flight)
        return flight

    def _start(self, live: LiveFile, flight: Flight) -> None:
        live.flights.append(flight)
        live.references += 1
        try:
            self._nursery().start_soon(self._fly, live, flight)
        except BaseException:
            live.flights.remove(flight)
            live.references -= 1
            raise

    async def join(self, live: LiveFile, flight: Flight) -> None:
        """Waits for the end of the flight. It is cancelled with the last who waits, unless readahead wants it."""
        flight.waiters += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.is_ahead:
                self._cancel(live, flight)

    def cancel_ahead(self, live: LiveFile) -> None:
        """Nobody has the file open any more: what only readahead wanted is given up."""
        for flight in list(live.flights):
            flight.is_ahead = False
            if not flight.waiters:
                self._cancel(live, flight)
        for flight in list(live.carried):
            self._put_down(live, flight)

    @staticmethod
    def _cancel(live: LiveFile, flight: Flight) -> None:
        if flight in live.flights:
            # out of sight at once: who comes now starts another one
            live.flights.remove(flight)
            flight.is_void = True
            flight.scope.cancel()

    async def _fly(self, live: LiveFile, flight: Flight) -> None:
        has_ended = False
        try:
            with flight.scope:
                flight.ticket = Ticket(live.ino, flight.stop - flight.start, is_urgent=flight.is_urgent)
                async with self._gate.entered(flight.ticket):
                    data = await self._get(flight)
                    await self._land(live, flight, data)
            has_ended = True
        except TierfsError as error:
            flight.error = error
            has_ended = True
        finally:
            if not has_ended:
                flight.error = FsError(errno.EIO, "tierfs is stopping")
            if flight in live.flights:
                live.flights.remove(flight)
            flight.done.set()
            self._ledger.let_go(live)

    async def _get(self, flight: Flight) -> memoryview:
        start, stop = flight.start, flight.stop
        for attempt in range(1, _GET_TRIES + 1):
            try:
                return await self._get_once(flight.source, start, stop, is_whole=flight.is_whole)
            except StoreError as error:
                if error.kind is not StoreErrorKind.CORRUPT or attempt == _GET_TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _get_once(self, source: Source, start: int, stop: int, *, is_whole: bool) -> memoryview:
        size = stop - start
        if is_whole:
            body = await self._store.get_whole(source.key, if_match=source.etag, limit_bytes=size)
        else:
            first = start - source.origin
            body = await self._store.get(source.key, first, first + size, if_match=source.etag)
        if len(body.data) != size:
            raise StoreError(
                StoreErrorKind.CORRUPT, f"{len(body.data)} bytes instead of {size} at {start}", key=source.key
            )
        return memoryview(body.data)

    async def _land(self, live: LiveFile, flight: Flight, data: memoryview) -> None:
        """Puts the bytes where they are still missing, and tells the ledger."""
        live.is_read_past = not await self._admits(live, flight)
        if live.is_read_past:
            self._check_whole(live, flight, data)
            if not flight.is_void:
                self._carry(live, flight, data)
            return
        try:
            async with live.mutate:
                if self._is_outdated(live, flight):
                    flight.is_void = True
                    return
                backing = self._ledger.materialize(live)
                # what was written or cut off meanwhile is not ours any more
                gaps = live.missing(flight.start, min(flight.stop, live.size_bytes))
                crcs = [
                    await backing.write_checked(start, data[start - flight.start : stop - flight.start])
                    for start, stop in gaps
                ]
                reach(Point.FETCH_WRITTEN)
                is_synced = await self._sync_if_trusted(live)
                if self._is_outdated(live, flight):
                    flight.is_void = True
                    return
                self._note_checks(live, gaps, crcs)
                if (mismatch := self._mismatch(live)) is not None:
                    await self._throw_away(live, flight)
                    self._fail_check(live, flight, *mismatch)
                    return
                if live.present is not None:
                    live.alterations += 1
                    kept = self._kept_checksums(live, flight, gaps, crcs)
                    self._ledger.add_present(live, gaps, is_synced=is_synced, checksums=kept)
                    self._ledger.lending.present(live, gaps)
        finally:
            self._ledger.space.unreserve(flight.stop - flight.start)

    async def _admits(self, live: LiveFile, flight: Flight) -> bool:
        """Is there room in the tier? Reserves it.

        A file of which parts were spilled does not take them back, and a dirty file takes no room that others
        would have to make: nothing of it can be evicted before its export. Rules may have it read past the tier.
        """
        space, size = self._ledger.space, flight.stop - flight.start
        inode = inodes.get(self._ledger.index, live.ino)
        is_dirty = inode is not None and InodeFlag.DATA_DIRTY in inode.flags
        if flight.source.is_spill or (is_dirty and not space.fits(size)):
            return False
        if live.is_for_passers or (inode is not None and not is_dirty and not self._ledger.rules.caches(inode)):
            return False
        return await space.reserve_clean(size)

    def _is_outdated(self, live: LiveFile, flight: Flight) -> bool:
        if live.is_dead:
            return True
        inode = inodes.get(self._ledger.index, live.ino)
        return inode is None or inode.base is None or inode.base.etag != flight.source.etag

    async def _sync_if_trusted(self, live: LiveFile) -> bool:
        """A dirty file that was fsynced keeps that promise: its new extents are on the disk before they count."""
        record = live.record
        if record is None or not record.synced:
            return False
        if InodeFlag.DATA_DIRTY not in self._ledger.inode(live.ino).flags:
            return False
        await live.open_backing.sync()
        return True

    # ---- bodies that were not admitted ----

    def _carry(self, live: LiveFile, flight: Flight, data: memoryview) -> None:
        """Keeps the body for the reads that follow, all files together up to `carry_bytes`."""
        flight.data = data
        live.carried.append(flight)
        self._carried.append((live, flight))
        self._carried_bytes += len(data)
        while self._carried_bytes > self._ledger.settings.carry_bytes and len(self._carried) > 1:
            self._put_down(*self._carried[0])

    def _put_down(self, live: LiveFile, flight: Flight) -> None:
        live.carried.remove(flight)
        self._carried.remove((live, flight))
        self._carried_bytes -= flight.stop - flight.start

    def _carried_of(self, live: LiveFile) -> list[Flight]:
        """The bodies in memory that are still what the file's absent bytes are."""
        for flight in list(live.carried):
            gaps = live.missing(flight.start, min(flight.stop, live.size_bytes))
            if not gaps or self.source_at(live, gaps[0][0]) != flight.source:
                self._put_down(live, flight)
        return live.carried

    # ---- checksums ----

    def _note_checks(self, live: LiveFile, gaps: list[tuple[int, int]], crcs: list[int]) -> None:
        if live.checks is not None and self._verifies:
            for (start, stop), crc in zip(gaps, crcs, strict=True):
                live.checks.add(start, stop, crc)

    def _kept_checksums(
        self, live: LiveFile, flight: Flight, gaps: list[tuple[int, int]], crcs: list[int]
    ) -> list[Sum]:
        """What the index keeps for those who read the bytes again.

        Nothing of a file that is written, nor of one that came whole and has a checksum of its own.
        """
        inode = self._ledger.inode(live.ino)
        if InodeFlag.DATA_DIRTY in inode.flags or inode.base is None or flight.source.is_spill:
            return []
        is_whole = gaps == [(0, live.size_bytes)]
        if is_whole and expected_crc(inode.base.content) is not None:
            return []
        version = sums.etag_hash(inode.base.etag)
        return [Sum(start, stop, crc, version) for (start, stop), crc in zip(gaps, crcs, strict=True)]

    def _mismatch(self, live: LiveFile) -> tuple[int, int] | None:
        """(the checksum found, the object's) of a file of which all was fetched, and is not what it should be."""
        if live.checks is None or not self._verifies:
            return None
        found = live.checks.whole(live.size_bytes)
        inode = self._ledger.inode(live.ino)
        expected = expected_crc(inode.base.content) if inode.base is not None else None
        if expected is None or found is None or InodeFlag.DATA_DIRTY in inode.flags:
            return None
        if found != expected:
            return found, expected
        live.verify_failures = 0
        return None

    async def _throw_away(self, live: LiveFile, flight: Flight) -> None:
        """What is here of the file is wrong. The caller holds `mutate`."""
        await self._ledger.lending.withdraw(live.ino)  # who reads it past us would see a hole
        live.checks = RangeChecks()
        if self._is_outdated(live, flight):
            return
        if live.guards or live.writers:
            self._ledger.remove_present(live, live.local_ranges())
        else:
            self._ledger.drop(live)

    def _check_whole(self, live: LiveFile, flight: Flight, data: memoryview) -> None:
        """The same for a whole file that is read past the tier."""
        inode = inodes.get(self._ledger.index, live.ino)
        if not self._verifies or inode is None or inode.base is None:
            return
        if (flight.start, flight.stop) != (0, inode.base.size_bytes):  # the file may have been cut: not its own size
            return
        expected = expected_crc(inode.base.content) if inode.base.etag == flight.source.etag else None
        found = native.crc64nvme(data)
        if expected is not None and found != expected:
            self._fail_check(live, flight, found, expected)

    def _fail_check(self, live: LiveFile, flight: Flight, found: int, expected: int) -> None:
        live.verify_failures += 1
        if live.verify_failures < _GET_TRIES:
            _log.warning(
                "checksum of %r is %016x, not %016x: fetching it again",
                flight.source.key,
                found,
                expected,
                extra={"event": "TFS3004"},
            )
            flight.is_void = True
            return
        live.verify_failures = 0
        raise StoreError(
            StoreErrorKind.CORRUPT, f"checksum {found:016x} instead of {expected:016x}", key=flight.source.key
        )

    # ---- past the tier ----

    async def fetch_past(self, live: LiveFile, start: int, stop: int) -> list[tuple[int, memoryview]]:
        """An absent range as (offset, bytes), in order, without admitting anything: for exports. One GET at a time."""
        chunks = []
        for piece_start, piece_stop, source in self.pieces(live, start, stop):
            flight = Flight(piece_start, piece_stop, source, is_urgent=False)
            async with self._gate.entered(Ticket(live.ino, piece_stop - piece_start, is_urgent=False)):
                chunks.append((piece_start, await self._get(flight)))
        return chunks
