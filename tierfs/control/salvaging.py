"""Files in the cache's lost+found come back into the mount: what a lost index, or a repair, has left without a name.

Each says of itself where it belongs (hottier.labels), and goes there by the verbs of the file system, as a program
would bring it: under a name of its own first, synced, then renamed. So whatever ends this, a file is whole at its place
or still in lost+found, and the export does the rest. What becomes of it is decided in `policy.salvage`.

Those that say nothing of themselves are copies of objects, for the most part: the whole bucket is listed once, and a
file whose bytes some object has goes. The others stay, as failures of the task that name them.

Checkpoints: at each request, and between pieces of a file.
"""

import errno
import hashlib
import os
import stat
from collections import defaultdict
from pathlib import Path
from typing import Final

from attrs import frozen

from tierfs import native
from tierfs.content.checks import expected_crc
from tierfs.content.handles import Files
from tierfs.errors import FsError, TierfsError
from tierfs.filesystem import FileSystem
from tierfs.hottier.files import LOST_AND_FOUND, HotFiles
from tierfs.hottier.labels import Label
from tierfs.index import residency
from tierfs.index.env import Index
from tierfs.model import ROOT_INO, Base, Inode, Residency
from tierfs.namespace.changes import AttrChange, RenameMode
from tierfs.namespace.notify import Notify
from tierfs.namespace.verbs import Caller
from tierfs.objectstore.base import ObjectInfo, ObjectStore
from tierfs.policy.salvage import Fate, There, fate_of
from tierfs.policy.tasks import FileError
from tierfs.sync.attributes import head
from tierfs.sync.tasks import Run, code_of
from tierfs.units import MIB

_PIECE_BYTES: Final = 4 * MIB
_SHARES: Final = 1000  # names tried for a file that goes beside another one


@frozen
class Found:
    """A file in lost+found."""

    path: Path
    size_bytes: int
    label: Label | None


def is_due(index: Index, hot: HotFiles) -> bool:
    """Has an index that was just made taken the place of one that is gone?"""
    home = hot.root.parent / LOST_AND_FOUND
    return index.epoch == 1 and home.is_dir() and bool(hot.disk.names(home))


class Salvage:
    """The job. Its notes: "restored", "put_beside", "copies_removed"."""

    def __init__(
        self, *, index: Index, hot: HotFiles, fs: FileSystem, files: Files, store: ObjectStore, notify: Notify
    ) -> None:
        self._index = index
        self._hot = hot
        self._fs = fs
        self._files = files
        self._store = store
        self._notify = notify
        self._found: list[Found] = []

    async def survey(self, run: Run) -> None:
        """See Job."""
        self._found = await self._hot.in_thread(self._look)
        for found in self._found:
            run.found(found.size_bytes)

    def _look(self) -> list[Found]:
        found, disk = [], self._hot.disk
        home = self._hot.root.parent / LOST_AND_FOUND
        for name in sorted(disk.names(home)) if home.is_dir() else []:
            path = home / name
            # a link that somebody planted is none of ours, and its target even less
            if path.is_file() and not path.is_symlink():
                size_bytes = path.stat().st_size
                found.append(Found(path, size_bytes, self._hot.label(path)))
        return found

    async def carry_out(self, run: Run) -> None:
        """See Job."""
        strangers = []
        for found in self._found:
            if found.label is None or not found.label.path:
                strangers.append(found)
                continue
            try:
                fate = await self._salvage(run, found, found.label)
            except (TierfsError, OSError) as error:
                run.failed(self._text(found), code_of(error))
                continue
            if fate is Fate.KEEP:
                run.failed(self._text(found), FileError.INCOMPLETE)
            else:
                run.done(found.size_bytes)
        if strangers:
            await self._match(run, strangers)

    @staticmethod
    def _text(found: Found) -> str:
        belongs = f" ({found.label.path})" if found.label is not None else ""
        return f"{LOST_AND_FOUND}/{found.path.name}{belongs}"

    # ---- those that say where they belong ----

    async def _salvage(self, run: Run, found: Found, label: Label) -> Fate:
        parent, name = await self._directory(label), os.fsencode(label.path).rpartition(b"/")[2]
        there = await self._there(parent, name, found, label)
        fate = fate_of(there, is_whole=label.whole, is_same_boot=label.boot == self._index.boot_id)
        if fate is Fate.KEEP:
            return fate
        if fate is not Fate.DONE:
            await self._bring(found, label, parent, name, is_beside=fate is Fate.BESIDE)
        await self._hot.in_thread(self._hot.disk.unlink, str(found.path))
        run.note({Fate.RESTORE: "restored", Fate.BESIDE: "put_beside", Fate.DONE: "copies_removed"}[fate])
        return fate

    async def _directory(self, label: Label) -> int:
        """The directory of the file, which is made where the bucket has none."""
        ino = ROOT_INO
        for part in os.fsencode(label.path).split(b"/")[:-1]:
            try:
                inode = await self._fs.lookup(ino, part)
            except FsError as error:
                if error.errno != errno.ENOENT:
                    raise
                inode = await self._fs.mkdir(ino, part, 0o755, Caller(label.uid, label.gid))
                self._notify.entry_changed(ino, part)
            if not inode.is_dir:
                raise FsError(errno.ENOTDIR)
            ino = inode.ino
        return ino

    async def _there(self, parent: int, name: bytes, found: Found, label: Label) -> There:
        try:
            inode = await self._fs.lookup(parent, name)
        except FsError as error:
            if error.errno != errno.ENOENT:
                raise
            return There.NOTHING
        if not inode.is_regular:
            return There.OTHER
        if label.whole and inode.size_bytes == found.size_bytes and await self._is_same(inode, found):
            return There.SAME
        is_base = inode.base is not None and inode.base.etag == label.base and not inode.is_dirty
        return There.BASE if is_base else There.OTHER

    async def _is_same(self, inode: Inode, found: Found) -> bool:
        if inode.base is not None and not inode.is_dirty:
            return await self._hot.in_thread(_has_bytes_of, found.path, inode.base)
        hot = residency.hot_get(self._index, inode.ino)
        if hot is None or hot.residency is not Residency.FULL:
            return False
        async with self._files.snapshot(inode.ino) as snapshot:
            here = await snapshot.checksum(0, snapshot.size_bytes)
        return here == await self._hot.in_thread(_crc, found.path)

    async def _bring(self, found: Found, label: Label, parent: int, name: bytes, *, is_beside: bool) -> None:
        caller = Caller(label.uid, label.gid)
        draft = b".tierfs-salvaged-" + os.fsencode(found.path.name)
        ino, handle = await self._open_draft(parent, draft, label, caller)
        try:
            await self._copy(found, ino, handle)
            times = found.path.stat()
            change = AttrChange(
                permissions=stat.S_IMODE(label.mode), uid=label.uid, gid=label.gid, atime_ns=times.st_atime_ns,
                mtime_ns=times.st_mtime_ns,
            )  # fmt: skip
            await self._fs.setattr(ino, change, None)
            await self._fs.fsync(handle, datasync=False)
        finally:
            await self._fs.release(handle)
        await self._publish(parent, draft, name, found, is_beside=is_beside)
        await self._index.durable()

    async def _open_draft(self, parent: int, draft: bytes, label: Label, caller: Caller) -> tuple[int, int]:
        """A new file, or the one that was left half done."""
        try:
            inode, handle = await self._fs.create(parent, draft, 0o600, caller)
        except FsError as error:
            if error.errno != errno.EEXIST:
                raise
            inode = await self._fs.lookup(parent, draft)
            handle = await self._fs.open(inode.ino, os.O_RDWR | os.O_TRUNC)
        return inode.ino, handle

    async def _copy(self, found: Found, ino: int, handle: int) -> None:
        """Byte for byte; holes stay holes."""
        disk, in_thread = self._hot.disk, self._hot.in_thread
        fd = await in_thread(os.open, str(found.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            at = 0
            while at < found.size_bytes:
                try:
                    at = await in_thread(disk.seek, fd, at, os.SEEK_DATA)
                except FsError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    break
                stop = min(await in_thread(disk.seek, fd, at, os.SEEK_HOLE), at + _PIECE_BYTES)
                data = await in_thread(disk.pread, fd, at, stop - at)
                await self._fs.write(handle, at, data)
                at = stop
        finally:
            os.close(fd)
        await self._fs.setattr(ino, AttrChange(), found.size_bytes)

    async def _publish(self, parent: int, draft: bytes, name: bytes, found: Found, *, is_beside: bool) -> None:
        names = [name]
        if is_beside:
            stem = name[: 255 - 40] + b".recovered-" + os.fsencode(found.path.name)
            names = [stem, *(stem + b".%d" % count for count in range(1, _SHARES))]
        mode = RenameMode.NOREPLACE if is_beside else RenameMode.REPLACE
        for target in names:
            try:
                await self._fs.rename(parent, draft, parent, target, mode)
            except FsError as error:
                if error.errno != errno.EEXIST:
                    raise
                continue
            for changed in (draft, target):
                self._notify.entry_changed(parent, changed)
            return
        raise FsError(errno.EEXIST)

    # ---- those that do not ----

    async def _match(self, run: Run, strangers: list[Found]) -> None:
        """What some object has is a copy of it. StoreError ends the task as failed, and nothing is lost by that."""
        waiting: dict[int, list[Found]] = defaultdict(list)
        for found in strangers:
            waiting[found.size_bytes].append(found)
        token = ""
        while any(waiting.values()):
            page = await self._store.list("", delimited=False, token=token)
            for info in page.objects:
                for found in list(waiting.get(info.size_bytes, ())):
                    if await self._is_copy_of(found, info):
                        waiting[info.size_bytes].remove(found)
                        await self._hot.in_thread(self._hot.disk.unlink, str(found.path))
                        run.note("copies_removed")
                        run.done(found.size_bytes)
            token = page.token
            if not token:
                break
        for left in waiting.values():
            for found in left:
                run.failed(self._text(found), FileError.UNKNOWN_PLACE)

    async def _is_copy_of(self, found: Found, info: ObjectInfo) -> bool:
        base = Base(info.etag, info.size_bytes, info.last_modified_ns)
        if await self._hot.in_thread(_has_bytes_of, found.path, base):
            return True
        described = await head(self._store, info.key)
        content = described.meta.user.get("tierfs-content", "") if described is not None and described.meta else ""
        if expected_crc(content) is None or described is None or described.etag != info.etag:
            return False
        return await self._hot.in_thread(_crc, found.path) == expected_crc(content)


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_PIECE_BYTES):
            crc = native.crc64nvme(data, crc)
    return crc


def _has_bytes_of(path: Path, base: Base) -> bool:
    """Is that proven? By the object's checksum, or by an ETag that is the MD5 of its bytes."""
    crc = expected_crc(base.content)
    if crc is not None:
        return _crc(path) == crc
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == base.etag
