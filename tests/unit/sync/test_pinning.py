"""The tasks pin and unpin."""

from pathlib import Path

from tests.support.sync_rig import Rig, run_rig
from tests.unit.sync.test_jobs import done, is_here
from tierfs.index import residency
from tierfs.policy.tasks import FileError, TaskKind, TaskState


def is_pinned(rig: Rig, path: str) -> bool:
    hot = residency.hot_get(rig.index, rig.at(path).ino)
    return hot is not None and hot.pinned


def test_what_is_pinned_is_fetched_and_stays_until_it_is_unpinned(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for key in ("d/a", "d/e/b", "other"):
            rig.put_remote(key, key.encode() * 100)
        await rig.list()
        task, failures = await done(rig, TaskKind.PIN, "d")
        assert (task.state, failures, task.counts.notes) == (TaskState.DONE, {}, {"pinned": 2})
        assert (task.counts.done, task.counts.done_bytes) == (2, 800)
        assert [is_here(rig, path) and is_pinned(rig, path) for path in ("d/a", "d/e/b")] == [True, True]
        assert not is_pinned(rig, "other")
        _, failures = await done(rig, TaskKind.RELEASE, "d")
        assert failures == {"d/a": FileError.PINNED, "d/e/b": FileError.PINNED}
        task, _ = await done(rig, TaskKind.PIN, "d")
        assert (task.counts.done, task.counts.notes) == (0, {"pinned": 2}), "nothing is fetched anew"
        task, _ = await done(rig, TaskKind.UNPIN, "d")
        assert (task.state, task.counts.total, task.counts.done) == (TaskState.DONE, 2, 2)
        task, failures = await done(rig, TaskKind.RELEASE, "d")
        assert (task.counts.done, failures) == (2, {})

    run_rig(tmp_path, main)


def test_a_file_that_does_not_fit_is_reported(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("large", b"l" * 5000)
        rig.put_remote("small", b"s" * 100)
        await rig.list()
        task, failures = await done(rig, TaskKind.PIN, "", tier_bytes=1000)
        assert (task.state, failures) == (TaskState.FAILED, {"large": FileError.NO_ROOM})
        assert is_here(rig, "small")

    run_rig(tmp_path, main)
