"""Who works on what: no key of the bucket and no inode ever has two workers.

A claim is taken whole or not at all, and never waited for: a worker that cannot have it goes away and the
scheduler offers the intent again after some other work has ended. So there is nothing to deadlock on.
Sync code only.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Claims:
    """A set of names in use; names are keys of the bucket (str) and inode numbers (int)."""

    def __init__(self) -> None:
        self._held: set[str | int] = set()

    def __contains__(self, name: str | int) -> bool:
        return name in self._held

    @contextmanager
    def try_hold(self, names: Iterable[str | int]) -> Iterator[bool]:
        """Holds all the names for the block, or (False) none of them."""
        wanted = set(names)
        if wanted & self._held:
            yield False
            return
        self._held |= wanted
        try:
            yield True
        finally:
            self._held -= wanted
