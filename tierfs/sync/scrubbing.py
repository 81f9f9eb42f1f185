"""Bytes in the hot tier are read again, at a bounded rate, and damage is healed from the side that is proven.

Of each file with bytes here: these are compared with what is known of them (`proofs`), and the object is asked for by
HEAD, as `verify` does. Its body is read when bytes here are damaged, since only then it must prove itself; with
`objects` always. What is done then is decided in `policy.scrub`:

    FETCH   the damaged ranges are fetched again and compared with the checksums that they had, before a byte of them is
            written over what is here: programs go on reading, from the same file
    UPLOAD  the file counts as changed and is exported over the object, on the condition that this still is that version
    TELL    nothing is touched

An object that somebody wrote since is the import's business. One whose ETag moved though size, time and checksum did
not (a file in a directory that serves as a bucket, changed by its disk) counts as the version that it was.
"""

import hashlib
import logging
import re
from typing import Final

import trio
from attrs import evolve, frozen

from tierfs import native
from tierfs.clock import Clock
from tierfs.content.checks import expected_crc
from tierfs.content.handles import Files, Snapshot
from tierfs.errors import TierfsError
from tierfs.index import inodes, intents, residency, sums
from tierfs.index.env import Index
from tierfs.model import Base, Inode, InodeFlag, Sum
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore.base import ObjectInfo, ObjectStore
from tierfs.policy.budget import Rate
from tierfs.policy.scrub import Healing, Side, healing_of
from tierfs.policy.tasks import FileError
from tierfs.sync import proofs
from tierfs.sync.attributes import content_of, head
from tierfs.sync.exporter import Exporter
from tierfs.sync.paths import Place
from tierfs.sync.proofs import Comparison
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import Run, code_of
from tierfs.units import MIB

_WORKERS: Final = 4
_PIECE_BYTES: Final = 8 * MIB
_MD5: Final = re.compile("[0-9a-f]{32}")
_log: Final = logging.getLogger(__name__)


@frozen
class ScrubLimits:
    """`rate_per_s`: bytes that are read of both sides together, 0 for no limit. `objects`: read all bodies, too."""

    rate_per_s: float = 0.0
    objects: bool = False
    read_only: bool = False


class Scrub:
    """The job. Its notes: those of `verify`, "healed_here", "healed_in_bucket"."""

    def __init__(
        self,
        *,
        index: Index,
        locations: Locations,
        store: ObjectStore,
        files: Files,
        exporter: Exporter,
        notify: Notify,
        clock: Clock,
        subtree: Subtree,
        limits: ScrubLimits,
    ) -> None:
        self._index = index
        self._locations = locations
        self._store = store
        self._files = files
        self._exporter = exporter
        self._notify = notify
        self._clock = clock
        self._subtree = subtree
        self._limits = limits
        self._rate = Rate(limits.rate_per_s)
        self._turn = trio.Lock()
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
        is_here = hot is not None and hot.bytes_charged > 0 and not hot.writing
        return is_here and inode.base is not None and not inode.is_dirty

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def scrub(place: Place, inode: Inode) -> None:
            if not self._is_meant(inode) or inode.base is None:
                return
            path = self._subtree.text_of(place)
            try:
                fault = await self._fault(run, path, inode, inode.base)
            except (TierfsError, OSError) as error:
                fault = code_of(error)
            if fault:
                run.failed(path, fault)
            else:
                run.done(inode.size_bytes)

        await self._subtree.work_on_files(self._top, scrub, workers=_WORKERS)

    async def _pace(self, size_bytes: int) -> None:
        async with self._turn:
            await trio.sleep(self._rate.wait_s(self._clock.now_ns()))
            self._rate = self._rate.take(size_bytes, self._clock.now_ns())

    # ---- one file ----

    async def _fault(self, run: Run, path: str, inode: Inode, base: Base) -> str:
        """What is wrong with a file and stays so, "" if nothing is known to be. StoreError, FsError."""
        info = await head(self._store, self._locations.actual_key(self._index, inode))
        known = sums.of_version(self._index, inode.ino, base.etag)
        async with self._files.snapshot(inode.ino) as snapshot:
            found = await proofs.compare(snapshot, base, known, self._pace)
            if not snapshot.unchanged() or not self._is_still(inode, base):
                run.note("changed_meanwhile")
                return ""
            run.note(found.proof)
            if info is None:
                return FileError.OBJECT_MISSING
            if not _is_version(info, base):
                return FileError.OBJECT_CHANGED
            here = _side_of(found)
            bucket = await self._bucket_side(info, base, found, here)
            healing = healing_of(here, bucket)
            if healing is Healing.FETCH and await self._fetch(snapshot, info, found):
                self._notify.inode_changed(inode.ino, content=True)
                _log.warning("%r was damaged on the local disk: it has the bucket's bytes again", path,
                             extra={"event": "TFS3021"})  # fmt: skip
                run.note("healed_here")
                return ""
        if healing is Healing.UPLOAD and not self._limits.read_only and await self._upload(inode, base, info):
            _log.warning("%r was damaged in the bucket: it was uploaded again", path, extra={"event": "TFS3022"})
            run.note("healed_in_bucket")
            return ""
        if healing is Healing.NOTHING:
            return ""
        return FileError.CHECKSUM_MISMATCH if here is Side.DAMAGED else FileError.OBJECT_DAMAGED

    def _is_still(self, inode: Inode, base: Base) -> bool:
        now = inodes.get(self._index, inode.ino)
        return now is not None and now.parent != 0 and now.base == base and not now.is_dirty

    # ---- the object ----

    async def _bucket_side(self, info: ObjectInfo, base: Base, found: Comparison, here: Side) -> Side:
        if here is Side.DAMAGED:
            # what matters are the ranges that would be taken from it
            return Side.AS_WRITTEN if all([await self._has(info, each) for each in found.damaged]) else Side.DAMAGED
        if not self._limits.objects:
            return Side.UNKNOWN
        crc = expected_crc(base.content)
        if crc is not None:
            is_right = await self._has(info, Sum(0, base.size_bytes, crc, 0))
            return Side.AS_WRITTEN if is_right else Side.DAMAGED
        if _MD5.fullmatch(base.etag):
            is_right = await self._md5(info) == base.etag
            return Side.AS_WRITTEN if is_right else Side.UNKNOWN  # an ETag may look like an MD5 and be none
        return Side.UNKNOWN

    async def _piece(self, info: ObjectInfo, start: int, stop: int) -> bytes | bytearray | memoryview:
        await self._pace(stop - start)
        return (await self._store.get(info.key, start, stop, if_match=info.etag)).data

    async def _has(self, info: ObjectInfo, wanted: Sum) -> bool:
        crc = 0
        for at in range(wanted.start, wanted.stop, _PIECE_BYTES):
            crc = native.crc64nvme(await self._piece(info, at, min(at + _PIECE_BYTES, wanted.stop)), crc)
        return crc == wanted.crc

    async def _md5(self, info: ObjectInfo) -> str:
        md5 = hashlib.md5(usedforsecurity=False)
        for at in range(0, info.size_bytes, _PIECE_BYTES):
            md5.update(await self._piece(info, at, min(at + _PIECE_BYTES, info.size_bytes)))
        return md5.hexdigest()

    # ---- healing ----

    async def _fetch(self, snapshot: Snapshot, info: ObjectInfo, found: Comparison) -> bool:
        """The object was seen to be right a moment ago; False when the file here changed, or it did not help."""
        for damaged in found.damaged:
            for at in range(damaged.start, damaged.stop, _PIECE_BYTES):
                stop = min(at + _PIECE_BYTES, damaged.stop)
                data = await self._piece(info, at, stop)
                is_right_here = await snapshot.checksum(at, stop) == native.crc64nvme(data)
                if not is_right_here and not await snapshot.mend(at, data):
                    return False
            if await snapshot.checksum(damaged.start, damaged.stop) != damaged.crc:
                return False
        return True

    async def _upload(self, inode: Inode, base: Base, info: ObjectInfo) -> bool:
        """The bytes here were seen to be right a moment ago; False when the file has changed since.

        What the index knows of the object becomes what was seen of it: the version that is to be replaced, and bytes
        that are not those here. With the checksum that it claims to have the export would have nothing to send.
        """
        with self._index.transaction() as txn:
            now = inodes.get(txn, inode.ino)
            if now is None or now.base != base or now.is_dirty or now.parent == 0:
                return False
            seen = evolve(now, base=evolve(base, etag=info.etag, content=""))
            intents.mark_dirty(txn, seen, InodeFlag.DATA_DIRTY, now_ns=self._clock.now_ns(), quiet_s=0)
        await self._exporter.export_now(inode.ino)
        return True


def _side_of(found: Comparison) -> Side:
    if found.damaged:
        return Side.DAMAGED
    # the ranges that were fetched may not be all of the file: only as a whole it can go over the object
    return Side.AS_WRITTEN if found.proof == "by_checksum" else Side.UNKNOWN


def _is_version(info: ObjectInfo, base: Base) -> bool:
    if info.size_bytes != base.size_bytes:
        return False
    is_untouched = info.last_modified_ns == base.last_modified_ns and content_of(info) == base.content != ""
    return info.etag == base.etag or is_untouched
