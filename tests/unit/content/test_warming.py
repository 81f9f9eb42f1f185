"""Whole files brought into the tier for nobody in particular."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import PART, World, noise, run
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import Residency

BIG = noise(5 * PART + 1234)


def is_whole(world: World, ino: int) -> bool:
    record = world.record(ino)
    return record is not None and record.residency is Residency.FULL


def test_a_warm_file_costs_no_request(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        assert await world.files.warm(ino)
        assert is_whole(world, ino)
        asked = world.store.requests.total()
        assert await world.files.warm(ino)
        assert await world.read(ino) == BIG
        assert world.store.requests.total() == asked
        assert world.files.open_count == 0

    run(tmp_path, main)


def test_only_what_is_absent_is_fetched(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        await world.read(ino, 0, PART)
        before = world.extents(ino)
        assert before and not is_whole(world, ino)
        assert await world.files.warm(ino)
        assert is_whole(world, ino) and await world.read(ino) == BIG

    run(tmp_path, main)


def test_a_tier_without_room_is_told(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        await world.write_new(noise(3 * PART, seed=2))  # not in the bucket yet: it cannot go
        ino = world.add_object(BIG)
        assert not await world.files.warm(ino)
        assert not is_whole(world, ino)

    run(tmp_path, main, limit_bytes=4 * PART)


def test_an_object_that_is_gone_is_an_error(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        del world.store.objects[world.key(ino)]
        with pytest.raises(StoreError) as caught:
            await world.files.warm(ino)
        assert caught.value.kind is StoreErrorKind.PRECONDITION_FAILED
        assert world.record(ino) is None

    run(tmp_path, main)


def test_who_gives_up_leaves_no_request_behind(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        ino = world.add_object(BIG)
        world.store.hold("get")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.warm, ino)
            await wait_all_tasks_blocked()
            assert world.store.in_flight > 0
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert world.store.in_flight == 0
        world.store.release("get")
        assert await world.read(ino) == BIG

    run(tmp_path, main)
