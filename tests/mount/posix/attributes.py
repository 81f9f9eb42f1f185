"""Permissions, owners, times and the rules by which they change."""

import os
import stat
from pathlib import Path

from tests.mount.posix.tools import (
    EXCHANGE,
    GROUP,
    USER,
    acting_as,
    attempt,
    look,
    moved,
    opened,
    operation,
    renameat2,
    root_operation,
    write,
)

SECOND_NS = 1_000_000_000


@operation
def every_permission_bit(root: Path) -> object:
    write(root / "f")
    (root / "d").mkdir()
    seen = []
    for bit in range(12):
        for name in ("f", "d"):
            os.chmod(root / name, 1 << bit)
            seen.append(look(root / name))
    os.chmod(root / "f", 0o7777)
    os.chmod(root / "d", 0o7777)
    return seen, look(root / "f"), look(root / "d")


@root_operation
def owners(root: Path) -> object:
    write(root / "f")
    (root / "d").mkdir()
    (root / "s").symlink_to("f")
    seen = []
    for uid, gid in [(USER, -1), (-1, GROUP), (USER + 1, GROUP + 1), (-1, -1), (2**32 - 2, 2**31), (0, 0)]:
        for name in ("f", "d", "s"):
            os.chown(root / name, uid, gid, follow_symlinks=False)
            seen.append(look(root / name))
    os.chown(root / "s", USER, GROUP)
    return seen, look(root / "s"), look(root / "f")


@root_operation
def chown_takes_setuid_away(root: Path) -> object:
    seen = []
    for number, mode in enumerate((0o4755, 0o6755, 0o6745, 0o2644, 0o7777)):
        path = write(root / f"f{number}")
        os.chmod(path, mode)
        os.chown(path, USER, GROUP)
        seen.append(look(path))
        os.chmod(path, mode)
        with acting_as(USER, GROUP, (GROUP,)):
            os.chown(path, -1, GROUP)
        seen.append(look(path))
    os.mkfifo(root / "fifo")
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)
    (root / "d").mkdir()
    for name in ("fifo", "socket", "d"):
        os.chmod(root / name, 0o6755)
        os.chown(root / name, USER, GROUP)
        seen.append(look(root / name))
    return seen


@root_operation
def writing_takes_setuid_away(root: Path) -> object:
    seen = []
    # setgid without group execution is left out: it gives no right, and the kernel's FUSE leaves it alone
    for number, mode in enumerate((0o4777, 0o6777, 0o4767, 0o1777)):
        path = root / f"f{number}"
        for change in (
            lambda fd: os.write(fd, b"x"),
            lambda fd: os.ftruncate(fd, 1),
            lambda fd: os.pwrite(fd, b"y", 9),
        ):
            write(path, b"12345")
            os.chown(path, USER + 5, GROUP + 5)
            os.chmod(path, mode)
            with acting_as(USER), opened(path, os.O_WRONLY) as fd:
                change(fd)
            seen.append(look(path))
    return seen


@operation
def times_to_the_nanosecond(root: Path) -> object:
    write(root / "f", b"x")
    (root / "d").mkdir()
    (root / "s").symlink_to("f")
    os.mkfifo(root / "p")
    seen = []
    for atime_ns, mtime_ns in [
        (1, 2),
        (1_700_000_000_123_456_789, 1_600_000_000_987_654_321),
        (999_999_999, 0),
        (-5, -SECOND_NS - 1),
        (4_102_444_800 * SECOND_NS + 7, 4_102_444_800 * SECOND_NS + 999_999_999),
    ]:
        for name in ("f", "d", "s", "p"):
            os.utime(root / name, ns=(atime_ns, mtime_ns), follow_symlinks=False)
            st = os.lstat(root / name)
            seen.append((name, st.st_atime_ns, st.st_mtime_ns))
    with opened(root / "f", os.O_RDONLY) as fd:
        os.utime(fd, ns=(11, 12))
        seen.append(("fd", os.fstat(fd).st_atime_ns, os.fstat(fd).st_mtime_ns))
    return seen


@operation
def times_set_while_open_for_writing_stay(root: Path) -> object:
    with opened(root / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"bytes")
        os.utime(fd, ns=(100, 200))
        during = os.stat(root / "f").st_mtime_ns
    after = os.stat(root / "f")
    return during, after.st_mtime_ns, after.st_size


@operation
def times_set_to_now(root: Path) -> object:
    path = write(root / "f", b"x")
    os.utime(path, ns=(5, 6))
    os.utime(path)
    st, reference = path.stat(), write(root / "g").stat()
    return abs(st.st_mtime_ns - reference.st_mtime_ns) < 5 * SECOND_NS, st.st_atime_ns == st.st_mtime_ns


@operation
def what_moves_times_of_a_file(root: Path) -> object:
    path = write(root / "f", b"0123456789")
    seen = {
        "write": moved(path, lambda: _write(path, b"x")),
        "truncate": moved(path, lambda: os.truncate(path, 5)),
        "truncate to the same size": moved(path, lambda: os.truncate(path, 5)),
        "truncating open": moved(path, lambda: path.open("wb").close()),
        "truncating open of an empty file": moved(path, lambda: path.open("wb").close()),
        "opening to write": moved(path, lambda: path.open("r+b").close()),
        "writing nothing": moved(path, lambda: _write(path, b"")),
        "chmod": moved(path, lambda: path.chmod(0o600)),
        "chmod to the same": moved(path, lambda: path.chmod(0o600)),
        "link": moved(path, lambda: os.link(path, root / "link")),
        "unlink of a link": moved(path, lambda: os.unlink(root / "link")),
        "stat": moved(path, lambda: os.stat(path)),
        "xattr": moved(path, lambda: os.setxattr(path, "user.x", b"1")),
        "no xattr": moved(path, lambda: os.removexattr(path, "user.x")),
        "utime": moved(path, lambda: os.utime(path, ns=(1, 1))),
        "failed open": moved(path, lambda: attempt(os.open, path, os.O_CREAT | os.O_EXCL)),
    }
    with opened(path, os.O_RDWR) as fd:
        seen["ftruncate"] = moved(path, lambda: os.ftruncate(fd, 3))
        seen["pwrite"] = moved(path, lambda: os.pwrite(fd, b"x", 2))
    return seen


def _write(path: Path, data: bytes) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.write(fd, data)


@operation
def renaming_moves_the_change_time(root: Path) -> object:
    write(root / "f")
    (root / "d").mkdir()
    seen = []
    for old, new in (("f", "g"), ("d", "e")):
        before = os.lstat(root / old).st_ctime_ns, os.lstat(root / old).st_mtime_ns
        moved(root, lambda old=old, new=new: os.rename(root / old, root / new))  # type: ignore[misc]
        after = os.lstat(root / new).st_ctime_ns, os.lstat(root / new).st_mtime_ns
        seen.append([a == b for a, b in zip(before, after, strict=True)])
    return seen


@operation
def what_moves_times_of_a_directory(root: Path) -> object:
    area = root / "d"
    area.mkdir()
    (root / "e").mkdir()
    return {
        "create": moved(area, lambda: write(area / "f")),
        "create again": moved(area, lambda: write(area / "f")),
        "write in it": moved(area, lambda: write(area / "f", b"bytes")),
        "chmod in it": moved(area, lambda: os.chmod(area / "f", 0o600)),
        "mkdir": moved(area, lambda: os.mkdir(area / "sub")),
        "mkdir in a subdirectory": moved(area, lambda: os.mkdir(area / "sub/sub")),
        "symlink": moved(area, lambda: os.symlink("x", area / "s")),
        "link": moved(area, lambda: os.link(area / "f", area / "l")),
        "rename within": moved(area, lambda: os.rename(area / "f", area / "g")),
        "rename over": moved(area, lambda: os.rename(area / "s", area / "l")),
        "rename out": moved(area, lambda: os.rename(area / "g", root / "e/g")),
        "rename in": moved(area, lambda: os.rename(root / "e/g", area / "g")),
        "exchange": moved(area, lambda: renameat2(area / "g", area / "l", EXCHANGE)),
        "unlink": moved(area, lambda: os.unlink(area / "g")),
        "failed unlink": moved(area, lambda: attempt(os.unlink, area / "g")),
        "rmdir": moved(area, lambda: os.rmdir(area / "sub/sub")),
        "rmdir of its own": moved(area, lambda: os.rmdir(area / "sub")),
        "listing": moved(area, lambda: os.listdir(area)),
        "chmod": moved(area, lambda: os.chmod(area, 0o700)),
    }


@operation
def writing_moves_the_time_at_once(root: Path) -> object:
    """A reader of the times must not have to wait for the close."""
    with opened(root / "f", os.O_CREAT | os.O_WRONLY) as fd:
        return [moved(root / "f", lambda: os.write(fd, b"x")) for _ in range(3)], os.stat(root / "f").st_size


@operation
def reading_after_writing_moves_the_access_time(root: Path) -> object:
    """The relatime rule: an access time that is not after the last change is moved."""
    path = write(root / "f", b"x" * 100)
    os.utime(path, ns=(1_000 * SECOND_NS, 2_000 * SECOND_NS))
    return moved(path, path.read_bytes, only="amc"), path.stat().st_atime_ns > 2_000 * SECOND_NS


@operation
def file_system_numbers(root: Path) -> object:
    numbers = os.statvfs(root)
    sane = numbers.f_bsize > 0 and numbers.f_blocks >= numbers.f_bfree >= numbers.f_bavail > 0 and numbers.f_files > 0
    return numbers.f_namemax, sane, os.pathconf(root, "PC_NAME_MAX"), os.pathconf(root, "PC_LINK_MAX") > 1
