"""What `tierctl` is told of a running mount: gathered from its parts, as JSON values.

Reads only memory and the index: it never asks the store and never waits.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import trio
from attrs import frozen

from tierfs import __version__, native
from tierfs.clock import Clock
from tierfs.content.handles import Files
from tierfs.control.protocol import Json
from tierfs.hottier.space import Space
from tierfs.index import intents, residency
from tierfs.index.env import Index, IndexState
from tierfs.model import InodeFlag, Residency
from tierfs.namespace.locations import Locations
from tierfs.objectstore.retrying import RetryingStore
from tierfs.sync.eventservice import Events
from tierfs.sync.exporter import Exporter
from tierfs.sync.guard import Guard
from tierfs.sync.pathrules import PathRules
from tierfs.sync.paths import walk
from tierfs.sync.plan import target_key
from tierfs.sync.scan import Scan
from tierfs.sync.standing import OpenCount
from tierfs.telemetry.counters import Counters, rss_anon_bytes
from tierfs.units import NS_PER_S

_FAILING_SHOWN_MAX: Final = 20
RESIDENCY_NAMES: Final = {Residency.COLD: "cold", Residency.PARTIAL: "partial", Residency.FULL: "hot"}
TYPE_NAMES: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@frozen
class MountFacts:
    """What does not change while the mount lives."""

    source: str
    mountpoint: Path
    cache: Path
    read_only: bool
    started_ns: int


class Connection(Protocol):
    """The kernel connection, as far as an operator wants to know."""

    mode: str
    mode_reason: str

    @property
    def holder_pid(self) -> int | None:
        """None without a holder."""
        ...


class Inspector:
    """Answers `status` and `info`."""

    def __init__(
        self,
        facts: MountFacts,
        *,
        index: Index,
        locations: Locations,
        files: Files,
        space: Space,
        exporter: Exporter,
        store: RetryingStore,
        clock: Clock,
        counters: Counters,
        connection: Connection,
        events: Events,
        scan: Scan,
        guard: Guard,
        rules: PathRules,
    ) -> None:
        self._rules = rules
        self._guard = guard
        self._events = events
        self._scan = scan
        self._connection = connection
        self._counters = counters
        self._store = store
        self._facts = facts
        self._index = index
        self._locations = locations
        self._files = files
        self._space = space
        self._exporter = exporter
        self._clock = clock
        self._conflicts = OpenCount(index)

    def status(self) -> Json:
        """See `service.Daemon.status`."""
        facts, now_ns = self._facts, self._clock.now_ns()
        pending, conflicts = self._exporter.pending(), self._conflicts.now()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "holder_pid": self._connection.holder_pid,
            "source": facts.source,
            "mountpoint": str(facts.mountpoint),
            "cache": str(facts.cache),
            "mode": self._connection.mode,
            "mode_reason": self._connection.mode_reason,
            "native": native.ACCELERATED,
            "native_reason": native.why_not,
            "read_only": facts.read_only,
            "uptime_s": (now_ns - facts.started_ns) / NS_PER_S,
            "tier": {
                "size_bytes": self._space.limit_bytes,
                "used_bytes": self._space.used_bytes,
                "dirty_bytes": pending.bytes,
            },
            "pending_exports": pending.count,
            "oldest_export_age_s": pending.oldest_age_s,
            "failing_exports": [{"path": path, "error": error} for path, error in pending.failing[:_FAILING_SHOWN_MAX]],
            "conflicts": conflicts,
            "metrics": {
                "PendingExports": pending.count,
                "ExportAge": pending.oldest_age_s or 0.0,
                "ExportFailures": pending.failures,
                "ImportAge": self._events.import_age_s(),
                "Conflicts": conflicts,
            },
            "removals": self._guard.status(),
            "degraded": self._degraded(now_ns),
            "events": self._events.status(),
            "scan": self._scan.status(),
            "index": {"entries": self._index.entries, "bytes": self._index.size_on_disk_bytes},
            "store_warnings": list(self._store.capabilities.warnings),
            "requests": dict(self._counters.snapshot()),
            "rss_anon_bytes": rss_anon_bytes(),
        }

    def _degraded(self, now_ns: int) -> Mapping[str, object] | None:
        if self._index.state is not IndexState.HEALTHY:
            return {"since_s": 0, "reason": f"the index is {self._index.state.value}: {self._index.reason}"}
        if self._exporter.degraded is not None:
            since_ns, reason = self._exporter.degraded
            return {"since_s": (now_ns - since_ns) / NS_PER_S, "reason": reason}
        outage = self._store.outage
        if outage is None:
            return None
        return {"since_s": trio.current_time() - outage.since_s, "reason": outage.reason}

    def info(self, path: bytes) -> Json:
        """See `service.Daemon.info`."""
        inode = self._files.live(walk(self._index, path))
        hot = residency.hot_get(self._index, inode.ino)
        pending = intents.of_inode(self._index, inode.ino)
        key = self._locations.desired_key(self._index, inode)
        object_key = self._locations.actual_key(self._index, inode) if inode.base is not None else None
        rule, now_ns = self._rules.of(self._index, inode), self._clock.now_ns()
        return {
            "path": os.fsdecode(path),
            "ino": inode.ino,
            "type": TYPE_NAMES.get(stat.S_IFMT(inode.mode), "not known yet"),
            "mode": inode.mode,
            "uid": inode.uid,
            "gid": inode.gid,
            "nlink": inode.nlink,
            "size_bytes": inode.size_bytes,
            "mtime_ns": inode.mtime_ns,
            "residency": RESIDENCY_NAMES[hot.residency if hot is not None else Residency.COLD],
            "hot_bytes": hot.bytes_charged if hot is not None else 0,
            "pinned": hot is not None and hot.pinned,
            "dirty": inode.is_dirty,
            "synced": pending is None
            and InodeFlag.LOCAL not in inode.flags
            and object_key in (None, target_key(self._index, self._locations, inode)),
            "export": {"mode": rule.mode.value, "quiet_s": rule.quiet_s},
            "key": key,
            "object_key": object_key,
            "etag": inode.base.etag if inode.base is not None else None,
            "storage_class": inode.base.storage_class if inode.base is not None else None,
            "pending": None
            if pending is None
            else {
                "op": pending.kind.name.lower(),
                "age_s": (now_ns - pending.created_ns) / NS_PER_S,
                "attempts": pending.attempts,
                "error": pending.last_error,
            },
        }
