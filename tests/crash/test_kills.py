"""Daemon and holder are killed under writing programs, at times that nobody chose, again and again on one cache.

After each kill every acknowledged operation is there, and at the end the cache and the bucket have nothing that should
not be there. And a daemon that dies at a named step (tierfs.faultpoints) is started again by the holder, without that a
program sees more than a pause.
"""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.kills import assert_acknowledged, run_burst
from tests.support import programs
from tests.support.mounts import Mount, Settings, mounted
from tests.support.trees import assert_same, describe
from tierfs import faultpoints
from tierfs.clock import SystemClock
from tierfs.faultpoints import Point
from tierfs.index import residency
from tierfs.index.check import check
from tierfs.index.env import Index, IndexSettings
from tierfs.index.schema import Table

SETTINGS: Settings = {"export": {"quiet_s": 0.1}, "hot_tier": {"min_free_bytes": 0}}
SYNC_EACH = 10
ROUNDS_MAX = 200
# there is none in a history without a kernel, or it is another's: the others are tests/crash/test_fault_points.py
KILLED_AT = (Point.JOURNAL_WRITTEN, Point.EXPORT_SENT)


def assert_cache_is_right(cache: Path) -> None:
    """Of a mount that is unmounted and drained."""
    index = Index.open(cache / "index", clock=SystemClock(), settings=IndexSettings())
    try:
        assert list(check(index)) == []
        for table in (Table.CONFLICTS, Table.ORPHANS, Table.INTENTS, Table.TOMBSTONES, Table.LOCATIONS):
            assert index.count(table) == 0, table
        backing = [int(name, 16) for _, _, names in os.walk(cache / "hot") for name in names]
        assert [ino for ino in backing if residency.hot_get(index, ino) is None] == []
    finally:
        index.close()


def assert_bucket_is(bucket: Path, tree: Path) -> None:
    """Names and bytes, and nothing of ours that a crash left behind."""

    def files(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not path.is_symlink() and ".tierfs" not in path.parts
        }

    symlinks = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink()}
    there = {name: body for name, body in files(bucket).items() if name not in symlinks}
    assert there == files(tree)
    left = [
        path
        for part in ("aside", "spill", "uploads")
        for path in (bucket / ".tierfs" / part).rglob("*")
        if path.is_file()
    ]
    assert left == []


def kill_and_check(directory: Path, cycles: int, seed: int) -> None:
    bucket, chooser = directory / "bucket", random.Random(seed)
    bucket.mkdir()
    with mounted(f"file://{bucket}", directory, settings=SETTINGS, life_limit_s=60.0 * cycles + 200) as mount:
        for cycle in range(cycles):
            area, native = mount.path / f"cycle-{cycle}", directory / "native"
            counts = run_burst(
                mount, directory, area, range(2 * cycle, 2 * cycle + 2), until=chooser.randrange(40, 400)
            )
            mount.remount()
            assert_acknowledged(area, native, counts)
            if cycle % SYNC_EACH == SYNC_EACH - 1 or cycle == cycles - 1:
                mount.wait_synced()
                assert_acknowledged(area, native / "synced", counts)
                assert_bucket_is(bucket, mount.path)
                assert mount.status()["conflicts"] == 0
            if cycle < cycles - 1:
                programs.run(["rm", "-rf", area, native])
            for log in directory.glob("log-*"):
                log.unlink()
        before = describe(mount.path)
        mount.umount()
        assert_cache_is_right(mount.cache)
        mount.remount(fresh_cache=True)
        assert_same(before, describe(mount.path))


def test_kills_at_random_times(tmp_path: Path) -> None:
    kill_and_check(tmp_path, cycles=3, seed=1)


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_a_thousand_kills(tmp_path: Path, summarize: Callable[[int, int, int], None]) -> None:
    cycles, failures = int(os.environ.get("TIERFS_TEST_CYCLES", "1000")), 1
    try:
        kill_and_check(tmp_path, cycles, seed=int(os.environ.get("TIERFS_TEST_SEED", "7")))
        failures = 0
    finally:
        summarize(cycles, cycles, failures)


# ---- deaths at named steps, and a takeover ----


def work(directory: Path) -> None:
    """All that a program would do, on a mount that pauses; nothing fails."""
    directory.mkdir()
    for number in range(6):
        (directory / f"f{number}").write_bytes(b"%d" % number * 1000)
    (directory / "f0").write_bytes(b"anew")
    (directory / "f1").rename(directory / "moved")
    (directory / "f2").unlink()
    os.link(directory / "f3", directory / "linked")
    (directory / "d").mkdir()
    (directory / "f4").rename(directory / "d/f4")
    (directory / "d").rename(directory / "e")
    with pytest.raises(OSError, match="File exists") as caught:
        (directory / "e").mkdir()
    assert caught.value.errno == errno.EEXIST


def die_at(point: Point, directory: Path) -> None:
    bucket, mark = directory / "bucket", directory / "mark"
    bucket.mkdir()
    (bucket / "there").write_bytes(b"of others")
    # a mount writes some records of its own, more of them where it starts slowly, and who dies in it has no mount
    count = 12 if point is Point.JOURNAL_WRITTEN else 3
    environment = {faultpoints.VARIABLE: f"{point}:{count}:{mark}"}
    with mounted(f"file://{bucket}", directory, settings=SETTINGS, env=environment) as mount:
        work(directory / "native")
        rounds = 0
        while not mark.exists():  # commits come by the clock
            assert rounds < ROUNDS_MAX, "it never came to the point"
            rounds += 1
            work(mount.path / f"work-{rounds}")
        assert (mount.path / "there").read_bytes() == b"of others"
        _until_synced(mount)
        assert programs.wait_until(lambda: "takes over" in mount.log(), 30)
        for number in range(1, rounds + 1):
            programs.run(["diff", "-r", directory / "native", mount.path / f"work-{number}"])
        assert_bucket_is(bucket, mount.path)
        assert mount.status()["conflicts"] == 0
        mount.umount()
        assert_cache_is_right(mount.cache)


def _until_synced(mount: Mount) -> None:
    """The daemon may die while it is asked, and then another one is."""
    done = programs.wait_until(
        lambda: mount.tierctl("wait", "--synced", mount.path, check=False).returncode == 0, 60, step_s=0.2
    )
    assert done


@pytest.mark.parametrize("point", KILLED_AT)
def test_the_holder_goes_on_from_a_death_at(point: Point, tmp_path: Path) -> None:
    die_at(point, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("point", [Point.INDEX_COMMITTING, Point.INDEX_COMMITTED, Point.EXPORT_BEGUN,
                                   Point.EXPORT_RECORDED])  # fmt: skip
def test_the_holder_goes_on_from_a_death_at_others(
    point: Point, tmp_path: Path, summarize: Callable[[int, int, int], None]
) -> None:
    die_at(point, tmp_path)
    summarize(1, 1, 0)
