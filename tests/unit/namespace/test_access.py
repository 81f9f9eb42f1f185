"""Access times: what open(2)'s flags say of them, and when a read moves one."""

import os
import stat

import pytest

from tierfs.model import Inode
from tierfs.namespace.access import OpenFile, is_moved_by_read
from tierfs.units import NS_PER_S

NOW_NS = 1_700_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S


@pytest.mark.parametrize(
    ("flags", "is_reader", "keeps_atime"),
    [
        (os.O_RDONLY, True, False),
        (os.O_WRONLY, False, False),
        (os.O_RDWR | os.O_APPEND, True, False),
        (os.O_RDONLY | os.O_NOATIME, True, True),
    ],
)
def test_the_flags_of_an_open_file(flags: int, is_reader: bool, keeps_atime: bool) -> None:
    opened = OpenFile.of(7, flags, read_only=False)
    assert (opened.ino, opened.is_reader, opened.keeps_atime) == (7, is_reader, keeps_atime)
    assert OpenFile.of(7, flags, read_only=True).keeps_atime


def test_an_open_file_is_looked_at_once_a_second() -> None:
    opened = OpenFile.of(7, os.O_RDONLY, read_only=False)
    due = [opened.is_look_due(NOW_NS + tenths * NS_PER_S // 10) for tenths in range(21)]
    assert [tenths for tenths, is_due in enumerate(due) if is_due] == [0, 10, 20]
    assert not OpenFile.of(7, os.O_RDONLY | os.O_NOATIME, read_only=False).is_look_due(NOW_NS)


@pytest.mark.parametrize(
    ("atime_age_ns", "mtime_age_ns", "ctime_age_ns", "is_moved"),
    [
        (10, 20, 20, False),
        (10, 10, 20, True),
        (10, 20, 10, True),
        (20, 10, 30, True),
        (DAY_NS - 1, 2 * DAY_NS, 2 * DAY_NS, False),
        (DAY_NS, 2 * DAY_NS, 2 * DAY_NS, True),
    ],
)
def test_relatime(atime_age_ns: int, mtime_age_ns: int, ctime_age_ns: int, is_moved: bool) -> None:
    inode = Inode(
        7, stat.S_IFREG | 0o644, 0, 0, size_bytes=1, nlink=1, parent=1, name=b"f", btime_ns=0,
        atime_ns=NOW_NS - atime_age_ns, mtime_ns=NOW_NS - mtime_age_ns, ctime_ns=NOW_NS - ctime_age_ns,
    )  # fmt: skip
    assert is_moved_by_read(inode, NOW_NS) is is_moved
