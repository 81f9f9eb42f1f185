"""What is proven of the bytes in the hot tier, and what is found to be wrong."""

from pathlib import Path

from attrs import evolve

from tests.support.flips import flip
from tests.support.sync_rig import Rig, run_rig
from tests.unit.sync.test_jobs import done
from tierfs.index import inodes
from tierfs.objectstore.base import ObjectMeta
from tierfs.policy.tasks import FileError, TaskKind, TaskState


async def notes(rig: Rig, path: str = "") -> dict[str, int]:
    task, failures = await done(rig, TaskKind.VERIFY, path)
    assert task.state is TaskState.DONE and not failures
    assert task.counts.done == task.counts.total
    return dict(task.counts.notes)


def test_by_the_checksum_that_the_object_carries(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"x" * 5000)
        rig.put_remote("cold", b"c" * 1000)
        await rig.sync()
        await rig.list()
        assert await notes(rig) == {"by_checksum": 1}, "a cold file has no bytes here"

    run_rig(tmp_path, main)


def test_by_an_etag_that_is_the_md5(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a", b"x" * 3_000_000)
        await rig.list()
        assert len(await rig.read("a")) == 3_000_000
        assert await notes(rig, "a") == {"by_etag": 1}
        inode = rig.at("a")
        assert inode.base is not None
        # encrypted with KMS: an ETag that looks like an MD5 and is none
        stored = rig.store.objects["a"]
        rig.store.objects["a"] = evolve(stored, info=evolve(stored.info, etag="0" * 32))
        with rig.index.transaction() as txn:
            inodes.put(txn, evolve(inode, base=evolve(inode.base, etag="0" * 32)))
        assert await notes(rig) == {"unproven": 1}

    run_rig(tmp_path, main)


def test_a_multipart_object_of_others_is_what_was_fetched(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.store._store("a", b"x" * 5000, ObjectMeta(), "", etag="0" * 32 + "-2")
        await rig.list()
        assert len(await rig.read("a")) == 5000
        assert await notes(rig) == {"by_ranges": 1}
        flip(Path(rig.hot.path(rig.at("a").ino)), 4000)
        _, failures = await done(rig, TaskKind.VERIFY, "")
        assert failures == {"a": FileError.CHECKSUM_MISMATCH}

    run_rig(tmp_path, main)


def test_a_part_is_what_was_fetched(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a", b"x" * 30_000_000)
        await rig.list()
        handle = await rig.files.open(rig.at("a").ino, write=False, truncate=False)
        await rig.files.read(handle, 20_000_000, 4096)
        await rig.files.release(handle)
        assert await notes(rig) == {"by_ranges": 1}

    run_rig(tmp_path, main)


def test_what_is_not_uploaded_is_not_verified(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"1")
        assert await notes(rig) == {}

    run_rig(tmp_path, main)


def test_damage_is_found(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("d", b"x" * 5000)
        await rig.write("fine", b"y")
        await rig.sync()
        backing = rig.hot.open(ino, create=False)
        await backing.write(100, b"rotten")
        backing.close()
        task, failures = await done(rig, TaskKind.VERIFY, "")
        assert (task.state, failures) == (TaskState.FAILED, {"d": "checksum_mismatch"})
        assert task.counts.notes == {"by_checksum": 1}

    run_rig(tmp_path, main)


def test_another_version_and_none_are_found(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for name in "ab":
            await rig.write(name, name.encode() * 100)
        await rig.sync()
        rig.put_remote("a", b"of somebody else")
        del rig.store.objects["b"]
        _, failures = await done(rig, TaskKind.VERIFY, "")
        assert failures == {"a": "object_changed", "b": "object_missing"}

    run_rig(tmp_path, main)
