"""Files that are larger than their share of the tier while they are written: stable parts go to the bucket early.

A part (aligned, full, present; smaller than the store's in a tier that holds only a few of those) that was not
written for a while is uploaded as an object of its own,
`.tierfs/spill/<ino hex>-<start hex>-<op id>`, recorded, and its blocks are given back. Reads find it there;
the export joins it by UploadPartCopy. A part that is written meanwhile is not given back, and its object is
deleted again through an intent.

One task a file, started when the file grows beyond its share or when writers wait for room. Checkpoints: the
read of the part, the PUT, the lock of the file; after them `_is_still` decides.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import trio
from attrs import frozen

from tierfs.content.ledger import Ledger
from tierfs.content.live import LiveFile
from tierfs.errors import StoreError, StoreErrorKind, TierfsError
from tierfs.index import intents
from tierfs.model import HIDDEN_PREFIX, Spill
from tierfs.objectstore.base import Always, ObjectMeta, ObjectStore
from tierfs.units import KIB

_log: Final = logging.getLogger(__name__)
SPILL_PREFIX: Final = HIDDEN_PREFIX + "spill/"
NEVER: Final = (0.0, 0)
_RETRY_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.5
_TIER_PARTS_MIN: Final = 4  # the latest is spared: with less, a writer could fill the tier and have nothing to give up
_PART_MIN_BYTES: Final = 64 * KIB


def spill_part_bytes(part_size_bytes: int, tier_bytes: int) -> int:
    """The size of the parts in which files are spilled; whole blocks of the disk."""
    fitting = tier_bytes // _TIER_PARTS_MIN // _PART_MIN_BYTES * _PART_MIN_BYTES
    return min(part_size_bytes, max(_PART_MIN_BYTES, fitting))


@frozen
class StablePart:
    """A part that may go, and its last write: (trio time, version of the content); (0, 0) = not in this life."""

    start: int
    stop: int
    written: tuple[float, int]


def stable_parts(
    present: Iterable[tuple[int, int]],
    part_writes: dict[int, tuple[float, int]],
    part_size_bytes: int,
    *,
    written_before_s: float,
    spare_latest: bool,
) -> list[StablePart]:
    """Full parts within `present` last written before `written_before_s`, oldest first.

    `spare_latest` keeps the part that was written last: its writer is probably still in it.
    """
    latest = max(part_writes, key=lambda number: part_writes[number], default=-1) if spare_latest else -1
    found = []
    for start, stop in present:
        for number in range(-(-start // part_size_bytes), stop // part_size_bytes):
            written = part_writes.get(number, NEVER)
            if number != latest and written[0] <= written_before_s:
                begin = number * part_size_bytes
                found.append(StablePart(begin, begin + part_size_bytes, written))
    return sorted(found, key=lambda part: (part.written, part.start))


class Spiller:
    """Uploads stable parts of files that are being written."""

    def __init__(
        self, ledger: Ledger, store: ObjectStore, nursery: Callable[[], trio.Nursery], *, part_bytes: int,
        is_local: Callable[[int], bool],
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._store = store
        self._part_bytes = part_bytes
        self._is_local = is_local
        self._nursery = nursery
        self._share_bytes = int(ledger.space.limit_bytes * ledger.settings.spill_share)
        self._bodies = trio.CapacityLimiter(ledger.settings.spill_parallel)

    def grown(self, live: LiveFile) -> None:
        """Called after each write: cheap."""
        if live.charged_bytes > self._share_bytes:
            self._start(live, is_pressed=False)

    def relieve(self) -> None:
        """Writers wait for room: every file that is being written gives up what it can, the biggest first."""
        written = [live for live in self._ledger.lives.values() if live.writers]
        for live in sorted(written, key=lambda each: each.charged_bytes, reverse=True):
            self._start(live, is_pressed=True)

    def _start(self, live: LiveFile, *, is_pressed: bool) -> None:
        if live.is_spilling or live.is_dead or trio.current_time() < live.spill_not_before_s:
            return
        if self._ledger.lending.is_mapped(live):
            return
        if self._is_local(live.ino) or not self._candidates(live, is_pressed=is_pressed):
            live.spill_not_before_s = trio.current_time() + _LOOK_AGAIN_S
            return
        live.is_spilling = True
        live.references += 1
        self._nursery().start_soon(self._spill_file, live, is_pressed)

    def _candidates(self, live: LiveFile, *, is_pressed: bool) -> list[StablePart]:
        now_s = trio.current_time()
        return stable_parts(
            live.local_ranges(),
            live.part_writes,
            self._part_bytes,
            written_before_s=now_s if is_pressed else now_s - self._ledger.settings.spill_quiet_s,
            spare_latest=True,
        )

    async def _spill_file(self, live: LiveFile, is_pressed: bool) -> None:
        try:
            await self._take_back(live)
            while live.writers and not live.is_dead and self._is_too_big(live, is_pressed):
                parts = self._candidates(live, is_pressed=is_pressed)[: self._ledger.settings.spill_parallel]
                if not parts:
                    return
                errors: list[TierfsError] = []
                async with trio.open_nursery() as nursery:
                    for part in parts:
                        nursery.start_soon(self._spill_part, live, part, errors)
                if errors:
                    live.spill_not_before_s = trio.current_time() + _RETRY_S
                    _log.warning(
                        "parts of inode %x cannot be spilled, tried again later: %s",
                        live.ino,
                        errors[0],
                        extra={"event": "TFS3003"},
                    )
                    return
        finally:
            live.is_spilling = False
            self._ledger.let_go(live)

    async def _take_back(self, live: LiveFile) -> None:
        """From here on all writes come through us, and are noted; of those before, where they ended is the latest."""
        if self._ledger.lending.serves(live.ino):
            was_written = self._ledger.lending.serves_writes(live.ino)
            await self._ledger.lending.withdraw(live.ino)
            self._ledger.refresh(live)
            if was_written and live.size_bytes:
                number = (live.size_bytes - 1) // self._part_bytes
                live.part_writes[number] = (trio.current_time(), live.content_version)

    def _is_too_big(self, live: LiveFile, is_pressed: bool) -> bool:
        if is_pressed and self._ledger.space.waiting_count:
            return True
        # well below the share, so that the next write does not start again
        return live.charged_bytes > self._share_bytes * 3 // 4

    async def _spill_part(self, live: LiveFile, part: StablePart, errors: list[TierfsError]) -> None:
        resizes = live.resizes
        try:
            async with self._bodies:
                with live.guarded(part.start, part.stop):
                    data = await live.open_backing.read(part.start, part.stop - part.start)
                spill = await self._upload(live, part, data)
                del data  # before the next one is read
        except TierfsError as error:
            errors.append(error)
            return
        async with live.mutate:
            if resizes == live.resizes and self._is_still(live, part):
                self._ledger.remove_present(live, [(part.start, part.stop)], spill=spill)
                live.part_writes.pop(part.start // self._part_bytes, None)
            else:
                self._delete_later(spill.key, spill.etag)

    async def _upload(self, live: LiveFile, part: StablePart, data: bytes) -> Spill:
        op_id = self._ledger.index.next_op_id()
        key = f"{SPILL_PREFIX}{live.ino:x}-{part.start:x}-{op_id}"
        try:
            written = await self._store.put(key, data, ObjectMeta(user={"tierfs-op": op_id}), Always())
        except StoreError as error:
            if error.kind in (StoreErrorKind.UNCLEAR, StoreErrorKind.TIMEOUT):
                self._delete_later(key, "")
            raise
        return Spill(part.start, part.stop, key, written.etag)

    def _is_still(self, live: LiveFile, part: StablePart) -> bool:
        """Are the part's bytes what was uploaded, still here, and read by nobody at this moment?"""
        if live.is_dead or live.record is None or part.stop > live.size_bytes:
            return False
        lending = self._ledger.lending
        if lending.is_mapped(live) or lending.serves(live.ino):  # the last writer has gone, and somebody reads it
            return False
        number = part.start // self._part_bytes
        if live.part_writes.get(number, NEVER) != part.written or not live.covers(part.start, part.stop):
            return False
        return live.unguarded([(part.start, part.stop)]) == [(part.start, part.stop)]

    def _delete_later(self, key: str, etag: str) -> None:
        ledger = self._ledger
        with ledger.index.transaction() as txn:
            intents.add_tombstone(txn, key, etag, ledger.clock.now_ns())
