"""Open files that lost their name stay readable where only the bucket has their bytes, and hold up nothing."""

import errno
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from attrs import frozen

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.index import check, conflicts, orphans
from tierfs.index import locations as rows
from tierfs.objectstore.base import ObjectMeta, StorageClass

SIZE = 3 << 20  # more than what an open fetches whole
OLD = random.Random(1).randbytes(SIZE)
NEW = b"new content"
DAY_S = 86_400.0


@frozen
class Opened:
    """A descriptor, and what the kernel does when it is closed."""

    rig: Rig
    ino: int
    handle: int

    async def read(self, start: int = 0, size: int = SIZE) -> bytes:
        return await self.rig.files.read(self.handle, start, size)

    async def close(self) -> None:
        await self.rig.files.release(self.handle)
        if self.rig.inode(self.ino).parent == 0:
            self.rig.files.forget(self.ino)
            self.rig.tree.purge(self.ino)


async def open_cold(rig: Rig, path: str, *, write: bool = False) -> Opened:
    rig.put_remote(path, OLD)
    ino = (await rig.stat(path)).ino
    return Opened(rig, ino, await rig.files.open(ino, write=write, truncate=False))


def aside(rig: Rig) -> list[str]:
    return [key for key in rig.store.objects if key.startswith(".tierfs/aside/")]


async def check_gone(rig: Rig) -> None:
    """Nothing is left of what was aside, in the bucket and in the index."""
    await rig.sync()
    assert aside(rig) == []
    assert not rig.pending()
    assert list(check.check(rig.index)) == []


async def _unlink(rig: Rig) -> None:
    rig.unlink("f")


async def _rename_over(rig: Rig) -> None:
    await rig.write("new", NEW)
    rig.rename("new", "f")


async def _rename_an_object_over(rig: Rig) -> None:
    await rig.write("new", NEW)
    await rig.sync()
    rig.rename("new", "f")


async def _make_anew(rig: Rig) -> None:
    rig.unlink("f")
    await rig.write("f", NEW)


async def _link_anew(rig: Rig) -> None:
    await rig.write("new", NEW)
    rig.unlink("f")
    rig.link("new", "f")


async def _rename_a_directory_over(rig: Rig) -> None:
    rig.unlink("f")
    rig.mkdir("d")
    await rig.write("d/x", NEW)
    await rig.sync()
    rig.rename("d", "f")


LOSSES: dict[str, tuple[Callable[[Rig], Awaitable[None]], list[str]]] = {
    "unlink": (_unlink, []),
    "rename over it": (_rename_over, ["f"]),
    "rename of an object over it": (_rename_an_object_over, ["f"]),
    "unlink and create": (_make_anew, ["f"]),
    "unlink and link": (_link_anew, ["f", "new"]),
    "unlink and rename of a directory": (_rename_a_directory_over, ["f/", "f/x"]),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_it_is_read_after_the_bucket_has_the_new_state(tmp_path: Path, loss: str) -> None:
    lose, keys = LOSSES[loss]

    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        await lose(rig)
        await rig.sync()
        assert rig.keys == keys
        assert {rig.store.content(key) for key in keys if not key.endswith("/")} <= {NEW}
        assert not rig.pending(), "an open file holds up nobody who waits for the bucket"
        assert await opened.read() == OLD
        await opened.close()
        await check_gone(rig)
        assert conflicts.count(rig.index) == 0

    run_rig(tmp_path, main)


def test_readers_do_not_notice_that_it_is_put_aside(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        rig.unlink("f")
        assert await opened.read(0, 1000) == OLD[:1000]
        rig.store.hold("get")
        pieces: list[bytes] = []

        async def read() -> None:
            pieces.append(await opened.read(SIZE // 2, 1000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await rig.idle()
            await rig.sync()
            assert rig.keys == []
            rig.store.release("get")
        assert pieces == [OLD[SIZE // 2 :][:1000]]
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_a_file_that_is_here_costs_no_copy_and_stays_here(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        assert await opened.read() == OLD
        rig.unlink("f")
        await rig.sync()
        assert rig.store.requests["copy"] == 0
        assert await rig.files.drop(opened.ino) == 0
        assert await opened.read() == OLD
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_a_file_that_became_whole_before_its_object_goes_is_not_copied(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        rig.unlink("f")
        assert await opened.read() == OLD
        await rig.sync()
        assert rig.store.requests["copy"] == 0
        assert await rig.files.drop(opened.ino) == 0
        assert await opened.read() == OLD
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_a_file_that_nobody_has_open_costs_no_copy(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        await opened.close()
        gone = rig.tree.unlink(1, b"f")
        await rig.sync()
        assert rig.keys == []
        assert rig.store.requests["copy"] == 0
        assert rows.location(rig.index, gone.ino) is None
        with pytest.raises(FsError, check=lambda error: error.errno == errno.ESTALE):
            await rig.files.open(gone.ino, write=False, truncate=False)

    run_rig(tmp_path, main)


def test_what_was_written_into_it_stays_beside_what_only_the_bucket_has(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        writer = await rig.files.open(opened.ino, write=True, truncate=False)
        await rig.files.write(writer, 1 << 20, b"before")
        rig.unlink("f")
        await rig.sync()
        await rig.files.write(writer, 2 << 20, b"after!")
        await rig.files.release(writer)
        await rig.sync()
        assert rig.keys == []
        assert await rig.files.drop(opened.ino) == 0
        wanted = bytearray(OLD)
        wanted[1 << 20 : (1 << 20) + 6] = b"before"
        wanted[2 << 20 : (2 << 20) + 6] = b"after!"
        assert await opened.read() == wanted
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_written_into_it_is_not_evicted(tmp_path: Path, when: str) -> None:
    """Written before the unlink, or after it by somebody whose intent is void."""

    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        writer = await rig.files.open(opened.ino, write=True, truncate=False)
        if when == "after":
            rig.unlink("f")
        await rig.files.write(writer, 1 << 20, b"written")
        await rig.files.release(writer)
        if when == "before":
            rig.unlink("f")
        await rig.sync()
        assert await rig.files.drop(opened.ino) == 0
        assert await opened.read(1 << 20, 7) == b"written"
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_it_is_unlinked_while_its_own_overwrite_is_under_way(tmp_path: Path) -> None:
    """What arrives has all the bytes that the version before had."""

    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f", write=True)
        await rig.files.write(opened.handle, 1 << 20, b"before")
        rig.store.hold("put")
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        rig.store.release("put")
        await rig.sync()
        assert rig.keys == []
        wanted = bytearray(OLD)
        wanted[1 << 20 : (1 << 20) + 6] = b"before"
        assert await opened.read() == wanted
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_it_is_read_before_the_answer_to_its_own_overwrite_comes(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f", write=True)
        await rig.files.write(opened.handle, 1 << 20, b"before")
        real, answered = rig.store.put, trio.Event()

        async def linger(*args: object, **kwargs: object) -> object:
            written = await real(*args, **kwargs)  # type: ignore[arg-type]
            await answered.wait()
            return written

        rig.store.put = linger  # type: ignore[method-assign,assignment]
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        pieces: list[bytes] = []

        async def read() -> None:
            pieces.append(await opened.read(2 << 20, 1000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await rig.idle()
            answered.set()
        assert pieces == [OLD[2 << 20 :][:1000]]
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_it_is_unlinked_while_its_attributes_are_on_their_way(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        rig.rename("f", "g")
        rig.store.hold("copy")
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("g")
        rig.store.release("copy")
        await rig.sync()
        assert rig.keys == []
        assert await opened.read() == OLD
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_an_overwrite_of_which_nobody_saw_the_answer_is_found(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f", write=True)
        await rig.files.write(opened.handle, 1 << 20, b"before")
        real = rig.store.put

        async def lose(*args: object, **kwargs: object) -> object:
            await real(*args, **kwargs)  # type: ignore[arg-type]
            rig.unlink("f")
            rig.store.put = real  # type: ignore[method-assign]
            rig.store.fail_next("head", StoreErrorKind.THROTTLED, times=1)
            raise StoreError(StoreErrorKind.UNCLEAR, "the answer got lost", key="f")

        rig.store.put = lose  # type: ignore[method-assign,assignment]
        await rig.sync()
        assert rig.keys == []
        wanted = bytearray(OLD)
        wanted[1 << 20 : (1 << 20) + 6] = b"before"
        assert await opened.read() == wanted
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_an_answer_that_got_lost_leaves_nothing_aside(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        real = rig.store.copy

        async def lose(*args: object, **kwargs: object) -> object:
            rig.store.copy = real  # type: ignore[method-assign]
            await real(*args, **kwargs)  # type: ignore[arg-type]
            raise StoreError(StoreErrorKind.UNCLEAR, "the answer got lost", key="f")

        rig.store.copy = lose  # type: ignore[method-assign,assignment]
        rig.unlink("f")
        await rig.sync()
        assert rig.keys == []
        assert len(aside(rig)) == 1
        assert await opened.read() == OLD
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_it_is_closed_while_it_is_put_aside(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        rig.store.hold("copy")
        rig.unlink("f")
        rig.exporter.hurry()
        await rig.idle()
        assert rig.store.requests["copy"] == 1
        await opened.close()
        rig.store.release("copy")
        await check_gone(rig)
        assert rig.keys == []

    run_rig(tmp_path, main)


@pytest.mark.parametrize("was_aside", [False, True])
def test_a_crash_while_it_is_open(tmp_path: Path, was_aside: bool) -> None:
    async def first(rig: Rig) -> None:
        await open_cold(rig, "f")
        rig.unlink("f")
        if was_aside:
            await rig.sync()
            assert len(aside(rig)) == 1

    async def second(rig: Rig) -> None:
        for ino in orphans.page(rig.index, 0, 10):  # as FileSystem.purge_orphans
            rig.files.forget(ino)
            rig.tree.purge(ino)
        await check_gone(rig)
        assert rig.keys == []

    run_rig(tmp_path, second, store=run_rig(tmp_path, first))


def test_a_crash_while_it_is_put_aside(tmp_path: Path) -> None:
    async def first(rig: Rig) -> None:
        await open_cold(rig, "f")
        real = rig.store.copy

        async def hang(*args: object, **kwargs: object) -> object:
            await real(*args, **kwargs)  # type: ignore[arg-type]
            await trio.sleep_forever()

        rig.store.copy = hang  # type: ignore[method-assign,assignment]
        rig.unlink("f")
        rig.exporter.hurry()
        await rig.idle()
        assert len(aside(rig)) == 1
        rig.store.copy = real  # type: ignore[method-assign]

    async def second(rig: Rig) -> None:
        """A daemon that the holder started: the file is open still."""
        ino = orphans.page(rig.index, 0, 10)[0]
        await rig.files.reopen(9, ino, write=False)
        await rig.sync()
        assert rig.keys == []
        assert len(aside(rig)) == 1
        opened = Opened(rig, ino, 9)
        assert await opened.read() == OLD
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, second, store=run_rig(tmp_path, first))


@pytest.mark.parametrize("theirs", [b"theirs", None])
def test_an_object_that_another_client_replaced_is_stale(tmp_path: Path, theirs: bytes | None) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        if theirs is None:
            del rig.store.objects["f"]
        else:
            rig.put_remote("f", theirs)
        rig.unlink("f")
        await rig.sync()
        assert rig.names() == rig.keys == (["f"] if theirs else [])
        with pytest.raises((FsError, StoreError), check=lambda error: error.errno == errno.ESTALE):
            await opened.read()
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_an_archived_object_holds_up_nobody(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        opened = await open_cold(rig, "f")
        rig.store._store("f", OLD, ObjectMeta(), StorageClass.GLACIER)
        await _rename_over(rig)
        await rig.sync()
        assert rig.store.content("f") == NEW
        with pytest.raises(FsError, check=lambda error: error.errno == errno.ESTALE):
            await opened.read()
        await opened.close()
        await check_gone(rig)

    run_rig(tmp_path, main)


def test_of_what_is_gone_nobody_is_told_that_it_is_safe_on_the_local_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", NEW)
        rig.store.hold("put")
        rig.store.fail_next("put", StoreErrorKind.ACCESS_DENIED)
        rig.exporter.hurry()
        await rig.idle()
        rig.unlink("f")
        rig.store.release("put")
        await rig.sync()
        assert rig.exporter.pending().failing == ()

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=DAY_S))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
