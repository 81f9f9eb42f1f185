"""One consistent state of a file, to be exported.

It copies nothing: it notes the version of the content at its beginning, lets the exporter read, and says at
the end whether what was read is one version (`unchanged`). Whoever writes meanwhile marks the file dirty
again, with another write_seq, so the export of an older state never hides a newer one.

For a FULL file it also compares size and ctime of the backing file, since the kernel may write to that
without asking us (DESIGN.md 5); the fsync at the beginning write-protects mapped pages, so that such a store
moves the ctime. On kernels before 6.13 the ctime has the grain of a timer tick.
"""

import enum
from typing import Final, TypeAlias

from attrs import evolve, frozen

from tierfs.content.fetch import Fetcher
from tierfs.content.ledger import Ledger
from tierfs.content.live import LiveFile
from tierfs.index import inodes
from tierfs.model import InodeFlag
from tierfs.objectstore.base import Buffer


class WhereKind(enum.Enum):
    """Which bytes are a range's current ones."""

    LOCAL = "local"  # in the hot tier
    BASE = "base"  # in the base object, at the same offset
    SPILL = "spill"  # in a spill object


@frozen
class Where:
    """Where a range is. For BASE and SPILL: its bytes begin at `object_start` of the object `key` with this ETag."""

    kind: WhereKind
    key: str = ""
    etag: str = ""
    object_start: int = 0


LOCAL: Final = Where(WhereKind.LOCAL)
Piece: TypeAlias = tuple[int, int, Where]
"""(start, stop, where): a range of the file."""


class Snapshot:
    """Made by Files.snapshot; used by one task. `read` may be called by several at a time."""

    def __init__(self, ledger: Ledger, fetcher: Fetcher, live: LiveFile) -> None:
        self._ledger = ledger
        self._fetcher = fetcher
        self._live = live
        inode = ledger.inode(live.ino)
        self.size_bytes = inode.size_bytes
        self.write_seq = inode.write_seq
        self._content_version = live.content_version
        self._alterations = live.alterations
        self._was_whole = live.is_whole
        self._stat = live.backing.stat() if live.backing is not None else None

    @property
    def is_unproven(self) -> bool:
        """Written before a power loss and never synced: must not go over a good object (DESIGN.md 4)."""
        record = self._live.record
        inode = inodes.get(self._ledger.index, self._live.ino)
        is_dirty = inode is not None and InodeFlag.DATA_DIRTY in inode.flags
        return is_dirty and record is not None and self._ledger.is_unproven(record)

    def unchanged(self) -> bool:
        """Is the content still that of the beginning? Ask after the bytes were read, and again after they were sent."""
        live = self._live
        inode = inodes.get(self._ledger.index, live.ino)
        if live.is_dead or inode is None or inode.write_seq != self.write_seq:
            return False
        self._ledger.refresh(live)
        if live.content_version != self._content_version:
            return False
        if self._stat is None or live.backing is None or live.alterations != self._alterations or not self._was_whole:
            return True
        stat = live.backing.stat()
        return (stat.size_bytes, stat.ctime_ns) == (self._stat.size_bytes, self._stat.ctime_ns)

    def ranges(self) -> list[Piece]:
        """Where the bytes are at this moment: all of [0, size_bytes), in order, neighbours of one kind joined."""
        live, size = self._live, self.size_bytes
        pieces: list[Piece] = [(start, min(stop, size), LOCAL) for start, stop in live.local_ranges() if start < size]
        for start, stop in live.missing(0, size):
            for piece_start, piece_stop, source in self._fetcher.pieces(live, start, stop):
                kind = WhereKind.SPILL if source.is_spill else WhereKind.BASE
                where = Where(kind, source.key, source.etag, piece_start - source.origin)
                pieces.append((piece_start, piece_stop, where))
        joined: list[Piece] = []
        for piece in sorted(pieces, key=lambda each: each[0]):
            if joined and _continues(joined[-1], piece):
                joined[-1] = (joined[-1][0], piece[1], joined[-1][2])
            else:
                joined.append(piece)
        return joined

    async def read(self, start: int, stop: int) -> Buffer:
        """Bytes of [start, stop), which lies within the file; absent ones are fetched and not kept.

        FsError, StoreError. When the file shrank meanwhile the answer is shorter, and `unchanged` is False.
        """
        live = self._live
        self._ledger.space.progressed()  # an export moves on: writers who wait for room wait longer
        chunks: list[Buffer] = []
        at = start
        with live.guarded(start, stop):
            while at < min(stop, live.size_bytes):
                gaps = live.missing(at, min(stop, live.size_bytes))
                local_stop = gaps[0][0] if gaps else min(stop, live.size_bytes)
                if local_stop > at:
                    data = await live.open_backing.read(at, local_stop - at)
                    chunks.append(data)
                    at += len(data)
                    if at < local_stop:
                        break
                else:
                    for _, body in await self._fetcher.fetch_past(live, *gaps[0]):
                        chunks.append(body)
                        at += len(body)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def checksum(self, start: int, stop: int) -> int | None:
        """CRC-64/NVME of [start, stop), which is here. None when the file became shorter meanwhile. FsError."""
        self._ledger.space.progressed()
        with self._live.guarded(start, stop):
            crc, size_bytes = await self._live.open_backing.checksum(start, stop - start)
        return crc if size_bytes == stop - start else None

    def is_here(self, start: int, stop: int) -> bool:
        """Is every byte of the range in the hot tier now?"""
        return not self._live.is_dead and self._live.covers(start, stop)

    async def mend(self, start: int, data: Buffer) -> bool:
        """Writes what the object has over bytes of [start, ...) here that are no longer the same. FsError.

        For programs nothing changes but that they read the right bytes, so size and times stay. False, and nothing is
        written, when the file is not what it was at the beginning, or somebody may write to it.
        """
        live = self._live
        async with live.mutate:
            if not self.unchanged() or live.writers or not live.covers(start, start + len(data)):
                return False
            before = live.open_backing.stat()
            await live.open_backing.write(start, data)
            await live.open_backing.sync()
            live.open_backing.set_times(atime_ns=before.atime_ns, mtime_ns=before.mtime_ns)
            live.alterations += 1
            return True

    def end(self) -> None:
        """The copy here was synced at the beginning; if it did not change, power loss cannot take it."""
        live, ledger = self._live, self._ledger
        if live.is_dead:
            return
        if live.backing is not None:
            ledger.recharge(live)  # a file of many pieces got blocks for its map when it was synced
        record = live.record
        if record is None or record.synced or live.writers or live.alterations != self._alterations:
            return
        if self.unchanged() and not ledger.is_unproven(record):
            ledger.set_record(live, evolve(record, synced=True))


def _continues(left: Piece, right: Piece) -> bool:
    (start, stop, a), (right_start, _, b) = left, right
    if stop != right_start or (a.kind, a.key, a.etag) != (b.kind, b.key, b.etag):
        return False
    return a.kind is WhereKind.LOCAL or a.object_start + stop - start == b.object_start


async def begin(ledger: Ledger, fetcher: Fetcher, live: LiveFile) -> Snapshot:
    """Notes the state of a file that the caller holds; its bytes so far are synced when this returns."""
    if live.backing is not None and live.writers:
        await live.backing.sync()  # most of it without holding them up
    async with live.mutate:  # no write is half done
        ledger.publish(live)
        live.is_marked = False  # the next one says so in the index
        if live.backing is not None:
            await live.backing.sync()
        return Snapshot(ledger, fetcher, live)
