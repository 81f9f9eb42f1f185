"""Reads: from the backing file where the bytes are, through flights where they are not."""

import errno
import os
from collections.abc import Callable
from typing import Final

import trio

from tierfs.content.fetch import Fetcher
from tierfs.content.flights import Flight
from tierfs.content.ledger import Ledger, is_clean
from tierfs.content.live import LiveFile
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.index import intents, locations
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.readahead import ReadaheadSettings, advise
from tierfs.telemetry.meters import Meters
from tierfs.telemetry.oplog import waited_for_bucket

# void flights in a row before a reader gives up: each means that the file was changed under it
_VOID_MAX: Final = 8
# our own export of the file is given so long to tell what it did; then the reader gets its ESTALE
_OUTCOME_WAIT_S: Final = 30.0
_OUTCOME_POLL_S: Final = 0.05
_MOVED: Final = (StoreErrorKind.PRECONDITION_FAILED, StoreErrorKind.NOT_FOUND)


class Reader:
    """Reads of live files. Checkpoints: flights, and worker threads where the page cache does not have the bytes."""

    def __init__(
        self, ledger: Ledger, fetcher: Fetcher, store: ObjectStore, on_stale: Callable[[int], None], meters: Meters
    ) -> None:
        settings = ledger.settings
        self._ledger = ledger
        self._meters = meters
        self._fetcher = fetcher
        self._on_stale = on_stale
        self._readahead = ReadaheadSettings(
            block_bytes=settings.block_bytes,
            part_size_bytes=store.part_size_bytes,
            max_window_bytes=settings.max_window_bytes,
            max_parts_in_flight=settings.max_parts_in_flight,
        )
        # past the tier what is ahead waits in memory
        self._readahead_past = ReadaheadSettings(
            block_bytes=settings.block_bytes,
            part_size_bytes=max(settings.block_bytes, min(store.part_size_bytes, settings.carry_bytes // 16)),
            max_window_bytes=settings.carry_bytes // 4,
        )

    async def read(self, live: LiveFile, offset: int, size: int) -> bytes:
        """[offset, offset + size), shorter only at the end of the file. FsError, StoreError."""
        if live.writers:
            self._ledger.refresh(live)
        stop = min(offset + size, live.size_bytes)
        if offset >= stop:
            return b""
        self._ledger.touch(live)
        if live.covers(offset, stop):
            data = live.open_backing.try_read(offset, stop - offset)
            if data is not None:
                if not live.is_whole:
                    self._look_ahead(live, offset, stop)
                self._meters.read(len(data), waited=False)
                return data
        waited = not live.covers(offset, stop)
        with live.guarded(offset, stop):
            if not live.is_whole:
                self._look_ahead(live, offset, stop)
            data = await self._assemble(live, offset, stop)
        self._meters.read(len(data), waited=waited)
        return data

    async def bring(self, live: LiveFile, offset: int, size: int) -> None:
        """Returns when [offset, offset + size) is present, or was not admitted to the tier. FsError, StoreError."""
        stop = min(offset + size, live.size_bytes)
        if offset >= stop or live.is_whole:
            return
        self._ledger.touch(live)
        waits = not live.covers(offset, stop)
        self._look_ahead(live, offset, stop)
        at, void_count = offset, 0
        while (at := self._local_stop(live, at, stop)) < min(stop, live.size_bytes):
            flight = await self._joined(live, at, stop)
            if flight.data is not None:
                return
            if flight.error is not None or flight.is_void:
                void_count += 1
                self._check_progress(live, void_count)
        if waits:
            self._meters.brought(stop - offset)

    async def bring_whole(self, live: LiveFile) -> bool:
        """Returns when all is present, or False when some of it was not admitted to the tier, or has left it again to
        make room for the rest. FsError, StoreError.

        Nobody waits for these bytes: whoever reads comes first. What is asked for ahead is bounded as of a reader.
        """
        self._ledger.touch(live)
        window = self._readahead.part_size_bytes * self._readahead.max_parts_in_flight
        at, void_count = 0, 0
        while (at := self._local_stop(live, at, live.size_bytes)) < live.size_bytes:
            flight = await self._joined(live, at, at + window, is_urgent=False)
            if flight.data is not None:
                return False
            if flight.error is not None or flight.is_void:
                void_count += 1
                self._check_progress(live, void_count)
        return live.is_whole

    def _look_ahead(self, live: LiveFile, offset: int, stop: int) -> None:
        settings = self._readahead_past if live.is_read_past else self._readahead
        advice = advise(live.streams, offset, stop, live.size_bytes, settings)
        live.streams = advice.streams
        if not live.covers(offset, stop):
            self._fetcher.launch(live, *advice.demand, is_urgent=True)
        if live.readers or live.writers:
            for piece in advice.ahead:
                self._fetcher.launch(live, *piece, is_urgent=False)

    async def _assemble(self, live: LiveFile, offset: int, stop: int) -> bytes:
        chunks: list[bytes | memoryview] = []
        at, void_count = offset, 0
        while at < min(stop, live.size_bytes):
            local_stop = self._local_stop(live, at, stop)
            if local_stop > at:
                data = await live.open_backing.read(at, local_stop - at)
                chunks.append(data)
                at += len(data)
                if at < local_stop:  # cut off meanwhile
                    break
                continue
            flight = await self._joined(live, at, stop)
            if flight.error is not None or flight.is_void:
                void_count += 1
                self._check_progress(live, void_count)
            elif flight.data is not None:
                end = self._gap_stop(live, at, min(flight.stop, stop))
                chunks.append(flight.data[at - flight.start : end - flight.start])
                at = end
        return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)

    async def _joined(self, live: LiveFile, at: int, stop: int, *, is_urgent: bool = True) -> Flight:
        """The flight that brought the absent byte at `at`. One that failed since the object moved may be repeated."""
        self._fetcher.launch(live, at, stop, is_urgent=is_urgent)
        waited_for_bucket()
        flight = live.flight_at(at)
        assert flight is not None, "an absent byte of which launch() was told has a flight"
        await self._fetcher.join(live, flight)
        if live.is_dead:
            raise self._replaced(flight, "read")
        if flight.error is not None and not await self._is_elsewhere_now(live, flight):
            raise self._to_raise(live, flight.error)
        return flight

    @staticmethod
    def _replaced(flight: Flight, what: str) -> StoreError:
        return StoreError(
            StoreErrorKind.PRECONDITION_FAILED, f"the file was replaced while it was {what}", key=flight.source.key
        )

    @staticmethod
    def _check_progress(live: LiveFile, void_count: int) -> None:
        if void_count >= _VOID_MAX:
            raise FsError(errno.EIO, f"inode {live.ino:#x} does not hold still for a read")

    @staticmethod
    def _local_stop(live: LiveFile, at: int, stop: int) -> int:
        """Where the present bytes that begin at `at` end."""
        stop = min(stop, live.size_bytes)
        gaps = live.missing(at, stop)
        return gaps[0][0] if gaps else stop

    @staticmethod
    def _gap_stop(live: LiveFile, at: int, stop: int) -> int:
        """Where the absent bytes that begin at `at` end; `at` where newer bytes are here by now."""
        gaps = live.missing(at, min(stop, live.size_bytes))
        return gaps[0][1] if gaps and gaps[0][0] == at else at

    async def _is_elsewhere_now(self, live: LiveFile, flight: Flight) -> bool:
        """Did the object move under a request that failed: by our own export or rename, or a new base?"""
        error = flight.error
        if not isinstance(error, StoreError) or error.kind not in _MOVED:
            return False
        with trio.move_on_after(_OUTCOME_WAIT_S):
            # the index has no event for the end of one inode's export
            while not self._has_new_source(live, flight) and self._is_being_exported(live):  # noqa: ASYNC110
                await trio.sleep(_OUTCOME_POLL_S)
        return self._has_new_source(live, flight)

    def _is_being_exported(self, live: LiveFile) -> bool:
        """Our own write may have changed the object, and its answer is not in the index yet."""
        index = self._ledger.index
        key = locations.location(index, live.ino)
        # the intent of an unlinked file has become the tombstone of its object
        for intent in (intents.of_inode(index, live.ino), intents.tombstone(index, key) if key is not None else None):
            if intent is not None and intent.op_id != "":
                return True
        return False

    def _has_new_source(self, live: LiveFile, flight: Flight) -> bool:
        if live.is_dead or flight.start >= live.size_bytes:
            return True
        return live.covers(flight.start, flight.start + 1) or (
            self._fetcher.source_at(live, flight.start) != flight.source
        )

    def _to_raise(self, live: LiveFile, error: Exception) -> Exception:
        if isinstance(error, StoreError) and error.kind is StoreErrorKind.ARCHIVED:
            self._ledger.archive.met(self._ledger.inode(live.ino))
        if isinstance(error, StoreError) and error.kind in _MOVED:
            self._on_stale(live.ino)
            if error.kind is StoreErrorKind.NOT_FOUND:
                # read(2) knows no ENOENT
                return StoreError(
                    StoreErrorKind.PRECONDITION_FAILED,
                    "the object was deleted",
                    key=error.key,
                    request_id=error.request_id,
                    http_status=error.http_status,
                )
        return error

    def seek(self, live: LiveFile, offset: int, whence: int) -> int:
        """lseek(2) with SEEK_DATA or SEEK_HOLE: of the file, never of what is here. FsError(ENXIO), FsError(EINVAL).

        Holes are shown where a file was written here; an object has none.
        """
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise FsError(errno.EINVAL)
        if live.writers:
            self._ledger.refresh(live)
        if not 0 <= offset < live.size_bytes:
            raise FsError(errno.ENXIO)
        if live.is_whole and (live.writers or not is_clean(self._ledger.inode(live.ino))):
            return live.open_backing.seek(offset, whence)
        return offset if whence == os.SEEK_DATA else live.size_bytes

    async def fetch_small(self, live: LiveFile) -> None:
        """At an open for reading: all of a small cold file in one request. Its failure is the open's."""
        for _ in range(_VOID_MAX):
            flight = self._fetcher.launch_whole(live, is_urgent=True)
            flight = flight or next((each for each in live.flights if each.is_whole), None)
            if flight is None:  # it is here, or somebody reads it already
                return
            self._fetcher.hasten(flight)
            waited_for_bucket()
            await self._fetcher.join(live, flight)
            if live.is_dead:
                raise self._replaced(flight, "opened")
            if flight.error is not None and not await self._is_elsewhere_now(live, flight):
                raise self._to_raise(live, flight.error)
