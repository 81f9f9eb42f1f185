"""Which extended attributes there may be, and who sees them: xattr(7). Pure."""

import errno
from collections.abc import Sequence
from typing import Final

from tierfs.config import tree_rule
from tierfs.errors import ConfigError, FsError
from tierfs.index.xattrs import TIERING
from tierfs.model import NAME_MAX_BYTES
from tierfs.namespace.verbs import Caller

CAPABILITY: Final = b"security.capability"
_VALUE_MAX_BYTES: Final = 65_536
_NAMESPACES: Final = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")


def check_name(name: bytes) -> None:
    """FsError: EOPNOTSUPP outside user., trusted., security. and POSIX ACLs; ERANGE when it is too long."""
    if len(name) > NAME_MAX_BYTES:
        raise FsError(errno.ERANGE)
    if not name.startswith(_NAMESPACES):
        raise FsError(errno.EOPNOTSUPP)


def check_value(name: bytes, value: bytes) -> None:
    """FsError: E2BIG when it is too long; EINVAL for a rule of tiering that cannot be understood."""
    if len(value) > _VALUE_MAX_BYTES:
        raise FsError(errno.E2BIG)
    if name == TIERING:
        try:
            tree_rule(value.decode())
        except (ConfigError, UnicodeDecodeError) as error:
            raise FsError(errno.EINVAL, f"{name.decode()}: {error}") from None


def visible(names: Sequence[bytes], caller: Caller) -> Sequence[bytes]:
    """Those of `trusted.` are root's to see."""
    return names if caller.uid == 0 else [name for name in names if not name.startswith(b"trusted.")]
