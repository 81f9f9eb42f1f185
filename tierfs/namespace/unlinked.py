"""What loses its name: of its objects tombstones are left, of the inode an orphan until its last user has gone.

An open file of which the local disk has not every byte goes on reading its object. Its orphan therefore keeps the
base, and a location row that says where the object is: at first still at the key of the name, which has a tombstone
and which somebody else may be about to write; `sync.aside` moves it under `.tierfs/` before either. What lies there
has no tombstone, so that it holds up nobody who waits for the bucket: the orphan's own row stands for it, and the
purge, of the last close or of the next start, buries it.
"""

from typing import Final

from attrs import evolve

from tierfs.index import foreign, inodes, intents, orphans, xattrs
from tierfs.index import locations as rows
from tierfs.index.env import Txn
from tierfs.model import HIDDEN_PREFIX, Inode, InodeFlag, revise
from tierfs.namespace.locations import Locations

_DIRTY: Final = InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY


def bury(txn: Txn, key: str, etag: str, now_ns: int, *, op_id: str = "") -> None:
    """Leaves a tombstone: the object at `key` has lost its inode. `etag` "" = never confirmed.

    `op_id`: of a write to this key that was sent and whose answer was never seen. If it has arrived,
    what lies there is ours to delete, too.
    """
    known = intents.tombstone(txn, key)
    if known is not None:
        if not etag:
            intents.put(txn, evolve(known, op_id=op_id or known.op_id))
            return
        intents.delete(txn, known.seq)
    intents.add_tombstone(txn, key, etag, now_ns, op_id=op_id)


def orphan(txn: Txn, locations: Locations, inode: Inode, now_ns: int, *, needs_object: bool) -> Inode:
    """The last name of an inode is gone: returns it as it waits for its last user.

    `needs_object`: somebody has it open and reads of it what only its object has.
    """
    pending = intents.of_inode(txn, inode.ino)
    key = locations.actual_key(txn, inode) if inode.base is not None else ""
    if inode.base is not None:
        bury(txn, key, inode.base.etag, now_ns)
    if pending is not None and pending.key:  # sent, but the answer was never seen
        bury(txn, pending.key, "", now_ns, op_id=pending.op_id)
    if pending is not None:
        intents.delete(txn, pending.seq)
    rows.clear_location(txn, inode.ino)
    gone = revise(inode, parent=0, name=b"", write_seq=inode.write_seq + 1)
    if needs_object and inode.base is not None:
        # what was written here is not in the object: it stays dirty, so that it is never evicted
        gone = revise(gone, flags=inode.flags & ~InodeFlag.META_DIRTY)
        rows.set_location(txn, inode.ino, key)
    else:
        gone = revise(gone, base=None, flags=inode.flags & ~_DIRTY)
    inodes.put(txn, gone)
    orphans.add(txn, inode.ino)
    return gone


def purge(txn: Txn, ino: int, now_ns: int) -> None:
    """Removes what the index holds of an orphan that nobody uses any more; an object that was aside for it goes."""
    inode, key = inodes.get(txn, ino), rows.location(txn, ino)
    if inode is not None and inode.base is not None and key is not None and key.startswith(HIDDEN_PREFIX):
        bury(txn, key, inode.base.etag, now_ns)
    rows.clear_location(txn, ino)
    inodes.delete(txn, ino)
    xattrs.delete_all(txn, ino)
    foreign.delete(txn, ino)
    orphans.remove(txn, ino)
