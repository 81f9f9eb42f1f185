"""Hard links, symbolic links, and taking names away."""

import os
from pathlib import Path

from tests.mount.posix.tools import attempt, look, opened, operation, tree, write


@operation
def hard_links(root: Path) -> object:
    write(root / "a", b"first")
    (root / "d").mkdir()
    os.link(root / "a", root / "b")
    os.link(root / "b", root / "d/c")
    seen: list[object] = [tree(root)]
    (root / "d/c").write_bytes(b"changed through the third")
    os.chmod(root / "b", 0o600)
    seen.append(tree(root))
    seen.append(len({os.stat(root / name).st_ino for name in ("a", "b", "d/c")}))
    os.unlink(root / "a")
    seen.append(tree(root))
    os.rename(root / "b", root / "d/b")
    os.unlink(root / "d/c")
    seen.append(tree(root))
    return seen


@operation
def impossible_hard_links(root: Path) -> object:
    write(root / "a", b"first")
    write(root / "taken")
    (root / "d").mkdir()
    (root / "s").symlink_to("a")
    pairs = [
        ("d", "x"),
        ("a", "taken"),
        ("a", "d"),
        ("no", "x"),
        ("a", "no/x"),
        ("a", "taken/x"),
        ("a", "a"),
        ("s", "t"),
    ]
    calls = [attempt(os.link, root / old, root / new, follow_symlinks=False) for old, new in pairs]
    calls.append(attempt(os.link, root / "s", root / "through", follow_symlinks=True))
    return calls, tree(root)


@operation
def many_links(root: Path) -> object:
    write(root / "0", b"bytes")
    for number in range(1, 60):
        os.link(root / str(number - 1), root / str(number))
    before = look(root / "30")
    for number in range(0, 60, 2):
        os.unlink(root / str(number))
    return before, look(root / "31"), (root / "59").read_bytes()


@operation
def links_of_special_files(root: Path) -> object:
    os.mkfifo(root / "fifo")
    (root / "s").symlink_to("nowhere")
    os.link(root / "fifo", root / "fifo2")
    os.link(root / "s", root / "s2", follow_symlinks=False)
    return tree(root)


@operation
def removing(root: Path) -> object:
    write(root / "file")
    (root / "full/inner").mkdir(parents=True)
    (root / "s").symlink_to("full")
    calls = [
        attempt(os.unlink, root / "full"),
        attempt(os.rmdir, root / "file"),
        attempt(os.rmdir, root / "full"),
        attempt(os.rmdir, f"{root}/full/inner/."),
        attempt(os.rmdir, f"{root}/full/inner/.."),
        attempt(os.rmdir, root / "s"),
        attempt(os.unlink, root / "no"),
        attempt(os.rmdir, root / "no"),
        attempt(os.unlink, root / "file/x"),
        attempt(os.unlink, f"{root}/s/"),
        attempt(os.rmdir, f"{root}/full/inner/"),
        attempt(os.unlink, root / "s"),
        attempt(os.unlink, root / "s"),
    ]
    return calls, tree(root)


@operation
def a_name_again_after_removal(root: Path) -> object:
    numbers = set()
    for content in (b"one", b"two two", b""):
        write(root / "f", content)
        (root / "d").mkdir()
        numbers.add(os.stat(root / "d").st_ino)
        assert (root / "f").read_bytes() == content
        (root / "f").unlink()
        (root / "d").rmdir()
    os.mkfifo(root / "f")
    (root / "d").symlink_to("f")
    return tree(root)


@operation
def symlink_targets(root: Path) -> object:
    targets = [
        "a",
        "../up",
        "/absolute/path",
        "with space\n",
        "x" * 255,
        "y/" * 500 + "z",
        "a" * 4080,
        "\udcff\udcfe",
        ".",
        "é",
    ]
    seen = []
    for number, target in enumerate(targets):
        os.symlink(target, root / str(number))
        seen.append((os.readlink(root / str(number)) == target, look(root / str(number))))
    calls = [
        attempt(os.symlink, "", root / "empty"),
        attempt(os.symlink, "b" * 4096, root / "long"),
        attempt(os.symlink, "x", root / "0"),
        attempt(os.readlink, root),
        attempt(os.readlink, root / "no"),
    ]
    return seen, calls, len(os.listdir(root))


@operation
def symlinks_are_followed(root: Path) -> object:
    (root / "d/e").mkdir(parents=True)
    write(root / "d/e/f", b"found")
    (root / "one").symlink_to("d")
    (root / "d/two").symlink_to("../one/e")
    (root / "d/e/three").symlink_to("../two/f")
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    return [
        (root / "one/two/three").read_bytes(),
        look(root / "one/two/three", follow=True),
        look(root / "one/two/three"),
        attempt(os.stat, root / "x"),
        attempt(os.stat, root / "one/no"),
        sorted(os.listdir(root / "one/two")),
    ]


@operation
def forty_links_are_the_limit(root: Path) -> object:
    write(root / "0", b"end")
    for number in range(1, 45):
        os.symlink(str(number - 1), root / str(number))
    return [attempt(lambda n=n: (root / str(n)).read_bytes()) for n in (1, 39, 40, 41, 44)]


@operation
def symlink_permissions_do_not_matter(root: Path) -> object:
    write(root / "f", b"x")
    (root / "s").symlink_to("f")
    calls = [attempt(os.chmod, root / "s", 0o600), attempt(os.utime, root / "s", ns=(5, 7), follow_symlinks=False)]
    return calls, tree(root), os.lstat(root / "s").st_mtime_ns


@operation
def working_directory_is_removed(root: Path) -> object:
    (root / "d").mkdir()
    with opened(root / "d", os.O_RDONLY | os.O_DIRECTORY) as directory:
        os.rmdir(root / "d")
        return [
            os.listdir(directory),
            os.fstat(directory).st_nlink,
            attempt(os.open, "new", os.O_CREAT | os.O_WRONLY, dir_fd=directory),
            attempt(os.mkdir, "new", dir_fd=directory),
            attempt(os.stat, "..", dir_fd=directory) == "ENOENT",
        ]
