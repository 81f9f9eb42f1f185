"""The daemon as `service` sees it: each question goes to the part that knows."""

from collections.abc import Awaitable, Callable

from tierfs.content.handles import Files
from tierfs.control.arguments import Progress
from tierfs.control.conflicts import Conflicts
from tierfs.control.inspector import Inspector
from tierfs.control.protocol import Json
from tierfs.control.removals import Removals
from tierfs.control.versions import Versions
from tierfs.control.watching import Watching
from tierfs.index.env import Index
from tierfs.policy.guard import Verdict
from tierfs.policy.resolution import Keep
from tierfs.sync.eventservice import Events
from tierfs.sync.exporter import Exporter
from tierfs.sync.paths import walk


class Desk:
    """A `service.Daemon`. `unmount` takes whether to drain and whether lazily; see `Daemon.request_unmount`."""

    def __init__(
        self,
        *,
        index: Index,
        files: Files,
        exporter: Exporter,
        events: Events,
        inspector: Inspector,
        conflicts: Conflicts,
        removals: Removals,
        versions: Versions,
        watching: Watching,
        unmount: Callable[[bool, bool], Awaitable[None]],
    ) -> None:
        self._index = index
        self._files = files
        self._exporter = exporter
        self._events = events
        self._inspector = inspector
        self._conflicts = conflicts
        self._removals = removals
        self._versions = versions
        self._watching = watching
        self._unmount = unmount

    def status(self) -> Json:
        return self._inspector.status()

    def info(self, path: bytes) -> Json:
        return self._inspector.info(path)

    async def sync(self, path: bytes | None, progress: Progress) -> None:
        self._exporter.hurry()
        await self.wait_synced(path, progress)

    async def wait_synced(self, path: bytes | None, progress: Progress) -> None:
        self._files.publish_writers()
        ino = walk(self._index, path).ino if path else None

        async def tell(files: int, size_bytes: int) -> None:
            progress({"files": files, "bytes": size_bytes})

        await self._exporter.sync(ino, tell)

    async def set_up_events(self, *, target_arn: str, dry_run: bool) -> Json:
        return await self._events.set_up(target_arn=target_arn, dry_run=dry_run)

    async def request_unmount(self, *, drain: bool, lazy: bool) -> None:
        await self._unmount(drain, lazy)

    def conflicts(self, after: int, path: bytes, uid: int | None) -> Json:
        return self._conflicts.page(after=after, path=path, uid=uid)

    def conflict_owners(self, number: int) -> set[int]:
        return self._conflicts.owners(number)

    async def diff_conflict(self, number: int) -> Json:
        return await self._conflicts.diff(number)

    async def resolve_conflict(self, number: int, keep: Keep, *, dry_run: bool) -> Json:
        return await self._conflicts.resolve(number, keep, dry_run=dry_run)

    def removals(self, after: tuple[int, bytes]) -> Json:
        return self._removals.page(after)

    async def decide_removals(self, verdict: Verdict, progress: Progress, *, dry_run: bool) -> Json:
        return await self._removals.decide(verdict, lambda left: progress({"files": left}), dry_run=dry_run)

    async def versions(self, path: bytes, after: str | None, *, everything: bool) -> Json:
        return await self._versions.page(path, after, everything=everything)

    async def queue(self, path: bytes, after: int) -> Json:
        return await self._watching.queue(path, after)

    async def watch(self, after: int | None) -> Json:
        return await self._watching.watch(after)

    async def undelete(self, path: bytes, progress: Progress, *, dry_run: bool) -> Json:
        return await self._versions.undelete(path, lambda files: progress({"files": files}), dry_run=dry_run)
