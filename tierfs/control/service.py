"""The verbs of the control socket and who may use them. Knows no socket and no file system type.

| verb | args | admin | others |
|---|---|---|---|
| status | | everything | without names of files, errors and cache paths |
| info | path | any path | paths that they own |
| wait | path?, timeout_s? | any path; none = all | paths that they own |
| sync | path? | any path; none = all | no |
| unmount | drain?, lazy? | yes | no |

Admin is uid 0, the uid of the daemon, and members of `[control] admin_group`. Others hear of a file
that is not theirs what they hear of one that does not exist.

`wait` and `sync` end when all that was pending under the path at the time of the call is in the
bucket; `sync` has it uploaded at once. `unmount` with drain first does what `sync` does, then takes
the mount away; what came meanwhile is uploaded while the daemon ends.

Checkpoints: only in `wait`, `sync` and `unmount`, which may be cancelled at any time without harm.
"""

import enum
import errno as errno_codes
import grp
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import trio
from attrs import frozen

from tierfs.control import protocol
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.errors import ConfigError, FsError, TierfsError

_log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Takes the latest state of long work, e.g. {"files": 3, "bytes": 4096} left; never blocks, may drop."""

WAIT_LIMIT_S: Final = 30 * 86400.0


class Daemon(Protocol):
    """What the verbs ask of the daemon. Paths are relative to the root of the mount."""

    def status(self) -> Json:
        """The state of the mount as JSON values, quickly, without asking the store.

        At least: pid, holder_pid (None without one), source, mountpoint, cache, mode, mode_reason,
        read_only, uptime_s, tier {size_bytes, used_bytes, dirty_bytes}, pending_exports,
        oldest_export_age_s (None when nothing is pending), failing_exports [{path, error}] (at
        most 20; `info` of the path tells more), conflicts (count), degraded (None or {since_s, reason}),
        index {entries, bytes}, requests {name: count}, rss_anon_bytes, version.
        """
        ...

    def info(self, path: bytes) -> Json:
        """One file or directory from the index, symlinks not followed; b"" is the root.

        At least: path, ino, type, mode (st_mode), uid, gid, size_bytes, mtime_ns, residency ("cold",
        "partial", "hot"), hot_bytes, dirty, synced, key, etag, storage_class, pending (None or {op,
        age_s, attempts, error}). Raises FsError(ENOENT, ENOTDIR).
        """
        ...

    async def sync(self, path: bytes | None, progress: Progress) -> None:
        """Uploads what is pending under `path` (None: everywhere) without waiting for a quiet time.

        Returns when all that was pending at the call is in the bucket. Raises StoreError for the
        first export that failed for good. `progress` gets {"files": left, "bytes": left}.
        """
        ...

    async def wait_synced(self, path: bytes | None, progress: Progress) -> None:
        """The same without the hurry."""
        ...

    async def request_unmount(self, *, drain: bool, lazy: bool) -> None:
        """Takes the mount out of the name space and lets the daemon end.

        Returns when nobody can reach the mount any more; the daemon then uploads what is pending if
        `drain`, and ends. Raises FsError(EBUSY), with nothing changed, when the mount is in use and
        not `lazy`.
        """
        ...


@frozen
class Peer:
    """Who is at the other end, as the kernel says (SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


class Scope(enum.Enum):
    """What a peer that is no admin may do with a verb."""

    REDACTED = enum.auto()
    OWN_PATHS = enum.auto()
    NOTHING = enum.auto()


VERBS: Final[Mapping[str, Scope]] = {
    "status": Scope.REDACTED,
    "info": Scope.OWN_PATHS,
    "wait": Scope.OWN_PATHS,
    "sync": Scope.NOTHING,
    "unmount": Scope.NOTHING,
}
# everything that names no file, no error text and no place that is closed to others
PUBLIC_STATUS: Final = frozenset(
    {
        "version",
        "pid",
        "source",
        "mountpoint",
        "mode",
        "read_only",
        "uptime_s",
        "tier",
        "pending_exports",
        "oldest_export_age_s",
    }
)


class Refusal(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, code: ErrorCode, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.errno = errno


class Service:
    """Carries out requests for one daemon."""

    def __init__(
        self, daemon: Daemon, *, daemon_uid: int, admin_gid: int | None = None, drain_timeout_s: float = 0.0
    ) -> None:
        """`drain_timeout_s` bounds the uploads of an unmount; 0: as long as they take."""
        self._daemon = daemon
        self._drain_timeout_s = drain_timeout_s or math.inf
        self._daemon_uid = daemon_uid
        self._admin_gid = admin_gid
        self._handlers: Mapping[str, Callable[[Request, bool, Progress], Awaitable[Json]]] = {
            "status": self._status,
            "info": self._info,
            "wait": self._wait,
            "sync": self._sync,
            "unmount": self._unmount,
        }

    def is_admin(self, peer: Peer) -> bool:
        """Whether the peer may do everything."""
        return peer.uid in (0, self._daemon_uid) or (
            self._admin_gid is not None and (peer.gid == self._admin_gid or self._admin_gid in peer.groups)
        )

    async def handle(self, request: Request, peer: Peer, progress: Progress) -> Json:
        """Carries out one request. Raises Refusal, and nothing else but Cancelled."""
        try:
            handler = self._handlers.get(request.verb)
            if handler is None:
                raise Refusal(ErrorCode.UNKNOWN_VERB, f"unknown verb {request.verb[:40]!r}; known: {', '.join(VERBS)}")
            admin = self.is_admin(peer)
            self._permit(request, peer, admin=admin)
            return await handler(request, admin, progress)
        except Refusal:
            raise
        except TierfsError as error:
            raise _refusal_of(error) from error
        except Exception as error:
            # a fault of ours must not end the daemon, nor tell strangers what is inside it
            _log.exception("control verb %s failed", request.verb, extra={"event": "TFS7001"})
            raise Refusal(ErrorCode.INTERNAL, "a fault of tierfs; its log has the details", errno_codes.EIO) from error

    def _permit(self, request: Request, peer: Peer, *, admin: bool) -> None:
        scope = VERBS[request.verb]
        if admin or scope is Scope.REDACTED:
            return
        path = _path_of(request)
        if scope is Scope.OWN_PATHS and path is not None:
            try:
                if self._daemon.info(path)["uid"] == peer.uid:
                    return
            except FsError:
                pass  # told apart from somebody else's file, it would say which names exist
            raise Refusal(ErrorCode.PERMISSION, "no such file, or it is not yours", errno_codes.EPERM)
        raise Refusal(ErrorCode.PERMISSION, f"{request.verb} is for root and the owner of the mount", errno_codes.EPERM)

    async def _status(self, _request: Request, admin: bool, _progress: Progress) -> Json:
        status = self._daemon.status()
        if admin:
            return {**status, "redacted": False}
        # whether, not why: the reason may name a key
        public = {name: value for name, value in status.items() if name in PUBLIC_STATUS}
        return {**public, "is_degraded": status.get("degraded") is not None, "redacted": True}

    async def _info(self, request: Request, _admin: bool, _progress: Progress) -> Json:
        path = _path_of(request)
        if path is None:
            raise Refusal(ErrorCode.BAD_REQUEST, "info needs a path", errno_codes.EINVAL)
        return self._daemon.info(path)

    async def _wait(self, request: Request, _admin: bool, progress: Progress) -> Json:
        path, timeout_s = self._subtree_of(request), _timeout_of(request)
        try:
            with trio.fail_after(timeout_s):
                await self._daemon.wait_synced(path, progress)
        except trio.TooSlowError:
            raise Refusal(
                ErrorCode.TIMEOUT, f"not everything is in the bucket after {timeout_s:g} s", errno_codes.ETIMEDOUT
            ) from None
        return {"synced": True}

    async def _sync(self, request: Request, _admin: bool, progress: Progress) -> Json:
        await self._daemon.sync(self._subtree_of(request), progress)
        return {"synced": True}

    def _subtree_of(self, request: Request) -> bytes | None:
        """The path to wait for, None for everything; raises FsError when it does not exist."""
        path = _path_of(request)
        if not path:
            return None
        self._daemon.info(path)
        return path

    async def _unmount(self, request: Request, _admin: bool, progress: Progress) -> Json:
        drain, lazy = _switch_of(request, "drain", True), _switch_of(request, "lazy", False)
        if drain and not lazy:
            with trio.move_on_after(self._drain_timeout_s) as limit:
                await self._daemon.sync(None, progress)
            drain = not limit.cancelled_caught
        await self._daemon.request_unmount(drain=drain, lazy=lazy)
        status = self._daemon.status()
        return {
            "pid": status["pid"],
            "pending_exports": status["pending_exports"],
            "dirty_bytes": status["tier"]["dirty_bytes"],
        }


def group_id(name: str) -> int | None:
    """The id of `[control] admin_group`; None for "". Raises ConfigError for a group that is not there."""
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"[control] admin_group: this machine has no group {name!r}") from None


def _refusal_of(error: TierfsError) -> Refusal:
    codes = {
        errno_codes.ENOENT: ErrorCode.NOT_FOUND,
        errno_codes.ENOTDIR: ErrorCode.NOT_FOUND,
        errno_codes.EBUSY: ErrorCode.BUSY,
    }
    # only of the file system's own verbs: a store's ENOENT is a failure, not a wrong path
    code = codes.get(error.errno, ErrorCode.FAILED) if isinstance(error, FsError) else ErrorCode.FAILED
    return Refusal(code, str(error), error.errno)


def _path_of(request: Request) -> bytes | None:
    text = request.args.get("path")
    if text is None:
        return None
    if not isinstance(text, str):
        raise Refusal(ErrorCode.BAD_REQUEST, "path must be a text", errno_codes.EINVAL)
    try:
        path = protocol.path_from_json(text)
    except UnicodeEncodeError:
        raise Refusal(ErrorCode.BAD_REQUEST, "path holds characters that no path has", errno_codes.EINVAL) from None
    if b"\0" in path or path.startswith(b"/") or {b".", b".."} & set(path.split(b"/")):
        raise Refusal(ErrorCode.BAD_REQUEST, "path must be plain and relative to the mount", errno_codes.EINVAL)
    return path.rstrip(b"/")


def _timeout_of(request: Request) -> float:
    value = request.args.get("timeout_s")
    if value is None:
        return WAIT_LIMIT_S
    if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value) or value < 0:
        raise Refusal(ErrorCode.BAD_REQUEST, "timeout_s must be a number of seconds", errno_codes.EINVAL)
    return min(float(value), WAIT_LIMIT_S)


def _switch_of(request: Request, name: str, default: bool) -> bool:
    value = request.args.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be true or false", errno_codes.EINVAL)
    return value
