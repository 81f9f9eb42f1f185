"""tierctl versions and undelete against the real control server."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import versions
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def test_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "versions", place)[1] == "no versions, and no deleted files\n"
        daemon.deleted = ["a\x1b", "b/" + "long" * 40]
        code, out, err = run(capsys, "versions", place / "gone")
        found = json.loads(run(capsys, "versions", place / "gone", "--json", "--all")[1])["files"]
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80 and "\x1b" not in out and len(lines) == 7
    assert lines[0].split() == ["WHEN", "STATE", "SIZE", "KEY"]
    assert lines[1].split()[2:4] == ["deletion", "-"] and "1.5 KiB" in lines[2] and "3 older" in lines[3]
    assert [file["key"] for file in found] == daemon.deleted


def test_undelete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "undelete", place / "gone")[0] == ExitCode.NOT_FOUND
        daemon.deleted = ["gone/a", "gone/b", "gone/c"]
        out = run(capsys, "undelete", place / "gone", "--dry-run")[1]
        assert out.splitlines() == ["3 would come back, 1.5 KiB", "  gone/a", "  gone/b", "  and 1 more"]
        assert run(capsys, "undelete", place / "gone")[1].startswith("3 brought back")
        assert json.loads(run(capsys, "undelete", place / "gone", "--json")[1])["files"] == 3
        assert [dry_run for _path, dry_run in daemon.undeleted] == [True, False, False]
        assert daemon.undeleted[0][0] == b"gone"


def test_one_file_is_named_by_its_key() -> None:
    result = {"files": 1, "bytes": 0, "examples": ["k"], "dry_run": False}
    assert versions._outcome(result) == "1 brought back, 0 B\n  k"
