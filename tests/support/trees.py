"""Directory trees for tests: making one, describing one completely, and telling two descriptions apart."""

import hashlib
import os
import random
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from attrs import frozen

READERS = 8


@frozen
class Entry:
    """All that a copy of a file must keep."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size_bytes: int = 0
    content: str = ""  # SHA-256 of the bytes; a symlink's target
    rdev: int = 0
    # the first path, in order, of those that are this inode; "" for an only link
    same_as: str = ""
    links: int = 1  # counted only for those with `same_as`
    xattrs: tuple[tuple[str, bytes], ...] = ()


Tree = dict[str, Entry]


def describe(root: Path, *, skip: Callable[[str], bool] = lambda _: False) -> Tree:
    """Every entry below `root` by its relative path; names that are not UTF-8 have surrogates."""
    found: Tree = {}
    names: dict[tuple[int, int], list[str]] = {}
    paths = [path for path in sorted(_walk(os.fspath(root))) if not skip(os.path.relpath(path, root))]
    # several at a time, since each may have to be fetched first
    with ThreadPoolExecutor(READERS) as pool:
        for path, (entry, inode) in zip(paths, pool.map(_entry, paths), strict=True):
            name = os.path.relpath(path, root)
            found[name] = entry
            names.setdefault(inode, []).append(name)
    for shared in names.values():
        for name in shared if len(shared) > 1 else ():
            # counted after the walk: a mount may learn of a file's other names only by looking at them
            links = os.lstat(root / name).st_nlink
            found[name] = attrs.evolve(found[name], same_as=shared[0], links=links)
    return found


def differences(expected: Tree, actual: Tree, *, ignore: frozenset[str] = frozenset()) -> list[str]:
    """What differs, a line each, without the fields in `ignore`; an empty list says that the trees are the same."""
    lines = [f"missing: {name}" for name in sorted(expected.keys() - actual.keys())]
    lines += [f"unexpected: {name}" for name in sorted(actual.keys() - expected.keys())]
    for name in sorted(expected.keys() & actual.keys()):
        for field in Entry.__attrs_attrs__:
            wanted, got = getattr(expected[name], field.name), getattr(actual[name], field.name)
            if wanted != got and field.name not in ignore:
                lines.append(f"{name}: {field.name} is {got!r}, not {wanted!r}")
    return lines


def assert_same(expected: Tree, actual: Tree, *, ignore: frozenset[str] = frozenset()) -> None:
    """Fails with the first differences."""
    lines = differences(expected, actual, ignore=ignore)
    assert not lines, f"{len(lines)} differences:\n" + "\n".join(lines[:40])


def make_source_tree(root: Path, files: int, *, seed: int = 1) -> None:
    """A tree as programmers have it: `files` small files in packages, and a corner with all that is unusual."""
    chooser = random.Random(seed)
    root.mkdir(parents=True)
    for number in range(files):
        directory = root / f"package_{number // 500:03}" / f"module_{number // 25 % 20:02}"
        if number % 25 == 0:
            directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"file_{number:05}.{chooser.choice(['py', 'c', 'h', 'md', 'json'])}"
        # mostly a few hundred bytes, sometimes much more, sometimes nothing
        size = int(chooser.expovariate(1 / 1500)) if number % 97 else chooser.choice([0, 1, 65_536, 200_001])
        path.write_bytes(_source_text(chooser, size))
        path.chmod(chooser.choice([0o644, 0o644, 0o600, 0o755, 0o440]))
        _set_time(path, chooser)
    _make_corner(root / "corner", chooser)
    for made, _, _ in os.walk(root, topdown=False):
        _set_time(Path(made), chooser)


def _make_corner(root: Path, chooser: random.Random) -> None:
    root.mkdir()
    (root / "empty directory").mkdir(mode=0o750)
    (root / "relative link").symlink_to("../package_000")
    (root / "absolute link").symlink_to("/nowhere/at/all")
    (root / "dangling link").symlink_to("not there")
    first = root / "hard link 1"
    first.write_bytes(b"one inode, three names\n")
    (root / "elsewhere").mkdir()
    for name in ("hard link 2", "elsewhere/hard link 3"):
        os.link(first, root / name)
    os.mkfifo(root / "fifo", 0o620)
    tagged = root / "tagged"
    tagged.write_bytes(b"with attributes")
    os.setxattr(tagged, "user.origin", b"https://example.org/\xff\0")
    os.setxattr(tagged, "user.empty", b"")
    os.setxattr(root / "empty directory", "user.comment", b"of a directory")
    for raw in (b"caf\xc3\xa9", b"not utf-8 \xff\xfe", b"100%", b"new\nline", b" spaces ", b"-rf", b"n" * 255):
        (root / os.fsdecode(raw)).write_bytes(raw)
    with (root / "sparse").open("wb") as sparse:
        sparse.seek(3_000_000)
        sparse.write(b"the end")
    (root / "large").write_bytes(chooser.randbytes(20_000_003))
    if os.geteuid() == 0:
        os.chown(tagged, 1234, 5678)
        os.chown(root / "dangling link", 4321, 8765, follow_symlinks=False)
        first.chmod(0o4711)
    for name in os.listdir(root):
        _set_time(root / name, chooser)


def _set_time(path: Path, chooser: random.Random) -> None:
    when_ns = chooser.randrange(946_684_800_000_000_000, 1_700_000_000_000_000_000)
    os.utime(path, ns=(when_ns + 5_000_000_000, when_ns), follow_symlinks=False)


def _source_text(chooser: random.Random, size: int) -> bytes:
    words = ["def", "return", "self", "index", "bucket", "value", "->", "int", ":", "=", "(", ")", "#", "\n    ", "\n"]
    return " ".join(chooser.choices(words, k=size // 4 + 1)).encode()[:size]


def _walk(root: str) -> Iterator[str]:
    with os.scandir(root) as entries:
        for entry in entries:
            yield entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)


def _entry(path: str) -> tuple[Entry, tuple[int, int]]:
    """The entry, and the device and inode number by which its other names are found."""
    st = os.lstat(path)
    content, rdev, size = "", 0, 0
    if stat.S_ISREG(st.st_mode):
        size = st.st_size
        with Path(path).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(st.st_mode):
        content = os.readlink(path)  # noqa: PTH115 - the text as it is
    elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        rdev = st.st_rdev
    entry = Entry(
        mode=st.st_mode,
        uid=st.st_uid,
        gid=st.st_gid,
        mtime_ns=st.st_mtime_ns,
        size_bytes=size,
        content=content,
        rdev=rdev,
        xattrs=tuple(sorted(_xattrs(path))),
    )
    return entry, (st.st_dev, st.st_ino)


def _xattrs(path: str) -> Iterator[tuple[str, bytes]]:
    for name in os.listxattr(path, follow_symlinks=False):
        # what a security module adds by itself is not ours to keep
        if not name.startswith("security.selinux"):
            yield name, os.getxattr(path, name, follow_symlinks=False)
