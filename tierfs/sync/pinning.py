"""What the tasks pin and unpin do with all that is at a path; see `jobs`.

    job      counts                          begins with                        a failure
    -------  ------------------------------  ---------------------------------  -----------------------------------
    pin      files that are not here whole   listing what is not listed         a file that cannot be fetched or kept
    unpin    files that are pinned           the index                          -

A file is pinned before it is fetched, so that nothing that came is evicted meanwhile.
"""

from tierfs.content.handles import Files
from tierfs.errors import TierfsError
from tierfs.index import residency
from tierfs.index.env import Index
from tierfs.model import Inode
from tierfs.sync.paths import Place
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import Job, Run, code_of


class Pin:
    """Pins every file, and fetches what is not here, which is the work of `warm`.

    Files that come later are not pinned: a rule does that.
    """

    def __init__(self, files: Files, subtree: Subtree, warm: Job) -> None:
        self._files = files
        self._subtree = subtree
        self._warm = warm

    async def survey(self, run: Run) -> None:
        """See Job."""
        await self._warm.survey(run)

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def pin(place: Place, inode: Inode) -> None:
            try:
                self._files.keeping.pin(inode.ino)
                run.note("pinned")
            except TierfsError as error:
                run.failed(self._subtree.text_of(place), code_of(error))

        await self._subtree.each_file(self._subtree.known(), pin)
        await self._warm.carry_out(run)


class Unpin:
    """Lets what was pinned go again, when its turn comes."""

    def __init__(self, index: Index, files: Files, subtree: Subtree) -> None:
        self._index = index
        self._files = files
        self._subtree = subtree
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job."""

        async def count(_place: Place, inode: Inode) -> None:
            if (record := residency.hot_get(self._index, inode.ino)) is not None and record.pinned:
                run.found(record.bytes_charged)

        self._top = self._subtree.known()
        await self._subtree.each_file(self._top, count)

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def unpin(place: Place, inode: Inode) -> None:
            record = residency.hot_get(self._index, inode.ino)
            try:
                if self._files.keeping.unpin(inode.ino):
                    run.done(record.bytes_charged if record is not None else 0)
            except TierfsError as error:
                run.failed(self._subtree.text_of(place), code_of(error))

        await self._subtree.each_file(self._top, unpin)
