"""What the verbs of the file system take and give, besides inodes."""

from typing import Final, Protocol

from attrs import frozen

from tierfs.model import Inode


@frozen
class Caller:
    """Who asks. `token`: of the request, see index.answers. `pid`: of the thread, 0 where it is not known."""

    uid: int
    gid: int
    token: int = 0
    umask: int = 0
    pid: int = 0


ROOT: Final = Caller(0, 0)


@frozen
class DirEntry:
    """One readdir result; `cookie` continues after it. `inode.mode` 0: the type is not known yet."""

    name: bytes
    inode: Inode
    cookie: int


@frozen
class Usage:
    """statfs: bytes and inodes."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int


class Capacity(Protocol):
    """What statfs says of the space behind the mount."""

    def usage(self) -> Usage:
        """Total and free bytes and inodes at this moment."""
        ...
