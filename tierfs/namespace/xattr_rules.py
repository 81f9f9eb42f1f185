"""Which extended attributes there may be: names and values as xattr(7) bounds them."""

import errno
from typing import Final

from tierfs.errors import FsError
from tierfs.model import NAME_MAX_BYTES

CAPABILITY: Final = b"security.capability"
_VALUE_MAX_BYTES: Final = 65_536
_NAMESPACES: Final = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")


def check_name(name: bytes) -> None:
    """ERANGE when it is too long, EOPNOTSUPP outside user., trusted., security. and POSIX ACLs."""
    if len(name) > NAME_MAX_BYTES:
        raise FsError(errno.ERANGE)
    if not name.startswith(_NAMESPACES):
        raise FsError(errno.EOPNOTSUPP)


def check_value(value: bytes) -> None:
    """E2BIG when it is too long."""
    if len(value) > _VALUE_MAX_BYTES:
        raise FsError(errno.E2BIG)
