"""What waits for the bucket and why, and what happens on both sides as it happens; as JSON values.

Reads memory and the index, never the store. Checkpoints: between slices of a long queue, and where a watcher waits.
"""

from typing import Final

import attrs
import trio

from tierfs.clock import Clock
from tierfs.control.protocol import Json
from tierfs.index import inodes, intents
from tierfs.index.env import Index
from tierfs.model import Inode, InodeFlag, Intent, IntentKind
from tierfs.namespace.locations import Locations
from tierfs.policy.classes import is_archive
from tierfs.sync import backlog
from tierfs.sync.disputes import LOST_PREFIX
from tierfs.sync.exporter import Exporter
from tierfs.sync.guard import Guard
from tierfs.sync.news import News
from tierfs.sync.paths import Place, walk
from tierfs.sync.waiting import waiting
from tierfs.units import NS_PER_S

_ANSWER_ROWS: Final = 50  # an answer with the longest paths stays below the protocol's limit
_PAGE_INTENTS: Final = 128
_LOOKED_AT: Final = 20_000
_SLICE_S: Final = 0.005


def needs_restore(inode: Inode) -> bool:
    """Whether a pending change is one that copies an archived object: of attributes, or of the name."""
    is_copied = inode.base is not None and InodeFlag.DATA_DIRTY not in inode.flags
    return is_copied and inode.base is not None and is_archive(inode.base.storage_class)


class Watching:
    """The queue and the news of one mount."""

    def __init__(
        self, *, index: Index, locations: Locations, exporter: Exporter, guard: Guard, clock: Clock, news: News
    ) -> None:
        self._index = index
        self._locations = locations
        self._exporter = exporter
        self._guard = guard
        self._clock = clock
        self._news = news

    async def queue(self, path: bytes, after: int) -> Json:
        """A page of what is pending at or below a path, oldest first: {"entries": [...], "next", "rest"}.

        Each entry has seq, op, path, age_s, size_bytes, reason and detail (see `sync.waiting`), attempts, and
        next_attempt_s from now, None where no time is known. `next`: the `after` of the next page, None at the end.
        `rest`: how many come after this page; `is_rest_exact` False: at least. Only the first page counts them.
        ENOENT, ENOTDIR.
        """
        ino = walk(self._index, path).ino if path else None
        scope = backlog.Scope(self._locations, ino, self._index.next_seq())
        entries: list[Json] = []
        rest, looked_at, is_exact, counts = 0, 0, True, after == 0
        slice_began = trio.current_time()
        while page := intents.page(self._index, after, _PAGE_INTENTS):
            for intent in page:
                if not scope.has(self._index, intent):
                    continue
                if len(entries) < _ANSWER_ROWS:
                    entries.append(self._described(intent))
                else:
                    rest += 1
            after = page[-1].seq
            looked_at += len(page)
            if looked_at >= _LOOKED_AT or (rest and not counts):
                is_exact = False
                break
            if trio.current_time() - slice_began > _SLICE_S:
                await trio.lowlevel.checkpoint()
                slice_began = trio.current_time()
        is_end = is_exact and not rest
        go_on = None if is_end else entries[-1]["seq"] if rest else after
        return {"entries": entries, "next": go_on, "rest": rest, "is_rest_exact": is_exact}

    def _described(self, intent: Intent) -> Json:
        now_ns = self._clock.now_ns()
        standing = self._exporter.standing(intent)
        inode = inodes.get(self._index, intent.ino)
        if inode is not None and inode.parent and intent.kind is IntentKind.RECONCILE:
            lies_at = self._locations.actual_key(self._index, inode) if inode.base is not None else ""
            standing = attrs.evolve(
                standing,
                is_held=self._guard.is_held(Place(inode.parent, inode.name), inode.ino),
                has_lost_base=lies_at.startswith(LOST_PREFIX),
                needs_restore=needs_restore(inode),
            )
        found = waiting(intent, standing, now_ns)
        return {
            "seq": intent.seq,
            "op": intent.kind.name.lower(),
            "path": backlog.path_of(self._index, intent).removeprefix("/"),
            "age_s": (now_ns - intent.created_ns) / NS_PER_S,
            "size_bytes": backlog.bytes_of(self._index, intent),
            "reason": found.reason.value,
            "detail": found.detail,
            "attempts": intent.attempts,
            "next_attempt_s": (found.next_ns - now_ns) / NS_PER_S if found.next_ns is not None else None,
        }

    async def watch(self, after: int | None) -> Json:
        """Waits for changes and tells them: {"changes": [...], "next": the `after` of the next call, "missed"}.

        None begins: it returns at once, with no changes. `missed`: how many came and are not kept any more.
        """
        batch = await self._news.after(after, _ANSWER_ROWS)
        return {
            "changes": [attrs.asdict(change) for change in batch.changes],
            "next": batch.last,
            "missed": batch.missed,
        }
