"""Bodies on their way to the bucket: what is sent is one state of the file, or nothing is sent.

A file may be written while it is read here. Its bytes count as one state when nothing changed from before
the first to after the last read (`Snapshot.unchanged`: size, ctime and write_seq of the file). A file that
never rests cannot show that, so once it has waited `max_dirty_age` it is *collected twice*: when two reads
of all ranges give the same checksums, the file had exactly these bytes at the moment between the two. Only
ranges that differ are read and sent again, so a log that grows or a database that changes here and there
settles after a few rounds; one that does not stays pending and is tried again later.

Small files (up to one part) are read whole into memory, checked, and sent in one PUT. Larger ones go up in
parts: local ranges are read and sent, clean ranges of the base object and spilled ranges are copied by the
server. The checksum that such an object carries is made in a look at all bytes before the upload begins, since
metadata cannot be added at its end. Two kinds have none: those with parts that the server copies, since nobody
here sees these bytes, and files that did not rest between the look and the upload and were collected instead:
what is sent then is not what the look saw.

What has begun is in the index until it has ended, so that the next life of the daemon drops the parts that a crash
left behind.

Memory: bodies of 64 MiB, small ones and parts of all uploads together, whatever the concurrency; a larger body
goes alone.
"""

import bisect
import logging
import math
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio
from attrs import frozen

from tierfs import native
from tierfs.content.flights import Gate, Ticket
from tierfs.content.handles import Snapshot
from tierfs.errors import FsError, StoreError, TierfsError
from tierfs.faultpoints import Point, reach
from tierfs.index import uploads
from tierfs.index.env import Index
from tierfs.objectstore.base import Buffer, Condition, ObjectMeta, ObjectStore, Upload, Written
from tierfs.sync.outcomes import NotYetError
from tierfs.units import MIB

PART_MIN_BYTES: Final = 5 * MIB
PARTS_MAX: Final = 10_000
_COLLECT_ROUNDS_MAX: Final = 8
CHANGED_TEXT: Final = "the file changed while it was read"
SHORTER_TEXT: Final = "the file became shorter while it was read"
_ABORT_TIMEOUT_S: Final = 20.0
_LEFT_PAGE: Final = 1000
_LEFT_RETRY_S: Final = 60.0
_MEMORY_BYTES: Final = 64 * MIB
_log: Final = logging.getLogger(__name__)


def checksum_text(crc: int) -> str:
    """As in `tierfs-content` and Base.content."""
    return f"crc64nvme:{crc:016x}"


@frozen
class Piece:
    """Bytes [start, stop) of the file as one part; `source` "" for bytes that are read and sent."""

    start: int
    stop: int
    source: str = ""
    source_start: int = 0
    etag: str = ""


async def read_small(snapshot: Snapshot, *, collect: bool) -> Buffer:
    """The whole file, one state of it. NotYetError.

    `collect`: the file never rests; two equal reads are taken as its state.
    """
    size = snapshot.size_bytes
    data = await _read_exactly(snapshot, 0, size)
    if snapshot.unchanged():
        return data
    for _ in range(_COLLECT_ROUNDS_MAX if collect else 0):
        again = await _read_exactly(snapshot, 0, size)
        if native.crc64nvme(again) == native.crc64nvme(data):
            return data
        data = again
    raise NotYetError(CHANGED_TEXT)


async def _read_exactly(snapshot: Snapshot, start: int, stop: int) -> Buffer:
    if start == stop:
        return b""
    data = await snapshot.read(start, stop)
    if len(data) != stop - start:
        raise NotYetError(SHORTER_TEXT)
    return data


# ---- large files ----


@frozen
class Stretch:
    """A range of the file and where its bytes are; `key` "" for bytes that only this machine has."""

    start: int
    stop: int
    key: str = ""
    key_start: int = 0
    etag: str = ""


def part_bytes(size_bytes: int, preferred_bytes: int) -> int:
    """The part size: as preferred, more where 10,000 parts would not do; whole MiB."""
    needed = math.ceil(size_bytes / PARTS_MAX / MIB) * MIB
    return max(PART_MIN_BYTES, preferred_bytes, needed)


def cut_pieces(stretches: list[Stretch], size_bytes: int, part_size_bytes: int) -> list[Piece]:
    """The parts of an upload: every one but the last at least 5 MiB, none larger than needed to stay below 10,000.

    A stretch that the bucket holds is copied where it fills a part of 5 MiB or more; what is left at its
    edges is read like local bytes.
    """
    part = part_bytes(size_bytes, part_size_bytes)
    pieces: list[Piece] = []
    at = 0
    while at < size_bytes:
        here = _stretch_at(stretches, at)
        if here is not None and here.key and min(here.stop, size_bytes) - at >= PART_MIN_BYTES:
            stop = min(here.stop, size_bytes, at + part)
            if 0 < here.stop - stop < PART_MIN_BYTES and stop < size_bytes:
                stop = min(here.stop, size_bytes)  # no crumbs: a part may be larger than planned
            pieces.append(Piece(at, stop, here.key, here.key_start + at - here.start, here.etag))
        else:
            stop = min(size_bytes, at + part, _next_copyable(stretches, at + PART_MIN_BYTES, size_bytes))
            pieces.append(Piece(at, stop))
        at = stop
    return pieces


def _stretch_at(stretches: list[Stretch], at: int) -> Stretch | None:
    index = bisect.bisect_right(stretches, at, key=lambda stretch: stretch.start) - 1
    if index < 0 or stretches[index].stop <= at:
        return None
    return stretches[index]


def _next_copyable(stretches: list[Stretch], after: int, size_bytes: int) -> int:
    """Where the next stretch worth copying begins, at or after `after`."""
    first = max(0, bisect.bisect_right(stretches, after, key=lambda stretch: stretch.start) - 1)
    for stretch in stretches[first:]:
        start = max(stretch.start, after)
        if stretch.key and min(stretch.stop, size_bytes) - start >= PART_MIN_BYTES:
            return start
    return size_bytes


class Uploader:
    """Multipart uploads with bounded memory; shared by all workers of the exporter."""

    def __init__(self, index: Index, store: ObjectStore, *, buffers: int) -> None:
        self._index = index
        self._store = store
        self._under_way: set[str] = set()  # upload ids
        self._memory = Gate(_MEMORY_BYTES, _MEMORY_BYTES)
        self._buffers = trio.CapacityLimiter(buffers)
        self._copies = trio.CapacityLimiter(2 * buffers)

    def resize(self, buffers: int) -> None:
        """From now on; what is under way goes on."""
        self._buffers.total_tokens, self._copies.total_tokens = buffers, 2 * buffers

    async def drop_left(self) -> None:
        """Drops the uploads that earlier lives have begun; returns when the bucket has none of them."""
        while left := [each for each in uploads.page(self._index, _LEFT_PAGE) if each[1] not in self._under_way]:
            try:
                for key, upload_id in left:
                    await self._store.abort_upload(key, upload_id)
                    self._forget(upload_id)
                    _log.info("dropped an upload of %r that an earlier daemon had begun", key)
            except TierfsError as error:
                _log.info("uploads that an earlier daemon had begun cannot be dropped yet: %s", error)
                await trio.sleep(_LEFT_RETRY_S)

    def _forget(self, upload_id: str) -> None:
        self._under_way.discard(upload_id)
        with self._index.transaction() as txn:
            uploads.remove(txn, upload_id)

    def room(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Waits until a body of this size may be in memory; it may until the block is left."""
        return self._memory.entered(Ticket(0, size_bytes, is_urgent=True))

    async def checksum(self, snapshot: Snapshot, stretches: list[Stretch], *, collect: bool) -> str:
        """The checksum of a large file that is about to be sent; "" when parts will be copied by the server.

        StoreError, FsError; for a file that changed meanwhile NotYetError, with `collect` "".
        """
        pieces = cut_pieces(stretches, snapshot.size_bytes, self._store.part_size_bytes)
        if any(piece.source for piece in pieces):
            return ""
        crcs: dict[int, int] = {}
        for number, piece in enumerate(pieces, start=1):
            crcs[number] = await self._look(snapshot, stretches, piece)
        if snapshot.unchanged():
            return _whole_checksum(pieces, crcs)
        if collect:
            return ""
        raise NotYetError(CHANGED_TEXT)

    async def _look(self, snapshot: Snapshot, stretches: list[Stretch], piece: Piece) -> int:
        stretch = _stretch_at(stretches, piece.start)
        if stretch is None or stretch.key or piece.stop > stretch.stop:
            async with self.room(piece.stop - piece.start):
                return native.crc64nvme(await _read_exactly(snapshot, piece.start, piece.stop))
        crc = await snapshot.checksum(piece.start, piece.stop)
        if crc is None:
            raise NotYetError(SHORTER_TEXT)
        return crc

    async def upload(
        self,
        key: str,
        meta: ObjectMeta,
        condition: Condition,
        snapshot: Snapshot,
        stretches: list[Stretch],
        *,
        collect: bool,
        storage_class: str,
        content: str = "",
    ) -> tuple[Written, str]:
        """Sends a large file; returns what was written and its checksum ("" when parts were copied).

        `content`: what `checksum` said and `meta` says. Nothing becomes visible unless all of it is one state of
        the file, with this checksum. StoreError, NotYetError; after either, and after a cancellation, the parts are
        dropped.
        """
        pieces = cut_pieces(stretches, snapshot.size_bytes, self._store.part_size_bytes)
        upload = await self._store.begin_upload(key, meta, storage_class=storage_class)
        self._under_way.add(upload.upload_id)
        is_over = False
        try:
            with self._index.transaction() as txn:
                uploads.add(txn, key, upload.upload_id)
            reach(Point.UPLOAD_BEGUN)
            crcs = await self._send(upload, snapshot, pieces)
            reach(Point.UPLOAD_FILLED)
            if not content:
                await self._settle(upload, snapshot, pieces, crcs, collect=collect)
            # else the first look was one read of all ranges, and this the other
            elif _whole_checksum(pieces, crcs) != content or not (collect or snapshot.unchanged()):
                raise NotYetError(CHANGED_TEXT)
            written = await upload.complete(condition)
            is_over = True
            reach(Point.UPLOAD_COMPLETED)
        finally:
            if not is_over:
                with trio.move_on_after(_ABORT_TIMEOUT_S, shield=True):
                    is_over = await _abort(upload)
            if is_over:
                self._forget(upload.upload_id)
            else:
                self._under_way.discard(upload.upload_id)
        return written, _whole_checksum(pieces, crcs)

    async def _send(self, upload: Upload, snapshot: Snapshot, pieces: list[Piece]) -> dict[int, int]:
        """All parts in parallel; returns the checksums of those that were read here, by part number."""
        crcs: dict[int, int] = {}
        failure: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def send(number: int, piece: Piece, limiter: trio.CapacityLimiter) -> None:
                try:
                    await self._send_piece(upload, snapshot, number, piece, crcs)
                except (StoreError, FsError, NotYetError, OSError) as error:
                    failure.append(error)
                    nursery.cancel_scope.cancel()
                finally:
                    limiter.release_on_behalf_of((id(upload), number))

            for number, piece in enumerate(pieces, start=1):
                limiter = self._copies if piece.source else self._buffers
                await limiter.acquire_on_behalf_of((id(upload), number))
                nursery.start_soon(send, number, piece, limiter)
        if failure:
            raise failure[0]
        return crcs

    async def _send_piece(
        self, upload: Upload, snapshot: Snapshot, number: int, piece: Piece, crcs: dict[int, int]
    ) -> None:
        if piece.source:
            source_stop = piece.source_start + piece.stop - piece.start
            await upload.copy_part(number, piece.source, piece.source_start, source_stop, if_match=piece.etag)
            return
        async with self.room(piece.stop - piece.start):
            data = await _read_exactly(snapshot, piece.start, piece.stop)
            await upload.put_part(number, data)
            crcs[number] = native.crc64nvme(data)

    async def _settle(
        self, upload: Upload, snapshot: Snapshot, pieces: list[Piece], crcs: dict[int, int], *, collect: bool
    ) -> None:
        """Returns when the parts that were sent are one state of the file; see the module. NotYetError."""
        if snapshot.unchanged():
            return
        for _ in range(_COLLECT_ROUNDS_MAX if collect else 0):
            is_same = True
            for number, piece in enumerate(pieces, start=1):
                if piece.source:
                    continue
                async with self.room(piece.stop - piece.start):
                    data = await _read_exactly(snapshot, piece.start, piece.stop)
                    crc = native.crc64nvme(data)
                    if crc != crcs[number]:
                        is_same = False
                        await upload.put_part(number, data)
                        crcs[number] = crc
            if is_same:
                return
        raise NotYetError(CHANGED_TEXT)


async def _abort(upload: Upload) -> bool:
    try:
        await upload.abort()
    except StoreError as error:
        # what is left costs money, not data; the next start removes it
        _log.info("an unfinished upload could not be dropped: %s", error)
        return False
    return True


def _whole_checksum(pieces: list[Piece], crcs: dict[int, int]) -> str:
    """The checksum of the whole body from those of its parts; "" when a part was copied by the server."""
    whole = 0
    for number, piece in enumerate(pieces, start=1):
        crc = crcs.get(number)
        if crc is None:
            return ""
        whole = native.crc64nvme_combine(whole, crc, piece.stop - piece.start)
    return checksum_text(whole)
