"""Which keys this daemon wrote or deleted while a listing was under way.

A listing is a picture of the bucket as it was at some moment between its first and its last request. An
export that ends meanwhile is newer than the picture: the listing must neither bring back what was just
deleted nor take away what was just written. So whoever lists takes a mark, and whoever finishes a write
or a delete notes the key; what was noted since the mark is left alone.

Of those keys nothing is kept while nobody lists. The versions that it wrote are kept for a while where
events come in, so that the event of our own write is known to be no news. Sync code only.
"""

from collections.abc import Callable, Iterator
from typing import Final

from cachetools import LRUCache

from tierfs.sync.marks import Marks

_KEYS_MAX: Final = 200_000


class Activity:
    """Keys touched; ancestors ("a/", "a/b/") count as touched too."""

    def __init__(
        self,
        *,
        keys_max: int = _KEYS_MAX,
        versions_kept: int = 1,
        tell: Callable[[str, str], None] = lambda key, etag: None,
    ) -> None:
        """`tell`: hears of what `note` hears."""
        self._tell = tell
        self._versions: LRUCache[tuple[str, str], None] = LRUCache(versions_kept)
        self._marks: Marks[str] = Marks(keys_max)

    def begin(self, since: int | None = None) -> int:
        """A mark: `touched_since` answers for it until `end`. `since`: as if it had been taken with that one."""
        return self._marks.begin(since)

    def end(self, mark: int) -> None:
        """The listing is applied."""
        self._marks.end(mark)

    def note(self, key: str, etag: str = "") -> None:
        """The object at `key` was just written by us, as version `etag`, or deleted."""
        self._tell(key, etag)
        if etag:
            self._versions[key, etag] = None
        if self._marks.is_any:
            self._marks.note(key, *_ancestors(key))

    def touched_since(self, mark: int, key: str) -> bool:
        """Whether `key` (or, for one that ends in "/", anything below it) was touched after the mark.

        True also where it is not known any more, since too many keys were.
        """
        return self._marks.noted_since(mark, key)

    def claim(self, key: str, etag: str) -> bool:
        """Whether we wrote this version of late. True once for each: a second event may be of somebody else's write.

        (Who changes only the metadata of an object leaves its ETag as it is.)
        """
        return self._versions.pop((key, etag), False) is None


def _ancestors(key: str) -> Iterator[str]:
    at = key.rfind("/", 0, len(key) - 1)
    while at >= 0:
        yield key[: at + 1]
        at = key.rfind("/", 0, at)
