"""Who opens an archived file whose bytes are not here: sent away, made to wait, refused, or let in."""

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tests.unit.tiering.test_restorer import Restores, archive, until
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.policy.restores import Stage
from tierfs.tiering.opening import Door, OpenPolicy, OpenSettings


def run(directory: Path, policy: OpenPolicy, main: Callable[[Rig, Restores], Awaitable[None]]) -> None:
    async def whole(rig: Rig) -> None:
        archive(rig, "f")
        await rig.list()
        made = Restores(rig)
        rig.files.archive.keeper = Door(
            store=rig.store, restorer=made.restorer, clock=rig.clock, settings=OpenSettings(policy, timeout_s=1800),
            locate=lambda inode: rig.locations.actual_key(rig.index, inode),
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.restorer.run)
            await main(rig, made)
            nursery.cancel_scope.cancel()

    run_rig(directory, whole)


async def refused(rig: Rig, *, write: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await rig.files.open(rig.at("f").ino, write=write, truncate=False)
    assert caught.value.kind is StoreErrorKind.ARCHIVED and rig.files.open_count == 0
    return caught.value


@pytest.mark.parametrize("write", [False, True])
def test_queued(tmp_path: Path, write: bool) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        error = await refused(rig, write=write)
        assert error.errno == errno.EAGAIN and "a restore of it is asked for" in str(error)
        await until(lambda: made.stage("f") is Stage.ASKED)
        asked = rig.store.requests["head"]
        assert "readable by 20" in str(await refused(rig)) and rig.store.requests["head"] == asked, "it is known"
        rig.store.finish_restore("f")
        await until(lambda: made.stage("f") is None)
        assert await rig.read("f") == b"bytes"

    run(tmp_path, OpenPolicy.QUEUE, main)


def test_blocked_until_it_is_there(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.read, "f")
            await until(lambda: made.stage("f") is Stage.ASKED)
            assert rig.files.open_count == 0
            rig.store.finish_restore("f")
        assert await rig.read("f") == b"bytes"

    run(tmp_path, OpenPolicy.BLOCK, main)


def test_blocked_for_so_long_only(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        began = trio.current_time()
        assert (await refused(rig)).errno == errno.EAGAIN
        assert trio.current_time() - began == pytest.approx(1800, abs=1)
        assert made.stage("f") is Stage.ASKED, "it comes all the same"

    run(tmp_path, OpenPolicy.BLOCK, main)


def test_who_is_blocked_can_be_interrupted_and_hears_of_failures(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        with trio.move_on_after(10) as scope:
            await rig.read("f")
        assert scope.cancelled_caught and rig.files.open_count == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_failure, rig)
            await until(lambda: made.stage("f") is Stage.ASKED)
            rig.store.finish_restore("f", succeeds=False)

    async def expect_failure(rig: Rig) -> None:
        assert "left nothing to read" in str(await refused(rig))

    run(tmp_path, OpenPolicy.BLOCK, main)


def test_refused(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        error = await refused(rig)
        assert error.errno == errno.EIO and "tierctl restore" in str(error)
        await trio.sleep(600)
        assert made.stage("f") is None and rig.store.requests["restore"] == 0

    run(tmp_path, OpenPolicy.FAIL, main)


@pytest.mark.parametrize("policy", list(OpenPolicy))
def test_let_in(tmp_path: Path, policy: OpenPolicy) -> None:
    """Whose bytes are here, who cuts it to nothing, and what was restored."""

    async def main(rig: Rig, made: Restores) -> None:
        del made
        handle = await rig.files.open(rig.at("f").ino, write=True, truncate=True)
        await rig.files.write(handle, 0, b"new")
        await rig.files.release(handle)
        await rig.sync()
        assert rig.store.objects["f"].info.archived and await rig.read("f") == b"new"
        archive(rig, "g", b"theirs")
        rig.store.finish_restore("g")
        await rig.list()
        assert await rig.read("g") == b"theirs"

    run(tmp_path, policy, main)


def test_an_object_that_went_is_no_matter_of_archives(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        del rig.store.objects["f"]
        with pytest.raises(StoreError) as caught:
            await rig.read("f")
        assert caught.value.kind is StoreErrorKind.PRECONDITION_FAILED and made.stage("f") is None

    run(tmp_path, OpenPolicy.BLOCK, main)


def test_an_archive_that_only_a_read_meets(tmp_path: Path) -> None:
    """Of Intelligent-Tiering: the listing does not say that it is archived."""

    async def main(rig: Rig, made: Restores) -> None:
        rig.store._store("t", b"bytes", rig.store.objects["f"].info.meta or pytest.fail(), "INTELLIGENT_TIERING")
        await rig.list()
        rig.store._restoring("t", "", is_archived=True)
        with pytest.raises(StoreError, match="archived"):
            await rig.read("t")
        await until(lambda: made.stage("t") is Stage.ASKED)
        rig.store.finish_restore("t")
        await until(lambda: made.stage("t") is None)
        assert await rig.read("t") == b"bytes"

    run(tmp_path, OpenPolicy.QUEUE, main)
