"""What can be proven of bytes in the hot tier: read again, and compared with what was known of them before.

    all of it is here, and the object carries its checksum      compared as a whole
    all of it is here, and the ETag is the MD5 of its bytes     the same
    ranges of it have checksums from when they were fetched     each of them (index.sums)
    else                                                        nothing

An ETag may look like an MD5 and be none (encrypted with KMS): so it proves when it is equal, and says nothing when it
is not. The others are of the bytes themselves: when they differ, the bytes here are damaged.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from attrs import frozen

from tierfs import native
from tierfs.content.checks import expected_crc
from tierfs.content.handles import Snapshot, WhereKind
from tierfs.hottier.extents import ExtentSet
from tierfs.model import Base, Sum
from tierfs.units import MIB

_CHECKSUM_PIECE_BYTES: Final = 8 * MIB  # read in a thread, which cannot be cancelled
_MD5_PIECE_BYTES: Final = MIB  # hashed between two checkpoints
_MD5: Final = re.compile("[0-9a-f]{32}")

Pace: TypeAlias = Callable[[int], Awaitable[None]]
"""Waits until so many bytes may be read."""


@frozen
class Comparison:
    """`proof`: "by_checksum", "by_ranges", "by_etag", "unproven" or "changed_meanwhile".

    `damaged`: the ranges whose bytes are others than they were, with the checksums that they had.
    """

    proof: str
    damaged: tuple[Sum, ...] = ()


async def at_once(_size_bytes: int) -> None:
    """A Pace without a limit."""


def may_prove(base: Base, known: Sequence[Sum]) -> bool:
    """Is it worth reading the bytes?"""
    return bool(known) or expected_crc(base.content) is not None or _MD5.fullmatch(base.etag) is not None


async def compare(snapshot: Snapshot, base: Base, known: Sequence[Sum], pace: Pace = at_once) -> Comparison:
    """`known`: ranges of the version `base` with their checksums, by start. FsError."""
    size_bytes, crc = snapshot.size_bytes, expected_crc(base.content)
    here = ExtentSet((start, stop) for start, stop, where in snapshot.ranges() if where.kind is WhereKind.LOCAL)
    is_whole = here.covers(0, size_bytes)
    if is_whole and crc is not None:
        found = await _crc(snapshot, 0, size_bytes, pace)
        if found is None:
            return Comparison("changed_meanwhile")
        if found == crc:
            return Comparison("by_checksum")
    elif is_whole and _MD5.fullmatch(base.etag) and await _md5(snapshot, pace) == base.etag:
        return Comparison("by_etag")
    usable = [each for each in known if here.covers(each.start, each.stop)]
    damaged = []
    for each in usable:
        found = await _crc(snapshot, each.start, each.stop, pace)
        if found is None:
            return Comparison("changed_meanwhile")
        if found != each.crc:
            damaged.append(each)
    covered = ExtentSet((each.start, each.stop) for each in usable)
    if is_whole and crc is not None:  # the whole is not what it was: where that is, the ranges tell, or nobody
        is_told = bool(damaged) and covered.covers(0, size_bytes)
        return Comparison("by_checksum", tuple(damaged) if is_told else (Sum(0, size_bytes, crc, 0),))
    if damaged or (usable and not any(covered.missing(start, stop) for start, stop in here)):
        return Comparison("by_ranges", tuple(damaged))
    return Comparison("unproven")


async def _crc(snapshot: Snapshot, start: int, stop: int, pace: Pace) -> int | None:
    """None when the file became shorter meanwhile, or bytes of it have left the tier."""
    crc, at = 0, start
    while at < stop:
        end = min(at + _CHECKSUM_PIECE_BYTES, stop)
        await pace(end - at)
        piece = await snapshot.checksum(at, end) if snapshot.is_here(at, end) else None
        if piece is None:
            return None
        crc = native.crc64nvme_combine(crc, piece, end - at)
        at = end
    return crc


async def _md5(snapshot: Snapshot, pace: Pace) -> str:
    md5, at = hashlib.md5(usedforsecurity=False), 0
    while at < snapshot.size_bytes:
        end = min(at + _MD5_PIECE_BYTES, snapshot.size_bytes)
        await pace(end - at)
        if not snapshot.is_here(at, end):
            return ""
        md5.update(await snapshot.read(at, end))
        at = end
    return md5.hexdigest()
