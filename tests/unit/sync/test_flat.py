"""A flat listing brings the tree to the bucket as listings of each directory do, and takes fewer requests."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.event_rig import event_source
from tests.support.small_pages import SmallPages
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.errors import StoreErrorKind
from tierfs.model import Inode, InodeFlag
from tierfs.objectstore.base import ListPage
from tierfs.sync.flat import FlatListing, UnorderedError
from tierfs.sync.keyrange import KeyRange, before
from tierfs.sync.seen import Visit

LONG = ImportSettings(revalidate_s=365 * 86_400)


def flat_of(rig: Rig, keys: KeyRange | None = None, enters: Callable[[Inode], bool] = bool) -> FlatListing:
    return rig.importer.flat(keys or KeyRange(), Visit(), enters)


class Late(SmallPages):
    """Its flat pages show the bucket as it was when they were asked for, and come when they may."""

    def __init__(self, page_keys: int) -> None:
        super().__init__(page_keys)
        self.comes = trio.Event()

    async def list(
        self, prefix: str, *, delimited: bool, token: str = "", start_after: str = "", limit: int = 1000
    ) -> ListPage:
        page = await super().list(prefix, delimited=delimited, token=token, start_after=start_after, limit=limit)
        if not delimited:
            await self.comes.wait()
        return page


async def list_flat(rig: Rig, keys: KeyRange | None = None, enters: Callable[[Inode], bool] = bool) -> FlatListing:
    listing = flat_of(rig, keys, enters)
    try:
        while await listing.next_page():
            pass
    finally:
        listing.close()
    return listing


def run(directory: Path, main: Callable[[Rig], Awaitable[None]], *, page_keys: int = 3) -> SmallPages:
    store = SmallPages(page_keys)
    run_rig(directory, main, store=store, import_=LONG, reads_ahead=False)
    return store


def all_names(rig: Rig, path: str = "") -> set[str]:
    found = set()
    for name in rig.names(path):
        below = f"{path}/{name}".lstrip("/")
        found |= {below + "/", *all_names(rig, below)} if rig.at(below).is_dir else {below}
    return found


TREE = ("a", "a-b/x", "a.c", "a/f", "a/deep/er/g", "a/z", "a0", "d/", "e/", "e/f", "b%FFc", "b%/c")


@pytest.mark.parametrize("page_keys", [1, 2, 3, 100])
def test_every_name_comes_and_every_directory_is_listed(tmp_path: Path, page_keys: int) -> None:
    async def main(rig: Rig) -> None:
        for key in TREE:
            rig.put_remote(key)
        for key in ("bad//name", "bad/./name", ".tierfs/own"):
            rig.put_remote(key)
        listing = await list_flat(rig)
        flat = all_names(rig)
        directories = ["", *(path for path in flat if path.endswith("/"))]
        assert listing.directories == len(directories)
        assert all(InodeFlag.LISTED in rig.at(path).flags for path in directories)
        assert {"a.tierfs-object", "a/", "a/deep/er/g", "a-b/x", "d/", "bad/"} <= flat and ".tierfs/" not in flat
        for path in directories:
            await rig.importer.relist(rig.at(path).ino)
        assert all_names(rig) == flat

    run(tmp_path, main, page_keys=page_keys)


def test_it_takes_one_list_for_each_page_and_asks_of_no_object(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(100):
            rig.put_remote(f"{number:03}/f")
        for _ in range(2):
            before_it = rig.store.requests.copy()
            listing = await list_flat(rig)
            assert listing.directories == 101
            assert rig.store.requests["list"] == before_it["list"] + 10 and rig.store.requests["head"] == 0

    run(tmp_path, main, page_keys=10)


def test_changes_and_losses_of_others_come(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in TREE:
            rig.put_remote(key)
        await list_flat(rig)
        for key in ("a-b/x", "a/deep/er/g", "e/f"):
            del rig.store.objects[key]
        rig.put_remote("a/f", b"changed")
        rig.put_remote("e/new/x")
        found: list[str] = []
        listing = rig.importer.flat(KeyRange(), Visit(found.append), bool)
        while await listing.next_page():
            pass
        assert sorted(found) == ["a-b/", "a/deep/", "a/f", "e/f", "e/new/", "e/new/x"]
        assert not {"a-b/", "a/deep/", "e/f"} & all_names(rig) and rig.find("e/new/x") is not None
        assert await rig.read("a/f") == b"changed"

    run(tmp_path, main)


def test_a_range_leaves_alone_what_it_has_only_a_part_of(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a/1", "b/1", "c/1", "c/d/1", "c/e/1", "f/1"):
            rig.put_remote(key)
        await list_flat(rig)
        for key in ("a/1", "c/1", "c/e/1"):
            rig.store.objects[key.replace("1", "2")] = rig.store.objects.pop(key)
        listed_ns = {path: rig.at(path).listed_ns for path in ("", "a", "b", "c", "c/d", "c/e", "f")}
        await list_flat(rig, KeyRange(before("b/"), "c/e/"))
        moved = {path for path, before_ns in listed_ns.items() if rig.at(path).listed_ns > before_ns}
        assert moved == {"b", "c/d"}
        assert rig.names("a") == ["1"] and rig.names("c/e") == ["1"] and "1" in rig.names("c")

    run(tmp_path, main)


def test_directories_that_are_not_wanted_are_passed_over(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        keys = ["a/1", *(f"big/{number:03}/x" for number in range(100)), "c/1", "c/2"]
        for key in keys:
            rig.put_remote(key)
        await rig.list()
        big = rig.at("big").ino
        listing = await list_flat(rig, enters=lambda inode: inode.ino != big)
        assert listing.directories == 3 and rig.names("big") == [] and rig.names("c") == ["1", "2"]
        assert rig.store.flat_lists[-2:][0][1] == 10 and len(rig.store.flat_lists) == 2

    run(tmp_path, main, page_keys=10)


def test_what_is_done_here_meanwhile_is_newer_than_a_page(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a/old", "b/old"):
            rig.put_remote(key)
        await list_flat(rig)
        rig.store.hold("list")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(list_flat, rig)
            await rig.idle()
            await rig.write("a/new", b"mine")
            rig.unlink("b/old")
            await rig.sync()
            rig.store.release("list")
        assert rig.names("a") == ["new", "old"] and rig.names("b") == []
        assert "b/old" not in rig.store.objects

    run(tmp_path, main, page_keys=100)


def test_a_directory_that_somebody_else_listed_since_a_page_was_asked_for_is_left_alone(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a/gone", "a/kept", "b/f"):
            rig.put_remote(key)
        await rig.list()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(list_flat, rig)
            await trio.sleep(1)
            del rig.store.objects["a/gone"]
            rig.put_remote("a/new/x")
            assert await rig.list("a") == ["kept", "new"]
            listed_ns = rig.at("a").listed_ns
            rig.store.comes.set()  # type: ignore[attr-defined]
        assert rig.names("a") == ["kept", "new"] and rig.at("a").listed_ns == listed_ns
        assert rig.names("b") == ["f"] and InodeFlag.LISTED in rig.at("b").flags

    run_rig(tmp_path, main, store=Late(100), import_=LONG, reads_ahead=False)


def test_what_an_event_tells_is_newer_than_a_page_that_was_asked_for_before(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a/kept")
        for path in ("", "a"):
            await rig.list(path)
        rig.put_remote("a/short-lived")
        async with event_source(rig) as source, trio.open_nursery() as nursery:
            nursery.start_soon(list_flat, rig)
            await trio.sleep(1)
            await source.delete("a/short-lived")  # of which the index knows nothing
            await trio.sleep(1)
            rig.store.comes.set()  # type: ignore[attr-defined]
        assert rig.names("a") == ["kept"]

    # else the sample asks for the new name
    import_ = ImportSettings(revalidate_s=365 * 86_400, attributes="never")
    run_rig(tmp_path, main, store=Late(100), import_=import_, reads_ahead=False)


def test_renamed_directories_keep_what_is_theirs(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a/1", "a/b/2", "c/3"):
            rig.put_remote(key)
        await list_flat(rig)
        rig.store.fail_next("copy", StoreErrorKind.UNAVAILABLE, times=1000)
        rig.rename("a", "moved")
        await list_flat(rig)
        assert all_names(rig) == {"moved/", "moved/1", "moved/b/", "moved/b/2", "c/", "c/3"}
        rig.store.clear_faults()
        await rig.sync()
        await list_flat(rig)
        assert all_names(rig) == {"moved/", "moved/1", "moved/b/", "moved/b/2", "c/", "c/3"}
        assert rig.keys == ["c/3", "moved/1", "moved/b/2"]

    run(tmp_path, main)


def test_a_deleted_directory_stays_gone_while_its_objects_wait(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("a/1", "c/3"):
            rig.put_remote(key)
        await list_flat(rig)
        rig.store.fail_next("delete", StoreErrorKind.UNAVAILABLE, times=1000)
        rig.unlink("a/1")
        rig.rmdir("a")
        await list_flat(rig)
        assert all_names(rig) == {"c/", "c/3"}
        rig.put_remote("a/2")
        await list_flat(rig)
        assert all_names(rig) == {"a/", "a/2", "c/", "c/3"}

    run(tmp_path, main, page_keys=1)


def test_a_server_without_order_is_found_out(tmp_path: Path) -> None:
    class Unordered(SmallPages):
        async def list(self, prefix, *, delimited, token="", start_after="", limit=1000):  # type: ignore[no-untyped-def]
            page = await super().list(prefix, delimited=delimited, token=token, start_after=start_after, limit=limit)
            page.objects.reverse()
            return page

    async def main(rig: Rig) -> None:
        for key in ("a", "b"):
            rig.put_remote(key)
        with pytest.raises(UnorderedError):
            await list_flat(rig)

    run_rig(tmp_path, main, store=Unordered(), import_=LONG)
