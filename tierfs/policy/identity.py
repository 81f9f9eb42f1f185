"""To whom belongs what somebody makes: to himself, or to one owner for all ("squash", as NFS calls it). Pure."""

import enum
from typing import Final

from attrs import frozen

NOBODY: Final = 65_534
"""The uid and gid that Linux keeps for nobody."""


class Squash(enum.StrEnum):
    """Whose entries get the one owner."""

    NONE = "none"
    ROOT = "root"
    ALL = "all"


@frozen
class Ownership:
    """The rule of one mount, and the one owner."""

    squash: Squash = Squash.NONE
    uid: int = NOBODY
    gid: int = NOBODY

    def of(self, uid: int, gid: int) -> tuple[int, int]:
        """Owner and group of what this user makes. A setgid directory still gives its group."""
        is_squashed = self.squash is Squash.ALL or (self.squash is Squash.ROOT and uid == 0)
        return (self.uid, self.gid) if is_squashed else (uid, gid)
