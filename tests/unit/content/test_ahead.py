"""The next files of a directory that is read in order are fetched before they are opened, and no others."""

import random
import stat
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from tests.support.tier import SETTINGS, World, noise, run
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import dirents
from tierfs.model import ROOT_INO, Residency

COUNT = 100


def directory(world: World, count: int = COUNT, size: int = 3000) -> list[int]:
    """Inodes of cold files whose names are in the order of the list."""
    inos = []
    for number in range(count):
        ino = world.add_object(noise(size + number))
        with world.index.transaction() as txn:
            dirents.put(txn, ROOT_INO, world.inode(ino).name, ino, stat.S_IFREG)
        inos.append(ino)
    return inos


def fetched(world: World, inos: list[int]) -> list[int]:
    """Positions of the files that are here."""
    return [at for at, ino in enumerate(inos) if world.record(ino) is not None]


def test_what_comes_next_is_here_before_it_is_opened(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = directory(world)
        for ino in inos[:10]:
            await world.read(ino)
        await wait_all_tasks_blocked()
        assert fetched(world, inos) == list(range(len(fetched(world, inos))))
        assert 10 + 10 <= len(fetched(world, inos)) <= 10 + 2 * 10
        record = world.record(inos[10])
        assert record is not None
        assert record.residency is Residency.FULL
        assert await world.read(inos[10]) == noise(3010)

    run(tmp_path, main)


def test_every_file_is_asked_for_once(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = directory(world)
        for number, ino in enumerate(inos):
            assert await world.read(ino) == noise(3000 + number)
        assert world.store.requests == {"get_whole": COUNT}

    run(tmp_path, main)


def test_readers_that_overtake_each_other_are_in_order(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = directory(world)
        take = iter(inos)

        async def reader(pause_s: float) -> None:
            for ino in take:
                await trio.sleep(pause_s)
                await world.read(ino)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(reader, 0.01 * (1 + number % 3))
            await trio.sleep(0.1)
            await wait_all_tasks_blocked()
            assert len(fetched(world, inos)) >= 40
        assert world.store.requests == {"get_whole": COUNT}

    run(tmp_path, main)


def test_files_in_a_shuffled_order_are_fetched_when_they_are_opened(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = directory(world, 600)
        opened = random.Random(1).sample(inos, 20)
        for ino in opened:
            await world.read(ino)
        await wait_all_tasks_blocked()
        assert len(fetched(world, inos)) <= len(opened) + 6

    run(tmp_path, main)


def test_what_is_large_or_here_already_is_passed_over(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = directory(world, 20)
        large = inos[6]
        world.store.place(world.key(large), noise(SETTINGS.small_file_bytes + 1))
        inode = world.inode(large)
        assert inode.base is not None
        world.put(evolve(inode, size_bytes=SETTINGS.small_file_bytes + 1))
        await world.read(inos[7])
        count = world.store.requests["get_whole"]
        for ino in inos[:5]:
            await world.read(ino)
        await wait_all_tasks_blocked()
        assert world.record(large) is None
        record = world.record(inos[8])
        assert record is not None
        assert record.residency is Residency.FULL
        assert world.store.requests["get_whole"] - count == len(fetched(world, inos)) - 1

    run(tmp_path, main)


def test_a_file_that_cannot_be_fetched_fails_its_own_open_only(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        inos = directory(world, 12)
        world.replace_object(inos[6], b"another version")
        for ino in inos[:6]:
            await world.read(ino)
        with pytest.raises(StoreError) as caught:
            await world.read(inos[6])
        assert caught.value.kind is StoreErrorKind.PRECONDITION_FAILED
        assert await world.read(inos[7]) == noise(3007)

    run(tmp_path, main)
