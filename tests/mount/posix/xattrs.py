"""Extended attributes and POSIX ACLs."""

import os
from pathlib import Path

from tests.mount.posix.tools import (
    GROUP,
    STRANGER,
    USER,
    acting_as,
    attempt,
    look,
    open_close,
    opened,
    operation,
    root_operation,
    umask,
    write,
)
from tests.support import programs


def _all(path: Path) -> dict[str, bytes]:
    """All but what a security module adds by itself."""
    names = os.listxattr(path, follow_symlinks=False)
    return {
        name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names) if name != "security.selinux"
    }


@operation
def user_attributes(root: Path) -> object:
    path = write(root / "f")
    (root / "d").mkdir()
    seen: list[object] = []
    for target in (path, root / "d"):
        for name, value in [("user.a", b"1"), ("user.b", b""), ("user.a", b"\0binary\xff"), ("user.ü", b"x" * 1000)]:
            os.setxattr(target, name, value)
        seen.append(_all(target))
        os.removexattr(target, "user.b")
        seen.append(_all(target))
    with opened(path, os.O_RDONLY) as fd:
        os.setxattr(fd, "user.fd", b"by descriptor")
        seen += [os.getxattr(fd, "user.fd"), sorted(os.listxattr(fd))]
    return seen


@operation
def flags_and_errors(root: Path) -> object:
    path = write(root / "f")
    (root / "s").symlink_to("f")
    os.mkfifo(root / "p")
    return [
        attempt(os.setxattr, path, "user.a", b"1", os.XATTR_REPLACE),
        attempt(os.setxattr, path, "user.a", b"1", os.XATTR_CREATE),
        attempt(os.setxattr, path, "user.a", b"2", os.XATTR_CREATE),
        attempt(os.setxattr, path, "user.a", b"3", os.XATTR_REPLACE),
        _all(path),
        attempt(os.getxattr, path, "user.none"),
        attempt(os.removexattr, path, "user.none"),
        attempt(os.getxattr, root / "no", "user.a"),
        attempt(os.setxattr, path, "nonsense.a", b"1"),
        attempt(os.getxattr, path, "nonsense.a"),
        attempt(os.setxattr, path, "user." + "n" * 250, b"longest"),
        attempt(os.setxattr, path, "user." + "n" * 251, b"too long"),
        attempt(os.setxattr, path, "user.big", b"x" * 70_000),
        attempt(os.setxattr, root / "s", "user.a", b"1", follow_symlinks=False),
        attempt(os.setxattr, root / "p", "user.a", b"1"),
        attempt(os.getxattr, root / "s", "user.a"),
        sorted(_all(path)),
    ]


@operation
def they_follow_the_file(root: Path) -> object:
    path = write(root / "f")
    os.setxattr(path, "user.a", b"kept")
    os.link(path, root / "l")
    os.setxattr(root / "l", "user.b", b"by the link")
    os.rename(path, root / "g")
    (root / "g").write_bytes(b"rewritten")
    seen = [_all(root / "g"), _all(root / "l")]
    (root / "g").unlink()
    write(root / "g")
    return seen, _all(root / "g"), _all(root / "l")


@root_operation
def namespaces_of_root(root: Path) -> object:
    path = write(root / "f")
    (root / "s").symlink_to("f")
    os.chown(path, USER, GROUP)
    os.setxattr(path, "trusted.a", b"1")
    os.setxattr(path, "security.test", b"2")
    os.setxattr(root / "s", "trusted.s", b"3", follow_symlinks=False)
    seen: list[object] = [_all(path), _all(root / "s")]
    with acting_as(USER):
        seen += [
            attempt(os.getxattr, path, "trusted.a"),
            attempt(os.setxattr, path, "trusted.b", b"1"),
            attempt(os.setxattr, path, "security.b", b"1"),
            sorted(name for name in os.listxattr(path) if name != "security.selinux"),
            attempt(os.setxattr, path, "user.mine", b"1"),
        ]
    with acting_as(STRANGER):
        seen += [attempt(os.getxattr, path, "user.mine"), attempt(os.setxattr, path, "user.mine", b"2")]
        seen += [attempt(os.removexattr, path, "user.mine")]
    return seen


def _acl(path: Path) -> list[str]:
    lines = programs.run(["getfacl", "-cnEp", path]).stdout.splitlines()
    return [line for line in lines if line]


def _setfacl(*arguments: str | Path) -> None:
    programs.run(["setfacl", *arguments])


@operation
def acl_and_mode_speak_of_the_same(root: Path) -> object:
    path = write(root / "f")
    os.chmod(path, 0o640)
    _setfacl("-m", f"u:{USER}:rw,g:{GROUP}:x", path)
    seen: list[object] = [look(path), _acl(path)]
    os.chmod(path, 0o604)
    seen += [look(path), _acl(path)]
    _setfacl("-m", "m::rwx,o::-", path)
    seen += [look(path), _acl(path), len(os.getxattr(path, "system.posix_acl_access"))]
    _setfacl("-b", path)
    seen += [look(path), _acl(path), sorted(_all(path))]
    # an ACL that says no more than the mode is the mode
    _setfacl("-m", "u::rwx,g::r,o::x", path)
    seen += [look(path), _acl(path), sorted(_all(path))]
    return seen


@operation
def default_acl_is_inherited(root: Path) -> object:
    area = root / "d"
    area.mkdir()
    _setfacl("-d", "-m", f"u::rwx,g::rx,o::-,u:{USER}:rwx,m::rwx", area)
    seen: list[object] = [look(area), _acl(area)]
    for mask in (0, 0o077):  # which says nothing beside a default ACL
        made = area / f"{mask}"
        made.mkdir()
        with umask(mask):
            (made / "sub").mkdir(mode=0o755)
            os.close(os.open(made / "file", os.O_CREAT | os.O_WRONLY, 0o666))
            os.close(os.open(made / "private", os.O_CREAT | os.O_WRONLY, 0o600))
            os.mkfifo(made / "fifo", 0o644)
            (made / "link").symlink_to("x")
        seen += [(name, look(made / name), _acl(made / name)) for name in ("sub", "file", "private", "fifo")]
    _setfacl("-k", area)
    write(area / "later")
    return seen, _acl(area), _acl(area / "later"), attempt(os.setxattr, area / "later", "system.posix_acl_default", b"")


@operation
def broken_acl_is_refused(root: Path) -> object:
    path = write(root / "f")
    name = "system.posix_acl_access"
    return [attempt(os.setxattr, path, name, value) for value in (b"x", b"\x02\0\0\0" + b"\xff" * 8)], look(path)


@root_operation
def acl_decides(root: Path) -> object:
    path = write(root / "f", b"secret")
    os.chmod(path, 0o600)
    _setfacl("-m", f"u:{USER}:r,g:{GROUP + 7}:rw", path)

    def rights() -> list[object]:
        return [attempt(open_close, path, flags) for flags in (os.O_RDONLY, os.O_WRONLY)]

    seen = []
    for uid, gid, groups in [
        (USER, GROUP, ()),
        (STRANGER, GROUP, ()),
        (STRANGER, GROUP, (GROUP + 7,)),
        (STRANGER, GROUP + 7, ()),
    ]:
        with acting_as(uid, gid, groups):
            seen.append(rights())
    os.chmod(path, 0o640)
    with acting_as(STRANGER, GROUP + 7):
        seen.append(rights())
    with acting_as(USER):
        seen.append([attempt(os.setxattr, path, "system.posix_acl_access", b"\x02\0\0\0")])
    return seen
