"""Bytes in the hot tier compared with the bucket's: what can be proven, and what not.

Every file is asked for by one HEAD: the object has to be the version that the index knows (ETag and size). Then its
bytes here are compared with what is known of them: see `proofs`. What was changed here and is not uploaded differs as
it should: it is passed over. Nothing is repaired: a copy that is damaged goes by `release`, and `scrub` heals it.
"""

from typing import Final

from tierfs.content.handles import Files
from tierfs.errors import TierfsError
from tierfs.index import inodes, residency, sums
from tierfs.index.env import Index
from tierfs.model import Base, Inode
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.tasks import FileError
from tierfs.sync import proofs
from tierfs.sync.attributes import head
from tierfs.sync.paths import Place
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import Run, code_of

_WORKERS: Final = 8


class Verify:
    """The job. Its notes: "changed_meanwhile", and how many files are proven how; see `proofs.Comparison`."""

    def __init__(
        self, *, index: Index, locations: Locations, store: ObjectStore, files: Files, subtree: Subtree
    ) -> None:
        self._index = index
        self._locations = locations
        self._store = store
        self._files = files
        self._subtree = subtree
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job."""

        async def count(_place: Place, inode: Inode) -> None:
            if self._is_meant(inode):
                run.found(inode.size_bytes)

        self._top = self._subtree.known()
        await self._subtree.each_file(self._top, count)

    def _is_meant(self, inode: Inode) -> bool:
        hot = residency.hot_get(self._index, inode.ino)
        return hot is not None and hot.bytes_charged > 0 and inode.base is not None and not inode.is_dirty

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def verify(place: Place, inode: Inode) -> None:
            if not self._is_meant(inode) or inode.base is None:
                return
            try:
                fault = await self._fault(run, inode, inode.base)
            except (TierfsError, OSError) as error:
                fault = code_of(error)
            if fault:
                run.failed(self._subtree.text_of(place), fault)
            else:
                run.done(inode.size_bytes)

        await self._subtree.work_on_files(self._top, verify, workers=_WORKERS)

    async def _fault(self, run: Run, inode: Inode, base: Base) -> str:
        """What is wrong with a file, "" if nothing is known to be. StoreError, FsError."""
        info = await head(self._store, self._locations.actual_key(self._index, inode))
        if not self._is_still(inode, base):
            run.note("changed_meanwhile")
            return ""
        if info is None:
            return FileError.OBJECT_MISSING
        if (info.etag, info.size_bytes) != (base.etag, base.size_bytes):
            return FileError.OBJECT_CHANGED
        known = sums.of_version(self._index, inode.ino, base.etag)
        if not proofs.may_prove(base, known):
            run.note("unproven")
            return ""
        async with self._files.snapshot(inode.ino) as snapshot:
            found = await proofs.compare(snapshot, base, known)
            is_still = snapshot.unchanged() and self._is_still(inode, base)
        if found.damaged and is_still:
            return FileError.CHECKSUM_MISMATCH
        run.note(found.proof if is_still else "changed_meanwhile")
        return ""

    def _is_still(self, inode: Inode, base: Base) -> bool:
        now = inodes.get(self._index, inode.ino)
        return now is not None and now.parent != 0 and now.base == base and not now.is_dirty
