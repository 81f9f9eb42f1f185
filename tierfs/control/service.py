"""The verbs of the control socket and who may use them. Knows no socket and no file system type.

| verb | args | admin | others |
|---|---|---|---|
| status | | everything | without names of files, errors and cache paths |
| info | path | any path | paths that they own |
| wait | path?, timeout_s? | any path; none = all | paths that they own |
| sync | path? | any path; none = all | no |
| queue | path?, after? | any path; none = all | no |
| watch | after? | yes | no |
| events_setup | target_arn?, dry_run? | yes | no |
| removals | after? | yes | no |
| removals_decide | verdict, dry_run? | yes | no |
| versions | path, after?, everything? | yes | no |
| undelete | path, dry_run? | yes | no |
| unmount | drain?, lazy? | yes | no |
| task_start | kind, path, dry_run? | yes | no |
| tasks | after? | yes | no |
| task | id | yes | no |
| task_failures | id, after? | yes | no |
| task_wait | id, timeout_s? | yes | no |
| task_cancel | id | yes | no |
| examine | | yes | no |
| settings | | yes | no |
| settings_set | name, value | yes | no |
| restart | | yes | no |
| figures | | yes | yes: numbers only |
| oplog | after? | yes | no |
| busiest | after? | yes | no |
| profile_record, profile_show, profile_stop, profile_page, profile_drop | see profiling | yes | no |
| du | path? | any path; none = all | paths that they own |
| children | path?, after? | any path; none = all | paths that they own |
| conflicts | path?, after? | everything | those of which they own every version |
| conflict_diff | id | any | those of which they own every version |
| conflict_resolve | id, keep, dry_run? | any | no: they have rm and mv |

Admin is uid 0, the uid of the daemon, and members of `[control] admin_group`. Others hear of a file
that is not theirs what they hear of one that does not exist.

`wait` and `sync` end when all that was pending under the path at the time of the call is in the
bucket; `sync` has it uploaded at once. `unmount` with drain first does what `sync` does, then takes
the mount away; what came meanwhile is uploaded while the daemon ends.

`conflicts`, `removals`, `versions`, `queue`, `tasks` and `task_failures` answer in pages: "next" is the `after` of the
next one, null at the end. `watch` answers when there is something to tell; asked again and again with "next", it misses
nothing, or says how much. A task goes on without those who wait for it: only `task_cancel` ends it.

Checkpoints: only in `wait`, `sync`, `queue`, `watch`, `unmount`, `events_setup`, `removals_decide`, `versions`,
`undelete`, `task_start`, `task_wait`, `task_cancel`, `conflict_diff` and `conflict_resolve`, which may be cancelled at
any time without harm.
"""

import errno as errno_codes
import grp
import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import trio

from tierfs.control.arguments import NUMBER_MAX, Progress, Refusal, choice_of, number_of, path_of, switch_of, timeout_of
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.verbs import Peer, Scope, Verb, VerbGroup
from tierfs.errors import ConfigError, FsError, TierfsError
from tierfs.policy.guard import Verdict
from tierfs.policy.resolution import Keep

_log = logging.getLogger(__name__)

_HEX: Final = re.compile("(?:[0-9a-f]{2}){0,255}")


class Daemon(Protocol):
    """What the verbs ask of the daemon. Paths are relative to the root of the mount."""

    def status(self) -> Json:
        """The state of the mount as JSON values, quickly, without asking the store.

        At least: pid, holder_pid (None without one), source, mountpoint, cache, mode, mode_reason,
        read_only, uptime_s, tier {size_bytes, used_bytes, dirty_bytes}, pending_exports,
        oldest_export_age_s (None when nothing is pending), failing_exports [{path, error}] (at
        most 20; `info` of the path tells more), conflicts (how many are open), metrics {PendingExports
        (changes that the bucket has not seen), ExportAge (s since the oldest of them, 0.0 without any),
        ExportFailures (how many of them failed when they were last tried), ImportAge (s, None; see
        `Events.import_age_s`), Conflicts (that are open)}, degraded (None or {since_s, reason}),
        removals (None, or {since_s, names, entries, examples, verdict}: what the bucket has lost and is kept here),
        events {source, and unless that is "none" or "poll": state, reason, last_event_age_s, lag_s, received, applied,
        own, known, ignored, malformed, errors, pending, missed (found by a sweep, told by no event)},
        scan (None when it is off, or {state, directories, requests, at [keys], age_s (since its end), error}),
        index {entries, bytes}, requests {name: count}, rss_anon_bytes, version.
        """
        ...

    def info(self, path: bytes) -> Json:
        """One file or directory from the index, symlinks not followed; b"" is the root.

        At least: path, ino, type, mode (st_mode), uid, gid, size_bytes, mtime_ns, residency ("cold",
        "partial", "hot"), hot_bytes, dirty, synced, export {mode, quiet_s}, key, etag, storage_class,
        pending (None or {op, age_s, attempts, error}). Raises FsError(ENOENT, ENOTDIR).
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

    async def queue(self, path: bytes, after: int) -> Json:
        """See `watching.Watching.queue`; b"" is everything."""
        ...

    async def watch(self, after: int | None) -> Json:
        """See `watching.Watching.watch`."""
        ...

    async def set_up_events(self, *, target_arn: str, dry_run: bool) -> Json:
        """Has the bucket send its events to the queue of the settings, or to `target_arn` where that is not "".

        Tells {bucket, target_arn, dry_run, changes [{where, what}]}: what was changed, or with `dry_run` would be;
        nothing when all is as it should be. Repeatable. Raises ConfigError, StoreError.
        """
        ...

    def removals(self, after: tuple[int, bytes]) -> Json:
        """See `removals.Removals.page`."""
        ...

    async def decide_removals(self, verdict: Verdict, progress: Progress, *, dry_run: bool) -> Json:
        """See `removals.Removals.decide`; `progress` gets {"files": names left}."""
        ...

    async def versions(self, path: bytes, after: str | None, *, everything: bool) -> Json:
        """See `versions.Versions.page`."""
        ...

    async def undelete(self, path: bytes, progress: Progress, *, dry_run: bool) -> Json:
        """See `versions.Versions.undelete`; `progress` gets {"files": how many came back}."""
        ...

    async def request_unmount(self, *, drain: bool, lazy: bool) -> None:
        """Takes the mount out of the name space and lets the daemon end.

        Returns when nobody can reach the mount any more; the daemon then uploads what is pending if
        `drain`, and ends. Raises FsError(EBUSY), with nothing changed, when the mount is in use and
        not `lazy`.
        """
        ...

    def conflicts(self, after: int, path: bytes, uid: int | None) -> Json:
        """See `conflicts.Conflicts.page`."""
        ...

    def conflict_owners(self, number: int) -> set[int]:
        """The owners of the versions that are there. Raises FsError(ENOENT)."""
        ...

    async def diff_conflict(self, number: int) -> Json:
        """See `conflicts.Conflicts.diff`."""
        ...

    async def resolve_conflict(self, number: int, keep: Keep, *, dry_run: bool) -> Json:
        """See `conflicts.Conflicts.resolve`."""
        ...


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


class Service:
    """Carries out requests for one daemon."""

    def __init__(
        self,
        daemon: Daemon,
        groups: Iterable[VerbGroup] = (),
        *,
        daemon_uid: int,
        admin_gid: int | None = None,
        drain_timeout_s: float = 0.0,
    ) -> None:
        """`groups` are served beside the daemon's own verbs.

        `drain_timeout_s` bounds the uploads of an unmount; 0: as long as they take.
        """
        self._daemon = daemon
        self._drain_timeout_s = drain_timeout_s or math.inf
        self._daemon_uid = daemon_uid
        self._admin_gid = admin_gid
        own: dict[str, Verb] = {
            "status": Verb(self._status, Scope.REDACTED),
            "info": Verb(self._info, Scope.OWN_PATHS),
            "wait": Verb(self._wait, Scope.OWN_PATHS),
            "sync": Verb(self._sync),
            "queue": Verb(self._queue),
            "watch": Verb(self._watch),
            "events_setup": Verb(self._events_setup),
            "removals": Verb(self._removals),
            "removals_decide": Verb(self._removals_decide),
            "versions": Verb(self._versions),
            "undelete": Verb(self._undelete),
            "unmount": Verb(self._unmount),
            "conflicts": Verb(self._conflicts, Scope.REDACTED),
            "conflict_diff": Verb(self._conflict_diff, Scope.OWN_CONFLICTS),
            "conflict_resolve": Verb(self._conflict_resolve),
        }
        self.verbs: Final[Mapping[str, Verb]] = own | {
            name: verb for group in groups for name, verb in group.verbs.items()
        }

    def is_admin(self, peer: Peer) -> bool:
        """Whether the peer may do everything."""
        return peer.uid in (0, self._daemon_uid) or (
            self._admin_gid is not None and (peer.gid == self._admin_gid or self._admin_gid in peer.groups)
        )

    async def handle(self, request: Request, peer: Peer, progress: Progress) -> Json:
        """Carries out one request. Raises Refusal, and nothing else but Cancelled."""
        try:
            verb = self.verbs.get(request.verb)
            if verb is None:
                known = ", ".join(self.verbs)
                raise Refusal(ErrorCode.UNKNOWN_VERB, f"unknown verb {request.verb[:40]!r}; known: {known}")
            self._permit(request, peer, verb.scope)
            return await verb.handler(request, peer, progress)
        except Refusal:
            raise
        except TierfsError as error:
            raise _refusal_of(error) from error
        except Exception as error:
            # a fault of ours must not end the daemon, nor tell strangers what is inside it
            _log.exception("control verb %s failed", request.verb, extra={"event": "TFS7001"})
            raise Refusal(ErrorCode.INTERNAL, "a fault of tierfs; its log has the details", errno_codes.EIO) from error

    def _permit(self, request: Request, peer: Peer, scope: Scope) -> None:
        if scope is Scope.REDACTED or self.is_admin(peer):
            return
        if scope is Scope.NOTHING or (scope is Scope.OWN_PATHS and path_of(request) is None):
            raise Refusal(
                ErrorCode.PERMISSION, f"{request.verb} is for root and the owner of the mount", errno_codes.EPERM
            )
        if self._owners_of(request, scope) != {peer.uid}:
            # told apart from somebody else's file, one that is not there would say which names exist
            what = "conflict" if scope is Scope.OWN_CONFLICTS else "file"
            raise Refusal(ErrorCode.PERMISSION, f"no such {what}, or it is not yours", errno_codes.EPERM)

    def _owners_of(self, request: Request, scope: Scope) -> set[int]:
        """Of what a request is about; nobody where that is not there."""
        try:
            if scope is Scope.OWN_CONFLICTS:
                return self._daemon.conflict_owners(number_of(request, "id"))
            path = path_of(request)
            return {self._daemon.info(path)["uid"]} if path is not None else set()
        except FsError:
            return set()

    async def _status(self, _request: Request, peer: Peer, _progress: Progress) -> Json:
        status = self._daemon.status()
        if self.is_admin(peer):
            return {**status, "redacted": False}
        # whether, not why: the reason may name a key
        public = {name: value for name, value in status.items() if name in PUBLIC_STATUS}
        return {**public, "is_degraded": status.get("degraded") is not None, "redacted": True}

    async def _info(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        path = path_of(request)
        if path is None:
            raise Refusal(ErrorCode.BAD_REQUEST, "info needs a path", errno_codes.EINVAL)
        return self._daemon.info(path)

    async def _wait(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        path, timeout_s = self._subtree_of(request), timeout_of(request)
        try:
            with trio.fail_after(timeout_s):
                await self._daemon.wait_synced(path, progress)
        except trio.TooSlowError:
            raise Refusal(
                ErrorCode.TIMEOUT, f"not everything is in the bucket after {timeout_s:g} s", errno_codes.ETIMEDOUT
            ) from None
        return {"synced": True}

    async def _sync(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        await self._daemon.sync(self._subtree_of(request), progress)
        return {"synced": True}

    async def _queue(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return await self._daemon.queue(path_of(request) or b"", number_of(request, "after", 0))

    async def _watch(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return await self._daemon.watch(number_of(request, "after") if "after" in request.args else None)

    async def _events_setup(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        target = request.args.get("target_arn", "")
        if not isinstance(target, str) or (target and not target.startswith("arn:")):
            raise Refusal(ErrorCode.BAD_REQUEST, "target_arn must begin with arn:", errno_codes.EINVAL)
        return await self._daemon.set_up_events(target_arn=target, dry_run=switch_of(request, "dry_run", False))

    async def _removals(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        match request.args.get("after"):
            case None:
                after = (0, b"")
            case [int() as parent, str() as name] if 0 <= parent <= NUMBER_MAX and _HEX.fullmatch(name):
                after = (parent, bytes.fromhex(name))
            case _:
                raise Refusal(ErrorCode.BAD_REQUEST, "after must be the next of a page", errno_codes.EINVAL)
        return self._daemon.removals(after)

    async def _removals_decide(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        verdict, dry_run = choice_of(request, "verdict", Verdict), switch_of(request, "dry_run", False)
        return await self._daemon.decide_removals(verdict, progress, dry_run=dry_run)

    async def _versions(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        after = request.args.get("after")
        if after is not None and not isinstance(after, str):
            raise Refusal(ErrorCode.BAD_REQUEST, "after must be the next of a page", errno_codes.EINVAL)
        everything = switch_of(request, "everything", False)
        return await self._daemon.versions(path_of(request) or b"", after, everything=everything)

    async def _undelete(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        path = path_of(request)
        if path is None:
            raise Refusal(ErrorCode.BAD_REQUEST, "undelete needs a path", errno_codes.EINVAL)
        return await self._daemon.undelete(path, progress, dry_run=switch_of(request, "dry_run", False))

    def _subtree_of(self, request: Request) -> bytes | None:
        """The path to wait for, None for everything; raises FsError when it does not exist."""
        path = path_of(request)
        if not path:
            return None
        self._daemon.info(path)
        return path

    async def _unmount(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        drain, lazy = switch_of(request, "drain", True), switch_of(request, "lazy", False)
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

    async def _conflicts(self, request: Request, peer: Peer, _progress: Progress) -> Json:
        uid = None if self.is_admin(peer) else peer.uid
        return self._daemon.conflicts(number_of(request, "after", 0), path_of(request) or b"", uid)

    async def _conflict_diff(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        return await self._daemon.diff_conflict(number_of(request, "id"))

    async def _conflict_resolve(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        keep = choice_of(request, "keep", Keep)
        dry_run = switch_of(request, "dry_run", False)
        return await self._daemon.resolve_conflict(number_of(request, "id"), keep, dry_run=dry_run)


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
