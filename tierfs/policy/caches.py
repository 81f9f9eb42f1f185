"""Caches of byte-sized objects that differ in what they evict, to be compared over recorded or made-up accesses.

Pure, and about keys alone: each holds at most `capacity_bytes`, and an object that is larger passes by. `Ranked` is
what the mount does (`policy.ranking`); the others are the field's: LRU as the reference, age as a sysadmin would rule
it, and ARC, SIEVE and S3-FIFO by their papers, with bytes in place of pages where those count pages.
"""

from collections import OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Protocol

import cachetools

from tierfs.policy.duel import Duel, RankedTier

_AGE_STEP_S: Final = 60.0
_S3_SMALL_SHARE: Final = 0.1
_S3_USES_MAX: Final = 3


class Cache(Protocol):
    """One simulated tier."""

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        """Was the object here? Afterwards it is, unless the policy or its size keeps it out. Times do not fall."""
        ...


class Lru:
    """Least recently used goes first."""

    def __init__(self, capacity_bytes: int) -> None:
        self._sizes: cachetools.LRUCache[int, int] = cachetools.LRUCache(capacity_bytes, getsizeof=int)

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        if key in self._sizes:
            self._sizes[key]
            return True
        if size_bytes <= self._sizes.maxsize:
            self._sizes[key] = size_bytes
        return False


class Age:
    """Oldest access first, to the minute and by number within it: what can be told from access times that are kept."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._used_bytes = 0
        self._entries: dict[int, tuple[int, float]] = {}
        self._order: list[tuple[float, int]] = []  # a heap; an entry whose time is not the object's is outdated

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        entry = self._entries.get(key)
        if entry is not None:
            if now_s - entry[1] >= _AGE_STEP_S:
                self._note(key, entry[0], now_s)
            return True
        if size_bytes > self._capacity_bytes:
            return False
        while self._used_bytes + size_bytes > self._capacity_bytes:
            used_s, oldest = heappop(self._order)
            if self._entries.get(oldest, (0, -1.0))[1] == used_s:
                self._used_bytes -= self._entries.pop(oldest)[0]
        self._used_bytes += size_bytes
        self._note(key, size_bytes, now_s)
        return False

    def _note(self, key: int, size_bytes: int, now_s: float) -> None:
        self._entries[key] = (size_bytes, now_s)
        heappush(self._order, (now_s, key))


class _Queue:
    """Objects in the order in which they came, with the bytes that they have together."""

    def __init__(self) -> None:
        self.sizes: OrderedDict[int, int] = OrderedDict()
        self.total_bytes = 0

    def __contains__(self, key: int) -> bool:
        return key in self.sizes

    def __bool__(self) -> bool:
        return bool(self.sizes)

    def add(self, key: int, size_bytes: int) -> None:
        self.sizes[key] = size_bytes
        self.total_bytes += size_bytes

    def take(self, key: int) -> int:
        size_bytes = self.sizes.pop(key)
        self.total_bytes -= size_bytes
        return size_bytes

    def take_oldest(self) -> tuple[int, int]:
        key, size_bytes = self.sizes.popitem(last=False)
        self.total_bytes -= size_bytes
        return key, size_bytes


class Arc:
    """Megiddo and Modha, FAST 2003: what was used once and what was used again, with a border that learns from both."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._once, self._again = _Queue(), _Queue()
        self._once_ghosts, self._again_ghosts = _Queue(), _Queue()
        self._target_bytes = 0.0  # of `_once`

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        if key in self._again:
            self._again.sizes.move_to_end(key)
            return True
        if key in self._once:
            self._again.add(key, self._once.take(key))
            return True
        if size_bytes > self._capacity_bytes:
            return False
        is_again, prefers_once = self._learn(key, size_bytes)
        while self._once.total_bytes + self._again.total_bytes + size_bytes > self._capacity_bytes:
            self._evict(prefers_once)
        if not is_again:
            self._forget(size_bytes)
        (self._again if is_again else self._once).add(key, size_bytes)
        return False

    def _learn(self, key: int, size_bytes: int) -> tuple[bool, bool]:
        """Moves the border by what a ghost's return says: (is it one?, one of those that were used again?)."""
        once, again = self._once_ghosts.total_bytes, self._again_ghosts.total_bytes
        if key in self._once_ghosts:
            step = max(size_bytes, size_bytes * again / max(1, once))
            self._target_bytes = min(self._capacity_bytes, self._target_bytes + step)
            self._once_ghosts.take(key)
            return True, False
        if key in self._again_ghosts:
            step = max(size_bytes, size_bytes * once / max(1, again))
            self._target_bytes = max(0.0, self._target_bytes - step)
            self._again_ghosts.take(key)
            return True, True
        return False, False

    def _evict(self, prefers_once: bool) -> None:
        excess_bytes = self._once.total_bytes - self._target_bytes
        if self._once and (excess_bytes > 0 or (prefers_once and excess_bytes == 0) or not self._again):
            self._once_ghosts.add(*self._once.take_oldest())
        else:
            self._again_ghosts.add(*self._again.take_oldest())

    def _forget(self, size_bytes: int) -> None:
        ghosts, limit_bytes = self._once_ghosts, self._capacity_bytes - size_bytes
        while ghosts and self._once.total_bytes + ghosts.total_bytes > limit_bytes:
            ghosts.take_oldest()
        lists = (self._once, self._again, self._once_ghosts, self._again_ghosts)
        while self._again_ghosts and sum(each.total_bytes for each in lists) > limit_bytes + self._capacity_bytes:
            self._again_ghosts.take_oldest()


class _Node:
    """A link of SIEVE's list."""

    __slots__ = ("is_used", "key", "newer", "older", "size_bytes")

    def __init__(self, key: int, size_bytes: int, older: "_Node | None") -> None:
        self.key = key
        self.size_bytes = size_bytes
        self.is_used = False
        self.newer: _Node | None = None
        self.older = older


class Sieve:
    """Zhang et al., NSDI 2024: a hand goes from old to new, passes over what was used, and takes what was not."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._used_bytes = 0
        self._nodes: dict[int, _Node] = {}
        self._newest: _Node | None = None
        self._oldest: _Node | None = None
        self._hand: _Node | None = None

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        node = self._nodes.get(key)
        if node is not None:
            node.is_used = True
            return True
        if size_bytes > self._capacity_bytes:
            return False
        while self._used_bytes + size_bytes > self._capacity_bytes:
            self._evict()
        node = self._nodes[key] = _Node(key, size_bytes, self._newest)
        if self._newest is not None:
            self._newest.newer = node
        self._newest = node
        self._oldest = self._oldest or node
        self._used_bytes += size_bytes
        return False

    def _evict(self) -> None:
        node = self._hand or self._oldest
        while node is not None and node.is_used:
            node.is_used = False
            node = node.newer or self._oldest
        assert node is not None, "an empty cache has room for whatever fits it"
        self._hand = node.newer
        if node.older is not None:
            node.older.newer = node.newer
        else:
            self._oldest = node.newer
        if node.newer is not None:
            node.newer.older = node.older
        else:
            self._newest = node.older
        del self._nodes[node.key]
        self._used_bytes -= node.size_bytes


class S3Fifo:
    """Yang et al., SOSP 2023: a small queue on probation, a main one with second chances, and ghosts."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._small, self._main, self._ghosts = _Queue(), _Queue(), _Queue()
        self._uses: dict[int, int] = {}

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        uses = self._uses.get(key)
        if uses is not None:
            self._uses[key] = min(_S3_USES_MAX, uses + 1)
            return True
        if size_bytes > self._capacity_bytes:
            return False
        while self._small.total_bytes + self._main.total_bytes + size_bytes > self._capacity_bytes:
            self._evict()
        self._uses[key] = 0
        if key in self._ghosts:
            self._ghosts.take(key)
            self._main.add(key, size_bytes)
        else:
            self._small.add(key, size_bytes)
        return False

    def _evict(self) -> None:
        if self._small.total_bytes >= self._capacity_bytes * _S3_SMALL_SHARE or not self._main:
            while self._small:
                key, size_bytes = self._small.take_oldest()
                if self._uses[key] <= 1:
                    self._haunt(key, size_bytes)
                    return
                self._uses[key] = 0
                self._main.add(key, size_bytes)
        while self._main:
            key, size_bytes = self._main.take_oldest()
            if not self._uses[key]:
                del self._uses[key]
                return
            self._uses[key] -= 1
            self._main.add(key, size_bytes)

    def _haunt(self, key: int, size_bytes: int) -> None:
        del self._uses[key]
        self._ghosts.add(key, size_bytes)
        while self._ghosts.total_bytes > self._capacity_bytes * (1 - _S3_SMALL_SHARE):
            self._ghosts.take_oldest()


class Ranked:
    """What the mount does, which `content.ranks` has over the index: a ranked tier that admits as the duel says."""

    def __init__(self, capacity_bytes: int) -> None:
        self._tier = RankedTier(capacity_bytes)
        self._duel = Duel(capacity_bytes)

    def access(self, key: int, size_bytes: int, now_s: float) -> bool:
        self._duel.saw(key, size_bytes)
        self._tier.admits_returning = self._duel.admits_returning
        return self._tier.access(key, size_bytes)

    def drop(self, key: int) -> None:
        """Somebody has it leave, who knows why; nothing where it is not here."""
        self._tier.drop(key)


POLICIES: Final[dict[str, Callable[[int], Cache]]] = {
    "ranked": Ranked,
    "lru": Lru,
    "age": Age,
    "arc": Arc,
    "sieve": Sieve,
    "s3-fifo": S3Fifo,
}
"""By name, each for a capacity in bytes; the mount's own first."""
