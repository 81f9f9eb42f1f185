"""How an attempt to export ends when it does not succeed, apart from the store's own errors."""

import errno

from tierfs.errors import TierfsError
from tierfs.objectstore.base import ObjectInfo
from tierfs.policy.merge import Version


class BlockedError(Exception):
    """What this work needs is in the hands of another worker; it is offered again when some work has ended."""


class NotYetError(Exception):
    """The file changed while it was read, or its directory is being moved: tried again a little later."""


class UnfinishedError(TierfsError):
    """Part of a larger work is done; each of the rest says for itself why it is not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, errno=errno.EAGAIN, retryable=True)


class LookAgainError(Exception):
    """Something else was done than the write that was meant: the inode is looked at anew, at once."""


class UnprovenError(Exception):
    """The local bytes may be damaged (a power loss before their sync): they must not go over a good object."""


class RefusedError(Exception):
    """The bucket has not what a write was based on: `info` is what is there (None: nothing), `ours` what was sent."""

    def __init__(self, info: ObjectInfo | None, ours: Version | None) -> None:
        super().__init__()
        self.info = info
        self.ours = ours
