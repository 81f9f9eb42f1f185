"""Directories: names, listings that stay right while the directory changes, link counts."""

import os
from collections import Counter
from pathlib import Path

from tests.mount.posix.tools import RawDirectory, attempt, look, opened, operation, tree, write

MANY = 1000


@operation
def strange_names(root: Path) -> object:
    names = [
        b"\xff\xfe",
        b"%FF%FE",
        b"%41",
        b"%",
        b"new\nline",
        b"back\\slash",
        b"\x01\x7f",
        b" lead and trail ",
        b"...",
        b"..x",
        b".hidden",
        b"~",
        b"a:b*c?d\"e<f>g|h&i;j'k",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"CASE",
        b"case",
        b"\xe2\x82\xac" * 85,
        b"x" * 255,
        b"\x80" * 80,
        b"name.tierfs",
        b"+plus and=equals",
        b"#hash",
    ]
    base = os.fsencode(root)
    for number, name in enumerate(names):
        path = os.path.join(base, name)
        if number % 2:
            os.mkdir(path)
            Path(os.fsdecode(os.path.join(path, b"inside"))).write_bytes(name)
        else:
            Path(os.fsdecode(path)).write_bytes(name)
    listed = sorted(os.listdir(base))
    return listed == sorted(names), tree(root)


@operation
def empty_directory_lists_itself_and_its_parent(root: Path) -> object:
    (root / "d").mkdir()
    with RawDirectory(root / "d") as stream:
        entries = list(iter(stream.next, None))
    numbers = dict(entries)
    same = numbers[b"."] == os.stat(root / "d").st_ino, numbers[b".."] == os.stat(root).st_ino
    return sorted(numbers), same, os.path.samestat(os.stat(root / "d/.."), os.stat(root))


@operation
def listing_agrees_with_stat(root: Path) -> object:
    write(root / "f")
    (root / "d").mkdir()
    (root / "s").symlink_to("f")
    os.mkfifo(root / "p")
    os.link(root / "f", root / "l")
    with os.scandir(root) as entries:
        return sorted(
            (e.name, e.is_dir(follow_symlinks=False), e.is_symlink(), e.inode() == os.lstat(e.path).st_ino)
            for e in entries
        )


@operation
def link_counts(root: Path) -> object:
    counts = [look(root)[1]]
    for name in ("a", "b", "a/c"):
        (root / name).mkdir()
        counts += [look(root)[1], look(root / "a")[1]]
    write(root / "file")
    counts.append(look(root)[1])
    for name in ("a/c", "b"):
        (root / name).rmdir()
        counts += [look(root)[1], look(root / "a")[1]]
    return counts


@operation
def directory_errors(root: Path) -> object:
    write(root / "f")
    (root / "d").mkdir()
    (root / "s").symlink_to("nowhere")
    return [
        attempt(os.mkdir, root / "d"),
        attempt(os.mkdir, root / "f"),
        attempt(os.mkdir, root / "s"),
        attempt(os.mkdir, root / "no/x"),
        attempt(os.mkdir, root / "f/x"),
        attempt(os.mkdir, root / "."),
        attempt(os.listdir, root / "no"),
        attempt(os.listdir, root / "f"),
        attempt(_read, root / "d"),
    ]


def _read(path: Path) -> bytes:
    with opened(path, os.O_RDONLY) as fd:
        return os.read(fd, 1)


@operation
def many_entries(root: Path) -> object:
    for number in range(MANY):
        os.close(os.open(root / f"entry-{number:05}", os.O_CREAT | os.O_WRONLY))
    names = os.listdir(root)
    return len(names), len(set(names)), min(names), max(names)


@operation
def removing_while_listing(root: Path) -> object:
    """As `rm -r` and `find -delete` do it."""
    for number in range(MANY):
        os.close(os.open(root / f"entry-{number:05}", os.O_CREAT | os.O_WRONLY))
    seen: Counter[str] = Counter()
    with os.scandir(root) as entries:
        for entry in entries:
            seen[entry.name] += 1
            os.unlink(entry.path)
    return len(seen), max(seen.values()), os.listdir(root), attempt(os.rmdir, root)


@operation
def removing_every_other_entry_while_listing(root: Path) -> object:
    for number in range(MANY):
        os.close(os.open(root / f"entry-{number:05}", os.O_CREAT | os.O_WRONLY))
    seen: Counter[bytes] = Counter()
    with RawDirectory(root) as stream:
        for count, (name, _) in enumerate(iter(stream.next, None)):
            seen[name] += 1
            if count % 2 and name not in (b".", b".."):
                os.unlink(os.path.join(os.fsencode(root), name))
    return len(seen), max(seen.values())


@operation
def creating_while_listing(root: Path) -> object:
    """What was there from the beginning is seen exactly once, whatever appears meanwhile."""
    for number in range(600):
        os.close(os.open(root / f"old-{number:05}", os.O_CREAT | os.O_WRONLY))
    seen: Counter[bytes] = Counter()
    with RawDirectory(root) as stream:
        for count, (name, _) in enumerate(iter(stream.next, None)):
            seen[name] += 1
            if count < 500:
                os.close(os.open(root / f"new-{count:05}", os.O_CREAT | os.O_WRONLY))
    old = {name: times for name, times in seen.items() if name.startswith(b"old")}
    return len(old), set(old.values()), max(seen.values())


@operation
def renaming_while_listing(root: Path) -> object:
    for number in range(400):
        os.close(os.open(root / f"stay-{number:05}", os.O_CREAT | os.O_WRONLY))
        os.close(os.open(root / f"move-{number:05}", os.O_CREAT | os.O_WRONLY))
    seen: Counter[bytes] = Counter()
    with RawDirectory(root) as stream:
        for count, (name, _) in enumerate(iter(stream.next, None)):
            seen[name] += 1
            if count < 400:
                os.rename(root / f"move-{count:05}", root / f"gone-{count:05}")
    return len([name for name in seen if name.startswith(b"stay")]), max(seen.values())


@operation
def positions_can_be_come_back_to(root: Path) -> object:
    for number in range(300):
        os.close(os.open(root / f"entry-{number:05}", os.O_CREAT | os.O_WRONLY))
    with RawDirectory(root) as stream:
        marks, names = [], []
        while True:
            marks.append(stream.tell())
            entry = stream.next()
            if entry is None:
                break
            names.append(entry[0])
        wrong = []
        for index in [299, 0, 150, 1, 301, 77]:
            stream.seek(marks[index])
            if stream.rest() != names[index:]:
                wrong.append(index)
        # a position stays good while entries before and after it go
        stream.seek(marks[150])
        for index in (10, 200):
            if names[index] not in (b".", b".."):
                os.unlink(os.path.join(os.fsencode(root), names[index]))
        stream.seek(marks[150])
        rest = stream.rest()
    return len(names), wrong, set(names[150:]) - set(rest) <= {names[200]}, set(rest) <= set(names[150:])


@operation
def rewinding_shows_what_is_new(root: Path) -> object:
    write(root / "a")
    with RawDirectory(root) as stream:
        first = sorted(stream.rest())
        write(root / "b")
        os.unlink(root / "a")
        stream.rewind()
        return first, sorted(stream.rest())


@operation
def deep_directories(root: Path) -> object:
    path = root
    for level in range(60):
        path = path / f"level-{level}"
        path.mkdir()
    write(path / "bottom", b"deep")
    return sum(len(files) + len(directories) for _, directories, files in os.walk(root)), (path / "bottom").read_bytes()
