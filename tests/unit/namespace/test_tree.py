"""The tree: POSIX results, and what each change owes the bucket."""

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve, frozen

from tierfs.clock import ManualClock
from tierfs.errors import FsError
from tierfs.index import dirents, inodes, intents, links, orphans, xattrs
from tierfs.index import locations as rows
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO, Base, Inode, InodeFlag, IntentKind
from tierfs.namespace import acl
from tierfs.namespace.changes import AttrChange, NewInode, RenameMode, TreeSettings
from tierfs.namespace.locations import Locations
from tierfs.namespace.tree import Tree

FILE = NewInode(stat.S_IFREG | 0o644, 1000, 1000)
DIRECTORY = NewInode(stat.S_IFDIR | 0o755, 1000, 1000)


@frozen
class World:
    """A tree over a real index, and what a test asks of both."""

    index: Index
    tree: Tree
    locations: Locations
    clock: ManualClock

    def file(self, path: str) -> Inode:
        parent, name = self._split(path)
        return self.tree.create(parent, name, FILE)

    def mkdir(self, path: str) -> Inode:
        parent, name = self._split(path)
        return self.tree.create(parent, name, DIRECTORY)

    def at(self, path: str) -> Inode | None:
        ino = ROOT_INO
        for part in path.split("/"):
            entry = dirents.get(self.index, ino, part.encode())
            if entry is None:
                return None
            ino = entry.ino
        return inodes.get(self.index, ino)

    def _split(self, path: str) -> tuple[int, bytes]:
        head, _, tail = path.rpartition("/")
        parent = self.at(head) if head else inodes.get(self.index, ROOT_INO)
        assert parent is not None
        return parent.ino, tail.encode()

    def rename(self, old: str, new: str, mode: RenameMode = RenameMode.REPLACE) -> None:
        self.tree.rename(*self._split(old), *self._split(new), mode)

    def unlink(self, path: str) -> Inode:
        return self.tree.unlink(*self._split(path))

    def exported(self, path: str, etag: str = "e1") -> Inode:
        """As after an export of the file: clean, its object at its key."""
        inode = self.at(path)
        assert inode is not None
        with self.index.transaction() as txn:
            pending = intents.of_inode(txn, inode.ino)
            if pending is not None:
                intents.delete(txn, pending.seq)
            inode = evolve(
                inode,
                base=Base(etag, inode.size_bytes, 0),
                flags=inode.flags & ~(InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY),
            )
            inodes.put(txn, inode)
            self.locations.settle(txn, inode, self.locations.desired_key(txn, inode))
        return inode

    def tombstones(self) -> dict[str, str]:
        found = intents.page(self.index, 0, 1000)
        return {intent.key: intent.etag for intent in found if intent.kind is IntentKind.DELETE}

    def actual(self, path: str) -> str:
        inode = self.at(path)
        assert inode is not None
        return self.locations.actual_key(self.index, inode)

    def moves(self) -> list[str]:
        return [i.key for i in intents.page(self.index, 0, 1000) if i.kind is IntentKind.MOVE_TREE]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    index = Index.open(tmp_path / "index", clock=clock, settings=IndexSettings(map_size_bytes=1 << 30))
    locations = Locations()
    tree = Tree(index, locations, clock, TreeSettings())
    tree.ensure_root(0o755, 0, 0)
    yield World(index, tree, locations, clock)
    index.close()


def refused(world: World, code: int) -> "pytest.RaisesExc[FsError]":
    return pytest.raises(FsError, check=lambda error: error.errno == code)


def test_a_new_file_owes_the_bucket_one_object(world: World) -> None:
    inode = world.file("a")
    intent = intents.of_inode(world.index, inode.ino)
    assert intent is not None
    assert intent.kind is IntentKind.RECONCILE
    assert intent.not_before_ns == world.clock.now_ns() + 5_000_000_000
    assert InodeFlag.DATA_DIRTY in inode.flags
    assert world.at("a") == inode


def test_names_that_cannot_be_created(world: World) -> None:
    world.file("a")
    with refused(world, errno.EEXIST):
        world.file("a")
    with refused(world, errno.ENAMETOOLONG):
        world.file("x" * 256)
    with refused(world, errno.EPERM):
        world.mkdir(".tierfs")
    with refused(world, errno.ENOTDIR):
        world.file("a/b")
    world.mkdir("d")
    world.mkdir("d/.tierfs")  # only the root's is reserved


def test_a_path_too_long_for_a_key_is_refused_at_create_and_rename(world: World) -> None:
    path = ""
    for _ in range(4):
        path += ("/" if path else "") + "x" * 250
        world.mkdir(path)
    with refused(world, errno.ENAMETOOLONG):
        world.file(path + "/" + "y" * 30)
    world.file("y" * 30)
    with refused(world, errno.ENAMETOOLONG):
        world.rename("y" * 30, path + "/" + "y" * 30)


def test_directories_count_their_subdirectories(world: World) -> None:
    world.mkdir("d")
    world.mkdir("d/e")
    world.file("d/f")
    found = world.at("d")
    assert found is not None
    assert found.nlink == 3
    world.mkdir("other")
    world.rename("d/e", "other/e")
    assert [world.at(name).nlink for name in ("d", "other")] == [2, 3]  # type: ignore[union-attr]


def test_setgid_directories_pass_group_and_bit_on(world: World) -> None:
    directory = world.mkdir("d")
    world.tree.set_attributes(directory.ino, AttrChange(permissions=0o2775, gid=77))
    assert world.file("d/f").gid == 77
    sub = world.mkdir("d/s")
    assert (sub.gid, stat.S_IMODE(sub.mode)) == (77, 0o2755)


def test_a_default_acl_is_inherited(world: World) -> None:
    entries = [(1, 7, -1), (2, 6, 1000), (4, 5, -1), (0x10, 7, -1), (0x20, 0, -1)]
    value = acl.encode([acl.AclEntry(tag, perm, id_ & 0xFFFFFFFF) for tag, perm, id_ in entries])
    directory = world.mkdir("d")
    world.tree.set_xattr(directory.ino, acl.DEFAULT, value)
    assert stat.S_IMODE(world.file("d/f").mode) == 0o640


def test_an_unlinked_object_gets_a_tombstone_with_its_version(world: World) -> None:
    world.file("a")
    ino = world.exported("a", "v1").ino
    gone = world.unlink("a")
    assert (gone.nlink, gone.parent) == (0, 0)
    assert world.tombstones() == {"a": "v1"}
    assert orphans.page(world.index, 0, 10) == [ino]
    world.tree.purge(ino)
    assert inodes.get(world.index, ino) is None


def test_a_file_that_never_reached_the_bucket_leaves_nothing(world: World) -> None:
    world.file("a")
    world.unlink("a")
    assert world.tombstones() == {}
    assert [i for i in intents.page(world.index, 0, 10) if i.ino != ROOT_INO] == []


def test_an_upload_whose_answer_was_never_seen_leaves_an_unconfirmed_tombstone(world: World) -> None:
    inode = world.file("a")
    intent = intents.of_inode(world.index, inode.ino)
    assert intent is not None
    with world.index.transaction() as txn:
        intents.put(txn, evolve(intent, op_id="op", key="a"))
    world.unlink("a")
    assert world.tombstones() == {"a": ""}


@pytest.mark.parametrize("key", ["a", "b"])
def test_an_unlink_during_a_rewrite_tells_the_tombstone_whose_write_may_arrive(world: World, key: str) -> None:
    world.file("a")
    world.exported("a", "v1")
    if key == "b":
        world.rename("a", "b")
    inode = world.at(key)
    assert inode is not None
    with world.index.transaction() as txn:
        intents.mark_dirty(txn, inode, InodeFlag.DATA_DIRTY, now_ns=0, quiet_s=0)
        intent = intents.of_inode(txn, inode.ino)
        assert intent is not None
        intents.put(txn, evolve(intent, op_id="op", key=key))
    world.unlink(key)
    assert world.tombstones() == ({"a": "v1"} if key == "a" else {"a": "v1", "b": ""})
    tombstone = intents.tombstone(world.index, key)
    assert tombstone is not None
    assert tombstone.op_id == "op"


def test_a_renamed_file_is_found_at_its_old_key_until_it_is_moved(world: World) -> None:
    world.file("a")
    world.exported("a")
    world.rename("a", "b")
    assert world.actual("b") == "a"
    assert world.locations.occupant(world.index, "a") == world.at("b").ino  # type: ignore[union-attr]
    world.rename("b", "a")
    assert world.actual("a") == "a"
    assert world.locations.occupant(world.index, "a") is None


def test_rename_over_a_file_remembers_the_version_that_it_replaces(world: World) -> None:
    for name in ("tmp", "target"):
        world.file(name)
    world.exported("target", "old")
    world.rename("tmp", "target")
    assert world.tombstones() == {"target": "old"}
    assert world.at("tmp") is None


def test_a_renamed_directory_keeps_its_objects_at_the_old_prefix(world: World) -> None:
    world.mkdir("d")
    world.mkdir("d/s")
    world.file("d/s/f")
    world.exported("d/s/f")
    world.rename("d", "e")
    assert world.actual("e/s/f") == "d/s/f"
    assert world.moves() == ["d/"]
    world.mkdir("d")
    world.mkdir("d/s")
    fresh = world.file("d/s/f")
    moved = world.at("e/s/f")
    assert moved is not None
    assert world.locations.occupant(world.index, "d/s/f") == moved.ino != fresh.ino


def test_a_directory_renamed_twice_and_back(world: World) -> None:
    world.mkdir("a")
    world.file("a/f")
    world.exported("a/f")
    world.rename("a", "b")
    world.rename("b", "c")
    assert world.actual("c/f") == "a/f"
    assert world.moves() == ["a/"]
    world.rename("c", "a")
    assert world.actual("a/f") == "a/f"
    assert rows.overrides(world.index) == []


def test_a_file_that_leaves_a_moving_directory_is_still_found(world: World) -> None:
    world.mkdir("a")
    world.file("a/f")
    world.exported("a/f")
    world.rename("a", "b")
    world.rename("b/f", "g")
    assert world.actual("g") == "a/f"


def test_rename_errors(world: World) -> None:
    world.mkdir("d")
    world.mkdir("d/e")
    world.file("f")
    cases = [("nothing", "x", errno.ENOENT), ("f", "d", errno.EISDIR), ("d", "f", errno.ENOTDIR)]
    cases += [("d", "d/e/d", errno.EINVAL)]
    for old, new, code in cases:
        with refused(world, code):
            world.rename(old, new)
    world.mkdir("g")
    with refused(world, errno.ENOTEMPTY):
        world.rename("g", "d")
    with refused(world, errno.EEXIST):
        world.rename("f", "g", RenameMode.NOREPLACE)
    with refused(world, errno.ENOENT):
        world.rename("f", "h", RenameMode.EXCHANGE)


def test_exchange_swaps_names_and_keeps_both_objects(world: World) -> None:
    world.file("a")
    world.mkdir("d")
    world.file("d/f")
    world.exported("a", "ea")
    world.exported("d/f", "ef")
    world.rename("a", "d", RenameMode.EXCHANGE)
    assert stat.S_ISDIR(world.at("a").mode)  # type: ignore[union-attr]
    assert world.actual("d") == "a"
    assert world.actual("a/f") == "d/f"
    assert world.tombstones() == {}
    world.rename("a", "d", RenameMode.EXCHANGE)
    assert world.actual("a") == "a"
    assert world.actual("d/f") == "d/f"


def test_hard_links_share_an_inode_until_the_last_goes(world: World) -> None:
    inode = world.file("a")
    assert world.tree.link(inode.ino, ROOT_INO, b"b").nlink == 2
    assert world.at("a") == world.at("b")
    world.exported("a", "ea")
    left = world.unlink("a")
    assert (left.nlink, left.name) == (1, b"b")
    # the object of the first link now serves the other: it has to move, not to be sent again
    assert world.actual("b") == "a"
    assert links.all(world.index, inode.ino) == []
    assert world.unlink("b").nlink == 0


@pytest.mark.parametrize("has_the_bytes", [True, False])
def test_an_exported_second_link_becomes_the_first(world: World, has_the_bytes: bool) -> None:
    inode = world.file("a")
    world.tree.link(inode.ino, ROOT_INO, b"b")
    world.exported("a", "ea")
    first = world.at("a")
    assert first is not None and first.base is not None
    with world.index.transaction() as txn:
        inodes.put(txn, evolve(first, base=evolve(first.base, content="new")))
        links.put(txn, inode.ino, ROOT_INO, b"b", Base("eb", 0, 0, content="new" if has_the_bytes else "old"))
    world.unlink("a")
    # else the first one's object has to move over the other, which is still to be written
    assert world.tombstones() == ({"a": "ea"} if has_the_bytes else {"b": "eb"})
    assert world.actual("b") == ("b" if has_the_bytes else "a")
    left = world.at("b")
    assert left is not None and left.base is not None
    assert left.base.etag == ("eb" if has_the_bytes else "ea")


def test_directories_cannot_be_linked_and_removed_files_neither(world: World) -> None:
    directory = world.mkdir("d")
    with refused(world, errno.EPERM):
        world.tree.link(directory.ino, ROOT_INO, b"x")
    inode = world.file("a")
    world.unlink("a")
    with refused(world, errno.ENOENT):
        world.tree.link(inode.ino, ROOT_INO, b"x")


def test_an_implicit_directory_gets_a_marker_when_an_entry_leaves(world: World) -> None:
    world.mkdir("d")
    world.exported("d")
    with world.index.transaction() as txn:
        inode = world.at("d")
        assert inode is not None
        inodes.put(txn, evolve(inode, flags=inode.flags | InodeFlag.IMPLICIT))
    world.file("d/f")
    assert not world.at("d").is_dirty  # type: ignore[union-attr]
    world.unlink("d/f")
    assert world.at("d").is_dirty  # type: ignore[union-attr]


def test_nothing_can_be_made_in_a_removed_directory(world: World) -> None:
    directory = world.mkdir("d")
    world.tree.rmdir(ROOT_INO, b"d")
    with refused(world, errno.ENOENT):
        world.tree.create(directory.ino, b"f", FILE)


def test_xattrs_and_acl_mode(world: World) -> None:
    inode = world.file("a")
    world.tree.set_xattr(inode.ino, b"user.x", b"1")
    with refused(world, errno.ENODATA):
        world.tree.remove_xattr(inode.ino, b"user.y")
    plain = acl.encode([acl.AclEntry(t, p, 0xFFFFFFFF) for t, p in ((1, 6), (4, 0), (0x20, 0))])
    assert stat.S_IMODE(world.tree.set_xattr(inode.ino, acl.ACCESS, plain).mode) == 0o600
    with refused(world, errno.EACCES):
        world.tree.set_xattr(inode.ino, acl.DEFAULT, plain)


def test_chmod_moves_the_access_acl_along(world: World) -> None:
    inode = world.file("a")
    entries = [(1, 6, -1), (2, 6, 1000), (4, 4, -1), (0x10, 6, -1), (0x20, 4, -1)]
    value = acl.encode([acl.AclEntry(tag, perm, id_ & 0xFFFFFFFF) for tag, perm, id_ in entries])
    world.tree.set_xattr(inode.ino, acl.ACCESS, value)
    world.tree.set_attributes(inode.ino, AttrChange(permissions=0o700))
    stored = xattrs.get(world.index, inode.ino, acl.ACCESS)
    assert stored is not None
    assert [(e.tag, e.permissions) for e in acl.decode(stored)] == [(1, 7), (2, 6), (4, 4), (0x10, 0), (0x20, 0)]
