"""tierctl profile against the real control server: what is written, and what of it is asked for again."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.control_daemon import ScriptedDaemon
from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import profiling
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.tasks import TaskKind
from tierfs.tiering import traces

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight

STRANGE = 'a,"b\r\n\udcff'


def fill(daemon: ScriptedDaemon) -> None:
    """A job that reads three files, one again, and writes one that it reads back. Told a little out of order."""
    profile = daemon.profiling
    profile.add(0.5, "read", "dir/b", op_count=2)
    profile.add(0.25, "read", "dir/a")
    profile.add(1, "read", STRANGE)
    profile.add(1, "write", "out")
    profile.add(2, "read", "out")
    profile.add(2, "read", "/unlinked/7")
    profile.add(3, "read", "dir/a")


@pytest.mark.parametrize("name", ["profile.csv", "profile.csv.gz"])
def test_what_is_recorded_is_a_trace_in_the_order_of_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    output = tmp_path / name
    with mount(tmp_path) as (place, daemon):
        code, out, _ = run(capsys, "profile", "record", place / "dir", "--output", output)
        assert (code, out) == (0, "files that are opened in /dir are noted until tierctl profile stop\n")
        assert daemon.profiling.about is not None and daemon.profiling.about["path"] == "dir"
        fill(daemon)
        assert "state   recording" in run(capsys, "profile", "show", place)[1]
        code, out, err = run(capsys, "profile", "stop", place)
        assert (code, out, err) == (0, f"{output}: 8 opens of 5 files in 1 min 1 s\n", "")
        assert daemon.profiling.about is None, "it was dropped"
    text = (gzip.decompress if name.endswith("gz") else bytes)(output.read_bytes()).decode(errors="surrogateescape")
    assert text.startswith("time_s,op,key,size_bytes,op_count\r\n0.250000,read,dir/a,1000,1\r\n")
    trace = traces.read(output)
    assert trace.names == ["dir/a", "dir/b", STRANGE, "out", "/unlinked/7"]
    assert trace.accesses[:3] == [(0.25, 0, 1000, False), (0.5, 1, 1000, False), (0.5, 1, 1000, False)]
    assert profiling.needed(trace) == ["dir/a", "dir/b", STRANGE]


def test_the_files_are_warmed_in_the_order_of_their_first_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mount(tmp_path) as (place, daemon):
        output = tmp_path / "p.csv"
        run(capsys, "profile", "record", place, "--output", output)
        fill(daemon)
        run(capsys, "profile", "stop", place)
        assert run(capsys, "profile", "replay", output, "--mount", place)[0] == ExitCode.OK
        assert daemon.tasks.started == [(TaskKind.WARM, b"dir/a", False)]
        assert daemon.tasks.asked[0][1] == (b"dir/b", STRANGE.encode(errors="surrogateescape"))
        told = json.loads(run(capsys, "profile", "replay", output, "--dry-run", "--json")[1])
        assert told["dry_run"] is True and daemon.tasks.started[-1][2] is True


def test_a_recording_that_cannot_be_written_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "profile", "stop", place)[0] == ExitCode.NOT_FOUND
        run(capsys, "profile", "record", place, "--output", tmp_path / "absent/p.csv")
        fill(daemon)
        daemon.profiling.dropped = 1234
        code, _, err = run(capsys, "profile", "stop", place)
        assert code == ExitCode.FAILED and "No such file" in err and "is kept for tierctl profile stop --output" in err
        shown = run(capsys, "profile", "show", place)[1]
        assert "ended; tierctl profile stop" in shown and "1,234" in shown
        told = json.loads(run(capsys, "profile", "stop", place, "--output", tmp_path / "p.csv", "--json")[1])
        assert (told["files"], told["opens"], told["dropped"]) == (5, 8, 1234)
        assert len(traces.read(tmp_path / "p.csv").names) == 5


def test_a_file_without_a_name_gets_one_that_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with mount(tmp_path) as (place, daemon):
        run(capsys, "profile", "record", place)
        fill(daemon)
        assert run(capsys, "profile", "stop", place)[1].startswith("profile-20231114T221320Z.csv.gz: 8 opens")
    assert traces.read(tmp_path / "profile-20231114T221320Z.csv.gz").accesses


def test_what_is_no_profile_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "p.csv"
    with mount(tmp_path):
        wrong.write_text("time_s,op,key,size_bytes\n0,leap,a,1\n")
        assert run(capsys, "profile", "replay", wrong) == (1, "", f"tierctl: {wrong}:2: 'leap' is no kind of access\n")
        wrong.write_text("time_s,op,key,size_bytes\n0,write,a,1\n1,read,/unlinked/3,1\n")
        assert "no file in it was read that has a name" in run(capsys, "profile", "replay", wrong)[2]
