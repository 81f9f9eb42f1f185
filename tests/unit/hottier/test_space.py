"""The tier's ceiling: who may write, who waits, who gets ENOSPC. Time is trio's mock clock."""

import errno
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tierfs.errors import FsError
from tierfs.hottier.space import Space

PLENTY = 1 << 40


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def make_space(limit_bytes: int = 100, reserve_bytes: int = 0, free: Callable[[], int] = lambda: PLENTY) -> Space:
    return Space(limit_bytes=limit_bytes, reserve_bytes=reserve_bytes, free_bytes=free, full_wait_s=30.0)


class Cleaner:
    """A reclaimer with so many clean bytes; counts the calls for more."""

    def __init__(self, space: Space, clean_bytes: int) -> None:
        self.space = space
        self.clean_bytes = clean_bytes
        self.hurried = 0

    async def evict_clean(self, need_bytes: int) -> int:
        await trio.lowlevel.checkpoint()
        freed = min(self.clean_bytes, need_bytes)
        self.clean_bytes -= freed
        self.space.release(freed)
        return freed

    def hurry(self) -> None:
        self.hurried += 1


def test_room_is_given_until_the_limit() -> None:
    space = make_space(100)
    space.charge(60)
    assert space.fits(40)
    assert not space.fits(41)
    assert space.shortage_bytes(50) == 10


def test_a_reservation_counts_until_it_ends() -> None:
    async def main() -> None:
        space = make_space(100)
        async with space.reserved(70):
            assert not space.fits(31)
            space.charge(70)
        assert (space.used_bytes, space.reserved_bytes) == (70, 0)
        assert space.fits(30)

    run(main)


def test_more_than_the_tier_is_let_in_alone() -> None:
    space = make_space(100)
    assert space.fits(500)
    space.charge(1)
    assert not space.fits(500)


def test_clean_bytes_make_room() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = cleaner = Cleaner(space, clean_bytes=50)
        assert await space.reserve_clean(30)
        assert cleaner.clean_bytes == 20
        assert space.used_bytes + space.reserved_bytes == 100

    run(main)


def test_a_reader_does_not_wait_for_an_export() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = cleaner = Cleaner(space, clean_bytes=0)
        started_s = trio.current_time()
        assert not await space.reserve_clean(1)
        assert cleaner.hurried == 0
        assert trio.current_time() == started_s

    run(main)


def test_a_writer_waits_for_an_export_and_then_goes_on() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = cleaner = Cleaner(space, clean_bytes=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(space.reserve, 10)
            await wait_all_tasks_blocked()
            assert (cleaner.hurried, space.waiting_count) == (1, 1)
            cleaner.clean_bytes = 100  # an export finished
            space.progressed()
        assert space.reserved_bytes == 10
        assert space.waiting_count == 0

    run(main)


def test_an_export_that_tells_nobody_is_noticed() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = cleaner = Cleaner(space, clean_bytes=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(space.reserve, 10)
            await wait_all_tasks_blocked()
            cleaner.clean_bytes = 100

    run(main)


def test_no_progress_is_enospc_after_the_wait() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = Cleaner(space, clean_bytes=0)
        started_s = trio.current_time()
        with pytest.raises(FsError) as caught:
            await space.reserve(10)
        assert caught.value.errno == errno.ENOSPC
        assert 30 <= trio.current_time() - started_s < 32
        assert space.reserved_bytes == 0

    run(main)


def test_progress_prolongs_the_wait() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = cleaner = Cleaner(space, clean_bytes=0)

        async def upload_slowly() -> None:
            for _ in range(8):
                await trio.sleep(20)
                space.progressed()
            cleaner.clean_bytes = 100

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload_slowly)
            await space.reserve(10)
        assert trio.current_time() >= 160

    run(main)


def test_the_disk_of_others_is_left_free() -> None:
    async def main() -> None:
        free_bytes = 50
        space = make_space(1000, reserve_bytes=40, free=lambda: free_bytes)
        assert space.fits(10)
        assert not space.fits(11)
        async with space.reserved(10):
            assert not space.fits(1)  # reserved, but not yet seen by statvfs

    run(main)


def test_room_for_one_goes_to_one() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        space.reclaimer = Cleaner(space, clean_bytes=10)
        got = []

        async def ask() -> None:
            got.append(await space.reserve_clean(10))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
        assert sorted(got) == [False, False, False, True]

    run(main)


def test_a_cancelled_writer_leaves_no_trace() -> None:
    async def main() -> None:
        space = make_space(100)
        space.charge(100)
        with trio.move_on_after(1):
            await space.reserve(10)
        assert (space.waiting_count, space.reserved_bytes) == (0, 0)

    run(main)
