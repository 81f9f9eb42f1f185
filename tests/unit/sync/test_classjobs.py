"""Tasks about storage classes over a store in memory: archive, tier, restore."""

from pathlib import Path

import pytest
import trio
from attrs import evolve

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tests.unit.sync.test_classes import changer_of
from tierfs.errors import FsError
from tierfs.model import Inode
from tierfs.objectstore.base import Capabilities, ObjectMeta
from tierfs.policy.classes import Speed
from tierfs.policy.tasks import FileError, Options, Task, TaskKind, TaskState
from tierfs.sync.classjobs import Classes, makers
from tierfs.sync.tasks import Tasks


class Wanted(list[tuple[bytes, Speed | None, int | None]]):
    """Takes every restore."""

    def want(self, inode: Inode, *, speed: Speed | None = None, days: int | None = None) -> object:
        self.append((inode.name, speed, days))
        return None


class Moves:
    """Moves without budgets."""

    def __init__(self, rig: Rig) -> None:
        self._changer = changer_of(rig)

    async def move(self, ino: int, storage_class: str, rule: str = "") -> FileError | None:
        del rule
        return await self._changer.change(ino, storage_class)


def tasks_of(rig: Rig, wanted: Wanted, capabilities: Capabilities | None = None) -> Tasks:
    classes = Classes(
        index=rig.index, importer=rig.importer, capabilities=lambda: capabilities or rig.store.capabilities,
        moves=Moves(rig), restores=wanted, export=rig.exporter.export_now, archive_class="GLACIER",
        speed=Speed.BULK, restore_cost=lambda size, storage_class, speed: size / 1000,
    )  # fmt: skip
    return Tasks(index=rig.index, clock=rig.clock, makers=makers(classes))


async def done(
    rig: Rig, kind: TaskKind, path: str, wanted: Wanted | None = None, capabilities: Capabilities | None = None,
    **options: str | int,
) -> tuple[Task, dict[str, str]]:  # fmt: skip
    tasks = tasks_of(rig, wanted if wanted is not None else Wanted(), capabilities)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tasks.run)
        number = tasks.start(kind, path, evolve(Options(), **options)).number
        while not (task := tasks.find(number)) or not task.state.has_ended:
            await tasks.changed.wait()
        nursery.cancel_scope.cancel()
    return task, {path: code for _, path, code in tasks.failures(number, 0, 1000)}


def classes_in(store: MemoryStore) -> dict[str, str]:
    return {key: str(found.info.storage_class) for key, found in store.objects.items() if not key.startswith(".tierfs")}


def test_archive_uploads_and_moves(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("d/theirs", b"1" * 10)
        await rig.list()
        await rig.list("d")
        await rig.write("d/ours", b"2" * 10)
        task, failures = await done(rig, TaskKind.ARCHIVE, "d")
        assert (task.state, failures, task.counts.done) == (TaskState.DONE, {}, 2)
        assert classes_in(rig.store) == {"d/ours": "GLACIER", "d/theirs": "GLACIER"}
        copies = rig.store.requests["copy"]
        assert (await done(rig, TaskKind.ARCHIVE, "d"))[0].counts.total == 0 and rig.store.requests["copy"] == copies
        task, _ = await done(rig, TaskKind.ARCHIVE, "d", storage_class="STANDARD_IA")
        assert task.code == "ENOTSUP" and "no archive" in task.message

    run_rig(tmp_path, main)


def test_tier_moves_what_rests(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for name in ("a", "b", "c"):
            await rig.write(name, b"1")
        await rig.sync()
        await rig.write("b", b"2")
        rig.store._store("c", b"1", ObjectMeta(), "DEEP_ARCHIVE")
        await rig.list()
        task, failures = await done(rig, TaskKind.TIER, "", storage_class="STANDARD_IA")
        assert (task.state, failures) == (TaskState.FAILED, {"b": "not_uploaded", "c": "archived"})
        assert classes_in(rig.store)["a"] == "STANDARD_IA"

    run_rig(tmp_path, main)


@pytest.mark.parametrize(
    ("kind", "options", "lacks", "words"),
    [
        (TaskKind.TIER, {"storage_class": "STANDARD_IA"}, "class_changes", "does not change"),
        (TaskKind.TIER, {"storage_class": "STANDARD_IA"}, "storage_classes", "knows no storage classes"),
        (TaskKind.ARCHIVE, {}, "restores", "could not be read again"),
        (TaskKind.RESTORE, {}, "restores", "restores no archived"),
    ],
)
def test_a_store_that_cannot_refuses_before_anything_is_done(
    tmp_path: Path, kind: TaskKind, options: dict[str, str], lacks: str, words: str
) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"1")
        without = evolve(Capabilities(), **{lacks: False})
        task, _ = await done(rig, kind, "f", capabilities=without, **options)
        assert (task.state, task.code) == (TaskState.FAILED, "ENOTSUP") and words in task.message
        with pytest.raises(FsError, match=words):
            await tasks_of(rig, Wanted(), without).forecast(kind, "f", evolve(Options(), **options))

    run_rig(tmp_path, main)


def test_restore_asks_for_what_is_not_here(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for name, storage_class in (("g", "GLACIER"), ("d", "DEEP_ARCHIVE"), ("s", "STANDARD"), ("t", "GLACIER")):
            rig.store._store(name, b"1" * 500, ObjectMeta(), storage_class)
        await rig.list()
        rig.store.finish_restore("t")
        assert await rig.read("t")
        wanted = Wanted()
        forecast = await tasks_of(rig, wanted).forecast(TaskKind.RESTORE, "")
        assert (forecast.counts.total, forecast.counts.notes) == (2, {"within_h": 48, "cost_millis": 1000})
        assert not wanted
        task, failures = await done(rig, TaskKind.RESTORE, "", wanted, speed="standard", days=3)
        assert (task.state, failures, task.counts.done) == (TaskState.DONE, {}, 2)
        assert task.counts.notes["within_h"] == 12
        assert sorted(wanted) == [(b"d", Speed.STANDARD, 3), (b"g", Speed.STANDARD, 3)]

    run_rig(tmp_path, main)
