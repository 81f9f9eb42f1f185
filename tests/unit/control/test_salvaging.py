"""An index that is lost takes no bytes with it: what was not uploaded comes back, whole and under its name."""

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tests.support.tier import noise
from tierfs.config.sections import ExportSettings
from tierfs.control import salvaging
from tierfs.control.salvaging import Salvage
from tierfs.hottier.files import LOST_AND_FOUND
from tierfs.hottier.labels import Label, encode_label
from tierfs.index import residency
from tierfs.model import Residency
from tierfs.namespace.notify import NoNotify
from tierfs.policy.tasks import FileError, Task, TaskKind, TaskState
from tierfs.sync.labelling import Labeller
from tierfs.sync.tasks import Tasks

NEW, OLD, CHANGED = noise(200_000, 1), noise(70_000, 2), noise(90_000, 3)

Main = Callable[[Rig], Awaitable[None]]


async def label(rig: Rig) -> Labeller:
    """Everything that is pending has its label."""
    labeller = Labeller(index=rig.index, hot=rig.hot, clock=rig.clock)
    await trio.sleep(11)
    await labeller.label_pending()
    return labeller


async def synced(rig: Rig) -> None:
    """Everything is uploaded, and what is written after this waits for its quiet time."""
    await rig.sync()
    await rig.idle()


async def salvage(rig: Rig) -> tuple[Task, dict[str, str]]:
    """Runs the task; returns how it ended, and its failures."""
    fs = rig.file_system()

    def make(_: Task) -> Salvage:
        return Salvage(index=rig.index, hot=rig.hot, fs=fs, files=rig.files, store=rig.store, notify=NoNotify())

    tasks = Tasks(index=rig.index, clock=rig.clock, makers={TaskKind.SALVAGE: make})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tasks.run)
        number = tasks.start(TaskKind.SALVAGE, "").number
        while not (task := tasks.find(number)) or not task.state.has_ended:
            await tasks.changed.wait()
        nursery.cancel_scope.cancel()
    return task, {path: code for _, path, code in tasks.failures(number, 0, 1000)}


def lose_index(
    directory: Path, before: Main, after: Main, *, between: Callable[[MemoryStore], object] = lambda store: None
) -> None:
    """`before` in one life, which ends with pending changes; `after` in the next one, which has no index of it."""
    store = run_rig(directory, before, export=ExportSettings(quiet_s=86_400))
    between(store)
    shutil.rmtree(directory / "index")

    async def whole(rig: Rig) -> None:
        rig.files.recover()
        assert salvaging.is_due(rig.index, rig.hot)
        await after(rig)

    run_rig(directory, whole, store=store, reads_ahead=False)


def saved(directory: Path) -> list[str]:
    return sorted(os.listdir(directory / LOST_AND_FOUND))


def test_files_that_were_not_uploaded_come_back(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        rig.mkdir("dir")
        await rig.write("dir/known", OLD)
        await synced(rig)
        rig.mkdir("new")
        await rig.write("new/file", NEW, mode=0o640)
        await rig.write("dir/known", CHANGED)
        await label(rig)

    async def after(rig: Rig) -> None:
        task, failures = await salvage(rig)
        assert (task.state, failures, dict(task.counts.notes)) == (TaskState.DONE, {}, {"restored": 2})
        assert (await rig.read("new/file"), rig.at("new/file").mode) == (NEW, 0o100640)
        assert await rig.read("dir/known") == CHANGED
        assert saved(tmp_path) == []
        await rig.sync()
        assert rig.store.content("new/file") == NEW
        assert rig.store.content("dir/known") == CHANGED
        assert rig.keys == ["dir/", "dir/known", "new/", "new/file"], "no draft is left"

    lose_index(tmp_path, before, after)


def test_what_others_wrote_since_keeps_its_name(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        await rig.write("file", OLD)
        await synced(rig)
        await rig.write("file", CHANGED)
        await label(rig)

    async def after(rig: Rig) -> None:
        task, _ = await salvage(rig)
        assert dict(task.counts.notes) == {"put_beside": 1}
        [beside] = [name for name in rig.names() if name.startswith("file.recovered-")]
        assert await rig.read(beside) == CHANGED
        assert await rig.read("file") == b"theirs"

    lose_index(tmp_path, before, after, between=lambda store: store.place("file", b"theirs"))


def test_after_a_power_loss_bytes_do_not_go_over_an_object(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        await rig.write("file", OLD)
        await synced(rig)
        await rig.write("file", CHANGED)
        rig.index.boot_id = 6  # that of the next life is 7
        await label(rig)

    async def after(rig: Rig) -> None:
        assert dict((await salvage(rig))[0].counts.notes) == {"put_beside": 1}
        assert await rig.read("file") == OLD

    lose_index(tmp_path, before, after)


def test_copies_go_and_strangers_stay(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        await rig.write("uploaded", OLD)
        await rig.write("labelled", NEW)
        await label(rig)
        await synced(rig)  # the label of what is uploaded now is old
        rig.put_remote("theirs", CHANGED)
        await rig.list()
        await rig.stat("theirs")
        assert await rig.read("theirs") == CHANGED
        await rig.write("just now", b"no label yet")

    async def after(rig: Rig) -> None:
        task, failures = await salvage(rig)
        assert task.state is TaskState.FAILED and dict(task.counts.notes) == {"copies_removed": 3}
        assert set(failures.values()) == {FileError.UNKNOWN_PLACE}
        [name] = saved(tmp_path)
        assert (tmp_path / LOST_AND_FOUND / name).read_bytes() == b"no label yet"

    lose_index(tmp_path, before, after)


def test_what_lacks_parts_stays(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        ino = await rig.write("file", NEW)
        record = residency.hot_get(rig.index, ino)
        assert record is not None
        with rig.index.transaction() as txn:
            residency.hot_put(txn, ino, type(record)(Residency.PARTIAL, 7, False, False, 0, record.last_use_s))
        await label(rig)

    async def after(rig: Rig) -> None:
        _, failures = await salvage(rig)
        [name] = saved(tmp_path)
        assert failures == {f"{LOST_AND_FOUND}/{name} (file)": FileError.INCOMPLETE}
        assert rig.find("file") is None

    lose_index(tmp_path, before, after)


def test_a_draft_that_was_left_half_done_is_begun_anew(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        await rig.write("file", NEW)
        await label(rig)

    async def after(rig: Rig) -> None:
        [name] = saved(tmp_path)
        await rig.write(f".tierfs-salvaged-{name}", noise(300_000, 9))
        await salvage(rig)
        assert (rig.names(), await rig.read("file")) == (["file"], NEW)

    lose_index(tmp_path, before, after)


def test_holes_stay_holes(tmp_path: Path) -> None:
    async def before(rig: Rig) -> None:
        ino = await rig.write("file", b"head")
        await rig.files.set_size(ino, 1 << 30)
        await label(rig)

    async def after(rig: Rig) -> None:
        await salvage(rig)
        found = rig.at("file")
        assert found.size_bytes == 1 << 30
        stat = rig.hot.stat(found.ino)
        assert stat is not None and stat.allocated_bytes < 1 << 20

    lose_index(tmp_path, before, after)


def test_a_label_cannot_lead_out_of_the_mount_and_a_planted_link_is_passed_over(tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.write_bytes(b"not ours")

    async def main(rig: Rig) -> None:
        home = tmp_path / LOST_AND_FOUND
        home.mkdir()
        (home / "link").symlink_to(outside)
        (home / "1f").write_bytes(NEW)
        evil = Label(1, 7, "../../../outside", 0o100644, 0, 0, "", 0, whole=True)
        os.setxattr(home / "1f", "user.tierfs.pending", encode_label(evil))
        await salvage(rig)
        assert outside.read_bytes() == b"not ours"
        assert rig.names() == ["outside"]
        assert saved(tmp_path) == ["link"]

    run_rig(tmp_path, main, reads_ahead=False)


def test_labels_follow_a_rename_and_go_with_the_upload(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("file", NEW)
        labeller = Labeller(index=rig.index, hot=rig.hot, clock=rig.clock)
        await labeller.label_pending()
        assert rig.hot.label(rig.hot.place(ino)) is None, "it may be uploaded in a moment"
        await trio.sleep(11)
        await labeller.label_pending()
        rig.rename("file", "renamed")
        await labeller.label_pending()
        found = rig.hot.label(rig.hot.place(ino))
        assert found is not None
        assert (found.path, found.index, found.whole, found.base) == ("renamed", rig.index.identity, True, "")
        await rig.sync()
        await labeller.label_pending()
        assert rig.hot.label(rig.hot.place(ino)) is None

    run_rig(tmp_path, main, export=ExportSettings(quiet_s=86_400))
