"""Hard links come in and go: names whose objects carry one id, and have the same content, are one inode.

When an object's attributes are read and its id is known already, its name joins the inode that has the id.
Until then every name is an inode of its own, so `nlink` is complete when all names have been read.

Ids are kept under SETTINGS: "link-of/<ino>" (an id that came from the bucket; others are the inode number
in hex) and "link-id/<id>" (the inode that has it). Sync code only.
"""

from attrs import evolve

from tierfs.content.handles import Files
from tierfs.index import dirents, foreign, inodes, intents, links, orphans, residency, settings, xattrs
from tierfs.index import locations as rows
from tierfs.index.env import Index, Reader, Txn
from tierfs.index.links import Link
from tierfs.model import Inode, InodeFlag
from tierfs.namespace.notify import Notify
from tierfs.sync.paths import Place

_ID_MAX_CHARS = 64


def id_of(reader: Reader, inode: Inode) -> str:
    """The id that the inode's objects carry; "" for a file that never had a second name."""
    stored = settings.get(reader, f"link-of/{inode.ino:x}")
    if stored is not None:
        return stored.decode()
    return f"{inode.ino:x}" if inode.nlink > 1 and not inode.is_dir else ""


def _holder(reader: Reader, link_id: str) -> Inode | None:
    """The live inode that has the id."""
    stored = settings.get(reader, f"link-id/{link_id}")
    if stored is not None:
        number = int.from_bytes(stored, "big")
    else:
        try:
            number = int(link_id, 16)
        except ValueError:
            return None
    inode = inodes.get(reader, number) if 0 < number < 1 << 63 else None
    return inode if inode is not None and inode.parent != 0 and id_of(reader, inode) == link_id else None


def _remember(txn: Txn, ino: int, link_id: str) -> None:
    settings.put(txn, f"link-of/{ino:x}", link_id.encode())
    settings.put(txn, f"link-id/{link_id}", ino.to_bytes(8, "big"))


def _have_same_bytes(one: Inode, other: Inode) -> bool:
    return one.base is not None and other.base is not None and one.base.is_copy_of(other.base)


def join(index: Index, files: Files, notify: Notify, inode: Inode, link_id: str) -> int:
    """The inode that the name of `inode` belongs to from now on: the one that has the id, if there is one.

    An inode that is open, dirty, or under another key than its path says stays by itself until its
    attributes are read the next time.
    """
    if not link_id or len(link_id) > _ID_MAX_CHARS or not inode.is_regular or id_of(index, inode) == link_id:
        return inode.ino
    holder = _holder(index, link_id)
    if holder is None or holder.is_dirty or not _have_same_bytes(holder, inode):
        if holder is None:
            with index.transaction() as txn:
                _remember(txn, inode.ino, link_id)
        return inode.ino
    if inode.is_dirty or inode.nlink > 1 or files.is_open(inode.ino) or rows.location(index, inode.ino) is not None:
        return inode.ino
    with index.transaction() as txn:
        inodes.put(txn, evolve(holder, nlink=holder.nlink + 1))
        links.put(txn, holder.ino, inode.parent, inode.name, inode.base)
        dirents.put(txn, inode.parent, inode.name, holder.ino, holder.mode & 0o170000)
        inodes.delete(txn, inode.ino)
        xattrs.delete_all(txn, inode.ino)
        foreign.delete(txn, inode.ino)
    files.forget(inode.ino)
    notify.entry_changed(inode.parent, inode.name)
    notify.inode_changed(holder.ino, content=False)
    return holder.ino


def detach(txn: Txn, inode: Inode, place: Place, now_ns: int, notify: Notify) -> bool:
    """The bucket has no object of this name any more: takes the name from its inode; True when nothing is left of it.

    When the first name goes, the file lives on with a further one that has its bytes; without such a one all go.
    """
    pending = intents.of_inode(txn, inode.ino)
    remaining = [link for link in links.all(txn, inode.ino) if (link.parent, link.name) != (place.parent, place.name)]
    if (inode.parent, inode.name) != (place.parent, place.name):
        links.delete(txn, inode.ino, place.parent, place.name)
        inodes.put(txn, evolve(inode, nlink=max(1, inode.nlink - 1)))
        return False
    successor = heir(txn, inode, remaining)
    rows.clear_location(txn, inode.ino)
    if successor is not None:
        links.delete(txn, inode.ino, successor.parent, successor.name)
        promoted = evolve(
            inode, parent=successor.parent, name=successor.name, base=successor.base, nlink=max(1, inode.nlink - 1)
        )
        inodes.put(txn, promoted)
        if inode.base is not None and successor.base is not None and not successor.base.is_copy_of(inode.base):
            intents.mark_dirty(txn, promoted, InodeFlag.DATA_DIRTY, now_ns=now_ns, quiet_s=0)
        return False
    for link in remaining:
        links.delete(txn, inode.ino, link.parent, link.name)
        dirents.delete(txn, link.parent, link.name)
        notify.entry_changed(link.parent, link.name)
    if pending is not None:
        intents.delete(txn, pending.seq)
    dirty = InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY
    inodes.put(txn, evolve(inode, parent=0, name=b"", nlink=0, flags=inode.flags & ~dirty))
    orphans.add(txn, inode.ino)
    return True


def heir(reader: Reader, inode: Inode, further: list[Link]) -> Link | None:
    """The further link that the file lives on with when its first object is gone.

    None: its bytes are neither in another link's object nor here.
    """
    copies = (link for link in further if link.base and inode.base and link.base.is_copy_of(inode.base))
    whole = further[:1] if residency.is_whole(reader, inode) else []
    return next(copies, whole[0] if whole else None)
