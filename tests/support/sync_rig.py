"""Index, hot tier, tree and sync over a store in memory: a whole mount without a kernel, for tests of sync.

    def test_x(tmp_path: Path) -> None:
        async def main(rig: Rig) -> None:
            ino = await rig.write("dir/file", b"bytes")
            await rig.sync()
            assert rig.store.content("dir/file") == b"bytes"
        run_rig(tmp_path, main)

Time is trio's MockClock, which jumps when all tasks sleep: nothing waits really, quiet times pass at once.
"""

import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing
from attrs import define
from trio._core import _run as scheduler

from tests.support.clocks import TrioWallClock, jump_when_idle, wait_until_idle
from tests.support.memstore import MemoryStore
from tierfs.config.sections import ExportSettings, ImportSettings, Settings
from tierfs.content.handles import ContentSettings, Files
from tierfs.filesystem import FileSystem
from tierfs.hottier.disk import Disk
from tierfs.hottier.files import HotFiles
from tierfs.hottier.space import Space
from tierfs.index import dirents, inodes, intents, locations
from tierfs.index.env import Index, IndexSettings
from tierfs.index.schema import Table
from tierfs.model import ROOT_INO, Inode, Intent
from tierfs.namespace.authority import SoleNode
from tierfs.namespace.changes import NewInode, RenameMode, TreeSettings
from tierfs.namespace.locations import Locations
from tierfs.namespace.tree import Tree
from tierfs.namespace.verbs import Usage
from tierfs.objectstore.base import ObjectMeta, ObjectStore
from tierfs.policy.guard import Limits
from tierfs.policy.merge import ConflictRules, Policy
from tierfs.policy.prefixes import Mode, Rule, Rules
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier
from tierfs.sync.attributes import Defaults
from tierfs.sync.eventflow import Flow
from tierfs.sync.exporter import Exporter
from tierfs.sync.guard import Guard
from tierfs.sync.importer import Importer
from tierfs.sync.news import News
from tierfs.sync.pathrules import PathRules
from tierfs.tiering.mounted import Tiering
from tierfs.units import GIB, MIB, NS_PER_S

UID = 1000
GID = 1000
INDEX_SETTINGS = IndexSettings(map_size_bytes=64 * MIB)


@define
class Told:
    """A Notify that remembers."""

    entries: list[tuple[int, bytes]]
    inodes: list[tuple[int, bool]]

    def entry_changed(self, parent: int, name: bytes) -> None:
        self.entries.append((parent, name))

    def inode_changed(self, ino: int, *, content: bool) -> None:
        self.inodes.append((ino, content))


class _Room:
    def usage(self) -> Usage:
        return Usage(100, 50, 10, 5)


class Rig:
    """One mount's parts; paths are given with slashes, from the root."""

    def __init__(
        self,
        directory: Path,
        store: MemoryStore,
        *,
        export: ExportSettings | None = None,
        import_: ImportSettings | None = None,
        used_store: ObjectStore | None = None,
        policy: Policy = Policy.KEEP_BOTH,
        limits: Limits | None = None,
        rules: Rules | None = None,
        host: str = "here",
        tree: type[Tree] = Tree,
        index: IndexSettings = INDEX_SETTINGS,
        tiering: Settings | None = None,
    ) -> None:
        self.store = store
        self.clock = TrioWallClock()
        self.index = Index.open(directory / "index", clock=self.clock, settings=index, boot_id=7)
        self.locations = Locations()
        self.told = Told([], [])
        self.export_settings = export or ExportSettings()
        self.rules = PathRules(self.index, rules or Rules(Rule((), Mode.WRITE_BACK, self.export_settings.quiet_s)))
        self.files: Files
        self.tree = tree(
            self.index, self.locations, self.clock, TreeSettings(), quiet_s_of=self.rules.quiet_s,
            needs_object=lambda ino: self.files.needs_object(ino),  # noqa: PLW0108 - made after the tree
        )  # fmt: skip
        self.tree.ensure_root(0o755, UID, GID)
        self.hot = hot = HotFiles(Disk(), directory / "hot")
        hot.prepare()
        settings = tiering or Settings()
        space = Space(limit_bytes=settings.hot_tier.size_bytes or GIB, reserve_bytes=0, free_bytes=lambda: GIB)
        self.tiering = self._tiering(settings, space)
        asked = used_store or store
        self.exporter: Exporter
        self.files = Files(
            index=self.index, hot=hot, space=space, store=asked, clock=self.clock, locate=self._locate,
            settings=ContentSettings(), quiet_s_of=self.rules.quiet_s, rules=self.tiering.placements,
            is_local=self.rules.is_local,
            wake_export=lambda: self.exporter.wake(),  # noqa: PLW0108 - made after the files
        )  # fmt: skip
        self.news = News(self.index, self.clock)
        self.activity = activity = Activity(versions_kept=1000, tell=self.news.exported)
        self.flow = Flow(self.clock)
        self.guard = Guard(index=self.index, clock=self.clock, limits=limits or Limits())
        self.applier = Applier(
            index=self.index, locations=self.locations, files=self.files, clock=self.clock, notify=self.told,
            defaults=Defaults(UID, GID, 0o600, 0o700), guard=self.guard, news=self.news, rules=self.rules,
        )  # fmt: skip
        self.importer = Importer(
            index=self.index, store=asked, locations=self.locations, files=self.files, clock=self.clock,
            settings=import_ or ImportSettings(revalidate_s=0), applier=self.applier, activity=activity,
            notify=self.told, is_told_of=self.flow.tells_of,
        )  # fmt: skip
        self.exporter = Exporter(
            index=self.index, store=asked, locations=self.locations, files=self.files, clock=self.clock,
            settings=self.export_settings, applier=self.applier, activity=activity, notify=self.told,
            rules=ConflictRules(host, policy),
        )  # fmt: skip

    def _tiering(self, settings: Settings, space: Space) -> Tiering:
        uptime = TrioWallClock(0)  # goes on whatever a test does to the clock
        return Tiering(
            settings, index=self.index, space=space, clock=self.clock, quiet_s=self.rules.quiet_s, is_same_mount=False,
            uptime_s=lambda: uptime.now_ns() / NS_PER_S,
        )  # fmt: skip

    def _locate(self, ino: int) -> str:
        return self.locations.actual_key(self.index, self.inode(ino))

    @property
    def limiters(self) -> tuple[trio.CapacityLimiter, ...]:
        return (self.hot._limiter, self.index._sync_limiter)

    def file_system(self, *, read_only: bool = False) -> FileSystem:
        """The POSIX verbs over it."""
        self.rules.is_read_only = read_only
        return FileSystem(
            index=self.index, tree=self.tree, files=self.files, importer=self.importer, authority=SoleNode(),
            capacity=_Room(), clock=self.clock, rules=self.rules, wake_export=self.exporter.wake,
            export_now=self.exporter.export_now, admits=self.tiering.admission.admits,
        )  # fmt: skip

    async def idle(self) -> None:
        """All that can happen without time passing has happened."""
        await wait_until_idle(self.limiters)

    # ---- looking ----

    def inode(self, ino: int) -> Inode:
        found = inodes.get(self.index, ino)
        assert found is not None, f"no inode {ino:#x}"
        return found

    def find(self, path: str) -> Inode | None:
        ino = ROOT_INO
        for name in path.strip("/").encode().split(b"/") if path.strip("/") else ():
            entry = dirents.get(self.index, ino, name)
            if entry is None:
                return None
            ino = entry.ino
        return inodes.get(self.index, ino)

    def at(self, path: str) -> Inode:
        found = self.find(path)
        assert found is not None, f"no {path}"
        return found

    def names(self, path: str = "") -> list[str]:
        return [entry.name.decode() for entry in dirents.page(self.index, self.at(path).ino, b"", 10_000)]

    def pending(self) -> list[Intent]:
        return intents.page(self.index, 0, 10_000)

    @property
    def is_settled(self) -> bool:
        """Nothing is pending, and no trace of a rename is left in the index."""
        is_moving = bool(locations.overrides(self.index)) or self.index.count(Table.LOCATIONS) != 0
        return not self.pending() and not is_moving

    @property
    def keys(self) -> list[str]:
        """What is in the bucket, without tierfs's own objects."""
        return sorted(key for key in self.store.objects if not key.startswith(".tierfs/"))

    def user_meta(self, key: str) -> dict[str, str]:
        meta = self.store.objects[key].info.meta
        return dict(meta.user) if meta is not None else {}

    # ---- local work ----

    def _split(self, path: str) -> tuple[int, bytes]:
        parent, _, name = path.rpartition("/")
        return self.at(parent).ino, name.encode()

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> int:
        """Creates or overwrites a file and closes it."""
        parent, name = self._split(path)
        found = self.find(path)
        if found is None:
            found = self.tree.create(parent, name, NewInode(stat.S_IFREG | mode, UID, GID))
            handle = self.files.created(found.ino)
        else:
            handle = await self.files.open(found.ino, write=True, truncate=True)
        try:
            if data:
                await self.files.write(handle, 0, data)
            await self.files.flush(handle)
        finally:
            await self.files.release(handle)
        return found.ino

    async def read(self, path: str) -> bytes:
        handle = await self.files.open(self.at(path).ino, write=False, truncate=False)
        try:
            return await self.files.read(handle, 0, self.at(path).size_bytes)
        finally:
            await self.files.release(handle)

    def mkdir(self, path: str) -> int:
        parent, name = self._split(path)
        return self.tree.create(parent, name, NewInode(stat.S_IFDIR | 0o755, UID, GID)).ino

    def symlink(self, path: str, target: bytes) -> int:
        parent, name = self._split(path)
        return self.tree.create(parent, name, NewInode(stat.S_IFLNK | 0o777, UID, GID, target=target)).ino

    def link(self, old: str, new: str) -> None:
        parent, name = self._split(new)
        self.tree.link(self.at(old).ino, parent, name)

    def unlink(self, path: str) -> None:
        parent, name = self._split(path)
        gone = self.tree.unlink(parent, name)
        if gone.nlink == 0 and not self.files.is_open(gone.ino):
            self.files.forget(gone.ino)
            self.tree.purge(gone.ino)

    def rmdir(self, path: str) -> None:
        parent, name = self._split(path)
        self.tree.purge(self.tree.rmdir(parent, name).ino)

    def rename(self, old: str, new: str, mode: RenameMode = RenameMode.REPLACE) -> None:
        parent, name = self._split(old)
        new_parent, new_name = self._split(new)
        self.tree.rename(parent, name, new_parent, new_name, mode)

    # ---- the bucket ----

    def put_remote(self, key: str, data: bytes = b"", *, user: dict[str, str] | None = None, **headers: str) -> None:
        """As another client would."""
        self.store._store(key, data, ObjectMeta(user=user or {}, **headers), "")

    async def sync(self) -> None:
        """All that is pending goes to the bucket, or the test fails."""
        with trio.fail_after(100_000):
            await self.exporter.sync(None)

    async def list(self, path: str = "") -> list[str]:
        await self.importer.ensure_listed(self.at(path).ino)
        return self.names(path)

    async def stat(self, path: str) -> Inode:
        """As lookup does: every directory listed, the attributes known."""
        parts = path.strip("/").split("/")
        for depth in range(len(parts)):
            await self.importer.ensure_listed(self.at("/".join(parts[:depth])).ino)
        return self.inode(await self.importer.ensure_attributes(self.at(path).ino))

    @asynccontextmanager
    async def running(self, *, reads_ahead: bool = True) -> AsyncIterator[None]:
        """Exporter, fetches and (if asked) background import at work."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.files.run)
            nursery.start_soon(self.exporter.run)
            if reads_ahead:
                nursery.start_soon(self.importer.run)
            yield
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        self.index.close()


def run_rig(
    directory: Path,
    main: Callable[[Rig], Awaitable[None]],
    *,
    store: MemoryStore | None = None,
    export: ExportSettings | None = None,
    import_: ImportSettings | None = None,
    reads_ahead: bool = True,
    policy: Policy = Policy.KEEP_BOTH,
    limits: Limits | None = None,
    rules: Rules | None = None,
    tiering: Settings | None = None,
) -> MemoryStore:
    """Runs `main` with a Rig at work; returns the store, so that another Rig can go on with it."""
    used = store or MemoryStore()
    clock = trio.testing.MockClock()

    async def whole() -> None:
        rig = Rig(
            directory, used, export=export, import_=import_, policy=policy, limits=limits, rules=rules,
            tiering=tiering,
        )  # fmt: skip
        try:
            async with trio.open_nursery() as nursery, rig.running(reads_ahead=reads_ahead):
                nursery.start_soon(jump_when_idle, clock, rig.limiters)
                await main(rig)
                nursery.cancel_scope.cancel()
        finally:
            rig.close()

    in_order(whole, clock)
    return used


def in_order(main: Callable[[], Awaitable[None]], clock: trio.testing.MockClock) -> None:
    """Runs `main` with tasks that take turns in the same order each time, so that a failure can be seen again.

    As trio's own tests do.
    """
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(0)
    trio.run(main, clock=clock)
