"""What rules of placement say where files are kept and fetched: asked here, answered by `tiering`."""

from typing import Protocol

from tierfs.model import HotRecord, Inode


class PlacementRules(Protocol):
    """No checkpoints, no effects."""

    def keeps(self, inode: Inode, record: HotRecord) -> bool:
        """Must what is here of the file stay, although room is needed?"""
        ...

    def caches(self, inode: Inode) -> bool:
        """May absent bytes of the file be brought into the tier? Else they are read past it."""
        ...


class NoRules:
    """Every file may come and go."""

    def keeps(self, inode: Inode, record: HotRecord) -> bool:
        return False

    def caches(self, inode: Inode) -> bool:
        return True
