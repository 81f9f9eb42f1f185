"""Who may do what: the permission rules, acted out by other users than root."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.mount.posix.tools import (
    GROUP,
    STRANGER,
    USER,
    acting_as,
    attempt,
    look,
    open_close,
    root_operation,
    tree,
    umask,
    write,
)


@root_operation
def owner_group_and_others(root: Path) -> object:
    path = write(root / "f", b"x")
    os.chown(path, USER, GROUP)
    seen = []
    for mode in (0o400, 0o200, 0o040, 0o020, 0o004, 0o002, 0o700, 0o077, 0o770, 0):
        os.chmod(path, mode)
        for uid, gid, groups in [(USER, 1, ()), (STRANGER, GROUP, ()), (STRANGER, 1, (GROUP,)), (STRANGER, 1, ())]:
            with acting_as(uid, gid, groups):
                rights = [attempt(open_close, path, flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)]
                access = [os.access(path, right, effective_ids=True) for right in (os.R_OK, os.W_OK, os.X_OK)]
            seen.append((oct(mode), uid, gid, groups, rights, access))
    return seen


@root_operation
def root_needs_an_execute_bit(root: Path) -> object:
    path = write(root / "f")
    (root / "d").mkdir()
    seen = []
    for mode in (0, 0o600, 0o100, 0o001):
        os.chmod(path, mode)
        os.chmod(root / "d", mode)
        seen.append([os.access(path, right) for right in (os.R_OK, os.W_OK, os.X_OK)])
        seen.append([os.access(root / "d", os.X_OK), attempt(os.listdir, root / "d")])
    return seen


@root_operation
def directories_are_searched_listed_changed(root: Path) -> object:
    area = root / "d"
    area.mkdir()
    (area / "sub").mkdir()
    write(area / "f", b"inside")
    os.chown(area, USER, GROUP)
    actions: dict[str, Callable[[], object]] = {
        "list": lambda: sorted(os.listdir(area)),
        "stat": lambda: look(area / "f"),
        "read": (area / "f").read_bytes,
        "create": lambda: write(area / "new") and "ok",
        "remove": lambda: os.unlink(area / "new"),
        "mkdir": lambda: os.mkdir(area / "newdir"),
        "rmdir": lambda: os.rmdir(area / "newdir"),
        "rename": lambda: os.rename(area / "f", area / "g"),
        "rename back": lambda: os.rename(area / "g", area / "f"),
        "symlink": lambda: os.symlink("t", area / "s"),
        "unlink": lambda: os.unlink(area / "s"),
        "link": lambda: os.link(area / "f", area / "l"),
    }
    seen: dict[str, object] = {}
    for mode in (0o700, 0o500, 0o300, 0o100, 0o400, 0o200, 0):
        os.chmod(area, mode)
        with acting_as(USER):
            for name, action in actions.items():
                seen[f"{mode:o} {name}"] = attempt(action)
        os.chmod(area, 0o700)
    return seen, tree(root)


@root_operation
def only_the_owner_changes_attributes(root: Path) -> object:
    path = write(root / "f", b"x")
    os.chown(path, USER, GROUP)
    os.chmod(path, 0o666)
    actions: list[Callable[[], object]] = [
        lambda: os.chmod(path, 0o640),
        lambda: os.chmod(path, 0o666),
        lambda: os.chown(path, USER, -1),
        lambda: os.chown(path, STRANGER, -1),
        lambda: os.chown(path, -1, GROUP),
        lambda: os.chown(path, -1, GROUP + 1),
        lambda: os.chown(path, -1, GROUP + 2),
        lambda: os.utime(path, ns=(1, 1)),
        lambda: os.utime(path),
        lambda: os.truncate(path, 3),
        lambda: os.setxattr(path, "user.x", b"1"),
    ]
    seen: list[object] = []
    for uid, gid, groups in [(USER, GROUP, (GROUP + 1,)), (STRANGER, GROUP, ())]:
        with acting_as(uid, gid, groups):
            seen += [(attempt(action), look(path)) for action in actions]
    os.chmod(path, 0o600)
    with acting_as(STRANGER):
        seen += [attempt(action) for action in actions]
    return seen


@root_operation
def new_entries_belong_to_their_maker(root: Path) -> object:
    os.chmod(root, 0o777)
    with acting_as(USER, GROUP), umask(0o022):
        write(root / "f")
        (root / "d").mkdir()
        (root / "s").symlink_to("f")
        os.mkfifo(root / "p")
        refused = attempt(os.mknod, root / "dev", 0o020600, os.makedev(1, 3))
    return tree(root), refused


@root_operation
def setgid_directory_hands_its_group_down(root: Path) -> object:
    area = root / "d"
    area.mkdir()
    os.chown(area, USER, GROUP + 3)
    os.chmod(area, 0o2777)
    with acting_as(USER, GROUP), umask(0):
        write(area / "f")
        (area / "sub").mkdir(mode=0o755)
        (area / "sub/deeper").mkdir()
        write(area / "sub/deeper/f")
        os.symlink("x", area / "s")
        os.close(os.open(area / "setgid", os.O_CREAT | os.O_WRONLY, 0o2775))
        os.close(os.open(area / "locking", os.O_CREAT | os.O_WRONLY, 0o2765))
    return tree(root)


@root_operation
def setgid_is_for_members(root: Path) -> object:
    path = write(root / "f")
    os.chown(path, USER, GROUP + 9)
    seen = []
    with acting_as(USER, GROUP):
        os.chmod(path, 0o2755)
        seen.append(look(path))
    with acting_as(USER, GROUP, (GROUP + 9,)):
        os.chmod(path, 0o2755)
        seen.append(look(path))
    return seen


@root_operation
def sticky_directory_protects_what_others_made(root: Path) -> object:
    area = root / "d"
    area.mkdir()
    os.chmod(area, 0o1777)
    with acting_as(USER), umask(0):
        for name in ("f", "g", "h"):
            os.close(os.open(area / name, os.O_CREAT | os.O_WRONLY, 0o666))
        (area / "sub").mkdir(mode=0o777)
    with acting_as(STRANGER), umask(0):
        write(area / "mine")
        calls = [
            attempt(os.unlink, area / "f"),
            attempt(os.rmdir, area / "sub"),
            attempt(os.rename, area / "f", area / "x"),
            attempt(os.rename, area / "mine", area / "g"),
            attempt(os.rename, area / "mine", area / "mine2"),
            attempt(os.unlink, area / "mine2"),
            attempt(os.link, area / "f", area / "l"),
        ]
    with acting_as(USER):
        calls += [attempt(os.unlink, area / "f"), attempt(os.rmdir, area / "sub")]
    os.chown(area, STRANGER, GROUP)
    with acting_as(STRANGER):
        calls.append(attempt(os.unlink, area / "g"))
    return calls, tree(root)


@root_operation
def moving_a_directory_needs_to_write_it(root: Path) -> object:
    """Its ".." changes, so its own write permission counts."""
    for name in ("from", "to", "from/d"):
        (root / name).mkdir()
        os.chmod(root / name, 0o777)
    os.chmod(root / "from/d", 0o755)
    with acting_as(USER):
        calls = [
            attempt(os.rename, root / "from/d", root / "to/d"),
            attempt(os.rename, root / "from/d", root / "from/e"),
        ]
    return calls, tree(root)


@root_operation
def a_handle_keeps_its_rights(root: Path) -> object:
    path = write(root / "f", b"old")
    os.chown(path, USER, GROUP)
    with acting_as(USER):
        fd = os.open(path, os.O_RDWR)
    try:
        os.chmod(path, 0)
        os.chown(path, 0, 0)
        with acting_as(USER):
            return [os.pwrite(fd, b"new", 0), os.pread(fd, 9, 0), attempt(os.open, path, os.O_RDONLY)]
    finally:
        os.close(fd)
