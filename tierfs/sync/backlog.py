"""Pending intents as the index has them: how much they are, and which of them a path has.

Checkpoints: in `page_in` alone.
"""

from typing import Final

import trio
from attrs import frozen

from tierfs.index import inodes, intents
from tierfs.index.env import Index, Reader
from tierfs.model import InodeFlag, Intent, IntentKind
from tierfs.namespace.locations import Locations
from tierfs.sync.paths import ancestors, display_path, key_path, text_path

_PAGE_INTENTS: Final = 128
_LOOKED_AT: Final = 20_000


@frozen
class Backlog:
    """What the bucket has not seen yet. All but `count` are lower bounds when more than 20,000 intents are pending."""

    count: int
    bytes: int
    failures: int  # whose last attempt failed
    oldest_ns: int | None  # None: nothing is pending


@frozen
class Scope:
    """What somebody waits for: intents up to `bound` at or below an inode (None: all), or only deletions there."""

    locations: Locations
    ino: int | None
    bound: int
    deletes_only: bool = False

    def has(self, reader: Reader, intent: Intent) -> bool:
        is_of_kind = not self.deletes_only or intent.kind is IntentKind.DELETE
        return is_of_kind and is_in_scope(reader, self.locations, self.ino, intent)


async def page_in(scope: Scope, index: Index, after: int) -> list[Intent]:
    """The next intents of the scope above `after`, oldest first; none when there are no more."""
    while page := intents.page(index, after, _PAGE_INTENTS):
        found = [intent for intent in page if intent.seq <= scope.bound and scope.has(index, intent)]
        if found or page[-1].seq > scope.bound:
            return found
        after = page[-1].seq
        await trio.lowlevel.checkpoint()
    return []


def survey(index: Index) -> Backlog:
    """All that is pending."""
    size_bytes, failures, oldest_ns, after, looked_at = 0, 0, None, 0, 0
    while looked_at < _LOOKED_AT and (page := intents.page(index, after, _PAGE_INTENTS)):
        for intent in page:
            size_bytes += bytes_of(index, intent)
            failures += intent.attempts > 0
            oldest_ns = intent.created_ns if oldest_ns is None else min(oldest_ns, intent.created_ns)
        after = page[-1].seq
        looked_at += len(page)
    return Backlog(intents.count(index), size_bytes, failures, oldest_ns)


def bytes_of(reader: Reader, intent: Intent) -> int:
    """What has to be sent."""
    if intent.kind is not IntentKind.RECONCILE:
        return 0
    inode = inodes.get(reader, intent.ino)
    return inode.size_bytes if inode is not None and InodeFlag.DATA_DIRTY in inode.flags else 0


def label(reader: Reader, intent: Intent) -> str:
    """What it is about, for logs and status."""
    if intent.kind is IntentKind.DELETE:
        return f"the deletion of {intent.key!r}"
    return display_path(reader, intent.ino)


def is_void(reader: Reader, intent: Intent) -> bool:
    """Was the file unlinked? What the bucket has of it is a deletion's business."""
    inode = inodes.get(reader, intent.ino)
    return intent.kind is IntentKind.RECONCILE and (inode is None or inode.parent == 0)


def path_of(reader: Reader, intent: Intent) -> str:
    """The path in the mount, as `paths.text_path`; "" for what has none any more."""
    if intent.kind is IntentKind.DELETE:
        return key_path(reader, intent.key)
    inode = inodes.get(reader, intent.ino)
    return text_path(reader, inode.parent, inode.name) if inode is not None and inode.parent else ""


def is_in_scope(reader: Reader, locations: Locations, ino: int | None, intent: Intent) -> bool:
    """Is it about an object of something at or below the inode (None: anything)?"""
    if ino is None or intent.ino == ino:
        return True
    top = inodes.get(reader, ino)
    if top is not None and intent.kind is IntentKind.MOVE_TREE and intent.ino in ancestors(reader, top):
        return True  # it takes the object along
    if top is None or not top.is_dir:
        return False
    if intent.kind is IntentKind.DELETE:
        prefixes = (locations.desired_prefix(reader, ino), locations.actual_prefix(reader, ino))
        return intent.key.startswith(prefixes)
    inode = inodes.get(reader, intent.ino)
    return inode is not None and ino in ancestors(reader, inode)
