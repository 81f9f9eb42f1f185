"""The bucket's side of directory renames, shown as tasks, and taken back.

A directory that is renamed has its new name at once; its objects follow one by one, which is an intent of the index and
survives everything. As a task it has the number of that intent.

It cannot be stopped halfway: some objects would be under one prefix and some under another, for good, and who reads the
bucket with another tool would find neither directory whole. So to cancel it is to take it back: the directory gets its
old name here, at once and as a whole, as `mv` would do it, and the objects that have moved by then are moved back, by
the same intent. At any moment each file is whole under one key, and the mount shows one directory. Where the old name
is taken, or the directory that it was in is gone, nothing is changed.
"""

import errno
from typing import Final

from attrs import evolve

from tierfs.clock import Clock
from tierfs.errors import FsError
from tierfs.filesystem import FileSystem
from tierfs.index import inodes, intents
from tierfs.index import locations as rows
from tierfs.index.env import Index
from tierfs.model import Intent, IntentKind
from tierfs.namespace.changes import RenameMode
from tierfs.namespace.keys import part_to_names
from tierfs.namespace.notify import Notify
from tierfs.policy.tasks import Counts, Task, TaskKind, TaskState
from tierfs.sync.paths import Place, find_place, text_path
from tierfs.sync.renames import Move, TreeMover
from tierfs.sync.tasks import Tasks

_PAGE_INTENTS: Final = 256
_LOOKED_AT: Final = 20_000  # intents, for one list: some ten milliseconds


class RenameTasks:
    """The renames of one mount that are under way; those that have ended are remembered by `tasks`."""

    def __init__(
        self, *, index: Index, clock: Clock, mover: TreeMover, fs: FileSystem, notify: Notify, tasks: Tasks
    ) -> None:
        self._index = index
        self._clock = clock
        self._mover = mover
        self._fs = fs
        self._notify = notify
        self._tasks = tasks
        self._taken_back: set[int] = set()
        mover.on_end = self._ended

    def find(self, number: int) -> Task | None:
        """None when there is no such one, or it has ended."""
        intent = intents.get(self._index, number)
        return self._task(intent) if intent is not None and intent.kind is IntentKind.MOVE_TREE else None

    def all(self) -> list[Task]:
        """Oldest first; in a very long queue only those near its head."""
        if not self._mover.moves and not rows.overrides(self._index):
            return []
        found: list[Task] = []
        after, looked_at = 0, 0
        while looked_at < _LOOKED_AT and (page := intents.page(self._index, after, _PAGE_INTENTS)):
            after, looked_at = page[-1].seq, looked_at + len(page)
            found += [self._task(intent) for intent in page if intent.kind is IntentKind.MOVE_TREE]
        return found

    def _task(self, intent: Intent) -> Task:
        move = self._mover.moves.get(intent.seq)
        task = Task(
            intent.seq, TaskKind.RENAME, self._path_of(intent.ino), intent.created_ns, message=intent.last_error
        )
        return task if move is None else _moving(task, move)

    def _path_of(self, ino: int) -> str:
        inode = inodes.get(self._index, ino)
        is_there = inode is not None and inode.parent != 0
        return text_path(self._index, inode.parent, inode.name).lstrip("/") if inode is not None and is_there else ""

    def _ended(self, intent: Intent, move: Move) -> None:
        is_taken_back = intent.seq in self._taken_back
        self._taken_back.discard(intent.seq)
        task = Task(intent.seq, TaskKind.RENAME, self._path_of(intent.ino), intent.created_ns)
        state = TaskState.CANCELLED if is_taken_back else TaskState.DONE
        self._tasks.record(evolve(_moving(task, move), state=state, ended_ns=self._clock.now_ns()))

    async def take_back(self, number: int) -> None:
        """Gives the directory its old name again. ENOENT, EEXIST."""
        intent = intents.get(self._index, number)
        inode = inodes.get(self._index, intent.ino) if intent is not None else None
        if inode is None or inode.parent == 0:
            raise FsError(errno.ENOENT, f"there is no task {number}")
        prefix = rows.override(self._index, inode.ino)
        if prefix is None:
            return  # it has its old name already, or every object has moved
        old = self._old_place(prefix)
        try:
            await self._fs.rename(inode.parent, inode.name, old.parent, old.name, RenameMode.NOREPLACE)
        except FsError as error:
            if error.errno != errno.EEXIST:
                raise
            raise FsError(errno.EEXIST, f"/{prefix.rstrip('/')} is something else by now: nothing is changed") from None
        self._taken_back.add(number)
        for place in (Place(inode.parent, inode.name), old):
            self._notify.entry_changed(place.parent, place.name)

    def _old_place(self, prefix: str) -> Place:
        place, names = find_place(self._index, prefix), part_to_names(prefix.rstrip("/").rpartition("/")[2])
        if place is None or not names:
            raise FsError(errno.ENOENT, f"the directory of /{prefix.rstrip('/')} is gone: nothing is changed")
        return Place(place.parent, names[0])


def _moving(task: Task, move: Move) -> Task:
    counted_ns = move.started_ns if move.listed_ns else 0
    counts = Counts(total=max(move.found, move.moved), done=move.moved, counted_ns=counted_ns)
    return evolve(task, state=TaskState.RUNNING, started_ns=move.started_ns, counts=counts)
