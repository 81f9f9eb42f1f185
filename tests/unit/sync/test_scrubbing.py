"""Flipped bits are found; what can be proven is healed, what cannot be proven is told and not touched."""

from pathlib import Path

import pytest
import trio
from attrs import evolve

from tests.support.flips import flip
from tests.support.sync_rig import Rig, run_rig
from tests.support.tier import noise
from tests.unit.sync.test_jobs import mount_of
from tierfs.index import inodes, sums
from tierfs.objectstore.base import ObjectMeta
from tierfs.policy.tasks import FileError, Task, TaskKind, TaskState
from tierfs.sync.jobs import makers
from tierfs.sync.scrubbing import ScrubLimits
from tierfs.sync.tasks import Tasks
from tierfs.units import MIB

OURS, THEIRS = noise(3 * MIB + 17, 1), noise(30 * MIB, 2)


async def scrub(rig: Rig, path: str = "", *, limits: ScrubLimits | None = None) -> tuple[Task, dict[str, str]]:
    """Runs one; returns how it ended, and its failures."""
    mount = evolve(mount_of(rig), notify=rig.told, scrub_limits=limits or ScrubLimits())
    tasks = Tasks(index=rig.index, clock=rig.clock, makers=makers(mount))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tasks.run)
        number = tasks.start(TaskKind.SCRUB, path).number
        while not (task := tasks.find(number)) or not task.state.has_ended:
            await tasks.changed.wait()
        nursery.cancel_scope.cancel()
    return task, {path: code for _, path, code in tasks.failures(number, 0, 1000)}


def backing(rig: Rig, path: str) -> Path:
    return Path(rig.hot.path(rig.at(path).ino))


def flip_object(rig: Rig, key: str, offset: int) -> None:
    """In the bucket, below all versions and ETags."""
    stored = rig.store.objects[key]
    data = bytearray(stored.data)
    data[offset] ^= 1
    rig.store.objects[key] = evolve(stored, data=bytes(data))


async def uploaded(rig: Rig, data: bytes = OURS) -> None:
    await rig.write("file", data)
    await rig.sync()


def test_a_flip_here_is_healed_from_the_bucket(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        before = backing(rig, "file").stat()
        flip(backing(rig, "file"), 2 * MIB)
        task, failures = await scrub(rig)
        assert (task.state, failures) == (TaskState.DONE, {})
        assert dict(task.counts.notes) == {"by_checksum": 1, "healed_here": 1}
        assert backing(rig, "file").read_bytes() == OURS
        assert backing(rig, "file").stat().st_mtime_ns == before.st_mtime_ns
        assert not rig.at("file").is_dirty and not rig.pending()
        assert (rig.at("file").ino, True) in rig.told.inodes, "the kernel may have its pages"
        assert dict((await scrub(rig))[0].counts.notes) == {"by_checksum": 1}

    run_rig(tmp_path, main)


def test_an_open_file_is_healed_under_its_readers(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        handle = await rig.files.open(rig.at("file").ino, write=False, truncate=False)
        flip(backing(rig, "file"), 5)
        assert dict((await scrub(rig))[0].counts.notes) == {"by_checksum": 1, "healed_here": 1}
        assert await rig.files.read(handle, 0, 100) == OURS[:100]
        await rig.files.release(handle)

    run_rig(tmp_path, main)


def test_what_was_fetched_of_a_multipart_object_of_others_is_healed(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.store._store("file", THEIRS, ObjectMeta(), "", etag="0" * 32 + "-4")
        await rig.list()
        assert await rig.read("file") == THEIRS
        rows = sums.all(rig.index, rig.at("file").ino)
        assert (rows[0].start, rows[-1].stop) == (0, len(THEIRS))
        assert all(row.stop - row.start <= sums.JOINED_MAX_BYTES for row in rows)
        flip(backing(rig, "file"), len(THEIRS) - 1)
        task, failures = await scrub(rig)
        assert (failures, dict(task.counts.notes)) == ({}, {"by_ranges": 1, "healed_here": 1})
        assert backing(rig, "file").read_bytes() == THEIRS

    run_rig(tmp_path, main)


def test_ranges_of_a_file_that_is_partly_here_are_healed(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("file", THEIRS)
        await rig.list()
        handle = await rig.files.open(rig.at("file").ino, write=False, truncate=False)
        assert await rig.files.read(handle, 20 * MIB, 4096) == THEIRS[20 * MIB : 20 * MIB + 4096]
        await rig.files.release(handle)
        flip(backing(rig, "file"), 20 * MIB + 3)
        assert dict((await scrub(rig))[0].counts.notes) == {"by_ranges": 1, "healed_here": 1}
        assert await rig.read("file") == THEIRS

    run_rig(tmp_path, main)


@pytest.mark.parametrize("objects", [False, True])
def test_a_flip_in_the_bucket_is_healed_from_here_where_objects_are_read(tmp_path: Path, objects: bool) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        flip_object(rig, "file", 9)
        task, failures = await scrub(rig, limits=ScrubLimits(objects=objects))
        healed = {"healed_in_bucket": 1} if objects else {}
        assert (failures, dict(task.counts.notes)) == ({}, {"by_checksum": 1, **healed})
        assert (rig.store.content("file") == OURS) == objects
        assert not rig.pending()

    run_rig(tmp_path, main)


def test_a_read_only_mount_tells_what_it_may_not_heal(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        flip_object(rig, "file", 9)
        _, failures = await scrub(rig, limits=ScrubLimits(objects=True, read_only=True))
        assert failures == {"file": FileError.OBJECT_DAMAGED}
        assert rig.store.content("file") != OURS

    run_rig(tmp_path, main)


def test_damage_on_both_sides_is_told_and_not_touched(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        flip(backing(rig, "file"), 5)
        flip_object(rig, "file", 9)
        here, there = backing(rig, "file").read_bytes(), rig.store.content("file")
        task, failures = await scrub(rig, limits=ScrubLimits(objects=True))
        assert (task.state, failures) == (TaskState.FAILED, {"file": FileError.CHECKSUM_MISMATCH})
        assert (backing(rig, "file").read_bytes(), rig.store.content("file")) == (here, there)

    run_rig(tmp_path, main)


def test_an_object_that_was_written_since_is_not_touched(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        meta = rig.store.objects["file"].info.meta
        assert meta is not None
        # as a client does that copies with the metadata: our checksum, and other bytes
        rig.put_remote("file", b"x" * len(OURS), user=dict(meta.user))
        _, failures = await scrub(rig, limits=ScrubLimits(objects=True))
        assert failures == {"file": FileError.OBJECT_CHANGED}
        assert rig.store.content("file") == b"x" * len(OURS)

    run_rig(tmp_path, main)


def test_an_etag_that_moved_alone_is_no_new_version(tmp_path: Path) -> None:
    """A directory that serves as a bucket makes its ETags of the ctime, which every change of a disk's block moves."""

    async def main(rig: Rig) -> None:
        await uploaded(rig)
        flip_object(rig, "file", 9)
        stored = rig.store.objects["file"]
        base = rig.at("file").base
        assert base is not None
        info = evolve(stored.info, etag="moved", last_modified_ns=base.last_modified_ns)
        rig.store.objects["file"] = evolve(stored, info=info)
        task, failures = await scrub(rig, limits=ScrubLimits(objects=True))
        assert (failures, dict(task.counts.notes)) == ({}, {"by_checksum": 1, "healed_in_bucket": 1})
        assert rig.store.content("file") == OURS

    run_rig(tmp_path, main)


def test_an_object_that_is_gone(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        del rig.store.objects["file"]
        _, failures = await scrub(rig)
        assert failures == {"file": FileError.OBJECT_MISSING}

    run_rig(tmp_path, main)


def test_what_is_changed_here_is_passed_over(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await uploaded(rig)
        await rig.write("file", b"changed")
        task, failures = await scrub(rig)
        assert (task.counts.total, failures) == (0, {})

    run_rig(tmp_path, main)


def test_rows_of_an_older_version_say_nothing(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.store._store("file", THEIRS, ObjectMeta(), "", etag="0" * 32 + "-4")
        await rig.list()
        await rig.read("file")
        inode = rig.at("file")
        assert inode.base is not None and sums.of_version(rig.index, inode.ino, inode.base.etag)
        with rig.index.transaction() as txn:
            inodes.put(txn, evolve(inode, base=evolve(inode.base, etag="1" * 32 + "-4")))
        assert not sums.of_version(rig.index, inode.ino, "1" * 32 + "-4")

    run_rig(tmp_path, main)


def test_it_reads_no_faster_than_it_may(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in range(4):
            await rig.write(f"file-{number}", noise(4 * MIB, number))
        await rig.sync()
        began_s = trio.current_time()
        await scrub(rig, limits=ScrubLimits(rate_per_s=float(MIB)))
        assert 10 <= trio.current_time() - began_s <= 20, "16 MiB, the last piece is not waited for"

    run_rig(tmp_path, main)
