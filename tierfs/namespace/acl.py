"""POSIX ACLs as the kernel passes them in `system.posix_acl_access` and `system.posix_acl_default`.

The kernel checks permissions with them and rewrites them on chmod; what a file system has to do itself
is to keep the mode bits in step when an ACL is set, and to let new entries inherit their directory's
default ACL. Format: include/uapi/linux/posix_acl_xattr.h, little endian: u32 version 2, then entries of
u16 tag, u16 permissions, u32 id. Inheritance: posix_acl_create(9), acl(5).
"""

import errno
import stat
import struct
from typing import Final

from attrs import evolve, frozen

from tierfs.errors import FsError

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_VERSION: Final = 2
_USER_OBJ: Final = 0x01
_GROUP_OBJ: Final = 0x04
_MASK: Final = 0x10
_OTHER: Final = 0x20
_BASE_TAGS: Final = frozenset({_USER_OBJ, _GROUP_OBJ, _OTHER})


@frozen
class AclEntry:
    """One line of an ACL."""

    tag: int
    permissions: int
    id: int


def decode(value: bytes) -> list[AclEntry]:
    """Raises FsError(EINVAL) for what is no ACL."""
    if len(value) < _HEADER.size or (len(value) - _HEADER.size) % _ENTRY.size:
        raise FsError(errno.EINVAL, "malformed POSIX ACL")
    if _HEADER.unpack_from(value)[0] != _VERSION:
        raise FsError(errno.EINVAL, "POSIX ACL of an unknown version")
    return [AclEntry(*fields) for fields in _ENTRY.iter_unpack(value[_HEADER.size :])]


def encode(entries: list[AclEntry]) -> bytes:
    """The xattr value of an ACL."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(e.tag, e.permissions, e.id) for e in entries)


def mode_of(entries: list[AclEntry], mode: int) -> tuple[int, bool]:
    """(the mode with the ACL's permission bits, whether the mode says all that the ACL says)."""
    by_tag = {entry.tag: entry.permissions for entry in entries if entry.tag in _BASE_TAGS | {_MASK}}
    if not by_tag.keys() >= _BASE_TAGS:
        raise FsError(errno.EINVAL, "a POSIX ACL needs entries for owner, group and others")
    group = by_tag.get(_MASK, by_tag[_GROUP_OBJ])
    bits = by_tag[_USER_OBJ] << 6 | group << 3 | by_tag[_OTHER]
    return mode & ~0o777 | bits, all(entry.tag in _BASE_TAGS for entry in entries)


def with_mode(entries: list[AclEntry], mode: int) -> list[AclEntry]:
    """The ACL after chmod: owner, mask (without one: group) and others take the mode's bits."""
    has_mask = any(entry.tag == _MASK for entry in entries)
    shifts = {_USER_OBJ: 6, _MASK if has_mask else _GROUP_OBJ: 3, _OTHER: 0}
    return [
        evolve(entry, permissions=mode >> shifts[entry.tag] & 0o7) if entry.tag in shifts else entry
        for entry in entries
    ]


def inherit(default: bytes, mode: int) -> tuple[int, dict[bytes, bytes]]:
    """What a new entry gets from its directory's default ACL: (its mode, its ACL xattrs)."""
    inherited: list[AclEntry] = []
    has_mask = any(entry.tag == _MASK for entry in decode(default))
    for entry in decode(default):
        allowed = 0o7
        if entry.tag == _USER_OBJ:
            allowed = mode >> 6 & 0o7
        elif entry.tag == _MASK or (entry.tag == _GROUP_OBJ and not has_mask):
            allowed = mode >> 3 & 0o7
        elif entry.tag == _OTHER:
            allowed = mode & 0o7
        inherited.append(evolve(entry, permissions=entry.permissions & allowed))
    new_mode, is_plain = mode_of(inherited, mode)
    xattrs = {} if is_plain else {ACCESS: encode(inherited)}
    if stat.S_ISDIR(mode):
        xattrs[DEFAULT] = default
    return new_mode, xattrs
