"""The verbs that record which files are opened at and below a path.

| verb | args |
|---|---|
| profile_record | path, output? |
| profile_show | |
| profile_stop | |
| profile_page | after? |
| profile_drop | |

There is one recording at a time. The daemon writes no file: whoever stops a recording fetches its pages, writes them
under his own name, and drops it once they are safe. `output` is kept for him and means nothing here. What programs did
before `profile_record` was answered is not in it, what they did before `profile_stop` was asked for is, also where the
kernel did it without us. Checkpoints: the answer of the holder, and where the bucket is asked for a path.
"""

import errno
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tierfs.control.arguments import Progress, Refusal, number_of, path_of
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.verbs import Peer, Verb
from tierfs.errors import FsError
from tierfs.index import inodes
from tierfs.index.env import Index
from tierfs.model import Inode
from tierfs.sync.paths import ancestors
from tierfs.sync.subtree import path_of as path_of_ino
from tierfs.telemetry.accesses import Access, AccessLog

_ANSWER_ROWS: Final = 150  # an answer with the longest paths stays below the protocol's limit
_OUTPUT_MAX: Final = 4096


class ProfileVerbs:
    """A `VerbGroup` over one daemon."""

    def __init__(
        self,
        *,
        index: Index,
        accesses: AccessLog,
        find: Callable[[str], Awaitable[Inode]],
        live: Callable[[Inode], Inode],
        hear_uses: Callable[[], Awaitable[None]],
    ) -> None:
        """`find`: see `Subtree.found`. `live`: an inode with its size as it is now. `hear_uses`: see
        `Kernel.tell_uses`."""
        self._index = index
        self._accesses = accesses
        self._find = find
        self._live = live
        self._hear_uses = hear_uses
        self._about: Json | None = None
        self.verbs: Mapping[str, Verb] = {
            "profile_record": Verb(self._record),
            "profile_show": Verb(self._show),
            "profile_stop": Verb(self._stop),
            "profile_page": Verb(self._page),
            "profile_drop": Verb(self._drop),
        }

    async def _record(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        path, output = path_of(request) or b"", request.args.get("output", "")
        if not isinstance(output, str) or len(output) > _OUTPUT_MAX:
            raise Refusal(ErrorCode.BAD_REQUEST, "output must be the name of a file", errno.EINVAL)
        top = (await self._find(os.fsdecode(path))).ino
        await self._hear_uses()
        if self._accesses.is_on:
            raise Refusal(ErrorCode.BUSY, "a recording goes on; tierctl profile stop ends it", errno.EBUSY)
        self._accesses.begin(lambda ino: self._size_below(top, ino))
        self._about = {"path": os.fsdecode(path), "output": output, "began_ns": self._index.clock.now_ns()}
        return self._described(self._about)

    def _size_below(self, top: int, ino: int) -> int | None:
        inode = inodes.get(self._index, ino)
        if inode is None or not (ino == top or top in ancestors(self._index, inode)):
            return None
        return self._live(inode).size_bytes

    async def _show(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self._described(self._known())

    async def _stop(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """Ends it; of one that has ended, the same answer again."""
        about = self._known()
        if self._accesses.is_on:
            await self._hear_uses()
            self._accesses.end()
        return self._described(about)

    def _known(self) -> Json:
        if self._about is None:
            raise FsError(errno.ENOENT, "there is no recording; tierctl profile record begins one")
        return self._about

    def _described(self, about: Json) -> Json:
        """`accesses`: how many rows there are; `dropped`: opens for which there was no room."""
        log = self._accesses
        return {
            **about,
            "is_recording": log.is_on,
            "duration_s": log.duration_s,
            "accesses": len(log),
            "dropped": log.dropped,
        }

    async def _page(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """{"accesses": [...], "next": the `after` of the next page, None at the end}; see `_row`."""
        self._known()
        after = number_of(request, "after", 0)
        rows = [self._row(access) for access in self._accesses.page(after, _ANSWER_ROWS)]
        return {"accesses": rows, "next": after + len(rows) if len(rows) == _ANSWER_ROWS else None}

    def _row(self, access: Access) -> Json:
        """A line of a trace (see `tiering.traces`), about the file as it is now: its name then may be of no use."""
        inode = inodes.get(self._index, access.ino)
        is_there = inode is not None and inode.parent != 0
        return {
            "time_s": access.time_s,
            "op": "write" if access.writes else "read",
            "key": path_of_ino(self._index, access.ino) if is_there else f"/unlinked/{access.ino}",
            "size_bytes": self._live(inode).size_bytes if inode is not None and is_there else access.size_bytes,
            "op_count": access.opens,
        }

    async def _drop(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        self._accesses.forget()
        self._about = None
        return {}
