"""tierfs fsck as a user calls it: what it prints, what it leaves alone, and its exit codes."""

import json
from pathlib import Path

import pytest

from tests.support.sync_rig import INDEX_SETTINGS, Rig, run_rig
from tierfs.cli import tierfs
from tierfs.clock import ManualClock
from tierfs.control.exitcodes import ExitCode
from tierfs.index import residency
from tierfs.index.env import Index

BYTES = b"changed here, and nowhere else"


@pytest.fixture
def ino(tmp_path: Path) -> int:
    """A file that the bucket has not seen, in the cache at `tmp_path`."""
    made: list[int] = []

    async def main(rig: Rig) -> None:
        made.append(await rig.write("file", BYTES))

    run_rig(tmp_path, main)
    return made[0]


def lose_record(cache: Path, ino: int) -> None:
    index = Index.open(cache / "index", clock=ManualClock(), settings=INDEX_SETTINGS, boot_id=7)
    with index.transaction() as txn:
        residency.hot_delete(txn, ino)
    index.close()


def fsck(cache: Path, *arguments: str) -> int:
    return tierfs.main(["fsck", "--cache", str(cache), *arguments])


def test_a_sound_cache(ino: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fsck(tmp_path) == ExitCode.OK
    assert capsys.readouterr().out == "nothing is wrong\n"


def test_damage_is_told_planned_and_repaired(ino: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lose_record(tmp_path, ino)
    for arguments in ([], ["--repair"]):
        assert fsck(tmp_path, *arguments) == ExitCode.DAMAGED
        out = capsys.readouterr().out
        assert f"inode {ino:#x}: a file in the hot tier that no record speaks of" in out
        assert ("lost+found" in out) == bool(arguments)
        assert out.endswith("0 repaired, 1 left\n")
    saved = tmp_path / "lost+found" / f"{ino:x}"
    assert not saved.exists(), "a plan changes nothing"
    assert fsck(tmp_path, "--repair", "--yes", "--json") == ExitCode.REPAIRED
    report = json.loads(capsys.readouterr().out)
    assert (report["repaired"], report["left"]) == (1, 0)
    [finding] = report["findings"]
    assert (finding["kind"], finding["repair"], finding["saved"]) == ("unknown_file", "save_bytes", str(saved))
    assert saved.read_bytes() == BYTES
    assert fsck(tmp_path) == ExitCode.OK


def test_yes_is_for_repair(ino: int, tmp_path: Path) -> None:
    assert fsck(tmp_path, "--yes") == ExitCode.USAGE


def test_a_directory_that_is_no_cache_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fsck(tmp_path) == ExitCode.NOT_FOUND
    assert "has no index" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_cache_in_use_is_left_alone(ino: int, tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", clock=ManualClock(), settings=INDEX_SETTINGS, boot_id=7)
    try:
        assert fsck(tmp_path) == ExitCode.CACHE_IN_USE
    finally:
        index.close()


def test_rebuild_puts_the_index_away_and_leaves_all_else(
    ino: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index" / "lmdb" / "data.mdb").write_bytes(b"rubbish")
    assert fsck(tmp_path) == ExitCode.INDEX_UNUSABLE
    assert fsck(tmp_path, "--rebuild") == ExitCode.OK
    assert "would go to" in capsys.readouterr().out
    assert (tmp_path / "index").exists(), "a plan changes nothing"
    assert fsck(tmp_path, "--rebuild", "--yes", "--json") == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "schema": 1,
        "index": str(tmp_path / "index.lost"), "is_done": True, "files": 1, "bytes": len(BYTES), "labelled": 0,
        "labelled_bytes": 0,
    }  # fmt: skip
    assert not (tmp_path / "index").exists()
    assert (tmp_path / "hot" / f"{ino & 0xFF:02x}" / f"{ino:x}").read_bytes() == BYTES
    assert fsck(tmp_path, "--rebuild", "--yes") == ExitCode.OK, "again: there is no index to put away"


def test_rebuild_leaves_a_cache_in_use_alone(ino: int, tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index", clock=ManualClock(), settings=INDEX_SETTINGS, boot_id=7)
    try:
        assert fsck(tmp_path, "--rebuild", "--yes") == ExitCode.CACHE_IN_USE
    finally:
        index.close()
    assert (tmp_path / "index").exists()
