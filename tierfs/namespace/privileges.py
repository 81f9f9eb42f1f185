"""What a file loses when somebody writes it or gives it away: setuid, setgid and capabilities, as in write(2)."""

import stat

from tierfs.index import xattrs
from tierfs.index.env import Index
from tierfs.namespace import xattr_rules
from tierfs.namespace.changes import AttrChange
from tierfs.namespace.tree import Tree


def strip(index: Index, tree: Tree, ino: int) -> None:
    """Of anything but a directory. No checkpoint."""
    mode = tree.inode(ino).mode
    kept = mode & ~stat.S_ISUID & ~(stat.S_ISGID if mode & stat.S_IXGRP else 0)
    if kept != mode:
        tree.set_attributes(ino, AttrChange(permissions=stat.S_IMODE(kept)))
    if xattrs.get(index, ino, xattr_rules.CAPABILITY) is not None:
        tree.remove_xattr(ino, xattr_rules.CAPABILITY)
