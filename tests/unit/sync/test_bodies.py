"""How large files are cut, and that what goes up is one state of the file."""

import itertools
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import INDEX_SETTINGS, Rig, run_rig
from tierfs import native
from tierfs.clock import ManualClock
from tierfs.config.sections import ExportSettings
from tierfs.content.handles import Snapshot
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import uploads
from tierfs.index.env import Index
from tierfs.model import InodeFlag
from tierfs.namespace.changes import NewInode
from tierfs.objectstore import dialects
from tierfs.objectstore.base import IfAbsent, ObjectMeta
from tierfs.sync.bodies import (
    PART_MIN_BYTES,
    PARTS_MAX,
    Stretch,
    Uploader,
    checksum_text,
    cut_pieces,
    part_bytes,
    read_small,
)
from tierfs.sync.outcomes import NotYetError
from tierfs.units import GIB, MIB, TIB

PART = 8 * MIB
DAY_S = 86_400.0


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index", clock=ManualClock(), settings=INDEX_SETTINGS, boot_id=1)
    yield opened
    opened.close()


@st.composite
def _files(draw: st.DrawFn) -> tuple[list[Stretch], int]:
    size = draw(st.integers(1, 300 * MIB))
    cuts = sorted(draw(st.sets(st.integers(1, size), max_size=12)) | {0, size})
    stretches = [
        Stretch(start, stop, draw(st.sampled_from(["", "base", "spill"])), 7 * start, "e")
        for start, stop in itertools.pairwise(cuts)
    ]
    return stretches, size


@given(_files())
def test_pieces_cover_the_file_and_fit_s3(file: tuple[list[Stretch], int]) -> None:
    stretches, size = file
    pieces = cut_pieces(stretches, size, PART)
    assert pieces[0].start == 0
    assert pieces[-1].stop == size
    assert all(left.stop == right.start for left, right in itertools.pairwise(pieces))
    assert all(piece.stop - piece.start >= PART_MIN_BYTES for piece in pieces[:-1])
    assert all(piece.stop - piece.start <= 2 * PART for piece in pieces)
    for piece in pieces:
        if piece.source:
            (stretch,) = [each for each in stretches if each.start <= piece.start < each.stop]
            assert stretch.key == piece.source
            assert piece.stop <= stretch.stop
            assert piece.source_start - stretch.key_start == piece.start - stretch.start


def test_a_clean_file_is_copied_but_for_what_changed() -> None:
    stretches = [
        Stretch(0, 100 * MIB, "k", 0, "e"),
        Stretch(100 * MIB, 100 * MIB + 10),
        Stretch(100 * MIB + 10, 200 * MIB, "k", 100 * MIB + 10, "e"),
    ]
    sent = [piece for piece in cut_pieces(stretches, 200 * MIB, PART) if not piece.source]
    assert sum(piece.stop - piece.start for piece in sent) <= 2 * PART_MIN_BYTES


def test_parts_grow_with_the_file() -> None:
    assert part_bytes(GIB, PART) == PART
    assert part_bytes(GIB, 1) == PART_MIN_BYTES
    for size in (TIB, 5 * TIB):
        assert -(-size // part_bytes(size, PART)) <= PARTS_MAX
    assert len(cut_pieces([Stretch(0, 200 * GIB)], 200 * GIB, PART)) <= PARTS_MAX


def _bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def test_a_large_file_goes_up_in_parts_with_its_checksum(tmp_path: Path) -> None:
    body = _bytes(23 * MIB)

    async def main(rig: Rig) -> None:
        ino = await rig.write("big", body)
        await rig.sync()
        assert rig.store.content("big") == body
        assert rig.store.requests["put_part"] == 3
        base = rig.inode(ino).base
        assert base is not None
        assert base.content == checksum_text(native.crc64nvme(body))
        assert rig.user_meta("big")["tierfs-content"] == base.content
        assert dialects.read(await rig.store.head("big")).perms == 0o644
        assert not rig.store._uploads

    run_rig(tmp_path, main)


def test_a_change_in_a_cold_file_sends_only_that(tmp_path: Path) -> None:
    body = bytearray(_bytes(40 * MIB))

    async def main(rig: Rig) -> None:
        rig.put_remote("big", bytes(body), user={"team": "blue"})
        ino = (await rig.stat("big")).ino
        handle = await rig.files.open(ino, write=True, truncate=False)
        await rig.files.write(handle, 20 * MIB, b"changed")
        await rig.files.release(handle)
        body[20 * MIB : 20 * MIB + 7] = b"changed"
        await rig.sync()
        assert rig.store.content("big") == bytes(body)
        assert rig.store.requests["copy_part"] >= 3
        assert rig.store.requests["put_part"] <= 2
        assert rig.user_meta("big")["team"] == "blue"
        assert "tierfs-content" not in rig.user_meta("big"), "parts that the server copied were not seen here"
        assert not rig.inode(ino).is_dirty

    run_rig(tmp_path, main)


def test_a_failed_part_leaves_nothing_behind_and_is_tried_again(tmp_path: Path) -> None:
    body = _bytes(20 * MIB)

    async def main(rig: Rig) -> None:
        await rig.write("big", body)
        rig.store.fail_next("put_part", StoreErrorKind.THROTTLED)
        rig.exporter.hurry()
        await trio.sleep(0.5)
        assert not rig.store._uploads
        assert "big" not in rig.store.objects
        await rig.sync()
        assert rig.store.content("big") == body

    run_rig(tmp_path, main)


def test_a_write_during_a_large_upload_keeps_the_torn_body_back(tmp_path: Path) -> None:
    one, two = _bytes(20 * MIB, 1), _bytes(20 * MIB, 2)

    async def main(rig: Rig) -> None:
        ino = await rig.write("big", one)
        rig.store.hold("put_part")
        rig.exporter.hurry()
        await rig.idle()
        await rig.write("big", two)
        rig.store.release("put_part")
        await rig.sync()
        assert rig.store.content("big") == two
        assert not rig.inode(ino).is_dirty
        assert not rig.store._uploads

    run_rig(tmp_path, main)


@pytest.mark.parametrize("size", [1 * MIB, 20 * MIB])
def test_a_file_that_never_rests_goes_up_in_a_state_that_it_had(tmp_path: Path, size: int) -> None:
    """A counter is written at both ends, first at the end: a body whose front is newer than its back is torn."""

    class Checked(MemoryStore):
        def _store(self, key: str, data: bytes, *rest: object, **kwargs: object) -> object:  # type: ignore[override]
            if key == "log":
                states.append((data[:8], data[-8:]))
            return super()._store(key, data, *rest, **kwargs)  # type: ignore[arg-type]

    states: list[tuple[bytes, bytes]] = []

    async def main(rig: Rig) -> None:
        created = rig.tree.create(1, b"log", NewInode(stat.S_IFREG | 0o644, 0, 0))
        handle = rig.files.created(created.ino)
        await rig.files.write(handle, 0, bytes(size))

        async def write_forever() -> None:
            for count in range(1, 200):
                stamp = count.to_bytes(8, "big")
                await rig.files.write(handle, size - 8, stamp)
                await rig.files.write(handle, 0, stamp)
                await trio.sleep(31)

        with trio.move_on_after(1200):
            await write_forever()
        await rig.files.release(handle)
        await rig.sync()
        assert len(states) >= 3
        assert all(front == back for front, back in states)
        assert InodeFlag.DATA_DIRTY not in rig.inode(created.ino).flags

    run_rig(tmp_path, main, store=Checked(), export=ExportSettings(quiet_s=5.0, max_dirty_age_s=200.0))


def test_buffers_are_bounded_over_all_uploads(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(4):
            await rig.write(f"big{number}", bytes([number]) * (33 * MIB))
        rig.store.hold("put_part")
        rig.exporter.hurry()
        await rig.idle()
        assert rig.store.in_flight <= 2 * rig.export_settings.concurrency
        rig.store.release("put_part")
        await rig.sync()

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S, concurrency=2))


class _Restless:
    """A snapshot of a file that changes at given reads, and never looks unchanged unless told so."""

    def __init__(self, states: list[bytes], *, looks_unchanged: bool = False) -> None:
        self._states = states
        self._looks_unchanged = looks_unchanged
        self.reads = 0
        self.size_bytes = len(states[0])
        self.write_seq = 1

    def unchanged(self) -> bool:
        return self._looks_unchanged

    async def read(self, start: int, stop: int) -> bytes:
        state = self._states[min(self.reads, len(self._states) - 1)]
        self.reads += 1
        return state[start:stop]

    async def checksum(self, start: int, stop: int) -> int | None:
        data = await self.read(start, stop)
        return native.crc64nvme(data) if len(data) == stop - start else None


def test_a_restless_small_file_is_taken_when_two_reads_agree() -> None:
    async def main() -> None:
        snapshot = _Restless([b"aa", b"ab", b"bb", b"bb", b"cc"])
        assert await read_small(cast(Snapshot, snapshot), collect=True) == b"bb"
        assert snapshot.reads == 4
        with pytest.raises(NotYetError):
            await read_small(cast(Snapshot, _Restless([b"aa", b"aa"])), collect=False)
        with pytest.raises(NotYetError):
            await read_small(cast(Snapshot, _Restless([bytes([n]) for n in range(99)])), collect=True)
        with pytest.raises(NotYetError, match="shorter"):
            await read_small(cast(Snapshot, _Restless([b"aa", b"a"])), collect=True)

    trio.run(main)


def test_only_parts_that_changed_are_sent_again_until_two_rounds_agree(index: Index) -> None:
    size = 3 * PART_MIN_BYTES
    old, new = bytes(size), bytes(2 * PART_MIN_BYTES) + b"x" * PART_MIN_BYTES

    async def main() -> None:
        store = MemoryStore(part_size_bytes=PART_MIN_BYTES)
        snapshot = _Restless([old] * 5 + [new])  # the third part of the second round is another
        uploader = Uploader(index, store, buffers=1)
        written, content = await uploader.upload(
            "k", ObjectMeta(), IfAbsent(), cast(Snapshot, snapshot), [Stretch(0, size)], collect=True, storage_class=""
        )
        assert store.content("k") == new
        assert store.requests["put_part"] == 4
        assert content == checksum_text(native.crc64nvme(new))
        assert written.etag

    trio.run(main)


def test_parts_that_are_not_what_the_first_look_saw_are_dropped(index: Index) -> None:
    size = 2 * PART_MIN_BYTES
    old, new = bytes(size), b"x" * size
    stretches = [Stretch(0, size)]

    async def main() -> None:
        store = MemoryStore(part_size_bytes=PART_MIN_BYTES)
        uploader = Uploader(index, store, buffers=1)
        snapshot = cast(Snapshot, _Restless([old] * 3 + [new], looks_unchanged=True))
        content = await uploader.checksum(snapshot, stretches, collect=False)
        assert content == checksum_text(native.crc64nvme(old))
        with pytest.raises(NotYetError, match="changed"):
            await uploader.upload(
                "k", ObjectMeta(), IfAbsent(), snapshot, stretches, collect=False, storage_class="", content=content
            )
        assert not store.objects
        assert not store._uploads

    trio.run(main)


def test_a_restless_large_file_has_no_checksum_before_it_is_sent(index: Index) -> None:
    stretches = [Stretch(0, PART_MIN_BYTES)]

    async def main() -> None:
        uploader = Uploader(index, MemoryStore(part_size_bytes=PART_MIN_BYTES), buffers=1)
        snapshot = cast(Snapshot, _Restless([bytes(PART_MIN_BYTES)]))
        assert await uploader.checksum(snapshot, stretches, collect=True) == ""
        with pytest.raises(NotYetError, match="changed"):
            await uploader.checksum(snapshot, stretches, collect=False)

    trio.run(main)


def test_what_cannot_be_dropped_is_dropped_by_the_next_life(index: Index) -> None:
    """Nor by that at its first attempt."""
    size = 2 * PART_MIN_BYTES

    async def main() -> None:
        store = MemoryStore(part_size_bytes=PART_MIN_BYTES)
        store.fail_next("put_part", StoreErrorKind.INVALID)
        store.fail_next("abort", StoreErrorKind.UNAVAILABLE)
        store.fail_next("abort_upload", StoreErrorKind.UNAVAILABLE)
        snapshot = cast(Snapshot, _Restless([bytes(size)]))
        with pytest.raises(StoreError):
            await Uploader(index, store, buffers=1).upload(
                "k", ObjectMeta(), IfAbsent(), snapshot, [Stretch(0, size)], collect=False, storage_class=""
            )
        assert store._uploads
        assert uploads.page(index, 10) == [("k", "1")]
        await Uploader(index, store, buffers=1).drop_left()
        assert not store._uploads
        assert store.requests["abort_upload"] == 2
        assert uploads.page(index, 10) == []

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_nobody_drops_an_upload_that_is_under_way(index: Index) -> None:
    size = 2 * PART_MIN_BYTES

    async def main() -> None:
        store = MemoryStore(part_size_bytes=PART_MIN_BYTES)
        uploader = Uploader(index, store, buffers=1)
        store.hold("put_part")

        async def send() -> None:
            snapshot = cast(Snapshot, _Restless([bytes(size)]))
            await uploader.upload(
                "k", ObjectMeta(), IfAbsent(), snapshot, [Stretch(0, size)], collect=True, storage_class=""
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await uploader.drop_left()
            store.release("put_part")
        assert store.content("k") == bytes(size)
        assert uploads.page(index, 10) == []

    trio.run(main)
