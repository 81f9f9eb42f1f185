"""When a writer has really ended whom the kernel served: mappings that are left may store."""

import mmap
import os
from pathlib import Path

import trio

from tests.support.kernel import lending_to
from tests.support.tier import BLOCK, World, noise, run
from tierfs.content.closing import last_store


def test_it_is_waited_for_as_long_as_a_mapping_may_store(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        kernel = lending_to(world)
        ino = world.add_object(noise(BLOCK))
        await world.read(ino)
        reader = kernel.open(ino, os.O_RDONLY)  # so that the writer goes the same way
        handle = await world.files.open(ino, write=True, truncate=False)
        live = world.files._ledger.hold(ino)
        writer = kernel.open(ino, os.O_RDWR)
        mapping = mmap.mmap(writer, BLOCK)
        kernel.close(ino, writer)
        has_ended = False

        async def wait() -> None:
            nonlocal has_ended
            await last_store(live, world.files.lending)
            has_ended = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(60)
            assert not has_ended
            mapping.close()
            await trio.sleep(60)
            assert has_ended
        world.files._ledger.let_go(live)
        await world.files.release(handle)
        kernel.close(ino, reader)

    run(tmp_path, main)
