"""Unmounting through a daemon in a process of its own, and without one. Real mounts: tests/mount."""

import json
from pathlib import Path

import pytest

from tests.support.control_daemon import daemon_process
from tierfs.cli import tierfs, unmounting
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def test_umount_returns_after_the_end_of_the_process(
    tmp_path: Path, run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon_process(tmp_path, run_directory) as process:
        assert tierfs.main(["umount", str(tmp_path), "--json"]) == 0
        # a zombie at most: its files are closed
        assert process.wait(5) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "mountpoint": str(tmp_path),
        "had_daemon": True,
        "pending_exports": 0,
        "dirty_bytes": 0,
    }


def test_no_drain_says_how_much_is_left(
    tmp_path: Path, run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon_process(tmp_path, run_directory, "pending"):
        assert tierfs.main(["umount", str(tmp_path), "--no-drain"]) == 0
    assert capsys.readouterr().err == (
        f"tierfs: {tmp_path}: 1 upload left, 3.0 MiB: goes up with the next mount of the same cache\n"
    )


def test_a_mount_in_use_stays(tmp_path: Path, run_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon_process(tmp_path, run_directory, "busy") as process:
        assert tierfs.main(["umount", str(tmp_path)]) == ExitCode.BUSY
        assert "in use" in capsys.readouterr().err
        assert process.poll() is None
        assert tierfs.main(["umount", str(tmp_path), "--lazy"]) == 0


def test_uploads_that_fail_keep_the_mount_and_the_cure_is_named(
    tmp_path: Path, run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon_process(tmp_path, run_directory, "failing") as process:
        assert tierfs.main(["umount", str(tmp_path)]) == ExitCode.FAILED
        error = capsys.readouterr().err
        assert "access denied: no (key 'theirs'); the mount stays. --no-drain" in error
        assert process.poll() is None
        assert tierfs.main(["umount", str(tmp_path), "--no-drain"]) == 0


def test_a_dead_daemon_without_a_mount_is_cleared_away(
    tmp_path: Path, run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon_process(tmp_path, run_directory) as process:
        process.kill()
        process.wait()
    assert [entry.mountpoint for entry in registry.entries()] == [str(tmp_path)]
    assert tierfs.main(["umount", str(tmp_path)]) == 0
    assert "its daemon was gone already" in capsys.readouterr().err
    assert registry.entries() == []
    assert tierfs.main(["umount", str(tmp_path)]) == ExitCode.NO_DAEMON


def test_another_mount_is_left_alone(run_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tierfs.main(["umount", "/proc"]) == ExitCode.NO_DAEMON
    assert "/proc is no tierfs mount but proc (proc)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "lazy", "text"),
    [(0, False, ""), (None, False, ""), (2, False, "2 uploads left, 2.0 KiB: goes up"), (1, True, "while its daemon")],
)
def test_what_people_are_told(count: int | None, lazy: bool, text: str) -> None:
    result = {"mountpoint": "/m", "had_daemon": True, "pending_exports": count, "dirty_bytes": 2048}
    assert (text in unmounting.told(result, lazy=lazy)) if text else (unmounting.told(result, lazy=lazy) == "")
