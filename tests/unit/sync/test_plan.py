"""Every row of the table in `sync/plan.py`, and the condition of each write."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tierfs.clock import ManualClock
from tierfs.index import inodes, intents
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO, Base, Inode, InodeFlag, Intent, IntentKind
from tierfs.namespace.changes import NewInode, RenameMode, TreeSettings
from tierfs.namespace.locations import ROOT_KEY, Locations
from tierfs.namespace.tree import Tree
from tierfs.objectstore.base import IfAbsent, IfMatch
from tierfs.sync.plan import Plan, Work, condition, plan
from tierfs.units import MIB

DATA, META = InodeFlag.DATA_DIRTY, InodeFlag.META_DIRTY


class World:
    def __init__(self, directory: Path) -> None:
        settings = IndexSettings(map_size_bytes=64 * MIB)
        self.index = Index.open(directory, clock=ManualClock(), settings=settings, boot_id=1)
        self.locations = Locations()
        self.tree = Tree(self.index, self.locations, ManualClock(), TreeSettings())
        self.tree.ensure_root(0o755, 0, 0)

    def file(self, name: bytes, base: Base | None, flags: InodeFlag) -> Inode:
        made = self.tree.create(ROOT_INO, name, NewInode(stat.S_IFIFO | 0o600, 0, 0))
        inode = evolve(made, base=base, flags=InodeFlag.ATTRS_KNOWN | flags)
        with self.index.transaction() as txn:
            inodes.put(txn, inode)
        return inode

    def plan(self, ino: int) -> Plan:
        return plan(self.index, self.locations, self.tree.inode(ino))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.index.close()


BASE = Base("e", 0, 0)


@pytest.mark.parametrize(
    ("base", "flags", "is_renamed", "work", "source"),
    [
        (None, DATA, False, Work.BODY, ""),
        (None, META, False, Work.BODY, ""),
        (BASE, DATA, False, Work.BODY, "f"),
        (BASE, DATA, True, Work.BODY, "f"),
        (BASE, META, False, Work.COPY, "f"),
        (BASE, META, True, Work.COPY, "f"),
        (BASE, InodeFlag.NONE, False, Work.NOTHING, "f"),
    ],
)
def test_work(world: World, base: Base | None, flags: InodeFlag, is_renamed: bool, work: Work, source: str) -> None:
    inode = world.file(b"f", base, flags)
    if is_renamed:
        world.tree.rename(ROOT_INO, b"f", ROOT_INO, b"g", RenameMode.REPLACE)
    made = world.plan(inode.ino)
    assert (made.work, made.source) == (work, source)
    assert made.key == ("g" if is_renamed else "f")
    assert made.is_move == is_renamed


def test_the_root_is_always_written_whole(world: World) -> None:
    with world.index.transaction() as txn:
        inodes.put(txn, evolve(world.tree.inode(ROOT_INO), base=BASE, flags=META))
    assert world.plan(ROOT_INO) == Plan(Work.BODY, ROOT_KEY, ROOT_KEY, 0)


def test_the_object_beside_a_directory_stays_at_its_key(world: World) -> None:
    inode = world.file(b"a.tierfs-object", BASE, META)
    with world.index.transaction() as txn:
        world.locations.settle(txn, inode, "a")
    assert (world.plan(inode.ino).key, world.plan(inode.ino).work) == ("a", Work.COPY)
    world.tree.rename(ROOT_INO, b"a.tierfs-object", ROOT_INO, b"b", RenameMode.REPLACE)
    assert world.plan(inode.ino).key == "b"


def test_conditions(world: World) -> None:
    assert condition(world.index, "k", None) == IfAbsent()
    assert condition(world.index, "k", "here") == IfMatch("here")
    tombstone = Intent(world.index.next_seq(), IntentKind.DELETE, 0, "k", "buried", 0, 0)
    with world.index.transaction() as txn:
        intents.put(txn, tombstone)
    assert condition(world.index, "k", None) == IfMatch("buried")
    with world.index.transaction() as txn:
        intents.put(txn, evolve(tombstone, etag=""))
    assert condition(world.index, "k", None) == IfAbsent()
