"""Tasks about storage classes: files archived, moved to a class, asked back. As in `jobs`:

    job      counts                             begins with               a failure
    -------  ---------------------------------  ------------------------  ---------------------------------------------
    archive  files that are not in the class    listing what is not       a file that is open, pinned or refused
    tier     the same                           the same                  the same, and one that is not uploaded
    restore  archived files that are not here   the same                  a file that cannot be asked for

An archive uploads what is pending before it moves it. A restore is done when all are asked for: the bucket takes hours,
and the files come by themselves. Its notes: "within_h", the longest of them, and "cost_millis", of the currency.
"""

import errno
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from attrs import frozen

from tierfs.errors import FsError, TierfsError
from tierfs.index import inodes, residency
from tierfs.index.env import Index
from tierfs.model import Inode, Residency
from tierfs.objectstore.base import Capabilities
from tierfs.policy.classes import ClassName, Speed, is_archive, refusal, restore_times_s, speed_of
from tierfs.policy.tasks import FileError, Task, TaskKind
from tierfs.sync.classes import abilities_of
from tierfs.sync.importer import Importer
from tierfs.sync.paths import Place
from tierfs.sync.subtree import Subtree
from tierfs.sync.tasks import JobMaker, Run, code_of

_MOVES: Final = 16  # at a time; the mover has its own limit
_ASKED: Final = 8
_HOUR_S: Final = 3600


class Moves(Protocol):
    """See `tiering.mover`."""

    async def move(self, ino: int, storage_class: str, rule: str = "") -> FileError | None:
        """None: it is in the class now. Else why not. TierfsError when it cannot be moved."""
        ...


class Restores(Protocol):
    """See `tiering.restorer`."""

    def want(self, inode: Inode, *, speed: Speed | None = None, days: int | None = None) -> object:
        """The file shall come back. EAGAIN when too many are on their way."""
        ...


@frozen
class Classes:
    """What these jobs work on. `export`: uploads what is pending of a file. `restore_cost`: of bytes, from a class."""

    index: Index
    importer: Importer
    capabilities: Callable[[], Capabilities]
    moves: Moves
    restores: Restores
    export: Callable[[int], Awaitable[None]]
    archive_class: str
    speed: Speed
    restore_cost: Callable[[int, str, Speed], float]


def makers(classes: Classes) -> Mapping[TaskKind, JobMaker]:
    """A job for each kind."""

    def subtree(task: Task) -> Subtree:
        return Subtree(classes.index, classes.importer, task.path)

    def archive(task: Task) -> Reclass:
        target = task.options.storage_class or classes.archive_class
        return Reclass(classes, subtree(task), target, uploads=True)

    return {
        TaskKind.ARCHIVE: archive,
        TaskKind.TIER: lambda task: Reclass(classes, subtree(task), task.options.storage_class, uploads=False),
        TaskKind.RESTORE: lambda task: Restore(classes, subtree(task), task),
    }


class Reclass:
    """Moves what is not in the class."""

    def __init__(self, classes: Classes, subtree: Subtree, target: str, *, uploads: bool) -> None:
        self._classes = classes
        self._subtree = subtree
        self._target = target
        self._uploads = uploads
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job. FsError(EOPNOTSUPP) with the reason where the store has no such class."""
        if self._uploads and not is_archive(self._target):
            raise FsError(errno.EOPNOTSUPP, f"{self._target} is no archive: tierctl tier set moves files there")
        reason = refusal("", self._target, abilities_of(self._classes.capabilities()))
        if reason:
            raise FsError(errno.EOPNOTSUPP, reason)

        async def count(_place: Place, inode: Inode) -> None:
            if self._is_meant(inode):
                run.found(inode.size_bytes)

        self._top = await self._subtree.listed(run)
        await self._subtree.each_file(self._top, count)

    def _is_meant(self, inode: Inode) -> bool:
        return inode.base is None or inode.base.storage_class != self._target or (self._uploads and inode.is_dirty)

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def move(place: Place, inode: Inode) -> None:
            if not self._is_meant(inode):
                return
            try:
                if self._uploads:
                    await self._classes.export(inode.ino)
                left = await self._classes.moves.move(inode.ino, self._target)
            except TierfsError as error:
                run.failed(self._subtree.text_of(place), code_of(error))
                return
            if left is None:
                run.done(inode.size_bytes)
            else:
                run.failed(self._subtree.text_of(place), left)

        await self._subtree.work_on_files(self._top, move, workers=_MOVES)


class Restore:
    """Asks for what is archived and not here."""

    def __init__(self, classes: Classes, subtree: Subtree, task: Task) -> None:
        self._classes = classes
        self._subtree = subtree
        self._speed = Speed(task.options.speed) if task.options.speed else classes.speed
        self._days = task.options.days or None
        self._cost = 0.0
        self._within_s = 0
        self._top: Inode

    async def survey(self, run: Run) -> None:
        """See Job. FsError(EOPNOTSUPP) where the store restores nothing."""
        if not self._classes.capabilities().restores:
            raise FsError(errno.EOPNOTSUPP, "the store restores no archived objects")

        async def count(_place: Place, inode: Inode) -> None:
            if self._is_meant(inode):
                run.found(inode.size_bytes)
                self._estimate(inode)

        self._top = await self._subtree.listed(run)
        await self._subtree.each_file(self._top, count)
        run.note("within_h", math.ceil(self._within_s / _HOUR_S))
        run.note("cost_millis", round(self._cost * 1000))

    def _is_meant(self, inode: Inode) -> bool:
        base = inode.base
        if base is None or not (is_archive(base.storage_class) or base.storage_class == ClassName.INTELLIGENT_TIERING):
            return False
        hot = residency.hot_get(self._classes.index, inode.ino)
        return inode.size_bytes > 0 and (hot is None or hot.residency is not Residency.FULL)

    def _estimate(self, inode: Inode) -> None:
        assert inode.base is not None
        storage_class = inode.base.storage_class
        speed = speed_of(storage_class, "", self._speed)
        self._within_s = max(self._within_s, restore_times_s(storage_class).get(speed, 0))
        self._cost += self._classes.restore_cost(inode.size_bytes, storage_class, speed)

    async def carry_out(self, run: Run) -> None:
        """See Job."""

        async def ask(place: Place, inode: Inode) -> None:
            try:
                ino = await self._classes.importer.ensure_attributes(inode.ino)
                found = inodes.get(self._classes.index, ino)
                if found is not None and self._is_meant(found):
                    self._classes.restores.want(found, speed=self._speed, days=self._days)
                    run.done(found.size_bytes)
            except TierfsError as error:
                run.failed(self._subtree.text_of(place), code_of(error))

        await self._subtree.work_on_files(self._top, ask, workers=_ASKED)
