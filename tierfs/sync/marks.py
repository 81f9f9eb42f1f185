"""What happened since a mark was taken: kept while somebody has a mark, and no longer. Sync code only."""

from typing import Generic, TypeVar

K = TypeVar("K")


class Marks(Generic[K]):
    """Keys noted, each with the number of the last time."""

    def __init__(self, keys_max: int) -> None:
        """Of more than `keys_max` keys nothing is known any more: all of them count as noted."""
        self._keys_max = keys_max
        self._noted: dict[K, int] = {}
        self._marks: dict[int, int] = {}  # mark -> counter when it was taken
        self._counter = 0
        self._next_mark = 0
        self._overflow = 0  # marks taken before this counter know nothing any more

    def begin(self, since: int | None = None) -> int:
        """A mark: `noted_since` answers for it until `end`. `since`: as if it had been taken with that one."""
        self._next_mark += 1
        self._marks[self._next_mark] = self._counter if since is None else self._marks[since]
        return self._next_mark

    def end(self, mark: int) -> None:
        """Nobody asks about this mark any more."""
        del self._marks[mark]
        if not self._marks:
            self._noted.clear()

    @property
    def is_any(self) -> bool:
        """Whether somebody has a mark, so that what is noted can be asked for."""
        return bool(self._marks)

    def note(self, *keys: K) -> None:
        """It happens now."""
        if not self._marks:
            return
        self._counter += 1
        for key in keys:
            self._noted[key] = self._counter
        if len(self._noted) > self._keys_max:
            self._noted.clear()
            self._overflow = self._counter

    def noted_since(self, mark: int, key: K) -> bool:
        """Whether `key` was noted after the mark. True also where that is not known any more."""
        taken = self._marks[mark]
        return taken < self._overflow or self._noted.get(key, 0) > taken
