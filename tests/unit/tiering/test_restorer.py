"""Files back from the archive: asked for together, looked after, fetched; and what goes wrong on the way."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import residency
from tierfs.model import Residency
from tierfs.namespace.changes import AttrChange
from tierfs.objectstore.base import ObjectMeta
from tierfs.policy.classes import Speed
from tierfs.policy.restores import Stage
from tierfs.tiering.restorer import Restorer, RestoreSettings

DAY_S = 86_400


class Restores:
    """A restorer over a rig, and what it told."""

    def __init__(self, rig: Rig, settings: RestoreSettings | None = None) -> None:
        self.rig = rig
        self.stale: list[int] = []
        self.restorer = Restorer(
            index=rig.index, store=rig.store, clock=rig.clock, settings=settings or RestoreSettings(),
            locate=lambda inode: rig.locations.actual_key(rig.index, inode), fetch=rig.files.warm,
            on_stale=self.stale.append, retry_export=rig.exporter.retry,
        )  # fmt: skip

    def stage(self, path: str) -> Stage | None:
        found = self.restorer.find(self.rig.at(path).ino)
        return found.stage if found is not None else None


def archive(rig: Rig, key: str, data: bytes = b"bytes", storage_class: str = "GLACIER") -> None:
    rig.store._store(key, data, ObjectMeta(), storage_class)


def run(
    directory: Path,
    main: Callable[[Rig, Restores], Awaitable[None]],
    *keys: str,
    settings: RestoreSettings | None = None,
    store: MemoryStore | None = None,
) -> None:
    async def whole(rig: Rig) -> None:
        for key in keys or ("f",):
            archive(rig, key)
        await rig.list()
        made = Restores(rig, settings)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.restorer.run)
            await main(rig, made)
            nursery.cancel_scope.cancel()

    run_rig(directory, whole, store=store)


def is_here(rig: Rig, path: str) -> bool:
    hot = residency.hot_get(rig.index, rig.at(path).ino)
    return hot is not None and hot.residency is Residency.FULL


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10 * DAY_S):
        while not condition():  # noqa: ASYNC110 - time jumps
            await trio.sleep(30)


def test_what_was_wanted_together_is_asked_for_and_fetched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        caplog.set_level("INFO", "tierfs.tiering")
        for name in "fgh":
            made.restorer.want(rig.at(name))
            await trio.sleep(1)
        assert rig.store.requests["restore"] == 0
        await until(lambda: made.stage("h") is Stage.ASKED)
        assert rig.store.requests["restore"] == 3 and caplog.text.count("asked for 3 archived files, 15 B") == 1
        progress = made.restorer.progress()
        assert (progress.files, progress.size_bytes, progress.failed) == (3, 15, 0)
        assert progress.ready_ns - rig.clock.now_ns() == pytest.approx(5 * 3600e9, rel=0.01)
        await trio.sleep(3600)
        assert 4 <= rig.store.requests["head"] / 3 <= 5, "every quarter of an hour"
        for name in "fgh":
            rig.store.finish_restore(name)
        await until(lambda: not made.restorer.progress().files)
        assert all(is_here(rig, name) for name in "fgh") and await rig.read("g") == b"bytes"

    run(tmp_path, main, "f", "g", "h")


def test_who_waits_is_woken(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        inode, woken = rig.at("f"), list[float]()
        made.restorer.want(inode)

        async def wait() -> None:
            await made.restorer.wait(inode.ino)
            woken.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(wait)
            await until(lambda: made.stage("f") is Stage.ASKED)
            assert not woken
            rig.store.finish_restore("f")
        assert len(woken) == 2

    run(tmp_path, main)


def test_a_restore_that_failed_says_so_and_is_asked_for_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        ino = rig.at("f").ino
        made.restorer.want(rig.at("f"))
        await until(lambda: made.stage("f") is Stage.ASKED)
        rig.store.finish_restore("f", succeeds=False)
        with pytest.raises(StoreError, match="left nothing to read"):
            await made.restorer.wait(ino)
        assert caplog.text.count("could not be restored") == 1 and made.restorer.progress().failed == 1
        await trio.sleep(1800)
        assert rig.store.requests["restore"] == 1, "not by itself"
        made.restorer.want(rig.at("f"))
        await until(lambda: made.stage("f") is Stage.ASKED)
        rig.store.finish_restore("f")
        await until(lambda: is_here(rig, "f"))

    run(tmp_path, main)


def test_a_refusal_is_a_failure(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        rig.store.fail_next("restore", StoreErrorKind.ACCESS_DENIED)
        made.restorer.want(rig.at("f"))
        with pytest.raises(StoreError, match="access denied"):
            await made.restorer.wait(rig.at("f").ino)

    run(tmp_path, main)


def test_a_store_that_is_away_is_asked_again(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        rig.store.fail_next("restore", StoreErrorKind.UNAVAILABLE, times=3)
        rig.store.fail_next("head", StoreErrorKind.UNAVAILABLE, times=3)
        made.restorer.want(rig.at("f"))
        await until(lambda: made.stage("f") is Stage.ASKED)
        rig.store.finish_restore("f")
        await until(lambda: is_here(rig, "f"))

    run(tmp_path, main)


@pytest.mark.parametrize("is_asked", [False, True])
def test_an_object_deleted_in_the_archive_is_looked_at(
    tmp_path: Path, is_asked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        ino = rig.at("f").ino
        made.restorer.want(rig.at("f"))
        if is_asked:
            await until(lambda: made.stage("f") is Stage.ASKED)
        del rig.store.objects["f"]
        await made.restorer.wait(ino)
        assert made.stale == [ino] and made.stage("f") is None
        assert caplog.text.count("nothing of it comes back") == 1

    run(tmp_path, main)


def test_a_file_that_was_removed_or_replaced_is_forgotten(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        for name in "fg":
            made.restorer.want(rig.at(name))
        gone = rig.at("f").ino
        rig.unlink("f")
        archive(rig, "g", b"others", "STANDARD")
        await rig.list()
        await until(lambda: not made.restorer.progress().files)
        assert made.restorer.find(gone) is None and rig.store.requests["restore"] == 0

    run(tmp_path, main, "f", "g")


def test_what_somebody_else_has_had_restored_is_there(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        archive(rig, "f", storage_class="STANDARD")
        inode = rig.at("f")
        made.restorer.want(inode)
        await until(lambda: is_here(rig, "f"))

    run(tmp_path, main)


def test_the_next_daemon_goes_on(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        made.restorer.want(rig.at("f"), speed=Speed.BULK, days=3)
        await until(lambda: made.stage("f") is Stage.ASKED)
        rig.store.finish_restore("f")
        next_one = Restores(rig)
        found = next_one.restorer.find(rig.at("f").ino)
        assert found is not None and (found.speed, found.days) == (Speed.BULK, 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(next_one.restorer.run)
            await until(lambda: is_here(rig, "f") and next_one.stage("f") is None)
            nursery.cancel_scope.cancel()
        assert rig.store.requests["restore"] == 1

    run(tmp_path, main)


def test_a_chmod_and_a_rename_wait_for_it_and_go_on(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        ino = (await rig.stat("f")).ino
        rig.tree.set_attributes(ino, AttrChange(permissions=0o600))
        rig.rename("f", "g")
        await until(lambda: [intent.attempts for intent in rig.pending()] == [1])
        made.restorer.want(rig.at("g"))
        await until(lambda: made.stage("g") is Stage.ASKED)
        rig.store.finish_restore("f")
        await until(lambda: is_here(rig, "g"))
        await until(lambda: rig.keys == ["g"])
        assert rig.user_meta("g")["file-permissions"] == "0100600" and rig.at("g").ino == ino
        assert rig.store.objects["g"].info.storage_class == "GLACIER"

    run(tmp_path, main)


def test_a_renamed_directory_leaves_it_behind_until_then(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        rig.put_remote("d/plain", b"bytes")
        await rig.list()
        await rig.list("d")
        rig.rename("d", "e")
        await until(lambda: "e/plain" in rig.keys and "d/plain" not in rig.keys)
        assert "d/f" in rig.keys and "e/f" not in rig.keys
        made.restorer.want(rig.at("e/f"))
        await until(lambda: made.stage("e/f") is Stage.ASKED)
        rig.store.finish_restore("d/f")
        await until(lambda: "e/f" in rig.keys and "d/f" not in rig.keys)
        assert await rig.read("e/f") == b"bytes"
        await until(lambda: rig.is_settled)

    run(tmp_path, main, "d/f")


def test_an_attempt_that_fails_as_the_restore_ends_is_made_again(tmp_path: Path) -> None:
    async def main(rig: Rig, made: Restores) -> None:
        ino = (await rig.stat("f")).ino
        rig.store.hold("copy")
        rig.store.fail_next("copy", StoreErrorKind.ARCHIVED)
        rig.tree.set_attributes(ino, AttrChange(permissions=0o600))
        await until(lambda: rig.store.requests["copy"] == 1)
        made.restorer.want(rig.at("f"))
        await until(lambda: made.stage("f") is Stage.ASKED)
        rig.store.finish_restore("f")
        await until(lambda: made.stage("f") is None)
        rig.store.release("copy")
        with trio.fail_after(600):
            await until(lambda: rig.is_settled)
        assert rig.user_meta("f")["file-permissions"] == "0100600"

    run(tmp_path, main)
