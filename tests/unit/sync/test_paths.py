"""From keys to the tree and back."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierfs.clock import ManualClock
from tierfs.index.env import Index, IndexSettings
from tierfs.model import ROOT_INO
from tierfs.namespace.changes import NewInode, TreeSettings
from tierfs.namespace.locations import Locations
from tierfs.namespace.tree import Tree
from tierfs.sync.paths import Place, ancestors, display_path, find_entry, find_owner, find_place
from tierfs.units import MIB


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path, clock=ManualClock(), settings=IndexSettings(map_size_bytes=64 * MIB), boot_id=1)
    yield opened
    opened.close()


@pytest.fixture
def tree(index: Index) -> Tree:
    made = Tree(index, Locations(), ManualClock(), TreeSettings())
    made.ensure_root(0o755, 0, 0)
    return made


def _make(tree: Tree, parent: int, name: bytes, fmt: int) -> int:
    return tree.create(parent, name, NewInode(fmt | 0o700, 0, 0)).ino


def test_a_key_leads_to_the_inode_of_its_path(index: Index, tree: Tree) -> None:
    directory = _make(tree, ROOT_INO, b"d", stat.S_IFDIR)
    file = _make(tree, directory, b"f", stat.S_IFIFO)
    owner = find_owner(index, "d/f")
    assert owner is not None
    assert owner.ino == file
    marker = find_owner(index, "d/")
    assert marker is not None
    assert marker.ino == directory
    assert find_owner(index, "d") is None  # the key without a slash is another object
    assert find_owner(index, "d/f/") is None
    assert find_owner(index, "d/none") is None
    assert find_place(index, "d/none") == Place(directory, b"none")
    assert find_place(index, "none/f") is None
    assert find_place(index, "f", top=directory) == Place(directory, b"f")


def test_escaped_and_literal_names_are_told_apart(index: Index, tree: Tree) -> None:
    raw = _make(tree, ROOT_INO, b"\xff", stat.S_IFIFO)
    literal = _make(tree, ROOT_INO, b"%FF", stat.S_IFIFO)
    found = [find_entry(index, ROOT_INO, part) for part in ("%FF", "%25FF", "%2525FF")]
    assert [entry.ino if entry is not None else None for entry in found] == [raw, literal, None]


def test_paths_are_shown_and_climbed(index: Index, tree: Tree) -> None:
    directory = _make(tree, ROOT_INO, b"d", stat.S_IFDIR)
    file = _make(tree, directory, b"\xff", stat.S_IFIFO)
    assert display_path(index, file) == "/d/\\xff"
    assert display_path(index, ROOT_INO) == "/"
    assert list(ancestors(index, tree.inode(file))) == [directory, ROOT_INO]
    assert list(ancestors(index, tree.inode(ROOT_INO))) == []
    tree.unlink(directory, b"\xff")
    assert display_path(index, file) == "(unlinked)"
