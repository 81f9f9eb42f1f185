"""When a file is lent to the kernel, or served (see lending.py): at its opens, and when it is closed."""

from tierfs.content.brake import Brake
from tierfs.content.ledger import Ledger
from tierfs.content.live import LiveFile
from tierfs.index import inodes
from tierfs.model import Inode


class Loans:
    """Which way an open file goes. `share_bytes`: a file beyond it is written where it can spill."""

    def __init__(self, ledger: Ledger, brake: Brake, share_bytes: int) -> None:
        self._ledger = ledger
        self._lending = ledger.lending
        self._brake = brake
        self._share_bytes = share_bytes

    async def first_writer(self, live: LiveFile, *, in_place: bool) -> None:
        """For the first writer."""
        if in_place and self._lending.takes_writers and 0 < live.size_bytes <= self._share_bytes:
            self.lend(live, writers=1)
        else:
            await self._lending.recall(live.ino)
        if self._lending.has(live.ino):
            self._brake.watch(live)

    def serve(self, live: LiveFile, *, is_new: bool = False) -> None:
        """An open file that is not lent."""
        if live.readers or live.writers:
            self._lending.serve(live, limit_bytes=self._share_bytes, is_new=is_new)
            if self._lending.serves_writes(live.ino):
                self._brake.watch(live)

    def lend(self, live: LiveFile, *, writers: int = 0) -> bool:
        """If it can be lent. Its access time is then the backing file's, which the kernel moves."""
        if not self._lending.takes(live, writers=writers):
            return False
        inode = self._ledger.inode(live.ino)
        _set_backing_times(live, inode)
        self._lending.lend(live, inode)
        return True

    def closed(self, live: LiveFile) -> None:
        """Nobody has the file open any more: who opens it next may find it lent."""
        inode = inodes.get(self._ledger.index, live.ino)
        if inode is None or not inode.parent or not inode.size_bytes or not self._lending.is_served(live.ino):
            self._lending.unserve(live.ino)
            return
        _set_backing_times(live, inode)
        if not self._lending.keep(live, inode):
            self._lending.unserve(live.ino)


def _set_backing_times(live: LiveFile, inode: Inode) -> None:
    stat = live.open_backing.stat()
    if (stat.atime_ns, stat.mtime_ns) != (inode.atime_ns, inode.mtime_ns):
        live.open_backing.set_times(atime_ns=inode.atime_ns, mtime_ns=inode.mtime_ns)
        live.alterations += 1
    live.seen = (live.size_bytes, inode.mtime_ns)
