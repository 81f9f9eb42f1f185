"""What of an error reaches the program that asked, and what the log."""

import errno
import logging
from typing import Final

from tierfs.errors import FsError, TierfsError

log = logging.getLogger(__name__)

# what a name that is not there costs an operator to read: nothing
_QUIET: Final = frozenset({errno.ENOENT, errno.ENODATA, errno.EOPNOTSUPP})


def errno_of(error: BaseException, verb: str) -> int:
    """The errno of an error, which is logged here, once, if an operator has to know of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FsError):
        return error.errno
    if isinstance(error, TierfsError):
        if error.errno not in _QUIET:
            log.error("%s: %s", verb, error)
        return error.errno
    if isinstance(error, OSError) and error.errno:
        log.error("%s: the cache disk failed: %s", verb, error)
        return error.errno
    log.exception("%s: internal error", verb, exc_info=error)
    return errno.EIO
