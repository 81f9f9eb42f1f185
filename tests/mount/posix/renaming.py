"""rename in all combinations of source, target and flags."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.mount.posix.tools import EXCHANGE, NOREPLACE, attempt, look, operation, renameat2, tree, write


def _file(path: Path) -> None:
    write(path, path.name.encode())


def _full(path: Path) -> None:
    path.mkdir()
    write(path / f"in-{path.name}", b"inside")
    (path / "deeper").mkdir()


def _nothing(_: Path) -> None:
    pass


MAKERS: dict[str, Callable[[Path], object]] = {
    "missing": _nothing,
    "file": _file,
    "empty": Path.mkdir,
    "full": _full,
    "symlink": lambda path: path.symlink_to("anywhere"),
    "fifo": os.mkfifo,
}


def _matrix(root: Path, flags: int) -> object:
    """Every kind of source over every kind of target, within one directory and across two."""
    seen = {}
    for source_kind, make_source in MAKERS.items():
        for target_kind, make_target in MAKERS.items():
            for place in ("same", "other"):
                area = root / f"{source_kind}-{target_kind}-{place}"
                area.mkdir()
                (area / "other").mkdir()
                source = area / "source"
                target = area / ("target" if place == "same" else "other/target")
                make_source(source)
                make_target(target)
                seen[area.name] = attempt(renameat2, source, target, flags), tree(area), look(area)
    return seen


@operation
def matrix_plain(root: Path) -> object:
    return _matrix(root, 0)


@operation
def matrix_noreplace(root: Path) -> object:
    return _matrix(root, NOREPLACE)


@operation
def matrix_exchange(root: Path) -> object:
    return _matrix(root, EXCHANGE)


@operation
def impossible_flags(root: Path) -> object:
    write(root / "a")
    write(root / "b")
    return attempt(renameat2, root / "a", root / "b", NOREPLACE | EXCHANGE), attempt(
        renameat2, root / "a", root / "b", 1 << 9
    )


@operation
def over_itself_and_its_links(root: Path) -> object:
    write(root / "a", b"same")
    os.link(root / "a", root / "b")
    calls = [
        attempt(os.rename, root / "a", root / "a"),
        attempt(os.rename, root / "a", root / "b"),
        attempt(renameat2, root / "a", root / "b", NOREPLACE),
        attempt(renameat2, root / "a", root / "b", EXCHANGE),
    ]
    return calls, tree(root)


@operation
def into_itself(root: Path) -> object:
    (root / "d/e/f").mkdir(parents=True)
    write(root / "file")
    calls = [
        attempt(os.rename, root / "d", root / "d/e"),
        attempt(os.rename, root / "d", root / "d/e/f/g"),
        attempt(renameat2, root / "d", root / "d/e/f", EXCHANGE),
        attempt(renameat2, root / "d/e/f", root / "d", EXCHANGE),
        attempt(os.rename, root / "d/e", root / "d"),
        attempt(os.rename, f"{root}/d/.", root / "x"),
        attempt(os.rename, f"{root}/d/..", root / "x"),
        attempt(os.rename, root / "file", f"{root}/x/"),
        attempt(os.rename, root / "file", root / "file/x"),
        attempt(os.rename, root / "file", root / "no/x"),
        attempt(os.rename, f"{root}/d/e/", f"{root}/moved/"),
    ]
    return calls, tree(root)


@operation
def parents_count_their_directories(root: Path) -> object:
    for name in ("a", "b", "a/child"):
        (root / name).mkdir()
    steps = [[look(root / name)[1] for name in ("a", "b")]]
    os.rename(root / "a/child", root / "b/child")
    steps.append([look(root / name)[1] for name in ("a", "b")])
    write(root / "a/file")
    renameat2(root / "a/file", root / "b/child", EXCHANGE)
    steps.append([look(root / name)[1] for name in ("a", "b")])
    return steps, tree(root)


@operation
def dot_dot_follows(root: Path) -> object:
    (root / "a/child/grand").mkdir(parents=True)
    (root / "b").mkdir()
    os.rename(root / "a/child", root / "b/child")
    same = os.path.samestat(os.stat(root / "b/child/.."), os.stat(root / "b"))
    return same, os.path.samestat(os.stat(root / "b/child/grand/../.."), os.stat(root / "b"))


@operation
def numbers_stay(root: Path) -> object:
    write(root / "f", b"x")
    (root / "d").mkdir()
    before = [os.stat(root / name).st_ino for name in ("f", "d")]
    os.rename(root / "f", root / "g")
    os.rename(root / "d", root / "e")
    return before == [os.stat(root / name).st_ino for name in ("g", "e")]


@operation
def a_long_chain(root: Path) -> object:
    """Names change places again and again; the bytes stay with their inode."""
    for name in "abc":
        write(root / name, name.encode() * 3)
    for _ in range(20):
        os.rename(root / "a", root / "t")
        os.rename(root / "b", root / "a")
        os.rename(root / "c", root / "b")
        os.rename(root / "t", root / "c")
    return tree(root)


@operation
def a_deep_tree_moves_whole(root: Path) -> object:
    for number in range(60):
        directory = root / "from" / str(number % 5) / str(number % 3)
        directory.mkdir(parents=True, exist_ok=True)
        write(directory / f"f{number}", str(number).encode())
    (root / "to").mkdir()
    os.rename(root / "from", root / "to/here")
    write(root / "to/here/0/0/new", b"new")
    os.rename(root / "to/here", root / "back")
    return tree(root)
