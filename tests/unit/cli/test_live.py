"""tierctl stats, top and latency against the real control server, over figures that are made up."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.figures import figures, timing
from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import live, tierctl
from tierfs.cli.rates import Rates
from tierfs.cli.screen import frame, short_time
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight

BEFORE = figures()
NAMES = ("lookup", "getattr", "open", "read", "release", "create", "unlink", "rename", "a_long_name_of_one")


def after(**others: Any) -> dict[str, Any]:
    """Two seconds later."""
    return figures(
        **{
            "time_ns": BEFORE["time_ns"] + 2_000_000_000,
            "uptime_s": 102.0,
            "operations": {name: timing(2_000_000, 3_000_000, 4_000_000) for name in NAMES},
            "reads": {"local": 93, "bucket": 11},
            "written_bytes": BEFORE["written_bytes"] + 4_000_000,
            **others,
        }
    )


def busy(name: str, missed: int = 0) -> dict[str, Any]:
    row = {"operations": 5, "size_bytes": 3 << 20, "duration_s": 0.25, "waited": 2}
    program = {"pid": 4242, "uid": 1000, "name": "python", **row}
    return {"files": [{"path": name, **row}], "processes": [program], "next": 7, "missed": missed}


def test_stats_are_lines_of_eighty_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.observing.figures = [BEFORE, after(), after(), after()]
        code, out, err = run(capsys, "stats", "--interval", "100ms", "-n", 2, place)
    assert (code, err) == (0, "")
    *header, first, second = out.splitlines()
    assert header == live._STATS_HEADER.splitlines() and max(map(len, out.splitlines())) <= 80
    words = first.split()
    assert words[0] == "12" and words[5] == "2.0" and words[8] == "75" and words[-1] == "3"
    assert second.split()[0] == "0" and second.split()[8] == "-"


def test_columns_stand_below_their_names() -> None:
    huge = after(
        read_bytes={"local": 99 << 30, "bucket": 9 << 30}, sent_bytes=99 << 30, received_bytes=9 << 30,
        written_bytes=40 << 30, operations={"read": timing(*[100_000_000_000] * 2000)},
    )  # fmt: skip
    line = live._stats_line(Rates(BEFORE, huge))
    assert len(line) <= 80 and len(line.split()) == len(live._STATS_HEADER.splitlines()[1].split())


def test_stats_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        daemon.observing.figures = [BEFORE, after()]
        told = json.loads(run(capsys, "stats", "--interval", "0.1", "-n", "1", "--json")[1])
    assert told["written_bytes_per_s"] == 2_000_000 and told["hit_share"] == 0.75 and told["pending_exports"] == 3
    assert 0.002 <= told["p50_s"] <= 0.008 and told["tier"]["used_bytes"] == 5 << 30


@pytest.mark.parametrize("words", [("-n", "0"), ("-n", "x"), ("--interval", "0"), ("--interval", "2 weeks")])
def test_wrong_numbers_are_usage(tmp_path: Path, words: tuple[str, str]) -> None:
    with mount(tmp_path), pytest.raises(SystemExit) as ended:
        tierctl.main(["stats", *words])
    assert ended.value.code == ExitCode.USAGE


def test_latency_since_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, _):
        code, out, err = run(capsys, "latency", place)
        assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= 80
        assert "of 1 min 40 s" in out
        rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
        assert rows["lookup"][-1] == "1" and rows["read"][-1] == "-" and rows["get"][-1] == "1"
        told = json.loads(run(capsys, "latency", place, "--json")[1])
        assert [row["name"] for row in told["operations"]] == ["read", "lookup"]
        assert told["requests"][0]["count"] == 2 and told["requests"][0]["failures"] == 1


def test_latency_of_an_interval_is_of_it_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        daemon.observing.figures = [BEFORE, after()]
        told = json.loads(run(capsys, "latency", "--interval", "0.1", "--json")[1])
    assert told["seconds"] == 2 and told["requests"] == []
    assert {row["name"]: row["count"] for row in told["operations"]} == {
        **dict.fromkeys(NAMES, 3),
        "lookup": 1,
        "read": 2,
    }


def test_a_screen_shows_tiers_work_and_who_is_busy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.observing.figures = [BEFORE, after(degraded=True)]
        daemon.observing.busiest = busy("dir/\x1b[2J" + "x" * 200, missed=9)
        code, out, err = run(capsys, "top", "--once", "--interval", "0.1", place)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80 and "\x1b" not in out
    for text in (
        "50 % of 10.0 GiB, 1.0 MiB not uploaded",
        "3 changes, oldest 1 min 1 s, 1 failing; 2 conflicts",
        "DEGRADED  tierctl status",
        "write 1.9 MiB/s",
        "75.0 % of the reads that are seen",
        "and 1 kinds more",
        "4242 python (uid 1000)",
        "9 operations came too fast",
    ):
        assert text in out


def test_strangers_see_no_files(tmp_path: Path) -> None:
    text = frame("/mnt/data", Rates(BEFORE, after()), None)
    assert "are shown to root and the owner of the mount" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_only_a_terminal_is_cleared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    with mount(tmp_path) as (_, daemon):
        daemon.observing.figures = [BEFORE, after()]
        monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
        shown = 0

        def two_frames(*_: Any) -> str:
            nonlocal shown
            shown += 1
            if shown == 2:
                raise KeyboardInterrupt
            return "a screen"

        monkeypatch.setattr(live, "frame", two_frames)
        code, out, err = run(capsys, "top", "--interval", "0.1")
    assert (code, err) == (130, "tierctl: interrupted\n")
    assert out.startswith("\033[H\033[J") == is_terminal and "a screen" in out


def test_times_are_short() -> None:
    assert [short_time(seconds) for seconds in (None, 0.0000051, 0.0123, 1.5, 120)] == [
        *("-", "5us", "12.3ms", "1.50s", "120.00s")
    ]
