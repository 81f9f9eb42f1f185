"""The account of the hot tier: how many bytes it holds, who may add to them, who waits.

Promises: `used_bytes` + what is reserved never exceeds the limit, but for one reservation that is bigger
than the whole tier and alone in it; the cache's file system keeps `reserve_bytes` free. A reservation comes
before the bytes are written, the charge (what the blocks really take) when they are; so the tier exceeds its
size by at most what its writers hold beyond their reservations: nothing.

A reservation that `overdraws` is of bytes which a program believes to be written: it waits as the others do, and then
gets its room beyond the limit, as long as the disk has it.

Making room goes up through `Reclaimer`, which content implements. Writers wait while the tier is full of
dirty bytes; ENOSPC comes only when nothing was freed or exported for `full_wait_s`. Who reads never waits
for an export: `reserve_clean` says False at once when clean bytes are not enough.

Shared by tasks: the counters. Checkpoints: `reserve` and `reserve_clean`; the rest is atomic.
"""

import errno
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio

from tierfs.errors import FsError

# an export makes bytes clean without telling anybody here: look again this often
_LOOK_AGAIN_S: Final = 0.5
_log: Final = logging.getLogger(__name__)


class Reclaimer(Protocol):
    """How room is made; called by Space, one call at a time."""

    async def evict_clean(self, need_bytes: int) -> int:
        """Drops clean bytes, least worth first, until about `need_bytes` are free; returns how many it dropped."""
        ...

    def hurry(self) -> None:
        """The tier is full of dirty bytes: export them now, quiet time or not. Cheap to call again."""
        ...


class _NoReclaimer:
    async def evict_clean(self, need_bytes: int) -> int:
        return 0

    def hurry(self) -> None:
        return None


class Space:
    """Bytes of the hot tier. The daemon sets `reclaimer` once it exists."""

    def __init__(
        self, *, limit_bytes: int, reserve_bytes: int, free_bytes: Callable[[], int], full_wait_s: float = 30.0
    ) -> None:
        self.limit_bytes = limit_bytes
        self.reclaimer: Reclaimer = _NoReclaimer()
        self._reserve_bytes = reserve_bytes
        self._free_bytes = free_bytes
        self._full_wait_s = full_wait_s
        self._used_bytes = 0
        self._entered_bytes = 0
        self._reserved_bytes = 0
        self._progress_count = 0
        self._changed = trio.Event()
        self._reclaiming = trio.Lock()
        self._waiters = 0

    @property
    def used_bytes(self) -> int:
        """What is charged: the blocks of all backing files."""
        return self._used_bytes

    @property
    def entered_bytes(self) -> int:
        """What was ever charged, whether it is still here or not."""
        return self._entered_bytes

    @property
    def reserved_bytes(self) -> int:
        """What is promised to writers and fetches that are at work."""
        return self._reserved_bytes

    @property
    def waiting_count(self) -> int:
        """Writers that wait for room."""
        return self._waiters

    @property
    def is_full(self) -> bool:
        return not self.fits(1)

    def charge(self, size_bytes: int) -> None:
        """Bytes that the tier now holds; negative gives them back."""
        self._used_bytes = max(0, self._used_bytes + size_bytes)
        self._entered_bytes += max(0, size_bytes)
        if size_bytes < 0:
            self.progressed()

    def release(self, size_bytes: int) -> None:
        """Bytes that the tier no longer holds."""
        self.charge(-size_bytes)

    def progressed(self) -> None:
        """Something was freed, or an export moved on: who waits looks again, and waits longer if need be."""
        self._progress_count += 1
        self._wake()

    def _wake(self) -> None:
        if self._waiters:
            self._changed.set()
            self._changed = trio.Event()

    def fits(self, size_bytes: int) -> bool:
        """May `size_bytes` be written now? Only true until the next checkpoint: write or reserve before it."""
        taken = self._used_bytes + self._reserved_bytes
        if taken + size_bytes > self.limit_bytes and taken > 0:
            return False
        return self._free_bytes() - self._reserved_bytes - size_bytes >= self._reserve_bytes

    @property
    def room_bytes(self) -> int:
        """How much may be written now; true until the next checkpoint."""
        left_bytes = self.limit_bytes - self._used_bytes - self._reserved_bytes
        return max(0, min(left_bytes, self._free_bytes() - self._reserved_bytes - self._reserve_bytes))

    def promise(self, size_bytes: int) -> None:
        """Reserves what is within `room_bytes`; `unreserve` ends it."""
        self._reserved_bytes += size_bytes

    def shortage_bytes(self, size_bytes: int) -> int:
        """How much must go before `size_bytes` fit; 0 when they do."""
        over_limit = self._used_bytes + self._reserved_bytes + size_bytes - self.limit_bytes
        over_disk = self._reserve_bytes + self._reserved_bytes + size_bytes - self._free_bytes()
        return 0 if self.fits(size_bytes) else max(over_limit, over_disk, 1)

    async def shrink(self, need_bytes: int) -> int:
        """Drops clean bytes before anybody waits for room, in turn with those who do; returns how many."""
        async with self._reclaiming:
            return await self.reclaimer.evict_clean(need_bytes)

    def unreserve(self, size_bytes: int) -> None:
        """The end of a reservation: its bytes are charged by now, or will not come."""
        self._reserved_bytes -= size_bytes
        self._wake()

    async def reserve_clean(self, size_bytes: int) -> bool:
        """Reserves room if dropping clean bytes can make it; never waits for an export."""
        while not self.fits(size_bytes):
            async with self._reclaiming:
                # another task may have made room while this one waited for its turn
                shortage = self.shortage_bytes(size_bytes)
                if shortage and await self.reclaimer.evict_clean(shortage) == 0 and not self.fits(size_bytes):
                    return False
        self._reserved_bytes += size_bytes
        return True

    async def reserve(self, size_bytes: int, *, overdraws: bool = False) -> None:
        """Reserves room, waiting while the tier is full of dirty bytes.

        FsError(ENOSPC) after `full_wait_s` in which nothing was freed and no export moved on; not if it `overdraws`.
        """
        if await self.reserve_clean(size_bytes):
            return
        self._waiters += 1
        try:
            await self._wait_for_room(size_bytes)
        except FsError as error:
            if not overdraws:
                raise
            _log.warning(
                "what programs stored by mappings is kept beyond the size of the tier: %s",
                error,
                extra={"event": "TFS3007"},
            )
            self._reserved_bytes += size_bytes
        finally:
            self._waiters -= 1

    async def _wait_for_room(self, size_bytes: int) -> None:
        seen, deadline_s = self._progress_count, trio.current_time() + self._full_wait_s
        while True:
            self.reclaimer.hurry()
            with trio.move_on_after(min(_LOOK_AGAIN_S, self._full_wait_s)):
                await self._changed.wait()
            if await self.reserve_clean(size_bytes):
                return
            if self._progress_count != seen:
                seen, deadline_s = self._progress_count, trio.current_time() + self._full_wait_s
            elif trio.current_time() >= deadline_s:
                raise FsError(errno.ENOSPC, "the hot tier is full and nothing could be evicted or exported")

    @asynccontextmanager
    async def reserved(self, size_bytes: int, *, overdraws: bool = False) -> AsyncIterator[None]:
        """`reserve` with its end."""
        await self.reserve(size_bytes, overdraws=overdraws)
        try:
            yield
        finally:
            self.unreserve(size_bytes)
