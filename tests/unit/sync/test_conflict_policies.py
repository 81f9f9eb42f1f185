"""Both sides changed, and the policy says who wins: nothing is left of the other, and it is told."""

from pathlib import Path

import pytest
import trio

from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ExportSettings
from tierfs.index import conflicts
from tierfs.namespace.changes import AttrChange
from tierfs.objectstore import dialects
from tierfs.policy.merge import Policy
from tierfs.policy.resolution import Kind

WINNERS = [Policy.BUCKET_WINS, Policy.LOCAL_WINS]
DAY_S = 86_400.0
NEVER_MTIME = "1000000000000000000ns"  # long before the clock of the rig
FUTURE_MTIME = "4000000000000000000ns"


async def _is(rig: Rig, path: str, data: bytes) -> None:
    """Both sides have the file with these bytes, nothing is pending and nobody has to decide."""
    await rig.sync()
    assert await rig.list() == [path]
    assert rig.keys == [path]
    assert rig.store.content(path) == data
    assert await rig.read(path) == data
    assert not rig.at(path).is_dirty
    assert not rig.pending()
    assert conflicts.count(rig.index) == 0


@pytest.mark.parametrize("policy", WINNERS)
def test_both_changed(tmp_path: Path, policy: Policy, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        await rig.write("f", b"mine")
        rig.put_remote("f", b"theirs", user={"team": "blue"})
        await rig.sync()
        await _is(rig, "f", b"theirs" if policy is Policy.BUCKET_WINS else b"mine")
        assert rig.user_meta("f")["team"] == "blue"  # what others put there stays, whoever wins
        assert f"policy {policy.value}" in caplog.text

    run_rig(tmp_path, main, policy=policy)


@pytest.mark.parametrize("policy", WINNERS)
def test_both_created_the_same_name(tmp_path: Path, policy: Policy) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"mine")
        rig.put_remote("f", b"theirs")
        await rig.sync()
        await _is(rig, "f", b"theirs" if policy is Policy.BUCKET_WINS else b"mine")

    run_rig(tmp_path, main, policy=policy)


@pytest.mark.parametrize("policy", WINNERS)
def test_replaced_here_by_another_inode(tmp_path: Path, policy: Policy) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        await rig.write("new", b"mine")
        rig.rename("new", "f")
        rig.put_remote("f", b"theirs")
        await rig.sync()
        await _is(rig, "f", b"theirs" if policy is Policy.BUCKET_WINS else b"mine")

    run_rig(tmp_path, main, policy=policy)


def test_a_writer_whose_file_the_bucket_has_won_goes_on_without_its_name(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"base")
        await rig.sync()
        handle = await rig.files.open(ino, write=True, truncate=False)
        await rig.files.write(handle, 0, b"mine")
        rig.put_remote("f", b"theirs")
        rig.exporter.hurry()
        await rig.sync()
        assert await rig.files.read(handle, 0, 10) == b"mine"
        await rig.files.write(handle, 4, b" more")
        await rig.files.release(handle)
        await _is(rig, "f", b"theirs")

    run_rig(tmp_path, main, policy=Policy.BUCKET_WINS, export=ExportSettings(quiet_s=DAY_S, max_dirty_age_s=1))


@pytest.mark.parametrize("policy", WINNERS)
def test_changed_here_deleted_there(tmp_path: Path, policy: Policy) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        await rig.write("f", b"mine")
        del rig.store.objects["f"]
        await rig.sync()
        if policy is Policy.LOCAL_WINS:
            await _is(rig, "f", b"mine")
        else:
            assert (await rig.list(), rig.keys, rig.pending()) == ([], [], [])

    run_rig(tmp_path, main, policy=policy)


def test_new_here_is_no_conflict_with_nothing_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"mine")
        await rig.sync()
        await _is(rig, "f", b"mine")

    run_rig(tmp_path, main, policy=Policy.BUCKET_WINS)


@pytest.mark.parametrize("policy", Policy)
def test_deleted_here_changed_there(tmp_path: Path, policy: Policy) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        await rig.list()
        rig.unlink("f")
        rig.put_remote("f", b"theirs", user={"file-mtime": NEVER_MTIME})
        await rig.sync()
        if policy is Policy.LOCAL_WINS:
            assert (await rig.list(), rig.keys, rig.pending()) == ([], [], [])
            assert conflicts.count(rig.index) == 0
        else:
            assert await rig.read("f") == b"theirs"
            ((_, row),) = conflicts.page(rig.index, 0, 10)
            assert row.kind is Kind.DELETED_HERE

    run_rig(tmp_path, main, policy=policy)


@pytest.mark.parametrize(("mtime", "expected"), [(NEVER_MTIME, b"mine"), (FUTURE_MTIME, b"theirs")])
def test_newest_compares_the_times_at_which_the_bytes_were_written(tmp_path: Path, mtime: str, expected: bytes) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("f", b"base")
        await rig.sync()
        await rig.write("f", b"mine")
        rig.put_remote("f", b"theirs", user={"file-mtime": mtime})
        await rig.sync()
        await _is(rig, "f", expected)

    run_rig(tmp_path, main, policy=Policy.NEWEST)


@pytest.mark.parametrize("policy", WINNERS)
def test_attributes_here_and_bytes_there(tmp_path: Path, policy: Policy) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"base")
        await rig.sync()
        rig.tree.set_attributes(ino, AttrChange(permissions=0o600))
        rig.put_remote("f", b"theirs", user={"file-permissions": "0100640"})
        await rig.sync()
        await _is(rig, "f", b"theirs")
        expected = 0o640 if policy is Policy.BUCKET_WINS else 0o600
        assert (await rig.stat("f")).mode & 0o777 == expected
        assert dialects.read(await rig.store.head("f")).perms == expected

    run_rig(tmp_path, main, policy=policy)


@pytest.mark.parametrize("policy", Policy)
def test_a_rename_loses_nothing_whatever_the_policy(tmp_path: Path, policy: Policy) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("a", b"mine")
        await rig.sync()
        rig.rename("a", "b")
        rig.put_remote("b", b"theirs", user={"file-mtime": FUTURE_MTIME})
        await rig.sync()
        copies = [name for name in await rig.list() if ".conflict-" in name]
        assert [rig.store.content(key) for key in ("b", *copies)] == [b"theirs", b"mine"]

    run_rig(tmp_path, main, policy=policy)


def test_a_file_with_gaps_does_not_win(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("big", bytes(3 << 20))
        ino = (await rig.stat("big")).ino
        handle = await rig.files.open(ino, write=True, truncate=False)
        await rig.files.write(handle, 100, b"changed")
        await rig.files.release(handle)
        rig.put_remote("big", b"theirs")
        rig.exporter.hurry()
        await trio.sleep(5)
        assert rig.store.content("big") == b"theirs"
        ((_, row),) = conflicts.page(rig.index, 0, 10)
        assert row.kind is Kind.BASE_LOST

    run_rig(tmp_path, main, policy=Policy.LOCAL_WINS, export=ExportSettings(quiet_s=DAY_S))
