"""Random histories of local work, with lost answers, refusals and restarts: in the end the bucket has the tree.

A history is a seed. Each runs local operations at random moments of the export, restarts the daemon now and
then (the index and the bucket stay, all memory goes), and then compares three things: a plain model of the
tree, the objects in the bucket, and what a new mount with an empty index makes of them.
"""

import contextlib
import hashlib
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings, ImportSettings
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import conflicts, locations, orphans
from tierfs.index.schema import Table
from tierfs.model import Inode, InodeFlag
from tierfs.namespace.changes import AttrChange, RenameMode
from tierfs.objectstore.base import Condition, ListPage, ObjectMeta, Written

NAMES = ("a", "b", "c", "d")
OPERATIONS_IN_A_LIFE = 40
LIVES = 3
READERS_MAX = 3
READ_TRIES_MAX = 20


class _Unruly(MemoryStore):
    """Loses answers, refuses for a while, takes its time, and gives copies another ETag."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self.is_calm = False

    async def _request(self, method: str, key: str, start: int = 0, stop: int = 0) -> None:
        await super()._request(method, key, start, stop)
        if not self.is_calm:
            await trio.sleep(self._random.random() * 2)
            if self._random.random() < 0.05:
                raise StoreError(StoreErrorKind.THROTTLED, "slow down", key=key)

    async def list(self, prefix: str, **kwargs: Any) -> ListPage:
        """The picture is old when it arrives."""
        page = await super().list(prefix, **kwargs)
        if not self.is_calm:
            await trio.sleep(self._random.random() * 2)
        return page

    def _maybe_lose(self, key: str) -> None:
        if not self.is_calm and self._random.random() < 0.1:
            raise StoreError(StoreErrorKind.UNCLEAR, "the answer got lost", key=key)

    async def put(self, key: str, data: Any, meta: ObjectMeta, condition: Condition, **kwargs: Any) -> Written:
        written = await super().put(key, data, meta, condition, **kwargs)
        self._maybe_lose(key)
        return written

    async def copy(self, source_key: str, key: str, **kwargs: Any) -> Written:
        await super().copy(source_key, key, **kwargs)
        found = self.objects[key]
        etag = hashlib.md5(f"{key}{self.requests['copy']}".encode()).hexdigest() + "-2"
        written = self._store(key, found.data, found.info.meta or ObjectMeta(), found.info.storage_class, etag=etag)
        self._maybe_lose(key)
        return written

    async def delete(self, key: str, *, if_match: str) -> None:
        await super().delete(key, if_match=if_match)
        self._maybe_lose(key)


class _Tree:
    """The tree as it should be: directories, and names that share a body."""

    def __init__(self) -> None:
        self.directories = {""}
        self.files: dict[str, list[bytes]] = {}  # hard links share the list

    def children(self, path: str) -> list[str]:
        prefix = path + "/" if path else ""
        return [each for each in (*self.directories - {""}, *self.files) if each.startswith(prefix) and each != path]

    def move(self, old: str, new: str) -> None:
        def moved(path: str) -> str:
            return new + path[len(old) :] if path == old or path.startswith(old + "/") else path

        self.directories = {moved(path) for path in self.directories}
        self.files = {moved(path): body for path, body in self.files.items()}


async def _step(rig: Rig, tree: _Tree, chance: random.Random) -> None:
    """One operation, if it is possible; the same in the mount and in the model."""
    directory = chance.choice(sorted(tree.directories))
    path = (directory + "/" if directory else "") + chance.choice(NAMES)
    other_directory = chance.choice(sorted(tree.directories))
    other = (other_directory + "/" if other_directory else "") + chance.choice(NAMES)
    kind = chance.choice(
        ["write", "write", "write", "mkdir", "unlink", "rmdir", "rename", "rename", "exchange", "link"]
    )
    is_below = other == path or other.startswith(path + "/") or path.startswith(other + "/")
    exists = path in tree.files or path in tree.directories
    other_exists = other in tree.files or other in tree.directories
    if kind == "write" and path not in tree.directories:
        body = chance.randbytes(chance.randrange(1, 40))
        await rig.write(path, body)
        tree.files.setdefault(path, [b""])[0] = body
    elif kind == "mkdir" and not exists and directory.count("/") < 2:
        rig.mkdir(path)
        tree.directories.add(path)
    elif kind == "unlink" and path in tree.files:
        rig.unlink(path)
        del tree.files[path]
    elif kind == "rmdir" and path in tree.directories and not tree.children(path):
        rig.rmdir(path)
        tree.directories.remove(path)
    elif kind == "link" and path in tree.files and not other_exists:
        rig.link(path, other)
        tree.files[other] = tree.files[path]
    elif kind == "rename" and exists and not is_below:
        _rename(rig, tree, path, other)
    elif kind == "exchange" and exists and other_exists and not is_below:
        rig.rename(path, other, RenameMode.EXCHANGE)
        tree.move(path, "\0")
        tree.move(other, path)
        tree.move("\0", other)


def _rename(rig: Rig, tree: _Tree, path: str, other: str) -> None:
    if path in tree.files and other not in tree.directories:
        rig.rename(path, other)
        if tree.files.get(other) is tree.files[path]:
            return  # two names of one file: rename(2) does nothing
        tree.files.pop(other, None)
        tree.move(path, other)
    elif path in tree.directories and other not in tree.files and not tree.children(other):
        rig.rename(path, other)
        tree.directories.discard(other)
        tree.move(path, other)


class _Readers:
    """Programs that have files open, of which nothing is on the local disk, whatever becomes of the names."""

    def __init__(self, rig: Rig, tree: _Tree, chance: random.Random) -> None:
        self._rig = rig
        self._tree = tree
        self._chance = chance
        self._opened: list[tuple[int, int, list[bytes]]] = []

    async def step(self) -> None:
        """One opens a clean file; one reads what has lost its name since, and closes it."""
        for path in self._chance.sample(sorted(self._tree.files), len(self._tree.files)):
            ino, body = self._rig.at(path).ino, self._tree.files[path]
            if len(self._opened) < READERS_MAX and await self._rig.files.drop(ino):
                self._opened.append((ino, await self._rig.files.open(ino, write=True, truncate=False), body))
        if self._opened and self._chance.random() < 0.3:
            number = self._chance.randrange(len(self._opened))
            if self._rig.inode(self._opened[number][0]).parent == 0 or self._chance.random() < 0.1:
                await self._close(*self._opened.pop(number))

    async def end(self) -> None:
        """All are closed."""
        while self._opened:
            await self._close(*self._opened.pop())

    async def _close(self, ino: int, handle: int, body: list[bytes]) -> None:
        inode = self._rig.inode(ino)
        if inode.parent == 0:
            for _ in range(READ_TRIES_MAX):
                with contextlib.suppress(StoreError):  # it refuses now and then
                    assert await self._rig.files.read(handle, 0, 100) == body[0]
                    break
            else:
                raise AssertionError("an open file without a name cannot be read")
        await self._rig.files.release(handle)
        if inode.parent == 0:
            self._rig.files.forget(ino)
            self._rig.tree.purge(ino)


def _purge_orphans(rig: Rig) -> None:
    """As FileSystem.purge_orphans."""
    for ino in orphans.page(rig.index, 0, 100):
        rig.files.forget(ino)
        rig.tree.purge(ino)


def _check_bucket(rig: Rig, tree: _Tree) -> None:
    wanted = {path: body[0] for path, body in tree.files.items()}
    assert {key: rig.store.content(key) for key in rig.keys if not key.endswith("/")} == wanted
    markers = {key for key in rig.keys if key.endswith("/")}
    assert sorted(markers ^ {path + "/" for path in tree.directories - {""}}) == []


def _check_index(rig: Rig, tree: _Tree) -> None:
    assert not rig.pending()
    assert locations.overrides(rig.index) == []
    assert rig.index.count(Table.LOCATIONS) == 0
    assert conflicts.count(rig.index) == 0
    assert not [key for key in rig.store.objects if key.startswith(".tierfs/aside/")]
    for path in tree.files:
        assert not rig.at(path).is_dirty


async def _walk(rig: Rig, path: str, found: dict[str, Inode]) -> None:
    for name in await rig.list(path):
        child = f"{path}/{name}" if path else name
        found[child] = await rig.stat(child)
        if found[child].is_dir:
            await _walk(rig, child, found)


@pytest.mark.parametrize("seed", [103, 108, 118, 218, 292])  # each of them has found something
def test_a_history_ends_with_the_bucket_as_the_tree(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = _Unruly(seed)
    tree = _Tree()
    export = ExportSettings(quiet_s=chance.choice([0.5, 5.0]))
    # the tree is its only writer, so nothing has to be listed again
    import_ = ImportSettings(revalidate_s=chance.choice([5.0, 86_400.0]))

    async def live(rig: Rig) -> None:
        _purge_orphans(rig)
        readers = _Readers(rig, tree, chance)
        for _ in range(OPERATIONS_IN_A_LIFE):
            await _step(rig, tree, chance)
            await readers.step()
            if chance.random() < 0.4:
                await trio.sleep(chance.choice([0.1, 1, 3, 10]))
            if chance.random() < 0.1:
                rig.exporter.hurry()
            if chance.random() < 0.1:
                with contextlib.suppress(StoreError):
                    await rig.list(chance.choice(sorted(tree.directories)))
        if chance.random() < 0.7:  # else the daemon dies before them
            await readers.end()

    async def settle(rig: Rig) -> None:
        _purge_orphans(rig)
        await rig.sync()
        await trio.sleep(3600)
        store.is_calm = True
        await rig.sync()
        _check_bucket(rig, tree)
        _check_index(rig, tree)

    async def look(rig: Rig) -> None:
        found: dict[str, Inode] = {}
        await _walk(rig, "", found)
        assert set(found) == set(tree.files) | tree.directories - {""}
        for path, body in tree.files.items():
            assert await rig.read(path) == body[0]
            assert rig.at(path).nlink == sum(other is body for other in tree.files.values())

    for _ in range(LIVES):
        run_rig(tmp_path / "1", live, store=store, export=export, import_=import_)
    run_rig(tmp_path / "1", settle, store=store, export=export, import_=import_)
    run_rig(tmp_path / "2", look, store=store, import_=ImportSettings(revalidate_s=86_400))


class _Keeping(_Unruly):
    """Knows which body each ETag is of."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.bodies: dict[str, bytes] = {}

    def _store(self, key: str, data: bytes, *rest: Any, **kwargs: Any) -> Written:
        written = super()._store(key, data, *rest, **kwargs)
        self.bodies[written.etag] = data
        return written


class _Ledger:
    """The bodies that nobody has knowingly replaced or deleted: none of them may get lost."""

    def __init__(self, store: _Keeping) -> None:
        self.store = store
        self.kept: set[bytes] = set()
        self.written_here: dict[int, bytes] = {}

    def _seen_here(self, rig: Rig, path: str) -> bytes | None:
        """The version that a program on this mount would have read."""
        inode = rig.find(path)
        if inode is None:
            return None
        if InodeFlag.DATA_DIRTY in inode.flags or inode.base is None:
            return self.written_here[inode.ino]
        return self.store.bodies[inode.base.etag]

    async def write(self, rig: Rig, path: str, body: bytes) -> None:
        before = self._seen_here(rig, path)
        ino = await rig.write(path, body)
        self.written_here[ino] = body
        self.kept.discard(before or b"")
        self.kept.add(body)

    def unlink(self, rig: Rig, path: str) -> None:
        before = self._seen_here(rig, path)
        rig.unlink(path)
        self.kept.discard(before or b"")

    def rename(self, rig: Rig, path: str, other: str) -> None:
        before = self._seen_here(rig, other) if rig.find(other) is not None else None
        if rig.find(path) != rig.find(other):
            rig.rename(path, other)
            self.kept.discard(before or b"")

    def put_remote(self, rig: Rig, key: str, body: bytes) -> None:
        if key in self.store.objects:
            self.kept.discard(self.store.content(key))
        rig.put_remote(key, body)
        self.kept.add(body)

    def delete_remote(self, key: str) -> None:
        if key in self.store.objects:
            self.kept.discard(self.store.content(key))
            del self.store.objects[key]


async def _step_both_sides(rig: Rig, ledger: _Ledger, chance: random.Random, number: int) -> None:
    directory = chance.choice(["", "p/", "q/"])
    path = directory + chance.choice(NAMES)
    other = chance.choice(["", "p/", "q/"]) + chance.choice(NAMES)
    body = f"{number}:{chance.random()}".encode()
    kind = chance.choice(["write", "write", "unlink", "rename", "chmod", "put", "put", "delete", "list", "wait"])
    if kind == "put":
        ledger.put_remote(rig, path, body)
    elif kind == "delete":
        ledger.delete_remote(path)
    elif kind == "list":
        with contextlib.suppress(StoreError):
            await rig.list(chance.choice(["", "p", "q"]))
    elif kind == "wait":
        await trio.sleep(chance.choice([0.5, 3, 10]))
    elif rig.find(directory) is None or rig.find(other.rpartition("/")[0]) is None:
        return  # its last file was deleted there
    elif kind == "write":
        await ledger.write(rig, path, body)
    elif kind == "rename" and rig.find(path) is not None:
        ledger.rename(rig, path, other)
    elif kind == "unlink" and rig.find(path) is not None:
        ledger.unlink(rig, path)
    elif kind == "chmod" and (found := rig.find(path)) is not None:
        rig.tree.set_attributes(found.ino, AttrChange(permissions=0o600 + chance.randrange(64)))


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_when_both_sides_change_everything(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = _Keeping(seed)
    ledger = _Ledger(store)
    numbers = itertools.count()

    async def live(rig: Rig) -> None:
        for directory in "pq":
            if rig.find(directory) is None:
                rig.mkdir(directory)
        for _ in range(40):
            await _step_both_sides(rig, ledger, chance, next(numbers))

    async def settle(rig: Rig) -> None:
        store.is_calm = True
        for _ in range(3):
            await rig.sync()
            for directory in ("", *(name for name in "pq" if rig.find(name) is not None)):
                await rig.list(directory)
        _check_kept(rig)

    def _check_kept(rig: Rig) -> None:
        files = {key: store.content(key) for key in rig.keys if not key.endswith("/")}
        assert ledger.kept <= set(files.values())
        assert [key for key in files if rig.find(key) is None] == []
        assert not rig.pending()

    async def look(rig: Rig) -> None:
        found: dict[str, Inode] = {}
        await _walk(rig, "", found)
        files = {key: store.content(key) for key in rig.keys if not key.endswith("/")}
        assert {path: await rig.read(path) for path, inode in found.items() if not inode.is_dir} == files

    for _ in range(2):
        run_rig(tmp_path / "1", live, store=store, export=ExportSettings(quiet_s=1.0))
    run_rig(tmp_path / "1", settle, store=store)
    run_rig(tmp_path / "2", look, store=store, import_=ImportSettings(revalidate_s=86_400))
