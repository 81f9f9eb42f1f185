"""Which closed files stay in the tier, which leave it before anybody needs the room, and that they were used."""

import errno
from collections.abc import Callable, Iterable

from attrs import evolve

from tierfs.content.ledger import Ledger
from tierfs.content.reclaim import Evictor
from tierfs.errors import FsError
from tierfs.index import residency


class Keeping:
    """Pins files, and releases those that nobody has open. Part of `Files`."""

    def __init__(self, ledger: Ledger, evictor: Evictor, has_handles: Callable[[int], bool]) -> None:
        self._ledger = ledger
        self._evictor = evictor
        self._has_handles = has_handles

    def pin(self, ino: int) -> None:
        """What is here of the file, and what comes, stays until `unpin`. FsError(ESTALE). No checkpoint."""
        ledger = self._ledger
        if not ledger.inode(ino).is_regular:
            raise FsError(errno.EINVAL, "only files are pinned")
        live = ledger.hold(ino)
        try:
            ledger.materialize(live)
            if live.record is not None and not live.record.pinned:
                ledger.set_record(live, evolve(live.record, pinned=True))
        finally:
            ledger.let_go(live)

    def unpin(self, ino: int) -> bool:
        """It may go again, like any other. Was it pinned? FsError(ESTALE). No checkpoint."""
        record = residency.hot_get(self._ledger.index, ino)
        if record is None or not record.pinned:
            return False
        live = self._ledger.hold(ino)
        try:
            if live.record is not None:
                self._ledger.set_record(live, evolve(live.record, pinned=False))
        finally:
            self._ledger.let_go(live)  # which drops the record of a file of which nothing is here
        return True

    def used(self, ino: int, when_ns: int) -> None:
        """The kernel used a lent file without us."""
        record = residency.hot_get(self._ledger.index, ino)
        if record is not None and self._ledger.lives.get(ino) is None:
            self._ledger.note_use(ino, record, when_ns)

    async def release(self, inos: Iterable[int]) -> tuple[int, int]:
        """Evicts closed clean files; passes over the others. Returns (files, bytes)."""
        files = freed_bytes = 0
        came_back = await self._ledger.lending.recall_all([ino for ino in inos if not self._has_handles(ino)])
        for ino in came_back:
            if self._has_handles(ino):
                continue
            freed_bytes += self._evictor.evict(ino)
            files += residency.hot_get(self._ledger.index, ino) is None
        await self._ledger.hot.bury()
        return files, freed_bytes
