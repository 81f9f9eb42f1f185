"""One error family. Whoever raises it sets errno and retryable; it is logged once, at the edge."""

import enum
import errno as errno_codes
import os


class TierfsError(Exception):
    """Base of every error that tierfs raises on purpose.

    `errno` is what a program that called the file system gets; `retryable` says that the same
    call may succeed later without anybody changing anything.
    """

    def __init__(self, message: str, *, errno: int, retryable: bool = False) -> None:
        super().__init__(message)
        self.errno = errno
        self.retryable = retryable


class FsError(TierfsError):
    """A POSIX verb that fails, with the errno that the caller sees."""

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(message or os.strerror(errno), errno=errno)


@enum.unique
class StoreErrorKind(enum.Enum):
    """What went wrong at an object store: a name, the errno for the caller, worth repeating as it is.

    The name is part of the value because members with equal values would be one and the same.
    """

    NOT_FOUND = ("not_found", errno_codes.ENOENT, False)
    PRECONDITION_FAILED = ("precondition_failed", errno_codes.ESTALE, False)
    ACCESS_DENIED = ("access_denied", errno_codes.EACCES, False)
    BAD_CREDENTIALS = ("bad_credentials", errno_codes.EACCES, False)
    NO_SUCH_BUCKET = ("no_such_bucket", errno_codes.ENODEV, False)
    ARCHIVED = ("archived", errno_codes.EAGAIN, False)
    INVALID = ("invalid", errno_codes.EINVAL, False)
    UNSUPPORTED = ("unsupported", errno_codes.EOPNOTSUPP, False)
    TOO_LARGE = ("too_large", errno_codes.EFBIG, False)
    KEY_TOO_LONG = ("key_too_long", errno_codes.ENAMETOOLONG, False)
    THROTTLED = ("throttled", errno_codes.EIO, True)
    UNAVAILABLE = ("unavailable", errno_codes.EIO, True)
    TIMEOUT = ("timeout", errno_codes.EIO, True)
    CORRUPT = ("corrupt", errno_codes.EIO, True)
    # the request may or may not have taken effect; a HEAD decides (see objectstore.retrying)
    UNCLEAR = ("unclear", errno_codes.EIO, True)
    PERMANENT = ("permanent", errno_codes.EIO, False)


class StoreError(TierfsError):
    """An object store refused or failed; carries what an operator needs to find the request."""

    def __init__(
        self,
        kind: StoreErrorKind,
        message: str,
        *,
        key: str = "",
        request_id: str = "",
        http_status: int = 0,
    ) -> None:
        _, errno, retryable = kind.value
        super().__init__(message, errno=errno, retryable=retryable)
        self.kind = kind
        self.key = key
        self.request_id = request_id
        self.http_status = http_status

    def __str__(self) -> str:
        text = f"{self.kind.name.lower().replace('_', ' ')}: {self.args[0]}"
        if self.key:
            text += f" (key {self.key!r})"
        if self.request_id:
            text += f" (request id {self.request_id})"
        return text


class ConfigError(TierfsError):
    """A setting that cannot be used: unknown key, wrong type, out of range."""

    def __init__(self, message: str) -> None:
        super().__init__(message, errno=errno_codes.EINVAL)


@enum.unique
class MountProblem(enum.Enum):
    """Why a directory could not be mounted on; value: errno."""

    NO_FUSE = errno_codes.ENODEV
    UNUSABLE = errno_codes.ENOENT  # missing, no directory, or not ours
    BUSY = errno_codes.EBUSY
    NOT_EMPTY = errno_codes.ENOTEMPTY


class MountError(TierfsError):
    """The mountpoint or FUSE itself cannot be used; the message says what to do."""

    def __init__(self, problem: MountProblem, message: str) -> None:
        super().__init__(message, errno=problem.value)
        self.problem = problem


class IndexDamageError(TierfsError):
    """The index cannot be opened or used as it is: corrupt, of a newer version, or out of space."""

    def __init__(self, message: str, *, errno: int = errno_codes.EIO) -> None:
        super().__init__(message, errno=errno)


class CacheBusyError(TierfsError):
    """Another daemon holds this cache directory."""

    def __init__(self, message: str) -> None:
        super().__init__(message, errno=errno_codes.EBUSY)
