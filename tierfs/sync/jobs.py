"""What tasks do with all that is at a path: list it, upload it, bring it here, let it go. For `verify` see `verifying`,
for `pin` and `unpin` `pinning`.

    job      counts                          begins with                        a failure
    -------  ------------------------------  ---------------------------------  -----------------------------------
    import   directories                     those that are known               a directory that cannot be listed
    export   pending changes, their bytes    what is pending at that time       a change that the bucket refuses
    warm     files that are not here whole   listing what is not listed         a file that cannot be fetched or kept
    release  files with bytes here           the index                          a file that has to stay

Each looks at what is there now and passes over what is as it should be, so it may be begun anew at any time.
"""

from array import array
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from tierfs.content.handles import Files
from tierfs.content.ledger import is_clean
from tierfs.errors import TierfsError
from tierfs.index import held, inodes, intents, residency
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag, Intent, IntentKind, Residency
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import NoNotify, Notify
from tierfs.objectstore.base import ObjectStore
from tierfs.policy.tasks import FileError, Task, TaskKind
from tierfs.sync import backlog
from tierfs.sync.exporter import Exporter
from tierfs.sync.importer import Importer
from tierfs.sync.paths import Place
from tierfs.sync.pinning import Pin, Unpin
from tierfs.sync.scrubbing import Scrub, ScrubLimits
from tierfs.sync.seen import Visit
from tierfs.sync.subtree import Subtree, path_of
from tierfs.sync.tasks import JobMaker, Run, code_of
from tierfs.sync.verifying import Verify

_FETCHES: Final = 16  # files at a time; content bounds what is in memory
_RELEASES: Final = 8  # each waits for a worker thread now and then


@frozen
class Mount:
    """What jobs work on."""

    index: Index
    locations: Locations
    store: ObjectStore
    files: Files
    importer: Importer
    exporter: Exporter
    tier_bytes: int
    notify: Notify = field(factory=NoNotify)
    scrub_limits: ScrubLimits = field(factory=ScrubLimits)


def makers(mount: Mount) -> Mapping[TaskKind, JobMaker]:
    """A job for each kind that somebody can ask for."""

    def subtree(task: Task) -> Subtree:
        return Subtree(mount.index, mount.importer, task.path)

    return {
        TaskKind.IMPORT: lambda task: Import(mount, subtree(task), task.created_ns),
        TaskKind.EXPORT: lambda task: Export(mount, subtree(task)),
        TaskKind.WARM: lambda task: Warm(mount, subtree(task)),
        TaskKind.RELEASE: lambda task: Release(mount, subtree(task)),
        TaskKind.PIN: lambda task: Pin(mount.files, subtree(task), Warm(mount, subtree(task))),
        TaskKind.UNPIN: lambda task: Unpin(mount.index, mount.files, subtree(task)),
        TaskKind.SCRUB: lambda task: Scrub(
            index=mount.index,
            locations=mount.locations,
            store=mount.store,
            files=mount.files,
            exporter=mount.exporter,
            notify=mount.notify,
            clock=mount.index.clock,
            subtree=subtree(task),
            limits=mount.scrub_limits,
        ),
        TaskKind.VERIFY: lambda task: Verify(
            index=mount.index, locations=mount.locations, store=mount.store, files=mount.files, subtree=subtree(task)
        ),
    }


class Import:
    """Lists every directory; what a listing since `asked_ns` has seen is not listed again."""

    def __init__(self, mount: Mount, subtree: Subtree, asked_ns: int) -> None:
        self._mount = mount
        self._subtree = subtree
        self._asked_ns = asked_ns
        self._met = 0
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job. How many there are is known when all are listed."""
        self._top = await self._subtree.found()
        await self._subtree.each_directory(self._top, lambda _: run.found())

    async def carry_out(self, run: Run) -> None:
        """See Job."""
        if not self._top.is_dir:
            key = self._mount.locations.derived_key(self._mount.index, self._top)
            await self._mount.importer.look(self._top.parent, [key])

        async def visit(ino: int) -> None:
            self._met += 1
            run.recount(max(self._met, run.task.counts.total))
            await self._list(run, ino)

        await self._subtree.list_directories(self._top, visit)

    async def _list(self, run: Run, ino: int) -> None:
        inode = inodes.get(self._mount.index, ino)
        if inode is None or (InodeFlag.LISTED in inode.flags and inode.listed_ns > self._asked_ns):
            run.done()
            return
        try:
            await self._mount.importer.relist(ino, Visit(found=lambda _: run.note("changed_names")))
            run.done()
        except TierfsError as error:
            run.failed(path_of(self._mount.index, ino), code_of(error))


class Export:
    """Has all uploaded that is pending when it begins, and what that leaves to be deleted."""

    def __init__(self, mount: Mount, subtree: Subtree) -> None:
        self._mount = mount
        self._subtree = subtree
        self._top: Inode
        # of each intent, 16 bytes: those that others bring up meanwhile are gone when their turn comes
        self._seqs, self._sizes_bytes = array("Q"), array("Q")

    async def survey(self, run: Run) -> None:
        """See Job."""
        self._mount.files.publish_writers()
        self._top, after = self._subtree.known(), 0
        index = self._mount.index
        scope = backlog.Scope(self._mount.locations, self._top.ino, index.next_seq())
        while page := await backlog.page_in(scope, index, after):
            after = page[-1].seq
            for intent in page:
                size_bytes = backlog.bytes_of(index, intent)
                self._seqs.append(intent.seq)
                self._sizes_bytes.append(size_bytes)
                run.found(size_bytes)

    async def carry_out(self, run: Run) -> None:
        """See Job. Who ends it leaves uploads to their quiet time: none is given up."""
        index, exporter = self._mount.index, self._mount.exporter
        after = index.next_seq()
        exporter.hurry()
        for seq, size_bytes in zip(self._seqs, self._sizes_bytes, strict=True):
            await self._settle(run, intents.get(index, seq), size_bytes)
        deletions = backlog.Scope(self._mount.locations, self._top.ino, index.next_seq(), deletes_only=True)
        while page := await backlog.page_in(deletions, index, after):
            after = page[-1].seq
            for intent in page:
                run.found()
                await self._settle(run, intents.get(index, intent.seq), 0)

    async def _settle(self, run: Run, intent: Intent | None, size_bytes: int) -> None:
        try:
            if intent is not None:
                await self._mount.exporter.settle(intent)
            run.done(size_bytes)
        except TierfsError as error:
            assert intent is not None
            is_deletion = intent.kind is IntentKind.DELETE
            run.failed(intent.key if is_deletion else path_of(self._mount.index, intent.ino), code_of(error))


class Warm:
    """Fetches what is not here, while it fits into the tier: what was fetched last must not push out what was first."""

    def __init__(self, mount: Mount, subtree: Subtree) -> None:
        self._mount = mount
        self._subtree = subtree
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job. Lists directories that were never listed, or not for a while."""

        async def count(_place: Place, inode: Inode) -> None:
            if self._is_here(inode):
                run.kept_bytes += inode.size_bytes
            else:
                run.found(inode.size_bytes)

        self._top = await self._subtree.listed(run)
        await self._subtree.each_file(self._top, count)

    def _is_here(self, inode: Inode) -> bool:
        hot = residency.hot_get(self._mount.index, inode.ino)
        return inode.size_bytes == 0 or (hot is not None and hot.residency is Residency.FULL)

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def fetch(place: Place, inode: Inode) -> None:
            if self._is_here(inode):
                return
            try:
                if await self._fetch(run, inode):
                    run.done(inode.size_bytes)
                else:
                    run.failed(self._subtree.text_of(place), FileError.NO_ROOM)
            except TierfsError as error:
                run.failed(self._subtree.text_of(place), code_of(error))

        await self._subtree.work_on_files(self._top, fetch, workers=_FETCHES)

    async def _fetch(self, run: Run, inode: Inode) -> bool:
        """False: there is no room. What was listed and never looked at may turn out to be no file."""
        ino = await self._mount.importer.ensure_attributes(inode.ino)
        found = inodes.get(self._mount.index, ino)
        if found is None or not found.is_regular:
            return True
        if run.kept_bytes + found.size_bytes > self._mount.tier_bytes:
            return False
        run.kept_bytes += found.size_bytes
        return await self._mount.files.warm(ino)


class Release:
    """Lets bytes go that the bucket has, and that nobody uses this moment."""

    def __init__(self, mount: Mount, subtree: Subtree) -> None:
        self._mount = mount
        self._subtree = subtree
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job."""

        async def count(_place: Place, inode: Inode) -> None:
            if size_bytes := self._bytes_here(inode):
                run.found(size_bytes)

        self._top = self._subtree.known()
        await self._subtree.each_file(self._top, count)

    def _bytes_here(self, inode: Inode) -> int:
        hot = residency.hot_get(self._mount.index, inode.ino)
        return hot.bytes_charged if hot is not None else 0

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def release(place: Place, inode: Inode) -> None:
            if not self._bytes_here(inode):
                return
            try:
                freed_bytes = await self._mount.files.drop(inode.ino)
            except TierfsError as error:
                run.failed(self._subtree.text_of(place), code_of(error))
                return
            if self._bytes_here(inode):
                run.failed(self._subtree.text_of(place), self._why_kept(place, inode.ino))
            else:
                run.done(freed_bytes)

        await self._subtree.work_on_files(self._top, release, workers=_RELEASES)

    def _why_kept(self, place: Place, ino: int) -> FileError:
        index = self._mount.index
        hot, inode = residency.hot_get(index, ino), inodes.get(index, ino)
        if hot is not None and hot.pinned:
            return FileError.PINNED
        if inode is not None and (not is_clean(inode) or intents.of_inode(index, ino) is not None):
            return FileError.NOT_UPLOADED
        if held.covers(index, place.parent, place.name, ino):
            return FileError.HELD
        return FileError.IN_USE
