"""A daemon for tests of the control plane: real verbs over a small made-up mount, and no file system."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from tests.support.control_archiving import ScriptedArchiving
from tests.support.control_observing import ScriptedObserving
from tests.support.control_profiling import ScriptedProfiling
from tests.support.control_tasks import ScriptedTasks
from tierfs.control import registry, server
from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json
from tierfs.control.service import Service
from tierfs.control.taskverbs import TaskVerbs
from tierfs.control.verbs import VerbGroup
from tierfs.errors import FsError, StoreError, StoreErrorKind, TierfsError
from tierfs.policy.guard import Verdict
from tierfs.policy.resolution import Keep


class ScriptedDaemon:
    """Holds files by path (-> owner) and those not uploaded (-> bytes); passes for `service.Daemon`.

    `upload` takes one off the list, as an exporter would. `sync` uploads by itself unless `stalled`.
    """

    def __init__(self, mountpoint: str = "/mnt/data") -> None:
        self.mountpoint = mountpoint
        self.owners: dict[bytes, int] = {b"": 0, b"mine": 1000, b"theirs": 1001, b"dir": 0, b"dir/a": 1000}
        self.pending: dict[bytes, int] = {}
        self.stalled = False
        self.busy = False
        self.failure: TierfsError | None = None
        self.fault: Exception | None = None
        self.unmounted: list[tuple[bool, bool]] = []
        self.waiters_cancelled = 0
        self.ended = trio.Event()
        self._changed = trio.Event()
        self.synced: list[bytes | None] = []
        self.conflict_rows: list[Json] = []
        self.conflict_uids: dict[int, int] = {}
        self.texts: list[str] | None = ["one\n", "two\n"]
        self.resolved: list[tuple[int, Keep, bool]] = []
        self.held: list[str] = []
        self.decided: list[tuple[Verdict, bool]] = []
        self.deleted: list[str] = []
        self.news: list[Json] = []
        self.missed = 0
        self.undeleted: list[tuple[bytes, bool]] = []
        self.are_events_set_up = False
        self.events: dict[str, Any] = {"source": "none"}
        self.scan: dict[str, Any] | None = None
        self.tasks = ScriptedTasks()
        self.archiving = ScriptedArchiving()
        self.observing = ScriptedObserving()
        self.profiling = ScriptedProfiling()
        self.verb_groups = [TaskVerbs(self.tasks), self.observing, self.archiving, self.profiling]

    def add_conflict(self, number: int, path: str, *, uid: int = 0, state: str = "open") -> None:
        """One where both sides changed `path`, whose versions belong to `uid`."""
        copy = f"{path}.conflict-here-20231114T221320Z"
        self.conflict_rows.append(
            {
                "id": number,
                "time_ns": 1_700_000_000_000_000_000,
                "kind": "both-changed",
                "path": path,
                "winner": path,
                "loser": copy,
                "bucket": path,
                "local": copy,
                "state": state,
            }
        )
        self.conflict_uids[number] = uid

    def _conflict(self, number: int) -> Json:
        for row in self.conflict_rows:
            if row["id"] == number:
                return row
        raise FsError(errno.ENOENT, f"there is no conflict {number}")

    def conflicts(self, after: int, path: bytes, uid: int | None) -> Json:
        """Pages of two."""
        owned = [row for row in self.conflict_rows if uid in (None, self.conflict_uids[row["id"]])]
        found = [row for row in owned if row["id"] > after and row["path"].startswith(os.fsdecode(path))]
        return {"conflicts": found[:2], "next": found[1]["id"] if len(found) > 2 else None}

    def conflict_owners(self, number: int) -> set[int]:
        return {self.conflict_uids[self._conflict(number)["id"]]}

    async def diff_conflict(self, number: int) -> Json:
        conflict = self._conflict(number)
        side = {
            "type": "file",
            "mode": 0o100640,
            "uid": self.conflict_uids[number],
            "gid": 0,
            "size_bytes": 4,
            "mtime_ns": 1_700_000_000_123_456_789,
            "etag": "0123",
            "last_modified_ns": 1_700_000_000_000_000_000,
            "checksum": None,
        }
        content = {
            "kind": "text" if self.texts is not None else "binary",
            "differs_at": 0,
            "looked_at_bytes": 4,
            "texts": self.texts,
            "checksums": ["crc64nvme:00000000000000aa", "crc64nvme:00000000000000bb"],
        }
        return {"conflict": conflict, "bucket": side, "local": {**side, "etag": None}, "content": content}

    async def resolve_conflict(self, number: int, keep: Keep, *, dry_run: bool) -> Json:
        conflict = self._conflict(number)
        self.resolved.append((number, keep, dry_run))
        action = {"verb": "rename", "path": conflict["loser"], "to": conflict["path"]}
        if keep is Keep.BUCKET:
            action = {"verb": "unlink", "path": conflict["loser"]}
        return {
            "id": number,
            "keep": keep.value,
            "dry_run": dry_run,
            "action": action if keep is not Keep.BOTH else None,
        }

    def removals(self, after: tuple[int, bytes]) -> Json:
        """Pages of two."""
        start = after[0]
        rows = [
            {
                "path": path,
                "entries": 7,
                "moved_to": "new" if path == "moved" else None,
                "state": "asked",
            }
            for path in self.held[start : start + 2]
        ]
        return {"removals": rows, "next": [start + 2, b"x".hex()] if start + 2 < len(self.held) else None}

    async def decide_removals(self, verdict: Verdict, progress: Progress, *, dry_run: bool) -> Json:
        self.decided.append((verdict, dry_run))
        progress({"files": len(self.held)})
        await trio.lowlevel.checkpoint()
        count = len(self.held)
        counts = {"removed": 7 * count, "restored": 0, "uploaded": 0, "unreadable": 0}
        if verdict is Verdict.REJECT:
            counts = {"removed": 0, "restored": 0, "uploaded": 5 * count, "unreadable": 2 * count}
        return {"verdict": verdict.value, "dry_run": dry_run, "names": count, "returned": 0, **counts}

    async def versions(self, path: bytes, after: str | None, *, everything: bool) -> Json:
        """What is at the path, then pages of one."""
        row = {"id": "d1", "time_ns": 1_700_000_000_000_000_000, "state": "deletion", "size_bytes": 0}
        row |= {"etag": "", "storage_class": ""}
        old = {**row, "id": "v1", "state": "old", "size_bytes": 1536}
        if after is None:
            return {"files": [], "next": ""}
        keys = [key for key in self.deleted if key > after]
        files = [{"key": key, "deleted": True, "versions": [row, old], "more": 3} for key in keys[:1]]
        return {"files": files, "next": keys[0] if len(keys) > 1 else None}

    async def undelete(self, path: bytes, progress: Progress, *, dry_run: bool) -> Json:
        if not self.deleted:
            raise FsError(errno.ENOENT, "there is no deleted file to bring back")
        self.undeleted.append((path, dry_run))
        progress({"files": 1})
        await trio.lowlevel.checkpoint()
        return {"files": len(self.deleted), "bytes": 1536, "examples": self.deleted[:2], "dry_run": dry_run}

    def upload(self, path: bytes) -> None:
        del self.pending[path]
        self._changed.set()
        self._changed = trio.Event()

    def status(self) -> Json:
        if self.fault is not None:
            raise self.fault
        return {
            "version": "0.1.0",
            "pid": 4242,
            "holder_pid": None,
            "source": "s3://bucket/prefix",
            "mountpoint": self.mountpoint,
            "cache": "/var/cache/tierfs/x",
            "mode": "pyfuse3",
            "mode_reason": "the holder is not built",
            "read_only": False,
            "uptime_s": 3725.0,
            "tier": {"size_bytes": 10 << 30, "used_bytes": 5 << 30, "dirty_bytes": sum(self.pending.values())},
            "pending_exports": len(self.pending),
            "oldest_export_age_s": 12.0 if self.pending else None,
            "failing_exports": [{"path": "theirs", "error": "access denied: no"}],
            "conflicts": 0,
            "removals": {
                "since_s": 61.0,
                "names": len(self.held),
                "entries": 7 * len(self.held),
                "examples": self.held[:5],
                "verdict": None,
            }
            if self.held
            else None,
            "degraded": {"since_s": 5.0, "reason": "unavailable: connection refused (key 'theirs')"},
            "events": self.events,
            "scan": self.scan,
            "index": {"entries": 5, "bytes": 40960},
            "requests": {"store_get_requests": 3},
            "rss_anon_bytes": 50 << 20,
        }

    def info(self, path: bytes) -> Json:
        if path not in self.owners:
            raise FsError(errno.ENOENT)
        fields: dict[str, Any] = {
            "path": path.decode("utf-8", "surrogateescape"),
            "ino": 17,
            "type": "file",
            "mode": 0o100640,
            "uid": self.owners[path],
            "gid": 0,
            "size_bytes": 1536,
            "mtime_ns": 1_700_000_000_123_456_789,
            "nlink": 1,
            "residency": "hot",
            "hot_bytes": 1536,
            "pinned": False,
            "export": {"mode": "write-back", "quiet_s": 5.0},
            "object_key": None,
            "dirty": path in self.pending,
            "synced": path not in self.pending,
            "key": path.decode("utf-8", "surrogateescape"),
            "etag": None,
            "storage_class": None,
            "pending": None,
        }
        return fields

    def _under(self, path: bytes | None) -> list[bytes]:
        return [p for p in self.pending if path is None or p == path or p.startswith(path + b"/")]

    async def sync(self, path: bytes | None, progress: Progress) -> None:
        self.synced.append(path)
        if self.failure is not None:
            raise self.failure
        if not self.stalled:
            for name in self._under(path):
                progress({"files": len(self.pending), "bytes": sum(self.pending.values())})
                await trio.lowlevel.checkpoint()
                self.upload(name)
        await self.wait_synced(path, progress)

    async def wait_synced(self, path: bytes | None, progress: Progress) -> None:
        try:
            while self._under(path):
                progress({"files": len(self._under(path)), "bytes": sum(self.pending[p] for p in self._under(path))})
                await self._changed.wait()
        except trio.Cancelled:
            self.waiters_cancelled += 1
            raise

    async def queue(self, path: bytes, after: int) -> Json:
        """Pages of two of those not uploaded."""
        names = sorted(self._under(path or None))[after:]
        rows = [
            {
                "seq": after + number,
                "op": "reconcile",
                "path": os.fsdecode(name),
                "age_s": 75.0,
                "size_bytes": self.pending[name],
                "reason": "retry",
                "detail": "no",
                "attempts": 3,
                "next_attempt_s": 12.0,
            }
            for number, name in enumerate(names[:2], 1)
        ]
        rest = max(0, len(names) - 2)
        return {"entries": rows, "next": after + 2 if rest else None, "rest": rest, "is_rest_exact": True}

    async def watch(self, after: int | None) -> Json:
        """What was put into `news`, at most two at a time; ends with it."""
        if after is None:
            return {"changes": [], "next": 0, "missed": 0}
        while not self.news:
            await self._changed.wait()
        batch, self.news = self.news[:2], self.news[2:]
        return {"changes": batch, "next": after + len(batch), "missed": self.missed}

    async def set_up_events(self, *, target_arn: str, dry_run: bool) -> Json:
        if self.failure is not None:
            raise self.failure
        target_arn = target_arn or "arn:aws:sqs:us-east-1:123456789012:queue"
        change = {"where": "notifications of bucket bucket", "what": {"QueueArn": target_arn}}
        changes = [] if self.are_events_set_up else [change]
        self.are_events_set_up |= not dry_run
        return {"bucket": "bucket", "target_arn": target_arn, "dry_run": dry_run, "changes": changes}

    async def request_unmount(self, *, drain: bool, lazy: bool) -> None:
        if self.busy and not lazy:
            raise FsError(errno.EBUSY, "the mount is in use")
        self.unmounted.append((drain, lazy))
        self.ended.set()


def socket_path(directory: Path) -> str:
    """A path short enough for a Unix socket."""
    return str(directory / "c.sock")


@contextmanager
def real_server(directory: Path, *groups: VerbGroup) -> Iterator[tuple[str, ScriptedDaemon]]:
    """The server in a trio loop of its own thread, as it is for a client in another process; with more verbs."""
    path = socket_path(directory)
    ready: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope, ScriptedDaemon]] = []
    is_up = threading.Event()

    async def main() -> None:
        daemon = ScriptedDaemon()
        async with trio.open_nursery() as nursery:

            async def served(task_status: trio.TaskStatus[None]) -> None:
                service = Service(daemon, [*daemon.verb_groups, *groups], daemon_uid=os.geteuid())
                await server.serve(path, service, task_status=task_status)

            await nursery.start(served)
            ready.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope, daemon))
            is_up.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert is_up.wait(30)
    token, scope, daemon = ready[0]
    try:
        yield path, daemon
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()


@contextmanager
def daemon_process(mountpoint: Path, run_directory: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A registered daemon in a process of its own, which ends when it is unmounted.

    Words: "busy" (refuses to unmount), "failing" (uploads fail for good), "pending" (one upload that
    never ends).
    """
    command = [sys.executable, "-m", "tests.support.control_daemon", str(mountpoint), *words]
    environment = {**os.environ, "TIERFS_RUN_DIR": str(run_directory)}
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=root) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


async def _serve_as_process(mountpoint: str, words: list[str]) -> None:
    daemon = ScriptedDaemon(mountpoint)
    daemon.busy = "busy" in words
    if "failing" in words:
        daemon.failure = StoreError(StoreErrorKind.ACCESS_DENIED, "no", key="theirs")
    if "pending" in words:
        daemon.pending, daemon.stalled = {b"mine": 3 << 20}, True
    identifier = registry.mount_id("s3://bucket", mountpoint)
    path = str(Path(registry.prepare_run_directory(), "d.sock"))
    async with trio.open_nursery() as nursery:
        service = Service(daemon, daemon.verb_groups, daemon_uid=os.geteuid())

        async def served(task_status: trio.TaskStatus[None]) -> None:
            await server.serve(path, service, task_status=task_status)

        await nursery.start(served)
        registry.register(registry.Entry(identifier, mountpoint, path, os.getpid(), "s3://bucket", "/cache"))
        print("up", flush=True)
        await daemon.ended.wait()
        await trio.sleep(0.1)  # the answer goes out first, as the real daemon sees to by draining
        registry.unregister(identifier)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_serve_as_process, sys.argv[1], sys.argv[2:])
