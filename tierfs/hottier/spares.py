"""Backing files that are made ahead, without a name, and get one when they are needed.

To make a file can take a file system long: ext4 passes over each inode that was deleted in the last seconds, one by one
(seen: 200 to 600 us of processor time a file after some thousands were deleted, 20 us else). To name one that is there
takes 12 us. A spare has no name, so a crash leaves nothing of it behind.

Shared by tasks: the spares. `take` is atomic; `run` has its checkpoints in worker threads and waits for the next need.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

import trio

from tierfs.errors import FsError
from tierfs.hottier.disk import Disk

_SPARES_MAX: Final = 128  # each is an open descriptor
_BATCH_FILES: Final = 32


class InThread(Protocol):
    """Calls a function that blocks in a worker thread."""

    def __call__(self, function: Callable[[int], list[int]], count: int, /) -> Awaitable[list[int]]:
        """Returns what it returns."""
        ...


class Spares:
    """Those of one directory. None is made before one was needed, nor where the file system has no O_TMPFILE."""

    def __init__(self, disk: Disk, directory: Path, in_thread: InThread) -> None:
        self._disk = disk
        self._directory = directory
        self._in_thread = in_thread
        self._fds: list[int] = []
        self._is_needed = trio.Event()

    def take(self, path: str) -> int | None:
        """The descriptor, for reading and writing, of an empty file that has the name from now on.

        None: there is no spare, or something of that name, or it cannot be given here.
        """
        if len(self._fds) < _SPARES_MAX // 2:
            self._is_needed.set()
        try:
            is_named = bool(self._fds) and self._disk.name(self._fds[-1], path)
        except FsError:
            return None  # whoever makes the file by its name hears why
        return self._fds.pop() if is_named else None

    async def run(self) -> None:
        """Makes them; until it is cancelled. What cannot be made is not made ahead: who needs it hears why."""
        try:
            while True:
                await self._is_needed.wait()
                try:
                    while len(self._fds) < _SPARES_MAX:
                        self._fds += await self._in_thread(self._make, _BATCH_FILES)
                except FsError:
                    await trio.sleep_forever()
                self._is_needed = trio.Event()
        finally:
            while self._fds:
                self._disk.close(self._fds.pop())

    def _make(self, count: int) -> list[int]:
        made: list[int] = []
        try:
            while len(made) < count:
                made.append(self._disk.open_unnamed(self._directory))
        except FsError:
            for fd in made:
                self._disk.close(fd)
            raise
        return made
