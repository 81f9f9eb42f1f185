"""The whole bucket listed flat by several at one time, and walked afterwards."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.small_pages import SmallPages
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import inodes
from tierfs.model import ROOT_INO
from tierfs.sync.seen import Visit
from tierfs.sync.traversal import Traversal
from tierfs.sync.walk import Cost, cost_of_comparing, is_listed, parts_in, walk

LONG = ImportSettings(revalidate_s=365 * 86_400)


def run(directory: Path, main: Callable[[Rig], Awaitable[None]], *, page_keys: int = 10) -> SmallPages:
    store = SmallPages(page_keys)
    run_rig(directory, main, store=store, import_=LONG, reads_ahead=False)
    return store


def traversal_of(rig: Rig, listings: int = 4) -> Traversal:
    return Traversal(index=rig.index, importer=rig.importer, listings=listings, visit=Visit(), enters=bool)


def not_listed(rig: Rig) -> list[bytes]:
    return [inode.name for inode in inodes.page(rig.index, 0, 100_000) if inode.is_dir and not is_listed(inode)]


def test_ranges_are_listed_side_by_side_each_key_once(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(400):
            rig.put_remote(f"d{number // 10:02}/f{number:03}")
        traversal = traversal_of(rig)
        ranges = await traversal.begin()
        assert [keys.until for keys in ranges] == ["d10/", "d20/", "d30/", ""]
        rig.store.most_in_flight = 0
        await traversal.run(ranges)
        assert not_listed(rig) == [] and traversal.directories == 40 and traversal.left == []
        assert rig.store.most_in_flight == 4
        assert rig.store.requests["list"] <= 4 + 40 + 4  # the root, the pages, the end of each range

    run(tmp_path, main)


def test_one_large_directory_is_cut_for_those_that_are_idle(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(1000):
            rig.put_remote(f"all/of/d{number // 10:03}/f{number:04}")
        for number in range(10):
            rig.put_remote(f"small{number}/f")
        traversal = traversal_of(rig)
        began_s = trio.current_time()
        await traversal.run(await traversal.begin())
        assert not_listed(rig) == []
        assert len(rig.names("all/of/d050")) == 10
        assert (trio.current_time() - began_s) / 0.001 < 80, "one after the other it takes more than a hundred pages"

    run(tmp_path, main)


def test_a_directory_of_many_files_is_not_listed_twice(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(500):
            rig.put_remote(f"many/f{number:03}")
        rig.put_remote("other/f")
        traversal = traversal_of(rig)
        await traversal.run(await traversal.begin())
        assert not_listed(rig) == [] and rig.store.requests["list"] < 60

    run(tmp_path, main)


def test_after_an_error_it_is_known_what_is_left(tmp_path: Path) -> None:
    store = SmallPages(10)

    async def main(rig: Rig) -> None:
        for number in range(400):
            rig.put_remote(f"d{number // 10:02}/f{number:03}")
        traversal = traversal_of(rig, listings=2)
        ranges = await traversal.begin()
        rig.store.hold("list")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def fails() -> None:
                with pytest.raises(StoreError):
                    await traversal.run(ranges)

            await rig.idle()
            rig.store.release("list")
            await store.flat_listed(15)
            rig.store.fail_next("list", StoreErrorKind.UNAVAILABLE)
        assert 0 < traversal.directories < 40
        left = sorted(traversal.left, key=lambda keys: keys.after)
        assert all(now.after > was.after and now.until == was.until for now, was in zip(left, ranges, strict=True))
        await traversal_of(rig).run(left)
        assert len(not_listed(rig)) <= 2  # those at whose keys it stopped
        assert all(len(rig.names(f"d{number:02}")) == 10 for number in range(40))

    run_rig(tmp_path, main, store=store, import_=LONG, reads_ahead=False)


def test_a_bucket_without_directories_needs_no_flat_listing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f")
        assert await traversal_of(rig).begin() == [] and rig.names() == ["f"]

    run(tmp_path, main)


def test_the_walk_meets_every_directory_also_those_that_a_visit_adds(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(600):
            rig.put_remote(f"d{number:03}/e/f")
        met: list[int] = []

        async def visit(ino: int) -> bool:
            met.append(ino)
            await rig.importer.ensure_listed(ino)
            return rig.inode(ino).name != b"d001"

        await walk(rig.index, visit)
        assert len(met) == len(set(met)) == 1 + 600 + 599
        assert met[:3] == [ROOT_INO, rig.at("d000").ino, rig.at("d000/e").ino]
        assert rig.names("d001") == ["e"] and rig.names("d001/e") == []

    run(tmp_path, main, page_keys=1000)


def test_of_many_directories_some_stand_for_all(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a file")
        for number in range(9000):
            rig.put_remote(f"d{number:04}/f")
        await rig.list()
        parts = await parts_in(rig.index, ROOT_INO)
        assert parts == [f"d{number:04}" for number in range(0, 9000, 4)]

    run(tmp_path, main, page_keys=1000)


def test_what_comparing_costs(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a/1", "b/2", "b/c/3", "d/4", "d/e/5", *(f"many/{number:04}" for number in range(1500))):
            rig.put_remote(key)
        for path in ("", "a", "b", "many"):
            await rig.list(path)
        # listed: the root, a, b, many (twice); unlisted: b/c, d; names: 4 + 1 + 2 + 1500
        assert await cost_of_comparing(rig.index) == Cost(by_directory=5, flat=1 + 2 + 2)

    run(tmp_path, main, page_keys=1000)
