"""The hot tier compared with the index, from both ends: for fsck.

What a start puts right by itself (content.recovery) is no finding: files that had a writer when the daemon was killed,
what a power loss made doubtful. So a cache that was left by a crash is judged by what would still be wrong after the
next mount. Reads rows and stats files; on a mount in use a finding may be the middle of a change, so ask twice.
"""

from collections.abc import Iterator
from typing import Final

from tierfs.content.ledger import is_clean
from tierfs.errors import IndexDamageError
from tierfs.hottier.disk import BackingStat
from tierfs.hottier.files import HotFiles
from tierfs.index import inodes, residency
from tierfs.index.env import Index, Table
from tierfs.index.schema import KEY_STOP, pack_id, pack_pair, unpack_id
from tierfs.model import HotRecord, Inode, Residency
from tierfs.policy.fsck import Finding, FindingKind

_PAGE_FILES: Final = 256
# the map of a file of many pieces, and its attributes, take blocks of their own, at any time
_CHARGE_SLACK_BYTES: Final = 64 << 10


def check_tier_in_steps(index: Index, hot: HotFiles) -> Iterator[list[Finding]]:
    """Every disagreement, in steps of a few milliseconds, most of them empty."""
    start = pack_id(0)
    while rows := index.scan(Table.HOT, start, KEY_STOP, limit=_PAGE_FILES):
        yield [finding for key, _ in rows for finding in _check_readable(index, hot, unpack_id(key))]
        start = rows[-1][0] + b"\0"
    for path, ino in hot.everything():
        finding = check_path(index, hot, path, ino)
        yield [finding] if finding is not None else []


def _check_readable(index: Index, hot: HotFiles, ino: int) -> list[Finding]:
    """Of rows that cannot be understood the check of the index tells."""
    try:
        record = residency.hot_get(index, ino)
        return [] if record is None else list(check_file(index, hot, ino, record))
    except IndexDamageError:
        return []


def check_file(index: Index, hot: HotFiles, ino: int, record: HotRecord) -> Iterator[Finding]:
    """What is wrong with one record and its backing file."""
    inode, stat = inodes.get(index, ino), hot.stat(ino)
    if inode is None:
        return  # a finding of the index
    row, name = pack_id(ino), repr(inode.name)
    if stat is None:
        kind = FindingKind.NO_FILE if is_clean(inode) else FindingKind.LOST_BYTES
        yield Finding(kind, ino, name, Table.HOT.name, row)
        return
    if record.writing:
        return
    if stat.size_bytes != inode.size_bytes:
        kind = FindingKind.WRONG_SIZE if is_clean(inode) else FindingKind.WRONG_SIZE_CHANGED
        sizes = f"{name} has {inode.size_bytes} bytes, its file {stat.size_bytes}"
        yield Finding(kind, ino, sizes, Table.HOT.name, row)
        return
    yield from _check_room(index, inode, record, stat)


def _check_room(index: Index, inode: Inode, record: HotRecord, stat: BackingStat) -> Iterator[Finding]:
    ino = inode.ino
    if abs(stat.allocated_bytes - record.bytes_charged) > _CHARGE_SLACK_BYTES:
        what = f"{inode.name!r} is charged {record.bytes_charged} bytes and takes {stat.allocated_bytes}"
        yield Finding(FindingKind.WRONG_CHARGE, ino, what, Table.HOT.name, pack_pair(ino, stat.allocated_bytes))
    if record.residency is Residency.PARTIAL:
        beyond = [stop for _, stop in residency.extents_get(index, ino) if stop > inode.size_bytes]
        if beyond:
            what = f"{inode.name!r} has {inode.size_bytes} bytes, its extents go to {max(beyond)}"
            yield Finding(FindingKind.EXTENT_BEYOND_END, ino, what, Table.EXTENTS.name, pack_id(ino))


def check_path(index: Index, hot: HotFiles, path: str, ino: int | None) -> Finding | None:
    """What is wrong with a file below the tier; `ino` None: its name is none of a backing file."""
    key = path.encode(errors="surrogateescape")
    if ino is None:
        return Finding(FindingKind.FOREIGN_FILE, 0, path, "hot", key)
    if index.get(Table.HOT, pack_id(ino)) is not None:
        return None
    stat = hot.stat(ino)
    try:
        inode = inodes.get(index, ino)
    except IndexDamageError:
        inode = None
    if stat is None:
        return None  # it went meanwhile
    is_copy = stat.allocated_bytes == 0 or (inode is not None and inode.base is not None and is_clean(inode))
    kind = FindingKind.COPY_LEFT if is_copy else FindingKind.UNKNOWN_FILE
    return Finding(kind, ino, f"{path}, {stat.size_bytes} bytes", "hot", key)
