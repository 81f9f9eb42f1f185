"""tierctl du, summary and tree against the real control server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def sums(**others: Any) -> dict[str, Any]:
    return {"size_bytes": 3 << 20, "hot_bytes": 1 << 20, "files": 7, "directories": 2, "unlisted": 0, **others}


def entry(name: str, **others: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "file",
        "size_bytes": 4096,
        "residency": "hot",
        "hot_bytes": 4096,
        "pinned": False,
        "synced": True,
        **others,
    }


def test_du_shows_the_largest_names_and_how_much_is_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        rows = [{"name": "d\x1b", "type": "directory", **sums()}, {"name": "f", "type": "file", **sums(hot_bytes=0)}]
        daemon.observing.sums = {**sums(), "children": rows, "rest": 3}
        code, out, err = run(capsys, "du", place)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0].split() == ["SIZE", "HERE", "FILES", "NAME"]
        assert lines[1].split() == ["3.0", "MiB", "1.0", "MiB", "7", "d\\x1b/"]
        assert lines[2].split() == ["3.0", "MiB", "-", "7", "f"]
        assert lines[3].strip() == "and 3 more, none of them larger" and lines[4].split()[-1] == "."
        assert json.loads(run(capsys, "du", place, "--json")[1]) == {"schema": 1, **daemon.observing.sums}


def test_a_summary_says_what_nobody_has_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.observing.sums = {**sums(), "children": [], "rest": 0}
        out = run(capsys, "summary", place)[1]
        assert "7, 3.0 MiB (3145728 bytes)" in out and "1.0 MiB (33 %)" in out and "listed" not in out
        daemon.observing.sums = {**sums(unlisted=1, hot_bytes=4 << 20), "children": [], "rest": 0}
        out = run(capsys, "summary", place)[1]
        assert "1 of them never listed: they may hold more" in out and "(100 %)" in out
        assert json.loads(run(capsys, "summary", place, "--json")[1]) == {
            "schema": 1,
            **sums(unlisted=1, hot_bytes=4 << 20),
        }


def test_a_tree_goes_as_deep_as_asked_over_any_number_of_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = {"type": "directory", "residency": "cold", "hot_bytes": 0, "size_bytes": 0}
    with mount(tmp_path) as (place, daemon):
        daemon.observing.children = {
            b"": [entry("a"), entry("dir", listed=True, **directory), entry("mine"), entry("z\n")],
            b"dir": [entry("a"), entry("sub", listed=False, **directory)],
            b"dir/sub": [entry("deep")],
        }
        assert run(capsys, "tree", place)[1].splitlines() == ["a", "dir/", "  a", "  sub/", "mine", "z\\x0a"]
        assert run(capsys, "tree", "--depth", 1, place)[1].splitlines() == ["a", "dir/", "mine", "z\\x0a"]
        assert "    deep" in run(capsys, "tree", "--depth", 3, place)[1].splitlines()
        rows = [json.loads(line) for line in run(capsys, "tree", "--json", place / "dir")[1].splitlines()]
        assert [(row["path"], row["depth"]) for row in rows] == [("dir/a", 0), ("dir/sub", 0), ("dir/sub/deep", 1)]


def test_a_tree_shows_how_each_file_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.observing.children = {
            b"": [
                entry("cold", residency="cold", hot_bytes=0),
                entry("half", residency="partial", hot_bytes=2048, synced=False),
                entry("new", pinned=True, synced=False, hot_bytes=8192),
                entry("x" * 200, residency="partial", hot_bytes=4096),
            ]
        }
        out = run(capsys, "tree", "--state", place)[1]
    assert max(map(len, out.splitlines())) <= 80
    states = [line[:26].strip() for line in out.splitlines()]
    assert states == ["cold", "partial 50 %, not uploaded", "hot, pinned, not uploaded", "partial 99 %"]


def test_a_path_in_no_mount_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path):
        for verb in ("du", "summary", "tree"):
            assert run(capsys, verb, tmp_path)[0] == ExitCode.NO_DAEMON
