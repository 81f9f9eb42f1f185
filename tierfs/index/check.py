"""Do the tables agree with each other? For fsck, and for tests after each crash.

Reads in pages and keeps nothing between them: memory does not grow with the index, and every relation is
checked from both of its ends, so that neither a missing nor a left-over row stays unseen. Read-only. What it
reports while others change the index between two steps may be stale; on an idle index every finding is real.
"""

import stat
from collections.abc import Callable, Iterator
from typing import Final

from attrs import evolve

from tierfs.errors import IndexDamageError
from tierfs.index import (
    conflicts,
    dirents,
    foreign,
    held,
    inodes,
    intents,
    links,
    locations,
    ranks,
    residency,
    restores,
    tasks,
)
from tierfs.index.codec import (
    decode_base,
    decode_dirent,
    decode_hot,
    decode_inode,
    decode_intent,
    decode_number,
    decode_rank,
    decode_spill,
    decode_sum,
    decode_text,
)
from tierfs.index.schema import Reader, Table, hash_key, pack_id, pack_pair, unpack_id, unpack_pair
from tierfs.model import NAME_MAX_BYTES, ROOT_INO, Inode, InodeFlag, IntentKind, Residency
from tierfs.policy.fsck import Finding, FindingKind

_PAGE_ROWS: Final = 1000
_ABOVE_ALL: Final = b"\xff" * 511


def check(reader: Reader) -> Iterator[Finding]:
    """Every disagreement, in no order that means anything."""
    for findings in check_in_steps(reader):
        yield from findings


def check_in_steps(reader: Reader) -> Iterator[list[Finding]]:
    """The same in steps of a few milliseconds, most of them empty: a caller on an event loop yields between them."""
    for table in _CHECKS:
        start = b""
        while rows := reader.scan(table, start, _ABOVE_ALL, limit=_PAGE_ROWS):
            findings: list[Finding] = []
            for key, value in rows:
                findings += _check_row(reader, table, key, value)
            yield findings
            start = rows[-1][0] + b"\0"


def check_again(reader: Reader, finding: Finding) -> bool:
    """Is it still so? What was found while others changed the index may have been the middle of a change."""
    table = Table[finding.table]
    value = reader.get(table, finding.key)
    return value is not None and finding in _check_row(reader, table, finding.key, value)


def _check_row(reader: Reader, table: Table, key: bytes, value: bytes) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(_CHECKS[table](reader, key, value))
    except IndexDamageError as error:
        ino = unpack_id(key) if table in _KEYED_BY_INO else 0
        findings.append(Finding(FindingKind.UNREADABLE, ino, f"{table.name} {key.hex()}: {error}"))
    return [evolve(finding, table=table.name, key=key) for finding in findings]


def _inode_exists(reader: Reader, ino: int) -> bool:
    return reader.get(Table.INODES, pack_id(ino)) is not None


def is_file_name(name: bytes) -> bool:
    """Can a directory have it?"""
    return 0 < len(name) <= NAME_MAX_BYTES and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


def _check_dirent(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    parent, name = unpack_id(key), key[8:]
    ino, fmt = decode_dirent(value)
    where = f"{name!r} in directory {parent}"
    if not is_file_name(name):
        yield Finding(FindingKind.BAD_NAME, ino, where)
    directory = inodes.get(reader, parent)
    if directory is None:
        yield Finding(FindingKind.NO_INODE, parent, f"directory of {name!r}")
    elif not directory.is_dir:
        yield Finding(FindingKind.NOT_A_DIRECTORY, parent, where)
    inode = inodes.get(reader, ino)
    if inode is None:
        yield Finding(FindingKind.NO_INODE, ino, where)
        return
    if fmt and fmt != stat.S_IFMT(inode.mode):
        yield Finding(FindingKind.WRONG_TYPE, ino, f"{where}: {fmt:#o}, the inode is {inode.mode:#o}")
    if (inode.parent, inode.name) != (parent, name) and links.get(reader, ino, parent, name) is None:
        yield Finding(FindingKind.UNKNOWN_LINK, ino, where)


def _check_inode(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    inode = decode_inode(unpack_id(key), value)
    if inode.parent == 0:
        if reader.get(Table.ORPHANS, key) is None:
            yield Finding(FindingKind.NO_ORPHAN_ROW, inode.ino, f"mode {inode.mode:#o}")
    else:
        if inode.ino != ROOT_INO:
            dirent = dirents.get(reader, inode.parent, inode.name)
            if dirent is None or dirent.ino != inode.ino:
                yield Finding(FindingKind.NO_DIRENT, inode.ino, f"{inode.name!r} in directory {inode.parent}")
        if inode.is_dir and inode.ino != ROOT_INO and lies_below(reader, inode.parent, inode.ino):
            yield Finding(FindingKind.RING, inode.ino, f"{inode.name!r} in directory {inode.parent}")
        is_exported = inode.is_dirty and InodeFlag.LOCAL not in inode.flags
        if is_exported and reader.get(Table.INTENT_OF, key) is None:
            yield Finding(FindingKind.NO_INTENT, inode.ino, repr(inode.flags))
    counted = count_links(reader, inode)
    if inode.nlink != counted:
        yield Finding(FindingKind.WRONG_NLINK, inode.ino, f"nlink {inode.nlink}, counted {counted}")


def lies_below(reader: Reader, ino: int, top: int) -> bool:
    """Is the directory `ino` the directory `top`, or below it?"""
    met = set()
    while ino not in (ROOT_INO, 0) and ino not in met:
        if ino == top:
            return True
        met.add(ino)
        inode = inodes.get(reader, ino)
        ino = inode.parent if inode is not None else 0
    return False


def count_links(reader: Reader, inode: Inode) -> int:
    """What st_nlink has to be, by the names and links that there are."""
    if inode.parent == 0:
        return 0
    if not inode.is_dir:
        return 1 + len(links.all(reader, inode.ino))
    subdirs, after = 0, b""
    while page := dirents.page(reader, inode.ino, after, _PAGE_ROWS):
        subdirs += sum(1 for dirent in page if dirent.fmt == stat.S_IFDIR)
        after = page[-1].name
    return 2 + subdirs


def _check_link(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    (ino, parent), name = unpack_pair(key), key[16:]
    if value:
        decode_base(value)
    where = f"{name!r} in directory {parent}"
    inode = inodes.get(reader, ino)
    if inode is None:
        yield Finding(FindingKind.NO_INODE, ino, f"link {where}")
    elif (inode.parent, inode.name) == (parent, name):
        yield Finding(FindingKind.STRAY_POINTER, ino, f"{where} is the first link and a further one")
    dirent = dirents.get(reader, parent, name)
    if dirent is None or dirent.ino != ino:
        yield Finding(FindingKind.NO_DIRENT, ino, where)


def _check_hot(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    ino, hot = unpack_id(key), decode_hot(value)
    if not _inode_exists(reader, ino):
        yield Finding(FindingKind.NO_INODE, ino, "in the hot tier")
    if reader.get(Table.AGES, pack_pair(hot.last_use_s, ino)) is None:
        yield Finding(FindingKind.NO_POINTER, ino, f"no age row at {hot.last_use_s}")
    rank_key = ranks.key_of(ino, hot)
    if rank_key is not None and reader.get(Table.RANKS, rank_key) is None:
        yield Finding(FindingKind.NO_POINTER, ino, f"no rank row at {hot.rank_bytes}")


def _check_age(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    last_use_s, ino = unpack_pair(key)
    hot = residency.hot_get(reader, ino)
    if hot is None or hot.last_use_s != last_use_s:
        yield Finding(FindingKind.STRAY_POINTER, ino, f"age row at {last_use_s}")


def _check_rank(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    order, ino = unpack_pair(key)
    hot = residency.hot_get(reader, ino)
    if hot is None or ranks.key_of(ino, hot) != key:
        yield Finding(FindingKind.STRAY_POINTER, ino, f"rank row at {order}")


def _check_history(reader: Reader, _key: bytes, value: bytes) -> Iterator[Finding]:
    decode_rank(value)
    yield from ()


def _check_extent(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    (ino, start), stop = unpack_pair(key), decode_number(value)
    hot = residency.hot_get(reader, ino)
    if hot is None or hot.residency is not Residency.PARTIAL:
        yield Finding(FindingKind.STRAY_EXTENT, ino, f"[{start}, {stop}), the file is {hot and hot.residency!r}")
    before = reader.last_before(Table.EXTENTS, key, pack_id(ino))
    if start >= stop or (before is not None and decode_number(before[1]) >= start):
        yield Finding(FindingKind.STRAY_EXTENT, ino, f"[{start}, {stop}) is empty or not apart from the one before")


def _check_sum(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    ino, start = unpack_pair(key)
    found = decode_sum(start, value)
    if not _inode_exists(reader, ino):
        yield Finding(FindingKind.NO_INODE, ino, f"checksum of [{start}, {found.stop})")


def _check_spill(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    ino, start = unpack_pair(key)
    decode_spill(start, value)
    if not _inode_exists(reader, ino):
        yield Finding(FindingKind.NO_INODE, ino, f"spill at {start}")


def _check_intent(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    intent = decode_intent(unpack_id(key), value)
    what = f"{intent.kind.name} intent {intent.seq}"
    if intent.kind is IntentKind.DELETE:
        pointer = reader.get(Table.TOMBSTONES, hash_key(intent.key))
    else:
        if not _inode_exists(reader, intent.ino):
            yield Finding(FindingKind.NO_INODE, intent.ino, what)
        if intent.kind is not IntentKind.RECONCILE:
            return
        pointer = reader.get(Table.INTENT_OF, pack_id(intent.ino))
    if pointer is None or decode_number(pointer) != intent.seq:
        yield Finding(FindingKind.NO_POINTER, intent.ino, what)


def _check_intent_of(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    ino, seq = unpack_id(key), decode_number(value)
    intent = intents.get(reader, seq)
    if intent is None or intent.kind is not IntentKind.RECONCILE or intent.ino != ino:
        yield Finding(FindingKind.STRAY_POINTER, ino, f"intent {seq}")


def _check_tombstone(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    seq = decode_number(value)
    intent = intents.get(reader, seq)
    if intent is None or intent.kind is not IntentKind.DELETE or hash_key(intent.key) != key:
        yield Finding(FindingKind.STRAY_POINTER, 0, f"tombstone of intent {seq}")


def _check_location(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    ino, object_key = unpack_id(key), decode_text(value)
    if not _inode_exists(reader, ino):
        yield Finding(FindingKind.NO_INODE, ino, f"located at {object_key!r}")
    if locations.located_at(reader, object_key) != ino:
        yield Finding(FindingKind.NO_POINTER, ino, f"located at {object_key!r}")


def _check_located(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    ino = decode_number(value)
    object_key = locations.location(reader, ino)
    if object_key is None or hash_key(object_key) != key:
        yield Finding(FindingKind.STRAY_POINTER, ino, "the way back from a location")


def _check_override(reader: Reader, key: bytes, value: bytes) -> Iterator[Finding]:
    inode = inodes.get(reader, unpack_id(key))
    if inode is None or not inode.is_dir:
        yield Finding(FindingKind.NOT_A_DIRECTORY, unpack_id(key), f"override {value!r}")


def _check_foreign(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    foreign.get(reader, unpack_id(key))
    if not _inode_exists(reader, unpack_id(key)):
        yield Finding(FindingKind.NO_INODE, unpack_id(key), "metadata of others")


def _check_xattr(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    if not _inode_exists(reader, unpack_id(key)):
        yield Finding(FindingKind.NO_INODE, unpack_id(key), f"extended attribute {key[8:]!r}")


def _check_orphan(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    inode = inodes.get(reader, unpack_id(key))
    if inode is None:
        yield Finding(FindingKind.NO_INODE, unpack_id(key), "to be purged")
    elif inode.parent:
        yield Finding(FindingKind.NOT_ORPHANED, inode.ino, f"{inode.name!r} in directory {inode.parent}")


def _check_conflict(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    conflicts.page(reader, unpack_id(key) - 1, 1)  # readable is all that a conflict has to be
    yield from ()


def _check_held(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    held.get(reader, unpack_id(key), key[8:])  # the name may be gone: whoever meets the row next drops it
    yield from ()


def _check_task(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    tasks.get(reader, unpack_id(key))
    yield from ()


def _check_task_failure(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    number, count = unpack_pair(key)
    tasks.failures(reader, number, count - 1, 1)
    yield from ()


def _check_restore(reader: Reader, key: bytes, _value: bytes) -> Iterator[Finding]:
    restores.get(reader, unpack_id(key))  # the inode may be gone: who looks after restores drops the row
    yield from ()


_CHECKS: Final[dict[Table, Callable[[Reader, bytes, bytes], Iterator[Finding]]]] = {
    Table.DIRENTS: _check_dirent,
    Table.INODES: _check_inode,
    Table.LINKS: _check_link,
    Table.XATTRS: _check_xattr,
    Table.HOT: _check_hot,
    Table.AGES: _check_age,
    Table.RANKS: _check_rank,
    Table.HISTORY: _check_history,
    Table.EXTENTS: _check_extent,
    Table.SPILLS: _check_spill,
    Table.SUMS: _check_sum,
    Table.INTENTS: _check_intent,
    Table.INTENT_OF: _check_intent_of,
    Table.TOMBSTONES: _check_tombstone,
    Table.LOCATIONS: _check_location,
    Table.LOCATED: _check_located,
    Table.OVERRIDES: _check_override,
    Table.FOREIGN: _check_foreign,
    Table.ORPHANS: _check_orphan,
    Table.CONFLICTS: _check_conflict,
    Table.HELD: _check_held,
    Table.TASKS: _check_task,
    Table.TASK_FAILURES: _check_task_failure,
    Table.RESTORES: _check_restore,
}
_KEYED_BY_INO: Final = frozenset(_CHECKS) - {
    Table.AGES,
    Table.RANKS,
    Table.HISTORY,
    Table.CONFLICTS,
    Table.DIRENTS,
    Table.HELD,
    Table.INTENTS,
    Table.RESTORES,
    Table.TASK_FAILURES,
    Table.TASKS,
    Table.TOMBSTONES,
    Table.LOCATED,
}
