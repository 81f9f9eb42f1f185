"""What of an error reaches the program that asked, and what the log."""

import errno
import logging
from collections.abc import Callable
from typing import Final

import trio

from tierfs.errors import FsError, StoreError, StoreErrorKind, TierfsError
from tierfs.fuse.repeats import LeftOut, Repeats

log = logging.getLogger(__name__)

# of a store: what a name that is not there costs an operator to read is nothing
_QUIET: Final = frozenset({errno.ENOENT, errno.ENODATA, errno.EOPNOTSUPP})
# of a verb: what POSIX has it answer about names, arguments, rights and limits is between it and the program
_ORDINARY: Final = _QUIET | {
    errno.E2BIG, errno.EACCES, errno.EAGAIN, errno.EBADF, errno.EBUSY, errno.EEXIST, errno.EFBIG, errno.EINVAL,
    errno.EISDIR, errno.EMLINK, errno.ENAMETOOLONG, errno.ENOSYS, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENXIO,
    errno.EOVERFLOW, errno.EPERM, errno.ERANGE, errno.ESTALE,
}  # fmt: skip
_TRY_AGAIN: Final = "It works again when the server answers; tierctl status shows how it is."
_STORE_ADVICE: Final = {
    StoreErrorKind.PRECONDITION_FAILED: "Another client replaced or deleted the object: open the file again.",
    StoreErrorKind.ACCESS_DENIED: "Check that the credentials may read, list and write under this prefix.",
    StoreErrorKind.BAD_CREDENTIALS: "Check the credentials that the mount was made with.",
    StoreErrorKind.NO_SUCH_BUCKET: "Check that the bucket still exists.",
    StoreErrorKind.ARCHIVED: "tierctl state shows whether it is on its way back.",
    StoreErrorKind.THROTTLED: _TRY_AGAIN,
    StoreErrorKind.UNAVAILABLE: _TRY_AGAIN,
    StoreErrorKind.TIMEOUT: _TRY_AGAIN,
    StoreErrorKind.CORRUPT: "Read the object with another client; if it is damaged there too, write it anew.",
}
_DISK_ADVICE: Final = {
    errno.EIO: "Look in the kernel's log for errors of the disk under the cache.",
    errno.ENOSPC: "Make room on the disk under the cache; tierctl status shows what waits for its upload.",
    errno.EDQUOT: "Make room in the quota of the cache; tierctl status shows what waits for its upload.",
    errno.EROFS: "Unmount, repair the disk under the cache, and mount again.",
}


class Failures:
    """What one mount's programs could not get, as its log has it: each failure once, with what to do about it.

    The same failure of the same file is told again after a minute, with a count of those in between. Call it from
    tasks of trio. No checkpoints.
    """

    def __init__(self) -> None:
        self._repeats = Repeats()

    def errno_of(self, error: BaseException, verb: str, path: Callable[[], str]) -> int:
        """The errno that the program gets. The error is logged here if an operator has to know of it.

        `path`: the file that the verb was about, in the mount; "" where it was about none.
        """
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        code = (error.errno if isinstance(error, TierfsError | OSError) else None) or errno.EIO
        if not _is_ordinary(error, code):
            self._tell(error, code, verb, _known(path))
        return code

    def _tell(self, error: BaseException, code: int, verb: str, path: str) -> None:
        key, request_id = (error.key, error.request_id) if isinstance(error, StoreError) else ("", "")
        # not by its words: they have offsets and request ids in them
        left_out = self._repeats.take((key or path, code, type(error)), trio.current_time())
        if left_out is None:
            return
        is_foreseen = isinstance(error, TierfsError | OSError)
        log.error(
            "%s failed with %s: %s%s",
            f"{verb} {path}" if path else verb,
            errno.errorcode.get(code, str(code)),
            _sentence(error),
            _told(left_out),
            exc_info=None if is_foreseen else error,
            extra={
                "event": "TFS8001" if is_foreseen else "TFS8002",
                **{"verb": verb, "path": path, "key": key, "request_id": request_id},
            },
        )


def _is_ordinary(error: BaseException, code: int) -> bool:
    if isinstance(error, FsError):
        # a disk's refusal is news whatever its number
        return code in _ORDINARY and not isinstance(error.__cause__, OSError)
    return isinstance(error, TierfsError) and code in _QUIET


def _known(path: Callable[[], str]) -> str:
    try:
        return path()
    except TierfsError:
        return "(a file whose path the index cannot tell)"


def _sentence(error: BaseException) -> str:
    """What happened, and what to do."""
    if isinstance(error, StoreError):
        what, advice = str(error), _STORE_ADVICE.get(error.kind, "Look for the request in the server's log.")
    elif isinstance(error, FsError):
        is_of_disk = isinstance(error.__cause__, OSError) or error.errno != errno.EIO
        what, advice = str(error), _DISK_ADVICE.get(error.errno, "") if is_of_disk else ""
    elif isinstance(error, TierfsError):
        what, advice = str(error), ""
    elif isinstance(error, OSError):
        what, advice = f"the cache disk failed: {error}", _DISK_ADVICE.get(error.errno or errno.EIO, "")
    else:
        what, advice = "internal error", "Please report it."
    return f"{what}. {advice}".rstrip()


def _told(left_out: LeftOut) -> str:
    same = f" It failed {left_out.same} more times since this was last logged." if left_out.same else ""
    others = f" {left_out.others} failures of other files were not logged." if left_out.others else ""
    return same + others
