"""A hot tier over a store in memory: real index, real backing files, no mount. For tests of `content`.

    def test_x(tmp_path):
        async def main(world):
            ino = world.add_object(b"bytes in the bucket")
            fh = await world.files.open(ino, write=False, truncate=False)
            ...
        run(tmp_path, main, limit_bytes=...)

Blocks are 4 KiB and parts 64 KiB, so that files of a few hundred KiB are large. Time is trio's mock clock,
which jumps whenever everybody waits.
"""

import random
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

import trio
from attrs import evolve
from trio.testing import MockClock

from tests.support.memstore import MemoryStore
from tierfs import native
from tierfs.clock import ManualClock
from tierfs.content.handles import Files
from tierfs.content.placing import PlacementRules
from tierfs.content.settings import ContentSettings
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index import inodes, intents, residency
from tierfs.index.env import Index, IndexSettings
from tierfs.model import Base, HotRecord, Inode, InodeFlag

_Args = TypeVarTuple("_Args")
_R = TypeVar("_R")

KIB: Final = 1024
BLOCK: Final = 4 * KIB
PART: Final = 64 * KIB
SETTINGS: Final = ContentSettings(
    small_file_bytes=16 * KIB,
    block_bytes=BLOCK,
    max_window_bytes=256 * KIB,
    max_parts_in_flight=4,
    fetch_memory_bytes=512 * KIB,
    file_fetch_memory_bytes=384 * KIB,
    carry_bytes=256 * KIB,
    evict_batch_bytes=BLOCK,
)
_INDEX: Final = IndexSettings(map_size_bytes=64 << 20, journal_segment_bytes=64 << 10, journal_segments=3, node=5)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes without zeros or repeats, so that no two ranges look the same."""
    return random.Random(seed).randbytes(size)


class UnthreadedFiles(HotFiles):
    """Does in the loop what belongs in a worker thread: the mock clock would jump while a thread works.

    Other tasks run before the call and after it, as they do while a thread is at work; `delay_s` says how long.
    """

    delay_s: Callable[[], float] = staticmethod(lambda: 0.0)

    async def in_thread(self, function: Callable[[Unpack[_Args]], _R], *args: *_Args) -> _R:
        await trio.sleep(self.delay_s())
        try:
            return function(*args)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.delay_s())


class World:
    """One life of the tier. `crash` makes the next one."""

    def __init__(
        self,
        directory: Path,
        store: MemoryStore,
        *,
        limit_bytes: int,
        settings: ContentSettings,
        boot_id: int = 1,
        disk: Disk | None = None,
        rules_of: Callable[["World"], PlacementRules] | None = None,
    ) -> None:
        self.directory = directory
        self.store = store
        self.settings = settings
        self.boot_id = boot_id
        self.limit_bytes = limit_bytes
        self.clock = ManualClock()
        self.keys: dict[int, str] = {}
        self.is_over = False
        self.woken = 0
        self.hurried = 0
        self.stale: list[int] = []
        self.on_hurry: Callable[[], None] = lambda: None
        self.index = Index.open(directory / "index", clock=self.clock, settings=_INDEX, boot_id=boot_id)
        self.hot = UnthreadedFiles(disk or Disk(), directory / "hot")
        self.hot.prepare()
        self.space = Space(limit_bytes=limit_bytes, reserve_bytes=0, free_bytes=self.hot.free_bytes, full_wait_s=30.0)
        self.files = Files(
            index=self.index,
            hot=self.hot,
            space=self.space,
            store=store,
            clock=self.clock,
            locate=lambda ino: self.keys.get(ino, f"file-{ino:x}"),
            settings=settings,
            wake_export=self._wake,
            hurry_export=self._hurry,
            on_stale=self.stale.append,
            rules=rules_of(self) if rules_of is not None else None,
        )
        self.recovery = self.files.recover()

    def _wake(self) -> None:
        self.woken += 1

    def _hurry(self) -> None:
        self.hurried += 1
        self.on_hurry()

    def close(self) -> None:
        self.index.close()

    # ---- files ----

    def key(self, ino: int) -> str:
        return self.keys.get(ino, f"file-{ino:x}")

    def add_object(self, data: bytes, *, checksum: bool = True) -> int:
        """An object in the bucket, and an inode that the import made of it."""
        ino = self.index.next_ino()
        info = self.store.place(self.key(ino), data)
        content = f"crc64nvme:{native.crc64nvme(data):016x}" if checksum else ""
        base = Base(info.etag, len(data), info.last_modified_ns, content=content)
        self.put(self._inode(ino, len(data), base))
        return ino

    def add_new(self) -> int:
        """An inode as `create` makes it: nothing in the bucket yet."""
        ino = self.index.next_ino()
        self.put(self._inode(ino, 0, None))
        return ino

    def _inode(self, ino: int, size: int, base: Base | None) -> Inode:
        now = self.clock.now_ns()
        return Inode(
            ino=ino, mode=0o100644, uid=0, gid=0, size_bytes=size, nlink=1, atime_ns=now, mtime_ns=now, ctime_ns=now,
            btime_ns=now, parent=1, name=b"%x" % ino, flags=InodeFlag.ATTRS_KNOWN, base=base,
        )  # fmt: skip

    def put(self, inode: Inode) -> None:
        """Its row, as it is told."""
        with self.index.transaction() as txn:
            inodes.put(txn, inode)

    def inode(self, ino: int) -> Inode:
        inode = inodes.get(self.index, ino)
        assert inode is not None
        return inode

    def record(self, ino: int) -> HotRecord | None:
        return residency.hot_get(self.index, ino)

    def extents(self, ino: int) -> list[tuple[int, int]]:
        return residency.extents_get(self.index, ino)

    def is_dirty(self, ino: int) -> bool:
        return InodeFlag.DATA_DIRTY in self.inode(ino).flags and intents.of_inode(self.index, ino) is not None

    def replace_object(self, ino: int, data: bytes) -> None:
        """Another client writes the object, and the index does not know yet."""
        self.store.place(self.key(ino), data)

    async def read(self, ino: int, offset: int = 0, size: int = 1 << 40) -> bytes:
        """Opens, reads in 16 KiB steps as the kernel would, closes."""
        fh = await self.files.open(ino, write=False, truncate=False)
        try:
            return await self.read_handle(fh, offset, size)
        finally:
            await self.files.release(fh)

    async def read_handle(self, fh: int, offset: int = 0, size: int = 1 << 40) -> bytes:
        chunks = []
        while size and (chunk := await self.files.read(fh, offset, min(size, 16 * KIB))):
            chunks.append(chunk)
            offset += len(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    async def write_new(self, data: bytes, *, step: int = 16 * KIB) -> int:
        """A new file with this content, closed."""
        ino = self.add_new()
        fh = self.files.created(ino)
        for at in range(0, len(data), step):
            await self.files.write(fh, at, data[at : at + step])
        await self.files.release(fh)
        return ino

    async def export(self, ino: int) -> bool:
        """What the exporter does, in short: the file's bytes become its object. False: it changed meanwhile."""
        async with self.files.snapshot(ino) as snapshot:
            data = bytes(await snapshot.read(0, snapshot.size_bytes)) if snapshot.size_bytes else b""
            if not snapshot.unchanged():
                return False
            info = self.store.place(self.key(ino), data)
        inode = self.inode(ino)
        if inode.write_seq != snapshot.write_seq:
            return False
        with self.index.transaction() as txn:
            intent = intents.of_inode(txn, ino)
            if intent is not None:
                intents.delete(txn, intent.seq)
            residency.spills_clear(txn, ino)
            base = Base(info.etag, len(data), info.last_modified_ns)
            inodes.put(txn, evolve(inode, base=base, flags=inode.flags & ~InodeFlag.DATA_DIRTY))
        self.space.progressed()
        return True

    # ---- crashes ----

    def crash(self, *, new_boot: bool = False) -> "World":
        """SIGKILL at this moment, and the next start: everything that was written with a system call is there."""
        directory = self.directory.with_name(self.directory.name + "+")
        # with times and holes as they are; shutil.copytree fills the holes
        subprocess.run(["cp", "-a", "--sparse=auto", self.directory, directory], check=True)
        self.is_over = True
        return World(
            directory,
            self.store,
            limit_bytes=self.limit_bytes,
            settings=self.settings,
            boot_id=self.boot_id + new_boot,
        )

    async def running(self, main: Callable[["World"], Awaitable[Any]]) -> None:
        """Runs `main` beside `Files.run`, then checks what holds at every end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.files.run)
            await main(self)
            nursery.cancel_scope.cancel()
        self.check()

    def check(self) -> None:
        """The account is what the records and the disk say, once nobody uses anything."""
        if self.files.open_count or self.is_over:
            return
        page = residency.hot_page(self.index, 0, 1 << 20)
        charged = {ino: record.bytes_charged for ino, record in page}
        assert sum(charged.values()) == self.space.used_bytes
        assert self.space.reserved_bytes == 0
        for ino, bytes_charged in charged.items():
            stat = self.hot.stat(ino)
            assert stat is not None
            # a file of many pieces gets a block for its map when it is written out
            assert abs(stat.allocated_bytes - bytes_charged) <= 2 * BLOCK, (ino, self.record(ino))
            assert stat.size_bytes == self.inode(ino).size_bytes
        assert {ino for shard in self.hot.inos() for ino in shard} == set(charged)


def run(
    directory: Path,
    main: Callable[[World], Awaitable[Any]],
    *,
    limit_bytes: int = 64 << 20,
    settings: ContentSettings = SETTINGS,
    rules_of: Callable[[World], PlacementRules] | None = None,
) -> None:
    """Runs a test in a fresh world. `rules_of`: makes the rules of placement that its files have."""

    async def start() -> None:
        world = World(
            directory / "cache",
            MemoryStore(part_size_bytes=PART, part_min_bytes=0),
            limit_bytes=limit_bytes,
            settings=settings,
            rules_of=rules_of,
        )
        await world.running(main)
        world.close()

    trio.run(start, clock=MockClock(autojump_threshold=0))
