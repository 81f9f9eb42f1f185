"""POSIX ACL values: format, mode bits, inheritance."""

import errno
import stat

import pytest

from tierfs.errors import FsError
from tierfs.namespace import acl

USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 0x10, 0x20
NO_ID = 0xFFFFFFFF


def value(*entries: tuple[int, int, int]) -> bytes:
    return acl.encode([acl.AclEntry(*entry) for entry in entries])


NAMED_USER = value((USER_OBJ, 7, NO_ID), (USER, 6, 1000), (GROUP_OBJ, 5, NO_ID), (MASK, 6, NO_ID), (OTHER, 4, NO_ID))


def test_what_setfacl_wrote_is_read() -> None:
    # getfattr of a file after `chmod 640; setfacl -m u:1000:rw`
    raw = bytes.fromhex("0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000000ffffffff")
    entries = acl.decode(raw)
    assert [(e.tag, e.permissions) for e in entries] == [(1, 6), (2, 6), (4, 4), (16, 6), (32, 0)]
    assert entries[1].id == 1000
    assert acl.encode(entries) == raw


@pytest.mark.parametrize("raw", [b"", b"\x01\0\0\0", b"\x02\0\0\0\x01"])
def test_what_is_no_acl_is_refused(raw: bytes) -> None:
    with pytest.raises(FsError) as refused:
        acl.decode(raw)
    assert refused.value.errno == errno.EINVAL


def test_the_mask_is_what_the_group_bits_show() -> None:
    mode, is_plain = acl.mode_of(acl.decode(NAMED_USER), stat.S_IFREG | 0o4000)
    assert mode == stat.S_IFREG | 0o4764
    assert not is_plain


def test_an_acl_that_says_no_more_than_the_mode_is_plain() -> None:
    plain = value((USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID))
    assert acl.mode_of(acl.decode(plain), stat.S_IFREG) == (stat.S_IFREG | 0o640, True)


def test_an_acl_without_owner_is_refused() -> None:
    with pytest.raises(FsError):
        acl.mode_of(acl.decode(value((GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID))), 0)


def test_a_file_inherits_what_its_mode_allows() -> None:
    mode, xattrs = acl.inherit(NAMED_USER, stat.S_IFREG | 0o640)
    assert mode == stat.S_IFREG | 0o640
    assert set(xattrs) == {acl.ACCESS}
    assert [(e.tag, e.permissions) for e in acl.decode(xattrs[acl.ACCESS])] == [
        (1, 6),
        (2, 6),
        (4, 5),
        (16, 4),
        (32, 0),
    ]


def test_a_directory_passes_its_default_on() -> None:
    _, xattrs = acl.inherit(NAMED_USER, stat.S_IFDIR | 0o777)
    assert xattrs[acl.DEFAULT] == NAMED_USER
