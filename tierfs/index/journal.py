"""The redo journal: acknowledged mutations that LMDB has not committed yet, in a ring of preallocated files.

It promises: what `append` returned for survives SIGKILL at once (the page cache has it) and power loss
once `sync` has returned at least its number; `replay` gives back, in order, a prefix of what was
appended, with all of that in it. Preallocation at `start` is what keeps an append from meeting ENOSPC.

The files <directory>/0, 1, ... are one ring. Each begins with a header and is filled with records; it
is taken again once `recycle` has said that LMDB has durably committed its last record.

    segment header, 64 bytes        record header, 56 bytes
    8s   xxh3-64 of the rest        8s   xxh3-64 of the rest and the payload
    8s   magic "tierfsJ\\n"          u32  length of the payload
    u16  format version             u32  segment number
    u16  node                       u64  LSN
    u32  epoch                      u64  operation number: op id is node-epoch-this
    u32  segment number             u64  request token (DESIGN.md 5), 0: none
    u64  index id                   u64  job, 0: none
    u64  LSN of its first record    u32  epoch
    i64  created, ns                u16  node
    zeros                           u16  format version

Both begin with the checksum in its canonical (big-endian) form; all integers are little-endian.

The payload is a list of changes: u8 table, u16 key length, u32 value length (2^32 - 1: delete), key, value.

Whether a record counts. LSNs rise by one; a replay ends at the first gap. Records lie one after the
other; a bad checksum, another segment number or another epoch ends the segment: it is a torn record, or
what an earlier use of the file left. Segments of another epoch or another index do not count at all. An
epoch is one opening of the index; its number is committed to LMDB, with all that was replayed, before its
first append. So after a power loss that kept records 101 to 110 and lost 100, a new 100 can never bring
the old 101 back.

A failed fdatasync is never repeated: the kernel may have dropped the pages that it could not write and
call the next one a success. The journal stays failed, and the index becomes read-only.

`sync` runs in a worker thread, all else on the event-loop thread. `_io_lock` keeps `close` from taking
descriptors away under a sync.
"""

import errno
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import xxhash
from attrs import define, frozen

from tierfs.errors import FsError, IndexDamageError
from tierfs.index.schema import Table

JOURNAL_FORMAT: Final = 1
_MAGIC: Final = b"tierfsJ\n"
_HEADER_BYTES: Final = 64
_HEADER: Final = struct.Struct("<8sHHIIQQq12x")
_RECORD: Final = struct.Struct("<IIQQQQIHH")
_RECORD_BYTES: Final = 8 + _RECORD.size
_CHANGE: Final = struct.Struct("<BHI")
_DELETED: Final = 0xFFFF_FFFF
_TABLE_COUNT: Final = len(Table)

Changes = list[dict[bytes, bytes | None] | None]
"""By table number: key to value, None to delete; None for a table without changes. A row at most once."""


class JournalFull(Exception):
    """No segment is free: LMDB has to commit first. Never leaves the index package."""


class JournalDisk(Protocol):
    """The file operations of the journal, so that a test can lose what was not synced."""

    def open(self, path: Path, size_bytes: int) -> int:
        """A descriptor of the file, made and allocated to `size_bytes` where it is not. Raises OSError."""
        ...

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Writes all of `data`, in one call where nothing is wrong, or raises OSError; then a part may be there."""
        ...

    def sync(self, fd: int) -> None:
        """fdatasync."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Makes new names in the directory durable."""
        ...

    def close(self, fd: int) -> None:
        """Gives the descriptor back."""
        ...


class OsDisk:
    """The real one."""

    def open(self, path: Path, size_bytes: int) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            has_size = os.fstat(fd).st_size == size_bytes
            if not has_size:
                os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, size_bytes)  # also where the size is right: a copied file may be sparse
            if not has_size:
                os.fsync(fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> None:
        written = os.pwrite(fd, data, offset)
        while written < len(data):  # the disk says why when it is asked for the rest
            written += os.pwrite(fd, data[written:], offset + written)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self, fd: int) -> None:
        os.close(fd)


@frozen
class Origin:
    """Who appends: written to every segment and record."""

    index_id: int
    node: int
    epoch: int


@frozen
class Record:
    """One transaction as the journal gives it back."""

    lsn: int
    op: int
    token: int
    job: int
    changes: Changes


@define
class _Segment:
    fd: int
    number: int = 0  # 0: never used in this epoch
    last_lsn: int = 0  # 0: free
    unsynced: bool = False


def encode_changes(changes: Changes) -> bytes:
    """The payload of a record."""
    pack = _CHANGE.pack
    parts: list[bytes] = []
    for table, rows in enumerate(changes):
        if rows:
            parts += [
                pack(table, len(key), _DELETED) + key
                if value is None
                else pack(table, len(key), len(value)) + key + value
                for key, value in rows.items()
            ]
    return b"".join(parts)


def decode_changes(payload: bytes) -> Changes:
    """The reverse of encode_changes. Raises IndexDamageError: the checksum was right, so it is not a torn write."""
    changes = no_changes()
    at, stop = 0, len(payload)
    try:
        while at < stop:
            table, key_length, value_length = _CHANGE.unpack_from(payload, at)
            at += _CHANGE.size
            key = payload[at : at + key_length]
            at += key_length
            value = None
            if value_length != _DELETED:
                value = payload[at : at + value_length]
                at += value_length
            rows = changes[table]
            if rows is None:
                rows = changes[table] = {}
            rows[key] = value
    except (struct.error, IndexError) as error:
        raise IndexDamageError(f"journal record of an unknown form: {error!r}") from error
    if at != stop:
        raise IndexDamageError("journal record cut short inside its checksum")
    return changes


def no_changes() -> Changes:
    """A list to fill."""
    return [None] * _TABLE_COUNT


def merge_changes(earlier: Changes, later: Changes) -> None:
    """Makes `earlier` what both leave behind, one after the other."""
    for table, rows in enumerate(later):
        if rows:
            merged = earlier[table]
            if merged is None:
                earlier[table] = dict(rows)
            else:
                merged.update(rows)


def count_changes(changes: Changes) -> int:
    """Rows."""
    return sum(len(rows) for rows in changes if rows)


class Journal:
    """See the module. `open`, then `replay`, then `start`, then `append`, `sync` and `recycle`, then `close`."""

    def __init__(self, directory: Path, disk: JournalDisk, *, segment_bytes: int, segment_count: int) -> None:
        if segment_bytes < 4096 or segment_count < 2:
            raise ValueError("a journal needs 2 segments of 4 KiB at least")
        self._directory = directory
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._segment_count = segment_count
        self._segments: list[_Segment] = []
        self._current = 0
        self._offset = 0
        self._next_number = 1
        self._origin = Origin(0, 0, 0)
        self._created_ns = 0
        self._io_lock = threading.Lock()
        self.appended_lsn = 0
        self.synced_lsn = 0
        self.failure = ""  # why no append is possible any more

    @property
    def max_payload_bytes(self) -> int:
        """What one record can hold."""
        return self._segment_bytes - _HEADER_BYTES - _RECORD_BYTES

    @property
    def room_bytes(self) -> int:
        """What can be appended before LMDB has to commit, counting only segments that are free now."""
        free = sum(1 for segment in self._segments if segment.last_lsn == 0)
        here = self._segment_bytes - self._offset if self._segments[self._current].last_lsn else 0
        return max(0, here - _RECORD_BYTES) + free * self.max_payload_bytes

    def replay(self, index_id: int, epoch: int, after_lsn: int) -> Iterator[Record]:
        """Records `after_lsn` + 1 and on, of this index and epoch, up to the first one that is not there."""
        expected = after_lsn + 1
        for data in self._segments_of(index_id, epoch):
            for lsn, start, stop in _records(data, epoch):
                if lsn > expected:
                    return
                if lsn == expected:  # older ones are in LMDB: their changes are not worth decoding
                    yield _decode_record(data, start, stop)
                    expected += 1

    def _segments_of(self, index_id: int, epoch: int) -> Iterator[bytes]:
        found: list[tuple[int, Path]] = []
        for path in self._paths_on_disk():
            with path.open("rb") as file:
                header = _parse_header(file.read(_HEADER_BYTES))
            if header is not None and header[0] == index_id and header[1] == epoch:
                found.append((header[2], path))
        for _, path in sorted(found):
            yield path.read_bytes()

    def _paths_on_disk(self) -> list[Path]:
        return [path for path in self._directory.iterdir() if path.name.isdecimal()]

    def start(self, origin: Origin, *, next_lsn: int, now_ns: int) -> None:
        """Allocates the ring and begins an epoch: all that was in it before is given up.

        Raises FsError(ENOSPC) where the disk has no room for the segments.
        """
        self._origin = origin
        self._created_ns = now_ns
        self.appended_lsn = self.synced_lsn = next_lsn - 1
        try:
            for number in range(self._segment_count):
                path = self._directory / str(number)
                self._segments.append(_Segment(self._disk.open(path, self._segment_bytes)))
            for path in self._paths_on_disk():
                if int(path.name) >= self._segment_count:
                    path.unlink()
            self._disk.sync_directory(self._directory)
        except OSError as error:
            self.close()
            total = self._segment_bytes * self._segment_count
            message = f"cannot allocate the journal of {total} bytes in {self._directory}: {error.strerror}"
            raise FsError(error.errno or errno.EIO, message) from error
        self._begin_segment(0)

    def append(self, payload: bytes, *, op: int, token: int = 0, job: int = 0) -> int:
        """Writes one record and returns its LSN.

        Raises JournalFull (nothing happened), FsError(E2BIG) for a payload that no segment holds, and
        FsError(ENOSPC) where the disk breaks its promise of room (nothing happened), and FsError(EROFS) for
        any other failed write, now and from then on: a replay may find that record.
        """
        if self.failure:
            raise FsError(errno.EROFS, self.failure)
        size_bytes = _RECORD_BYTES + len(payload)
        if self._offset + size_bytes > self._segment_bytes or not self._segments[self._current].number:
            self._next_segment(len(payload))
        segment = self._segments[self._current]
        lsn = self.appended_lsn + 1
        origin = self._origin
        body = (
            _RECORD.pack(len(payload), segment.number, lsn, op, token, job, origin.epoch, origin.node, JOURNAL_FORMAT)
            + payload
        )
        self._write(segment, xxhash.xxh3_64_digest(body) + body, self._offset)
        self._offset += size_bytes
        segment.last_lsn = lsn
        self.appended_lsn = lsn
        return lsn

    def retract(self, lsn: int, payload_bytes: int) -> None:
        """Takes back the record that was appended last, since LMDB would not have it. Raises FsError(EROFS)."""
        size_bytes = _RECORD_BYTES + payload_bytes
        assert lsn == self.appended_lsn, "only the last record can be taken back"
        self._offset -= size_bytes
        self._write(self._segments[self._current], bytes(_RECORD_BYTES), self._offset)
        self.appended_lsn -= 1

    def _write(self, segment: _Segment, data: bytes, offset: int) -> None:
        try:
            self._disk.write(segment.fd, data, offset)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                # a file system that writes elsewhere than it allocated (btrfs, a thin volume); the part that
                # may be there fails its checksum, and the next record takes its place
                raise FsError(errno.ENOSPC, "no room on the disk of the journal") from error
            self.failure = f"writing the journal failed: {error.strerror}; the index is read-only until a restart"
            raise FsError(errno.EROFS, self.failure) from error
        segment.unsynced = True  # after the write: a sync that ran between the two would take it back

    def _next_segment(self, payload_bytes: int) -> None:
        if payload_bytes > self.max_payload_bytes:
            raise FsError(errno.E2BIG, f"a transaction of {payload_bytes} bytes; the limit is {self.max_payload_bytes}")
        for index, segment in enumerate(self._segments):
            if segment.last_lsn == 0:
                self._begin_segment(index)
                return
        raise JournalFull

    def _begin_segment(self, index: int) -> None:
        segment = self._segments[index]
        segment.number = self._next_number
        self._next_number += 1
        origin = self._origin
        body = _HEADER.pack(
            _MAGIC,
            JOURNAL_FORMAT,
            origin.node,
            origin.epoch,
            segment.number,
            origin.index_id,
            self.appended_lsn + 1,
            self._created_ns,
        )
        self._write(segment, xxhash.xxh3_64_digest(body) + body, 0)
        self._current = index
        self._offset = _HEADER_BYTES

    def recycle(self, committed_lsn: int) -> None:
        """LMDB has durably committed everything up to `committed_lsn`: segments below it may be taken again."""
        for index, segment in enumerate(self._segments):
            if segment.last_lsn and segment.last_lsn <= committed_lsn:
                segment.last_lsn = 0
                if index != self._current:
                    segment.unsynced = False
        self.mark_durable(committed_lsn)

    def sync(self) -> int:
        """Makes everything durable that was appended before the call; returns its last LSN. Blocks: worker threads.

        Raises FsError(EROFS) where it fails, and from then on.
        """
        with self._io_lock:
            if self.failure:
                raise FsError(errno.EROFS, self.failure)
            lsn = self.appended_lsn
            for segment in list(self._segments):
                if segment.unsynced:
                    # cleared before, since an append during the fdatasync may be not in it
                    segment.unsynced = False
                    try:
                        self._disk.sync(segment.fd)
                    except OSError as error:
                        self.failure = (
                            f"fdatasync of the journal failed: {error.strerror}; the index is read-only until a restart"
                        )
                        raise FsError(errno.EROFS, self.failure) from error
            return lsn

    def mark_durable(self, lsn: int) -> None:
        """A sync returned `lsn`. Not done by `sync` itself: `synced_lsn` belongs to the event-loop thread."""
        self.synced_lsn = max(self.synced_lsn, lsn)

    def close(self) -> None:
        """Gives the descriptors back; waits for a sync that is under way."""
        with self._io_lock:
            for segment in self._segments:
                self._disk.close(segment.fd)
            self._segments.clear()


def _parse_header(data: bytes) -> tuple[int, int, int] | None:
    """(index id, epoch, segment number), or None where there is no valid header."""
    if len(data) < _HEADER_BYTES or xxhash.xxh3_64_digest(data[8:_HEADER_BYTES]) != data[:8]:
        return None
    magic, version, _node, epoch, number, index_id, _first_lsn, _created_ns = _HEADER.unpack_from(data, 8)
    if magic != _MAGIC:
        return None
    if version > JOURNAL_FORMAT:
        raise IndexDamageError(f"the journal has format {version}, this tierfs knows {JOURNAL_FORMAT}: use a newer one")
    return index_id, epoch, number


def _records(data: bytes, epoch: int) -> Iterator[tuple[int, int, int]]:
    """(LSN, start, stop) of each record up to the first that is torn or left from an earlier use of the file."""
    header = _parse_header(data)
    at = _HEADER_BYTES
    while header is not None and at + _RECORD_BYTES <= len(data):
        length, number, lsn, _op, _token, _job, record_epoch, _node, _version = _RECORD.unpack_from(data, at + 8)
        stop = at + _RECORD_BYTES + length
        if number != header[2] or record_epoch != epoch or stop > len(data):
            return
        if xxhash.xxh3_64_digest(data[at + 8 : stop]) != data[at : at + 8]:
            return
        yield lsn, at, stop
        at = stop


def _decode_record(data: bytes, start: int, stop: int) -> Record:
    _length, _number, lsn, op, token, job, _epoch, _node, version = _RECORD.unpack_from(data, start + 8)
    if version > JOURNAL_FORMAT:
        raise IndexDamageError(f"a journal record has format {version}, this tierfs knows {JOURNAL_FORMAT}")
    return Record(lsn, op, token, job, decode_changes(data[start + _RECORD_BYTES : stop]))
