"""What an open file asks of whoever knows about archives: may its bytes be fetched?"""

from typing import Protocol

from tierfs.model import Inode


class Keeper(Protocol):
    """Whoever knows; see `tiering.opening`."""

    async def admit(self, inode: Inode) -> None:
        """Somebody opens the file, and not all of it is here: returns when its object can be read.

        StoreError(ARCHIVED) when it cannot now. May wait.
        """
        ...

    def met(self, inode: Inode) -> None:
        """The file is open, and its object turned out to be archived. No checkpoint."""
        ...


class Archive:
    """The archive of a store; without a keeper every object can be read, or says itself that it cannot."""

    keeper: Keeper | None = None

    async def admit(self, inode: Inode) -> None:
        """See Keeper."""
        if self.keeper is not None:
            await self.keeper.admit(inode)

    def met(self, inode: Inode) -> None:
        """See Keeper."""
        if self.keeper is not None:
            self.keeper.met(inode)
