"""tierctl state, archive, restore and tier against the real control server; lists of paths."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.support.control_archiving import restore
from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.tasks import NO_OPTIONS, Options, TaskKind

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight
WHEN_NS = 1_700_000_000 * 1_000_000_000


def test_states_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        states = daemon.archiving
        states.add("a", "exists", "archived", "released", storage_class="GLACIER", restore=restore())
        states.add("b", "exists", "partial", here_percent=25)
        states.add("c", storage_class="")
        states.add("d\n", "exists", storage_class="GLACIER", restore=restore(stage="failed", message="no"))
        states.add("e", "exists", storage_class="GLACIER", restore=restore(stage="ready"))
        states.add("f", "exists", storage_class="GLACIER", restore=restore(ready_ns=WHEN_NS))
        code, out, err = run(capsys, "state", "-r", place)
        lines = out.splitlines()
        assert (code, err, lines[:3]) == (
            0,
            "",
            [
                "/a: exists archived released, GLACIER, on its way back",
                "/b: exists partial 25 %, STANDARD",
                "/c: new",
            ],
        )
        assert lines[3].endswith("exists, GLACIER, could not be restored: no") and "\\x0a" in lines[3]
        assert lines[4].endswith("restored and being fetched") and ", readable by 2023-11-1" in lines[5]
        assert [args.get("after") for args in states.asked] == [None, "b", "d\n"]
        assert len(json.loads(run(capsys, "state", place / "mine", "--json")[1])["files"]) == 6
        assert states.asked[-1]["recursive"] is False


def test_tasks_get_their_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "archive", place / "dir")[1].startswith("archive of /dir: done")
        run(capsys, "archive", place / "dir", "--class", "DEEP_ARCHIVE")
        run(capsys, "tier", "set", place / "dir", "STANDARD_IA")
        run(capsys, "restore", place / "dir", "--speed", "bulk", "--days", "3")
        assert [kind for kind, _, _ in daemon.tasks.started] == [
            *[TaskKind.ARCHIVE] * 2,
            TaskKind.TIER,
            TaskKind.RESTORE,
        ]
        assert [options for options, _ in daemon.tasks.asked] == [
            NO_OPTIONS,
            Options(storage_class="DEEP_ARCHIVE"),
            Options(storage_class="STANDARD_IA"),
            Options(speed="bulk", days=3),
        ]


def test_what_a_restore_takes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.tasks.outcome = {"state": "done", "notes": {"within_h": 12, "cost_millis": 1234}}
        assert run(capsys, "restore", place / "dir")[1] == (
            "restore of /dir: done, 10 files, 4.0 KiB, readable within 12 h, "
            "costs about 1.23 in the currency of the price table\n"
        )


def test_a_list_of_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with mount(tmp_path) as (place, daemon):
        (tmp_path / "list").write_bytes(b"%b/mine\n\n%b/dir/\xff\n" % (bytes(place), bytes(place)))
        assert run(capsys, "warm", "--filelist", tmp_path / "list")[0] == 0
        assert daemon.tasks.started == [(TaskKind.WARM, b"mine", False)]
        assert daemon.tasks.asked == [(NO_OPTIONS, (b"dir/\xff",))]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{place}/theirs".encode())))
        assert run(capsys, "release", "--filelist", "-")[0] == 0
        assert daemon.tasks.started[-1] == (TaskKind.RELEASE, b"theirs", False)


def test_a_long_list_is_several_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        names = [f"{number:0100}" for number in range(150)]
        (tmp_path / "list").write_text("".join(f"{place}/{name}\n" for name in names))
        assert run(capsys, "warm", "--filelist", tmp_path / "list")[0] == 0
        sent = [
            path.decode()
            for (_, first, _), (_, others) in zip(daemon.tasks.started, daemon.tasks.asked, strict=True)
            for path in (first, *others)
        ]
        assert sent == names and len(daemon.tasks.started) > 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["warm"], ExitCode.USAGE, "PATH is missing"),
        (["warm", "{place}/mine", "--filelist", "{list}"], ExitCode.USAGE, "not both"),
        (["warm", "--filelist", "{empty}"], ExitCode.USAGE, "names no path"),
        (["warm", "--filelist", "{place}/none"], ExitCode.FAILED, "No such file"),
        (["warm", "--filelist", "{list}"], ExitCode.NOT_FOUND, "leads out of the mount"),
    ],
)
def test_lists_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: ExitCode, said: str
) -> None:
    with mount(tmp_path) as (place, daemon):
        (tmp_path / "list").write_text(f"{place}/mine\n/elsewhere\n")
        (tmp_path / "empty").write_text("\n")
        filled = [word.format(place=place, list=tmp_path / "list", empty=tmp_path / "empty") for word in words]
        found = run(capsys, *filled)
        assert found[0] == code and said in found[2] and not daemon.tasks.started


def test_classes_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        listed = daemon.archiving.listed
        row = {"class": "GLACIER", "files": 2, "bytes": 2048, "here_bytes": 1024, "is_archive": True, "refusal": ""}
        listed["classes"] = [row, {**row, "class": "STANDARD", "refusal": "the store knows no storage classes"}]
        code, out, _ = run(capsys, "tier", "ls", place / "dir")
        lines = out.splitlines()
        assert code == 0 and [line.split()[:2] for line in lines[1:3]] == [["GLACIER", "2"], ["STANDARD", "2"]]
        assert lines[3:] == ["nothing is moved to STANDARD: the store knows no storage classes"]
        assert daemon.archiving.asked[-1]["path"] == "dir"
        listed["restores"] = {"files": 3, "size_bytes": 1024, "failed": 1, "ready_ns": WHEN_NS}
        listed["moves"]["rules"] = {"old": {"stopped": "access denied"}, "new": {"stopped": ""}}
        out = run(capsys, "tier", "ls", place)[1]
        assert "3 files, 1.0 KiB, readable by 2023-11-1" in out and "could not be restored: 1 files" in out
        assert "the rule 'old' is stopped: access denied" in out and "'new'" not in out
        assert json.loads(run(capsys, "tier", "ls", place, "--json")[1]) == {"schema": 1, **listed}
