"""Hard links come in: names whose objects carry one id, and have the same content, are one inode.

When an object's attributes are read and its id is known already, its name joins the inode that has the id.
Until then every name is an inode of its own, so `nlink` is complete when all names have been read.

Ids are kept under SETTINGS: "link-of/<ino>" (an id that came from the bucket; others are the inode number
in hex) and "link-id/<id>" (the inode that has it). Sync code only.
"""

from attrs import evolve

from tierfs.content.handles import Files
from tierfs.index import dirents, foreign, inodes, links, settings, xattrs
from tierfs.index import locations as rows
from tierfs.index.env import Index, Reader, Txn
from tierfs.model import Inode
from tierfs.namespace.notify import Notify

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
