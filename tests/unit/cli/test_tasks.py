"""tierctl's long work against the real control server."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import tasks
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.tasks import TaskKind

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def test_every_kind_that_can_be_asked_for_has_a_verb() -> None:
    with_options = {TaskKind.ARCHIVE, TaskKind.TIER, TaskKind.RESTORE}  # see cli.classes
    assert set(tasks.KINDS) == {kind.value for kind in TaskKind} - {TaskKind.RENAME} - with_options


def test_work_is_started_and_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "warm", place / "dir") == (0, "warm of /dir: done, 10 files, 4.0 KiB\n", "")
        daemon.tasks.outcome = {"state": "done", "notes": {"by_checksum": 7, "of_tomorrow": 1}}
        said = run(capsys, "verify", place / "dir")[1]
        assert said == "verify of /dir: done, 10 files, 4.0 KiB, 7 proven by their checksum, 1 of_tomorrow\n"
        assert json.loads(run(capsys, "export", place, "--json")[1])["state"] == "done"
        assert daemon.tasks.started == [
            (TaskKind.WARM, b"dir", False),
            (TaskKind.VERIFY, b"dir", False),
            (TaskKind.EXPORT, b"", False),
        ]


def test_nobody_has_to_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.tasks.stalled = True
        said = run(capsys, "import", place / "dir", "--background")
        assert said == (0, "task 1 is running; tierctl tasks wait 1\n", "")
        said = run(capsys, "release", place / "dir", "--dry-run")
        assert said == (0, "release of /dir: 10 files, 4.0 KiB to be done\n", "")
        assert daemon.tasks.started[-1] == (TaskKind.RELEASE, b"dir", True)


@pytest.mark.parametrize(
    ("outcome", "code", "out", "err"),
    [
        ({"state": "failed", "done": 8, "failed": 2}, ExitCode.FAILED, "2 failed; tierctl tasks show 1 --report", ""),
        ({"state": "failed", "code": "ENOENT", "message": "No such"}, ExitCode.NOT_FOUND, "", "warm of /dir: No such"),
        ({"state": "failed", "code": "unavailable", "message": "no answer"}, ExitCode.FAILED, "", "no answer"),
        ({"state": "cancelled"}, ExitCode.CANCELLED, "warm of /dir: cancelled", ""),
        ({"state": "interrupted", "code": "interrupted", "message": "again"}, ExitCode.CANCELLED, "", "again"),
    ],
)
def test_other_ends_have_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: dict[str, Any], code: ExitCode, out: str, err: str
) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.tasks.outcome = outcome
        found = run(capsys, "warm", place / "dir")
        assert found[0] == code and out in found[1] and err in found[2]
        assert bool(found[1]) == bool(out) and bool(found[2]) == bool(err)
        found = run(capsys, "tasks", "wait", "1", "--json")
        assert found[0] == code and json.loads(found[1])["state"] == outcome["state"]


def test_who_stops_waiting_is_told_how_to_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.tasks.stalled = True
        call = Client.call

        def interrupted(client: Client, verb: str, *args: Any, **more: Any) -> Any:
            if verb == "task_wait":
                raise KeyboardInterrupt
            return call(client, verb, *args, **more)

        monkeypatch.setattr(Client, "call", interrupted)
        code, out, err = run(capsys, "warm", place / "dir")
        assert (code, out) == (ExitCode.INTERRUPTED, "")
        assert err == ("tierctl: task 1 goes on; tierctl tasks wait 1 waits for it, tierctl tasks cancel 1 ends it\n")
        assert daemon.tasks.rows[1]["state"] == "running"


def test_tasks_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "tasks", "list", place) == (0, "", "")
        daemon.tasks.add(path="long/" * 30 + "esc\x1b[31m")
        daemon.tasks.add("import", "", is_counted=False)
        daemon.tasks.add("rename", "b", id=1099511627780, state="failed", failed=2)
        code, out, err = run(capsys, "tasks", "list")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert max(map(len, lines)) <= 80 and "\x1b" not in out
        assert lines[0].split() == ["ID", "KIND", "STATE", "PROGRESS", "PATH"]
        assert "5 so far" in lines[2] and lines[2].endswith(" /")
        assert "1099511627780" in lines[3] and "7 of 10, 2 failed" in lines[3]
        assert len(json.loads(run(capsys, "tasks", "list", "--json")[1])["tasks"]) == 3


def test_a_task_is_shown_with_its_first_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        number = daemon.tasks.add(failed=3, message="not now", notes={"unproven": 2})
        daemon.tasks.reports[number] = [{"path": name, "code": "in_use"} for name in "abc"]
        code, out, _ = run(capsys, "tasks", "show", number)
        assert code == 0
        for text in (
            "task 1: warm of /dir",
            "running",
            "1 min 1 s",
            "[################....] 8 of 10 files, 4.0 KiB, 3 failed, 30 s left",
            "2 by version and size only",
            "not now",
            "in_use: a",
            "--report FILE lists them",
        ):
            assert text in out
        assert json.loads(run(capsys, "tasks", "show", number, "--json")[1])["failed"] == 3
        done = daemon.tasks.add(state="done", done=10, done_bytes=4096, ended_ns=1)
        assert "10 files, 4.0 KiB" in run(capsys, "tasks", "show", done)[1]


def test_the_report_is_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        number = daemon.tasks.add(failed=3)
        daemon.tasks.reports[number] = [
            {"path": "plain", "code": "in_use"},
            {"path": 'with, "quotes"', "code": "no_room"},
            {"path": "not utf-8 \udcff", "code": "ENOENT"},
        ]
        report = tmp_path / "report.csv"
        assert run(capsys, "tasks", "show", number, "--report", report) == (0, "", "")
        assert report.read_bytes() == (
            b"FilePath,FileStatus,ErrorCode\n"
            b"plain,failed,in_use\n"
            b'"with, ""quotes""",failed,no_room\n'
            b"not utf-8 \xff,failed,ENOENT\n"
        )
        daemon.tasks.rows[number]["failed"] = 5
        code, out, err = run(capsys, "tasks", "show", number, "--report", "-")
        assert code == 0 and out.startswith("FilePath,FileStatus,ErrorCode\nplain,failed,in_use\n")
        assert "only the first 3 of 5" in err
        code, _, err = run(capsys, "tasks", "show", number, "--report", tmp_path / "absent" / "report.csv")
        assert code == ExitCode.FAILED and "No such file" in err


def test_tasks_are_cancelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        assert run(capsys, "tasks", "cancel", daemon.tasks.add())[1] == "warm of /dir: cancelled\n"
        assert run(capsys, "tasks", "cancel", daemon.tasks.add("rename"))[1] == "the rename is taken back\n"
        for verb in ("show", "wait", "cancel"):
            code, _, err = run(capsys, "tasks", verb, 7)
            assert (code, err) == (ExitCode.NOT_FOUND, "tierctl: there is no task 7\n")
        number = daemon.tasks.add()
        assert run(capsys, "tasks", "wait", number, "--timeout", "50ms")[0] == ExitCode.TIMEOUT


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": "queued"}, "waits for its turn"),
        ({"kind": "import", "is_counted": False, "total": 1, "total_bytes": 0}, "1 directory so far"),
        ({"is_counted": False, "total_bytes": 0}, "10 files so far"),
        ({}, "[##########..........] 5 of 10 files, 4.0 KiB, 30 s left"),
        ({"failed": 1, "eta_s": None}, "[############........] 6 of 10 files, 4.0 KiB, 1 failed"),
        ({"total": 0, "done": 0, "total_bytes": 0, "eta_s": None}, "[####################] 0 of 0 files"),
    ],
)
def test_progress(fields: dict[str, Any], expected: str) -> None:
    task = {
        "kind": "warm",
        "state": "running",
        "total": 10,
        "done": 5,
        "failed": 0,
        "total_bytes": 4096,
        "is_counted": True,
        "eta_s": 30.0,
    }
    assert tasks.progress_text({**task, **fields}) == expected


def test_a_terminal_shows_the_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mount(tmp_path) as (_, daemon):
        row = daemon.tasks.rows[daemon.tasks.add()]

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

            def write(self, text: str) -> int:
                row["state"] = "done"  # as soon as something is shown
                return super().write(text)

        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        run(capsys, "tasks", "wait", row["id"])
    assert "warm: [##########..........] 5 of 10 files, 4.0 KiB, 30 s left" in shown.getvalue()
