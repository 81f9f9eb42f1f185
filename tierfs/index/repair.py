"""Repairs of the index that follow from its own rows; which one is right for a finding is said in `policy.fsck`.

Each is one transaction on the row where the finding was made, and looks at what is there now: a finding that an earlier
repair has settled changes nothing more. One repair may bring up another finding (a name that was dropped leaves an
inode without one), so who repairs checks again until nothing is left that can be repaired.
"""

import stat
from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve

from tierfs.errors import IndexDamageError
from tierfs.index import dirents, inodes, intents, links, locations, orphans, ranks, residency
from tierfs.index.check import count_links, is_file_name, lies_below
from tierfs.index.codec import decode_dirent, decode_hot, decode_number, decode_text, encode_number
from tierfs.index.env import Index, Table, Txn
from tierfs.index.schema import hash_key, pack_id, pack_pair, unpack_id, unpack_pair
from tierfs.model import ROOT_INO, Inode, InodeFlag, IntentKind, Residency
from tierfs.policy.fsck import Finding, Repair

LOST_AND_FOUND: Final = b"lost+found"
"""The directory at the root of the mount for inodes that have no name any more."""
_QUIET_S: Final = 5.0


def repair(index: Index, finding: Finding, how: Repair) -> None:
    """Carries one out. KeyError for a repair that is none of the index. FsError."""
    with index.transaction() as txn:
        _REPAIRS[how](txn, finding)


def _drop_row(txn: Txn, finding: Finding) -> None:
    table = Table[finding.table]
    if table is Table.INTENTS:
        _drop_intent(txn, finding.key)
    elif table is Table.LOCATIONS:
        locations.clear_location(txn, unpack_id(finding.key))
    else:
        txn.delete(table, finding.key)


def _drop_intent(txn: Txn, key: bytes) -> None:
    """With its pointer, where that is one to it and not to a later one."""
    seq = unpack_id(key)
    intent = intents.get(txn, seq)
    if intent is not None and intent.kind is not IntentKind.MOVE_TREE:
        is_deletion = intent.kind is IntentKind.DELETE
        table, pointer = (
            (Table.TOMBSTONES, hash_key(intent.key)) if is_deletion else (Table.INTENT_OF, pack_id(intent.ino))
        )
        if txn.get(table, pointer) == encode_number(seq):
            txn.delete(table, pointer)
    txn.delete(Table.INTENTS, key)


def _drop_name(txn: Txn, finding: Finding) -> None:
    txn.delete(Table.DIRENTS, finding.key)
    list_anew(txn, unpack_id(finding.key))


def list_anew(txn: Txn, ino: int) -> None:
    """The next use of the directory lists it, and shows what the bucket has."""
    directory = inodes.get(txn, ino)
    if directory is not None and directory.is_dir:
        inodes.put(txn, evolve(directory, flags=directory.flags & ~InodeFlag.LISTED, listed_ns=0))


def _write_pointer(txn: Txn, finding: Finding) -> None:
    match Table[finding.table]:
        case Table.HOT:
            hot = residency.hot_get(txn, finding.ino)
            if hot is not None:
                txn.put(Table.AGES, pack_pair(hot.last_use_s, finding.ino), b"")
                ranks.move(txn, finding.ino, None, hot)
        case Table.INTENTS:
            _point_to_intent(txn, finding.key)
        case Table.LOCATIONS:
            key = decode_text(txn.get(Table.LOCATIONS, finding.key) or b"")
            owner = locations.located_at(txn, key)
            if owner is None:  # else two inodes say that they have the object, and the other one is led to
                txn.put(Table.LOCATED, hash_key(key), encode_number(finding.ino))
            elif owner != finding.ino:
                txn.delete(Table.LOCATIONS, finding.key)


def _point_to_intent(txn: Txn, key: bytes) -> None:
    """Of two intents for one thing the one that is led to stands for both: each brings the bucket to what is here."""
    intent = intents.get(txn, unpack_id(key))
    if intent is None:
        return
    if intent.kind is IntentKind.DELETE:
        table, pointer = Table.TOMBSTONES, hash_key(intent.key)
    else:
        table, pointer = Table.INTENT_OF, pack_id(intent.ino)
    row = txn.get(table, pointer)
    other = None if row is None or len(row) != 8 else intents.get(txn, decode_number(row))
    if other is not None and (other.kind, other.ino, other.key) == (intent.kind, intent.ino, intent.key):
        txn.delete(Table.INTENTS, key)
    else:
        txn.put(table, pointer, encode_number(intent.seq))


def _write_type(txn: Txn, finding: Finding) -> None:
    record = txn.get(Table.DIRENTS, finding.key)
    inode = inodes.get(txn, finding.ino)
    if record is not None and inode is not None:
        ino, _ = decode_dirent(record)
        dirents.put(txn, unpack_id(finding.key), finding.key[8:], ino, stat.S_IFMT(inode.mode))


def _write_link(txn: Txn, finding: Finding) -> None:
    """A directory has one name: the one that it knows of."""
    parent, name = unpack_id(finding.key), finding.key[8:]
    inode = inodes.get(txn, finding.ino)
    if inode is None or inode.is_dir or inode.parent == 0:
        txn.delete(Table.DIRENTS, finding.key)
        return
    links.put(txn, inode.ino, parent, name, None)
    _mark(txn, evolve(inode, nlink=count_links(txn, inode)))


def _write_nlink(txn: Txn, finding: Finding) -> None:
    inode = inodes.get(txn, finding.ino)
    if inode is not None:
        inodes.put(txn, evolve(inode, nlink=count_links(txn, inode)))


def _write_extents(txn: Txn, finding: Finding) -> None:
    """What is claimed by any of them, each byte once, up to the end of the file."""
    ino, inode = finding.ino, inodes.get(txn, finding.ino)
    hot = residency.hot_get(txn, ino)
    found = residency.extents_get(txn, ino)
    residency.extents_clear(txn, ino)
    if inode is None or hot is None or hot.residency is not Residency.PARTIAL:
        return
    for start, stop in found:
        residency.extents_add(txn, ino, start, min(stop, inode.size_bytes))


def _queue_export(txn: Txn, finding: Finding) -> None:
    inode = inodes.get(txn, finding.ino)
    if inode is not None and inode.is_dirty and inode.parent:
        _mark(txn, inode)


def _mark(txn: Txn, inode: Inode) -> Inode:
    flags = inode.flags & (InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY) or InodeFlag.META_DIRTY
    return intents.mark_dirty(txn, inode, flags, now_ns=txn.index.clock.now_ns(), quiet_s=_QUIET_S)


def _queue_purge(txn: Txn, finding: Finding) -> None:
    inode = inodes.get(txn, finding.ino)
    if inode is not None and inode.parent == 0:
        orphans.add(txn, inode.ino)


def _reconnect(txn: Txn, finding: Finding) -> None:
    """Under the name that it had, if that is free, else under its number in /lost+found."""
    inode = inodes.get(txn, finding.ino)
    if inode is None or inode.ino == ROOT_INO:
        return
    fmt, parent = stat.S_IFMT(inode.mode), inodes.get(txn, inode.parent)
    there = dirents.get(txn, inode.parent, inode.name)
    is_fit = parent is not None and parent.is_dir and is_file_name(inode.name)
    if is_fit and (there is None or there.ino == inode.ino) and not lies_below(txn, inode.parent, inode.ino):
        dirents.put(txn, inode.parent, inode.name, inode.ino, fmt)
        return
    home, name = _lost_and_found(txn), b"%x" % inode.ino
    _mark(txn, evolve(inode, parent=home, name=name))
    dirents.put(txn, home, name, inode.ino, fmt)


def _lost_and_found(txn: Txn) -> int:
    """The directory, which is made where there is none. A file of that name keeps it: then the root serves."""
    known, root = dirents.get(txn, ROOT_INO, LOST_AND_FOUND), inodes.get(txn, ROOT_INO)
    if root is None:
        raise IndexDamageError("the index has no root: it can only be rebuilt")
    if known is not None:
        inode = inodes.get(txn, known.ino)
        return known.ino if inode is not None and inode.is_dir else ROOT_INO
    now_ns, ino = txn.index.clock.now_ns(), txn.index.next_ino()
    made = Inode(
        ino, stat.S_IFDIR | 0o700, root.uid, root.gid, 0, 2, now_ns, now_ns, now_ns, now_ns, ROOT_INO, LOST_AND_FOUND,
        flags=InodeFlag.ATTRS_KNOWN,
    )  # fmt: skip
    _mark(txn, made)
    dirents.put(txn, ROOT_INO, LOST_AND_FOUND, ino, stat.S_IFDIR)
    inodes.put(txn, evolve(root, nlink=root.nlink + 1))
    return ino


def _forget_copy(txn: Txn, finding: Finding) -> None:
    forget_record(txn, finding.ino)


def forget_record(txn: Txn, ino: int) -> None:
    """Nothing of the file is in the hot tier, whatever was said. Objects of its spills stay in the bucket."""
    record = txn.get(Table.HOT, pack_id(ino))
    try:
        residency.hot_delete(txn, ino)
    except IndexDamageError:
        txn.delete(Table.HOT, pack_id(ino))  # its row of AGES is a finding of its own
    if record is not None:
        residency.extents_clear(txn, ino)


def _write_charge(txn: Txn, finding: Finding) -> None:
    """The detail of this finding is for people; what it takes now is its key."""
    record = txn.get(Table.HOT, pack_id(finding.ino))
    if record is not None:
        residency.hot_put(txn, finding.ino, evolve(decode_hot(record), bytes_charged=unpack_pair(finding.key)[1]))


_REPAIRS: Final[Mapping[Repair, Callable[[Txn, Finding], None]]] = {
    Repair.DROP_ROW: _drop_row,
    Repair.DROP_NAME: _drop_name,
    Repair.WRITE_POINTER: _write_pointer,
    Repair.WRITE_TYPE: _write_type,
    Repair.WRITE_LINK: _write_link,
    Repair.WRITE_NLINK: _write_nlink,
    Repair.WRITE_EXTENTS: _write_extents,
    Repair.WRITE_CHARGE: _write_charge,
    Repair.QUEUE_EXPORT: _queue_export,
    Repair.QUEUE_PURGE: _queue_purge,
    Repair.RECONNECT: _reconnect,
    Repair.FORGET_COPY: _forget_copy,
    Repair.SAVE_BYTES: _forget_copy,
    Repair.LIST_ANEW: lambda txn, finding: list_anew(txn, finding.ino),
}
