"""A mount of a shared bucket without a kernel: programs on it, its lives, and what the ledger has to know of both."""

import contextlib
import errno
import os
import subprocess
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import trio
from attrs import define, evolve

from tests.model.ledger import Ledger
from tests.model.shared_bucket import SharedBucket
from tests.model.steps import Setup
from tests.support.event_rig import event_source
from tests.support.mortal_store import MortalStore
from tests.support.sync_rig import GID, UID, Rig
from tierfs.config.sections import ExportSettings, ImportSettings
from tierfs.errors import FsError, StoreError, TierfsError
from tierfs.filesystem import FileSystem
from tierfs.index import dirents, inodes, locations
from tierfs.index.env import IndexSettings
from tierfs.index.schema import Table
from tierfs.model import ROOT_INO, Inode, InodeFlag
from tierfs.namespace.changes import AttrChange, Renamed, RenameMode
from tierfs.namespace.tree import Tree
from tierfs.namespace.verbs import Caller
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.settings import RetrySettings
from tierfs.policy.guard import Limits
from tierfs.sync.eventfeed import Feed
from tierfs.sync.plan import BESIDE_SUFFIX
from tierfs.sync.sweep import Sweep
from tierfs.units import MIB

TAG_BYTES = 8
USER = Caller(UID, GID)
_ALL = 1 << 20
_HELD_MAX = 2
_SYNC_S = 30.0
_INDEX = IndexSettings(map_size_bytes=64 * MIB, journal_segment_bytes=256 << 10, journal_segments=3)
_NO_LIMITS = Limits(entries_max=1 << 30, share_max=1.0)
_RETRIES = RetrySettings(budget_s=1.0)


class _WitnessedTree(Tree):
    """Tells of the file that a name is taken from, in the moment in which that happens."""

    side: "MountSide"

    def _last_name_of(self, victim: Inode | None) -> bytes | None:
        """The version that is gone with the name."""
        is_last = victim is not None and victim.is_regular and victim.nlink == 1
        return self.side.version_of(victim) if is_last and victim is not None else None

    def unlink(self, parent: int, name: bytes, *, token: int = 0) -> Inode:
        victim = self.lookup(parent, name)
        version = self._last_name_of(victim)
        gone = super().unlink(parent, name, token=token)
        if version is not None:
            self.side.ledger.taken(version)
        return gone

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, mode: RenameMode, *, token: int = 0
    ) -> Renamed:
        victim = self.lookup(new_parent, new_name)
        version = self._last_name_of(victim)
        renamed = super().rename(parent, name, new_parent, new_name, mode, token=token)
        if version is not None and renamed.replaced is not None:
            self.side.ledger.taken(version)
        return renamed


def _copy(directory: Path, to: Path) -> None:
    """With times and holes as they are; no task runs meanwhile."""
    subprocess.run(["cp", "-a", "--sparse=auto", directory, to], check=True)


@define
class _Held:
    handle: int
    ino: int
    writes: bool


@define
class _Life:
    """One daemon."""

    rig: Rig
    store: MortalStore
    fs: FileSystem
    feed: Feed
    scope: trio.CancelScope
    nursery: trio.Nursery
    ended: trio.Event
    held: list[_Held]


class MountSide:
    """One of the mounts, over any number of daemons."""

    def __init__(
        self,
        name: str,
        number: int,
        directory: Path,
        bucket: SharedBucket,
        setup: Setup,
        ledger: Ledger,
        limiters: list[trio.CapacityLimiter],
        nursery: trio.Nursery,
    ) -> None:
        self.name = name
        self.ledger = ledger
        self._index = evolve(_INDEX, node=number)  # a random one would make each run another
        self.waiting: deque[str] = deque()
        bucket.listeners.append(self.waiting)
        self._directory = directory
        self._bucket = bucket
        self._setup = setup
        self._limiters = limiters
        self._nursery = nursery
        self._lives = 0
        self._life: _Life | None = None
        self._dying: _Life | None = None
        self._written: dict[int, bytes] = {}

    # ---- lives ----

    async def started(self) -> _Life:
        """The daemon that runs; starts one if there is none."""
        if self._life is None:
            self._life = await self._nursery.start(self._live)
        return self._life

    @property
    def is_alive(self) -> bool:
        """A daemon runs."""
        return self._life is not None

    @property
    def _cache(self) -> Path:
        return self._directory / f"{self.name}-{self._lives}"

    async def _live(self, task_status: trio.TaskStatus[_Life]) -> None:
        export = ExportSettings(quiet_s=self._setup.quiet_s)
        store = MortalStore(self._bucket)
        rig = Rig(
            self._cache, self._bucket, export=export, import_=ImportSettings(revalidate_s=self._setup.revalidate_s),
            used_store=RetryingStore(store, _RETRIES, uniform=lambda low, high: high), limits=_NO_LIMITS,
            host=self.name, tree=_WitnessedTree, index=self._index,
        )  # fmt: skip
        assert isinstance(rig.tree, _WitnessedTree)
        rig.tree.side = self
        self._limiters += rig.limiters
        ended = trio.Event()
        try:
            with trio.CancelScope() as scope:
                rig.files.recover()
                fs = rig.file_system()
                fs.purge_orphans()
                running = rig.running(reads_ahead=self._setup.reads_ahead)
                async with running, event_source(rig) as source, trio.open_nursery() as nursery:
                    task_status.started(_Life(rig, store, fs, source.feed, scope, nursery, ended, []))
                    await trio.sleep_forever()
        finally:
            rig.close()
            ended.set()

    async def kill(self) -> None:
        """What is on the disk at this moment is what the next daemon finds."""
        if self._life is not None:
            self.die()
            await self.buried()

    def die(self) -> None:
        """The same, in the middle of something: whoever runs goes on to his next checkpoint, to no effect."""
        life, self._life = self._life, None
        assert life is not None
        self.leave()
        life.store.is_dead = True
        life.scope.cancel()
        self._dying = life

    def leave(self) -> None:
        """The cache is as it is now when the next daemon starts, whatever the one that runs does to it."""
        before = self._cache
        self._lives += 1
        _copy(before, self._cache)

    async def buried(self) -> None:
        """Returns when nothing of who died runs any more; his last attempts to tidy up take their time."""
        if self._dying is not None:
            await self._dying.ended.wait()

    # ---- what programs would see ----

    def version_of(self, inode: Inode) -> bytes:
        """What a read of the file would give now."""
        if InodeFlag.DATA_DIRTY in inode.flags or inode.base is None:
            return self._written[inode.ino]
        return self._bucket.bodies[inode.base.etag]

    async def _find(self, path: str) -> Inode | None:
        fs = (await self.started()).fs
        inode = await fs.getattr(ROOT_INO)
        try:
            for part in path.split("/") if path else ():
                inode = await fs.lookup(inode.ino, part.encode())
        except FsError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        return inode

    async def _at(self, path: str) -> Inode:
        found = await self._find(path)
        if found is None:
            raise FsError(errno.ENOENT)
        return found

    async def _place(self, path: str) -> tuple[int, bytes]:
        parent, _, name = path.rpartition("/")
        return (await self._at(parent)).ino, name.encode()

    @contextlib.asynccontextmanager
    async def _opened(self, ino: int, flags: int) -> AsyncIterator[int]:
        fs = (await self.started()).fs
        handle = await fs.open(ino, flags)
        try:
            yield handle
        finally:
            await fs.flush(handle)
            await fs.release(handle)

    async def _read(self, handle: int, ino: int) -> bytes:
        """All of an open file, which is what it has to be."""
        life = await self.started()
        before = self._named(ino)
        found = await life.fs.read(handle, 0, _ALL)
        after = self._named(ino)
        if before is not None and before == after:
            assert found == before, f"{self.name} reads {found!r} of what is {before!r}"
        return found

    def _named(self, ino: int) -> bytes | None:
        """The version of a file that has a name."""
        assert self._life is not None
        inode = inodes.get(self._life.rig.index, ino)
        return self.version_of(inode) if inode is not None and inode.parent != 0 else None

    # ---- programs ----

    async def write(self, path: str, body: bytes, *, truncates: bool) -> None:
        """Of a file that is not there: makes it."""
        found = await self._find(path)
        if found is None:
            await self._create(path, body)
        elif truncates:
            await self._truncate(found.ino, body)
        else:
            async with self._opened(found.ino, os.O_RDWR) as handle:
                seen = await self._read(handle, found.ino)
                await self._change(handle, found.ino, seen, 0, body)

    async def _create(self, path: str, body: bytes) -> None:
        fs = (await self.started()).fs
        inode, handle = await fs.create(*await self._place(path), 0o644, USER)
        self._written[inode.ino] = b""
        try:
            await fs.write(handle, 0, body)
            self._written[inode.ino] = body
            self._note(inode.ino, None, body)
        finally:
            await fs.flush(handle)
            await fs.release(handle)

    async def _truncate(self, ino: int, body: bytes) -> None:
        """open(2) with O_TRUNC: what he would have read is what his version is based on."""
        life = await self.started()
        before = life.rig.inode(ino)
        was_dirty = InodeFlag.DATA_DIRTY in before.flags or before.base is None
        local = self._written.get(ino)
        async with self._opened(ino, os.O_RDWR | os.O_TRUNC) as handle:
            cut = life.rig.inode(ino)
            is_same = was_dirty and cut.base == before.base
            seen = local if is_same or cut.base is None else self._bucket.bodies[cut.base.etag]
            self._written[ino] = b""
            if was_dirty and not is_same and local is not None and cut.parent:
                self.ledger.taken(local)  # it had reached the bucket meanwhile
            await life.fs.write(handle, 0, body)
            self._written[ino] = body
            self._note(ino, seen, body)

    async def _change(self, handle: int, ino: int, seen: bytes, offset: int, data: bytes) -> None:
        """Writes `data` as the end of the file."""
        fs = (await self.started()).fs
        await fs.write(handle, offset, data)
        self._written[ino] = seen[:offset] + data + seen[offset + len(data) :]
        if offset + len(data) < len(seen):
            await fs.setattr(ino, AttrChange(), offset + len(data))
        self._written[ino] = seen[:offset] + data
        self._note(ino, seen, self._written[ino])

    def _note(self, ino: int, seen: bytes | None, version: bytes) -> None:
        """A file without a name dies with its last close: nobody has to keep it."""
        assert self._life is not None
        inode = self._life.rig.inode(ino)
        if inode.parent == 0:
            return
        if seen is not None:
            self.ledger.taken(seen)
        self.ledger.given(version)

    async def append(self, path: str, tags: bytes) -> None:
        """Reads before."""
        inode = await self._at(path)
        async with self._opened(inode.ino, os.O_RDWR) as handle:
            seen = await self._read(handle, inode.ino)
            await self._change(handle, inode.ino, seen, len(seen), tags)

    async def cut(self, path: str, kept_bytes: int, zeros: int) -> None:
        """Reads before."""
        inode = await self._at(path)
        fs = (await self.started()).fs
        async with self._opened(inode.ino, os.O_RDWR) as handle:
            seen = await self._read(handle, inode.ino)
            for size_bytes in (kept_bytes, kept_bytes + zeros):
                await fs.setattr(inode.ino, AttrChange(), size_bytes)
                self._written[inode.ino] = seen[:kept_bytes].ljust(size_bytes, b"\0")
            self._note(inode.ino, seen, self._written[inode.ino])

    async def remove(self, path: str) -> None:
        """unlink(2)."""
        await (await self.started()).fs.unlink(*await self._place(path))

    async def rename(self, path: str, to: str, mode: RenameMode) -> None:
        """renameat2(2)."""
        await (await self.started()).fs.rename(*await self._place(path), *await self._place(to), mode)

    async def link(self, path: str, to: str) -> None:
        """link(2), which writes nothing: who takes the version from one name knows of no other."""
        inode = await self._at(path)
        await (await self.started()).fs.link(inode.ino, *await self._place(to))

    async def make_directory(self, path: str) -> None:
        """mkdir(2)."""
        await (await self.started()).fs.mkdir(*await self._place(path), 0o755, USER)

    async def remove_directory(self, path: str) -> None:
        """rmdir(2)."""
        await (await self.started()).fs.rmdir(*await self._place(path))

    async def chmod(self, path: str, mode: int) -> None:
        """chmod(2)."""
        inode = await self._at(path)
        await (await self.started()).fs.setattr(inode.ino, AttrChange(permissions=mode), None)

    async def hold(self, path: str, *, writes: bool) -> None:
        """Opens a file for longer."""
        life = await self.started()
        if len(life.held) < _HELD_MAX:
            inode = await self._at(path)
            handle = await life.fs.open(inode.ino, os.O_RDWR if writes else os.O_RDONLY)
            life.held.append(_Held(handle, inode.ino, writes))

    async def held_write(self, tags: bytes) -> None:
        """Through what is open for writing."""
        life = await self.started()
        held = next((held for held in reversed(life.held) if held.writes), None)
        if held is not None:
            seen = await self._read(held.handle, held.ino)
            await self._change(held.handle, held.ino, seen, len(seen), tags)

    async def close(self) -> None:
        """Reads the file, and closes it whatever comes of that."""
        life = await self.started()
        if life.held:
            held = life.held.pop(0)
            try:
                await self._read(held.handle, held.ino)
            finally:
                await life.fs.flush(held.handle)
                await life.fs.release(held.handle)

    async def evict(self, path: str) -> None:
        """Drops what is clean."""
        inode = await self._at(path)
        await (await self.started()).rig.files.drop(inode.ino)

    # ---- sync ----

    async def sync(self) -> None:
        """Uploads what can be uploaded soon."""
        with trio.move_on_after(_SYNC_S):
            await (await self.started()).rig.sync()

    async def poll(self) -> None:
        """One sweep."""
        rig = (await self.started()).rig
        await Sweep(
            index=rig.index, importer=rig.importer, clock=rig.clock, interval_s=1, on_found=lambda key: None
        ).sweep()

    async def deliver(self, at: int, *, twice: bool) -> None:
        """An event that cannot be applied comes again."""
        life = await self.started()
        if self.waiting:
            at %= len(self.waiting)
            body = self.waiting[at]
            if not twice:
                del self.waiting[at]
            life.nursery.start_soon(self._take, life, body)

    async def _take(self, life: _Life, body: str) -> None:
        await trio.lowlevel.checkpoint()  # a daemon that was killed meanwhile takes nothing
        try:
            await life.feed.take(body)
        except StoreError:
            self.waiting.append(body)

    # ---- the end ----

    async def settle(self) -> None:
        """All is closed, and all that waits is in the bucket."""
        life = await self.started()
        while life.held:
            with contextlib.suppress(TierfsError):
                await self.close()
        await life.rig.sync()
        await self.poll()

    async def view(self) -> dict[str, bytes | None]:
        """Every path, and the bytes that a read gives; None of a directory."""
        found: dict[str, bytes | None] = {}
        await self._walk(await self._at(""), "", found)
        return found

    async def _walk(self, directory: Inode, path: str, found: dict[str, bytes | None]) -> None:
        fs = (await self.started()).fs
        handle = await fs.opendir(directory.ino)
        names = [entry.name for entry in fs.readdir(handle, 0) if entry.name not in (b".", b"..")]
        await fs.releasedir(handle)
        for name in names:
            inode = await fs.lookup(directory.ino, name)
            below = f"{path}/{name.decode()}".lstrip("/")
            if inode.is_dir:
                found[below] = None
                await self._walk(inode, below, found)
            else:
                async with self._opened(inode.ino, os.O_RDONLY) as opened:
                    found[below] = await self._read(opened, inode.ino)

    async def unsettled(self) -> str:
        """What is left to do, or was left behind."""
        rig = (await self.started()).rig
        if rig.pending():
            return f"{self.name} has pending {rig.pending()}"
        beside = [inode for inode in self._inodes(rig, ROOT_INO) if inode.name.endswith(BESIDE_SUFFIX)]
        if locations.overrides(rig.index) or rig.index.count(Table.LOCATIONS) != len(beside):
            return f"{self.name} has traces of a rename"
        dirty = [inode.ino for inode in self._inodes(rig, ROOT_INO) if inode.is_dirty]
        return f"{self.name} has dirty inodes {dirty}" if dirty else ""

    def _inodes(self, rig: Rig, directory: int) -> list[Inode]:
        found = []
        for entry in dirents.page(rig.index, directory, b"", 1000):
            inode = rig.inode(entry.ino)
            found.append(inode)
            if inode.is_dir:
                found += self._inodes(rig, inode.ino)
        return found
