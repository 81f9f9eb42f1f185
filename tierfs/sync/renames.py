"""The rest of a directory rename: every object of the tree to its new prefix, however long that takes.

The rename itself was one index transaction; since then the directory has an *override*, the prefix under
which its objects still lie. This job empties that prefix: it lists it, gives every object there that has
an inode a RECONCILE intent (which copies it to the key of its path and buries the old one), and imports
objects that were never seen, or that others put there meanwhile, so that they are swept along. When
nothing is left the override goes, then the location rows that it made redundant.

State-based: no cursor. What lies at the key of its path is not touched again; a job that is interrupted
anywhere begins its listing anew. At most one page of intents is outstanding, so the queue stays short.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, evolve

from tierfs.clock import Clock
from tierfs.faultpoints import Point, reach
from tierfs.index import dirents, inodes, intents, links
from tierfs.index import locations as rows
from tierfs.index.env import Index, Txn
from tierfs.model import Inode, InodeFlag, Intent
from tierfs.namespace.keys import unreachable_reason
from tierfs.namespace.locations import Locations
from tierfs.objectstore.base import ObjectInfo, ObjectStore
from tierfs.policy.merge import conflict_name
from tierfs.sync import attributes
from tierfs.sync.activity import Activity
from tierfs.sync.apply import Applier, Seen
from tierfs.sync.disputes import Disputes
from tierfs.sync.localonly import LocalOnly
from tierfs.sync.outcomes import UnfinishedError
from tierfs.sync.paths import Place, display_path, find_entry, find_owner
from tierfs.sync.plan import BESIDE_SUFFIX, target_key
from tierfs.sync.records import withdraw_link
from tierfs.sync.spoken_for import is_at_home

_LIST_OBJECTS: Final = 1000
_TIDY_PAGE: Final = 256
_log: Final = logging.getLogger(__name__)


@define
class Move:
    """How far one is, since this start. `found`: objects that have to move, as far as they were listed."""

    started_ns: int
    found: int = 0
    moved: int = 0
    listed_ns: int = 0  # when all were found; 0: not yet


class TreeMover:
    """Carries out MOVE_TREE intents."""

    def __init__(
        self,
        *,
        index: Index,
        store: ObjectStore,
        locations: Locations,
        clock: Clock,
        applier: Applier,
        disputes: Disputes,
        activity: Activity,
        next_change: Callable[[], Awaitable[None]],
        wake: Callable[[], None],
        local: LocalOnly,
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._clock = clock
        self._applier = applier
        self._disputes = disputes
        self._activity = activity
        self._next_change = next_change
        self._wake = wake
        self._local = local
        self.moves: dict[int, Move] = {}
        """By the intent's seq; those that have begun and not ended."""
        self.on_end: Callable[[Intent, Move], None] = lambda intent, move: None

    async def move(self, seq: int) -> None:
        """Returns when the tree is at its new prefix.

        StoreError; UnfinishedError when some of it cannot be moved now (each object says why itself).
        """
        intent = intents.get(self._index, seq)
        if intent is None:
            return
        move = self.moves.setdefault(seq, Move(self._clock.now_ns()))
        directory = inodes.get(self._index, intent.ino)
        if directory is not None and self._local.holds(directory):
            await self._local.leave_tree(intent.ino)
        elif directory is not None and directory.parent != 0:
            while (prefix := rows.override(self._index, intent.ino)) is not None:
                if await self._pass(intent, prefix, move):
                    self._end_override(intent.ino, prefix)
            await self._wait_for_followers(await self._tidy(intent.ino))
        with self._index.transaction() as txn:
            intents.delete(txn, seq)
        del self.moves[seq]
        self.on_end(intent, move)

    async def _pass(self, intent: Intent, prefix: str, move: Move) -> bool:
        """Lists the old prefix once and has all of it moved; True when nothing was left to be moved."""
        token, total, doubtful = "", 0, 0
        outstanding: deque[int] = deque()
        while True:
            mark = self._activity.begin()
            try:
                page = await self._store.list(prefix, delimited=False, token=token, limit=_LIST_OBJECTS)
                if rows.override(self._index, intent.ino) != prefix:
                    return False  # renamed again, or back
                infos = [info for info in page.objects if not self._activity.touched_since(mark, info.key)]
            finally:
                self._activity.end(mark)
            # what was written or deleted since (a directory also: anything below it) is for the next pass to see
            doubtful += len(page.objects) - len(infos)
            found = [ino for info in infos if (ino := self._admit(intent, prefix, info)) is not None]
            total += len(found)
            # a pass that begins anew finds again what is left
            move.found = max(move.found, move.moved + len(outstanding) + len(found))
            outstanding += found
            reach(Point.TREE_LISTED)
            token = page.token
            if not token:
                move.listed_ns = move.listed_ns or self._clock.now_ns()
            self._wake()
            outstanding = await self._wait(outstanding, prefix, move, at_most=_LIST_OBJECTS // 2 if token else 0)
            if not token:
                break
        if outstanding:
            path = display_path(self._index, intent.ino)
            raise UnfinishedError(f"{len(outstanding)} objects of {path} are still under {prefix!r}")
        return total == doubtful == 0

    async def _wait(self, outstanding: deque[int], prefix: str, move: Move, *, at_most: int) -> deque[int]:
        """Returns what is left to be moved when that is little enough, or when all the rest fails.

        Looks at one inode at a time: all have to go, and the oldest, whose turn comes first, tells how far it is.
        """
        failing: list[int] = []
        while len(outstanding) > at_most:
            if not self._is_under(outstanding[0], prefix):
                outstanding.popleft()
                move.moved += 1
            elif self._is_failing(outstanding[0]):
                failing.append(outstanding.popleft())
            else:
                await self._next_change()
        outstanding.extendleft(reversed(failing))
        return outstanding

    def _is_under(self, ino: int, prefix: str) -> bool:
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or inode.base is None:
            return False
        key = self._locations.actual_key(self._index, inode)
        return key.startswith(prefix) and key != target_key(self._index, self._locations, inode)

    def _is_failing(self, ino: int) -> bool:
        intent = intents.of_inode(self._index, ino)
        return intent is None or intent.attempts > 0

    async def _wait_for_followers(self, followers: set[int]) -> None:
        """Until the bucket has them, or says why not.

        A link in another directory that is being moved is that move's to wait for: it may not have begun, since only
        some run at a time.
        """
        self._wake()
        while any(not self._is_failing(ino) and not self._has_link_on_its_way(ino) for ino in followers):
            await self._next_change()

    def _has_link_on_its_way(self, ino: int) -> bool:
        return any(
            self._locations.actual_prefix(self._index, link.parent)
            != self._locations.desired_prefix(self._index, link.parent)
            for link in links.all(self._index, ino)
        )

    # ---- one object under the old prefix ----

    def _admit(self, intent: Intent, prefix: str, info: ObjectInfo) -> int | None:
        """The inode that has to be moved away from this key, with an intent from now on; None: leave it."""
        key = info.key
        if intents.tombstone(self._index, key) is not None or self._local.passes_over(intent.ino, prefix, key):
            return None
        if is_at_home(self._index, self._locations, key):
            return None  # of a directory that has the old name now
        # before prefixes are compared: directories that had this path one after the other may all be on their way
        occupant = self._locations.occupant(self._index, key)
        if occupant is not None and occupant != intent.ino:
            self._disputes.mark(occupant)
            return occupant
        if (found := self._locations.link_occupant(self._index, key)) is not None:
            with self._index.transaction() as txn:
                withdraw_link(txn, *found, key, self._clock.now_ns())
            return None
        if self._is_of_another(intent.ino, prefix, key):
            return None
        inode = self._inode_at(intent, info, key[len(prefix) :])
        if inode is None or not self._is_at(inode, key):
            return None
        self._disputes.mark(inode.ino)
        return inode.ino

    def _is_at(self, inode: Inode, key: str) -> bool:
        return inode.base is not None and self._locations.actual_key(self._index, inode) == key

    def _is_of_another(self, ino: int, prefix: str, key: str) -> bool:
        """The key belongs to a directory below that has an override of its own."""
        return any(
            other != ino and len(other_prefix) > len(prefix) and key.startswith(other_prefix)
            for other, other_prefix in rows.overrides(self._index)
        )

    def _inode_at(self, intent: Intent, info: ObjectInfo, rest: str) -> Inode | None:
        """The inode of the object at `rest` below the directory; one that was never seen is imported."""
        is_dir = info.key.endswith("/")
        if not rest:
            return self._take_marker(intent.ino, info)
        if any(unreachable_reason(part) for part in rest.rstrip("/").split("/")):
            _log.warning(
                "%r cannot be a path and stays where it is although its directory was renamed",
                info.key,
                extra={"event": "TFS4011"},
            )
            return None
        *parents, last = rest.rstrip("/").split("/")
        directory = intent.ino
        for part in parents:
            found = self._subdirectory(directory, part)
            if found is None:
                return None
            directory = found
        if is_dir:
            ino = self._subdirectory(directory, last)
            return self._take_marker(ino, info) if ino is not None else None
        return self._file_at(directory, last, info)

    def _subdirectory(self, directory: int, part: str) -> int | None:
        entry = find_entry(self._index, directory, part)
        if entry is None:
            return self._applier.add_directory(directory, part.encode())
        inode = inodes.get(self._index, entry.ino)
        return entry.ino if inode is not None and inode.is_dir else None

    def _take_marker(self, ino: int, info: ObjectInfo) -> Inode | None:
        """The directory's marker, if the index did not know that it has one."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is None or inode.base is not None:
                return inode
            inode = evolve(inode, base=attributes.base_of(info), flags=inode.flags & ~InodeFlag.IMPLICIT)
            inodes.put(txn, inode)
            self._locations.settle(txn, inode, info.key)
        return inode

    def _file_at(self, directory: int, part: str, info: ObjectInfo) -> Inode | None:
        entry = find_entry(self._index, directory, part)
        inode = inodes.get(self._index, entry.ino) if entry is not None else None
        name = entry.name if entry is not None else part.encode()
        if inode is not None and inode.is_dir:
            name += BESIDE_SUFFIX
            entry = dirents.get(self._index, directory, name)
            inode = inodes.get(self._index, entry.ino) if entry is not None else None
        if inode is not None:
            if self._is_at(inode, info.key):
                return inode
            pending = intents.of_inode(self._index, inode.ino)
            if pending is not None and pending.key == info.key:
                return None  # a write of ours whose end is still to be recorded, and then it moves on
            if find_owner(self._index, info.key[: info.key.rfind("/") + 1]) is not None:
                return None  # the old name is a directory again, it is that one's
            # somebody put an object where ours was moved away: both are kept
            copy = conflict_name(name, "bucket", self._clock.now_ns())
            added = self._applier.add_object(directory, Seen(copy, info.key, info))
            if added is not None:
                self._disputes.note_taken(Place(directory, name), copy)
            return added
        return self._applier.add_object(directory, Seen(name, info.key, info))

    # ---- the end ----

    def _end_override(self, ino: int, prefix: str) -> None:
        """Nothing lies under the old prefix any more: keys follow from paths again."""
        reach(Point.TREE_EMPTIED)
        with self._index.transaction() as txn:
            rows.clear_override(txn, ino)
            inode = inodes.get(txn, ino)
            if inode is not None:
                # what others put under the new prefix meanwhile has not been listed
                inodes.put(txn, evolve(inode, listed_ns=0))
        self._locations.forget_prefixes()
        _log.debug("%r is empty: the renamed directory %#x is moved", prefix, ino)

    async def _tidy(self, top: int) -> set[int]:
        """Clears location rows that say what the path says; returns the files of which something is left to be done.

        What lies elsewhere was moved to a name that the directory had in between: it is moved on. And a further link
        that gave up its object under the old prefix is written at its new key.
        """
        waiting, followers = [top], set[int]()
        while waiting:
            directory = waiting.pop()
            after = b""
            while page := dirents.page(self._index, directory, after, _TIDY_PAGE):
                after = page[-1].name
                misplaced: list[int] = []
                with self._index.transaction() as txn:
                    for entry in page:
                        inode = inodes.get(txn, entry.ino)
                        if inode is None:
                            continue
                        if inode.is_dir:
                            waiting.append(inode.ino)
                        if self._is_misplaced(txn, inode, directory, entry.name):
                            misplaced.append(inode.ino)
                for ino in misplaced:
                    self._disputes.mark(ino)
                followers.update(misplaced)
                await trio.lowlevel.checkpoint()
        return followers

    def _is_misplaced(self, txn: Txn, inode: Inode, directory: int, name: bytes) -> bool:
        """Clears a row that says what the path says; True for one that says something else."""
        if (inode.parent, inode.name) != (directory, name):
            link = links.get(txn, inode.ino, directory, name)
            return link is not None and link.base is None
        location = rows.location(txn, inode.ino)
        if location is None:
            return False
        if self._locations.derived_key(txn, inode) == location:
            rows.clear_location(txn, inode.ino)
            return False
        return inode.base is not None and target_key(txn, self._locations, inode) != location
