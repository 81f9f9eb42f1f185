"""tierctl sync held|approve|reject against the real control server."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import removals
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.guard import Verdict

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def test_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "sync", "held", place) == (0, "", "")
        daemon.held = ["a", "long/" * 30 + "esc\x1b[31m", "moved", "b", "c"]
        code, out, err = run(capsys, "sync", "held")
        rows = json.loads(run(capsys, "sync", "held", "--json")[1])["removals"]
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80 and "\x1b" not in out
    assert lines[0].split() == ["ENTRIES", "STATE", "PATH"]
    assert lines[3].endswith("asked  moved (renamed to new)")
    assert [row["path"] for row in rows] == daemon.held


@pytest.mark.parametrize(
    ("words", "decided", "said"),
    [
        (["approve"], (Verdict.APPROVE, False), "14 removed\n"),
        (["approve", "--dry-run"], (Verdict.APPROVE, True), "14 would be removed\n"),
        (["reject"], (Verdict.REJECT, False), "10 uploaded, 4 kept that are not here whole\n"),
        (
            ["reject", "--dry-run"],
            (Verdict.REJECT, True),
            "10 would be uploaded, 4 would be kept that are not here whole\n",
        ),
    ],
)
def test_decisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], decided: tuple[Verdict, bool], said: str
) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.held = ["a", "b"]
        assert run(capsys, "sync", *words, place) == (0, said, "")
        assert daemon.decided == [decided] and not daemon.synced
        daemon.held = []
        assert run(capsys, "sync", *words)[1] == "nothing is held\n"
        assert json.loads(run(capsys, "sync", *words, "--json")[1])["names"] == 0


def test_a_path_is_still_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.owners[b"held"] = 0
        assert run(capsys, "sync", place / "held")[0] == ExitCode.OK
        assert run(capsys, "sync")[0] == ExitCode.OK
        assert daemon.synced == [b"held", None]


def test_status_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        assert "removals" not in run(capsys, "status")[1]
        daemon.held = ["a", "b"]
        assert "14 lost by the bucket and kept, for 1 min 1 s; see tierctl sync held" in run(capsys, "status")[1]
    carried_out = {"since_s": None, "names": 0, "entries": 0, "examples": [], "verdict": "approve"}
    assert removals.status_line(carried_out) == "sync approve is being carried out"


def test_what_came_back_is_told() -> None:
    result = {"verdict": "approve", "dry_run": False, "names": 3, "removed": 2, "returned": 1}
    assert removals._outcome(result) == "2 removed, 1 were in the bucket again, or changed here"
    result = {"verdict": "reject", "dry_run": False, "names": 3, "restored": 1, "uploaded": 1, "unreadable": 1}
    assert removals._outcome({**result, "returned": 0}) == (
        "1 restored from versions, 1 uploaded, 1 kept that are not here whole"
    )
