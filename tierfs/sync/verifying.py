"""Bytes in the hot tier compared with the bucket's: what can be proven, and what not.

Every file is asked for by one HEAD: the object has to be the version that the index knows (ETag and size). Then

    all of it is here, and the object carries its checksum      the bytes here are read and compared with it
    all of it is here, its ETag is the MD5 of its bytes         the same
    else (parts of it are here; a multipart object of others)   nothing more can be proven of the bytes here

A checksum is that of the bytes that were written. An ETag may look like an MD5 and be none (encrypted with KMS): so it
proves when it is equal, and says nothing when it is not. What was changed here and is not uploaded differs as it
should: it is passed over. Nothing is repaired: a copy that is damaged goes by `release`.
"""

import hashlib
import re
from typing import Final

from tierfs import native
from tierfs.content.checks import expected_crc
from tierfs.content.handles import Files, Snapshot, WhereKind
from tierfs.errors import TierfsError
from tierfs.index import inodes, residency
from tierfs.index.env import Index
from tierfs.model import Base, Inode
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.tasks import FileError
from tierfs.sync.attributes import head
from tierfs.sync.paths import Place
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import Run, code_of
from tierfs.units import MIB

_WORKERS: Final = 8
_CHECKSUM_PIECE_BYTES: Final = 64 * MIB  # read in a thread, which cannot be cancelled
_MD5_PIECE_BYTES: Final = MIB  # hashed between two checkpoints
_MD5: Final = re.compile("[0-9a-f]{32}")


class Verify:
    """The job. Its notes: "by_checksum", "by_etag", "unproven" (ETag and size only), "changed_meanwhile"."""

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
        if expected_crc(base.content) is None and not _MD5.fullmatch(base.etag):
            run.note("unproven")
            return ""
        async with self._files.snapshot(inode.ino) as snapshot:
            proof = await self._compared(snapshot, base)
            if not snapshot.unchanged() or not self._is_still(inode, base):
                proof = "changed_meanwhile"
        if proof == "":
            return FileError.CHECKSUM_MISMATCH
        run.note(proof)
        return ""

    def _is_still(self, inode: Inode, base: Base) -> bool:
        now = inodes.get(self._index, inode.ino)
        return now is not None and now.parent != 0 and now.base == base and not now.is_dirty

    async def _compared(self, snapshot: Snapshot, base: Base) -> str:
        """The note that says what is proven; "" when the bytes are others."""
        crc = expected_crc(base.content)
        md5, found_crc, at = hashlib.md5(usedforsecurity=False), 0, 0
        while at < snapshot.size_bytes:
            stop = min(at + (_MD5_PIECE_BYTES if crc is None else _CHECKSUM_PIECE_BYTES), snapshot.size_bytes)
            if any(where.kind is not WhereKind.LOCAL for _, _, where in snapshot.ranges()):
                return "unproven"  # it never was here whole, or some of it has left the tier meanwhile
            if crc is None:
                md5.update(await snapshot.read(at, stop))
            elif (piece := await snapshot.checksum(at, stop)) is not None:
                found_crc = native.crc64nvme_combine(found_crc, piece, stop - at)
            else:
                return "changed_meanwhile"
            at = stop
        if crc is None:
            return "by_etag" if md5.hexdigest() == base.etag else "unproven"
        return "by_checksum" if found_crc == crc else ""
