"""The side-by-side benchmark: its verdicts, its table, and one run of it in small."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import report, side_by_side, work
from tests.bench.report import Result
from tests.bench.rows import MODES, ROWS, judged_mode, medians_of, verdicts
from tests.support import programs

REPO = Path(__file__).parents[2]


def result(key: str, best_peer: float | None = None, **samples: list[float]) -> Result:
    medians = medians_of(samples)
    return Result(ROWS[key], samples, medians, verdicts(ROWS[key], medians, best_peer), 1.0)


def test_goals_are_judged_by_the_fullest_mode_that_ran() -> None:
    assert judged_mode({"native": 1.0, "pyfuse3": 1.0, "holder": 1.0}) == "holder"
    assert judged_mode({"native": 1.0, "store": 1.0}) is None
    met = result("read-warm", native=[100, 90, 110], passthrough=[96, 95, 97], pyfuse3=[1, 1, 1])
    assert met.is_met
    assert [str(each) for each in met.verdicts] == [">= 0.95 x native: 0.96, met"]
    assert not result("read-warm", native=[100.0], passthrough=[94.0]).is_met


def test_less_is_better_where_the_goal_is_a_ceiling() -> None:
    assert result("cold-cpu", store=[2.0], passthrough=[2.9]).is_met
    assert not result("cold-cpu", store=[2.0], passthrough=[3.1]).is_met
    assert result("rename", native=[0.1], passthrough=[9.0]).is_met
    assert not result("rename", native=[0.1], passthrough=[11.0]).is_met


def test_every_goal_of_a_row_counts() -> None:
    both = result("open-read", 100.0, native=[1000.0], passthrough=[299.0])
    assert [each.is_met for each in both.verdicts] == [False, False]
    assert [each.is_met for each in result("open-read", 99.0, native=[900.0], passthrough=[299.0]).verdicts] == [
        True
    ] * 2


def test_without_a_figure_to_compare_with_nothing_is_missed() -> None:
    alone = result("epoch-1-slow", store=[10.0], pyfuse3=[1.0])
    assert alone.is_met
    assert "nothing to compare with" in str(alone.verdicts[0])


def test_the_table_names_every_column_and_leaves_out_what_was_not_measured() -> None:
    shown = report.table([result("read-warm", native=[1234.5], pyfuse3=[617.0])])
    heading, _rule, line = shown.splitlines()
    assert [cell.strip() for cell in heading.split("|")[3:8]] == ["native", *MODES, "store"]
    assert [cell.strip() for cell in line.split("|")[3:9]] == ["1,234", "-", "-", "617", "-", "0.50"]
    assert len({len(each) for each in shown.splitlines()}) == 1


def test_rows_are_chosen_by_name() -> None:
    assert side_by_side.wanted_rows("stat,walk") == {"stat", "walk"}
    with pytest.raises(argparse.ArgumentTypeError, match="no row nothing"):
        side_by_side.wanted_rows("nothing")


def test_the_best_peer_is_neither_native_nor_tierfs(tmp_path: Path) -> None:
    row = ROWS["create"]
    figures = {row.peer: {"native": 9000.0, "tierfs": 8000.0, "rclone": 400.0, "s3fs": 300.0, "weed": "FAIL"}}
    file = tmp_path / "peers.json"
    file.write_text(json.dumps(figures))
    assert side_by_side.best_peer(row, file) == 400.0
    assert side_by_side.best_peer(row, None) == row.best_peer
    assert side_by_side.best_peer(ROWS["stat"], file) is None


def test_the_plot_is_a_png_or_says_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    report.plot([result("read-warm", native=[2.0], pyfuse3=[1.0]), result("walk", pyfuse3=[1.0])], tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_work_runs_on_a_plain_directory(tmp_path: Path) -> None:
    def figure(verb: str, *words: object) -> float:
        argv = [sys.executable, work.__file__, verb, *map(str, words)]
        return float(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)

    big, names = tmp_path / "big", tmp_path / "names"
    assert figure("write", big, 2 << 20) > 0
    assert figure("read", big) > 0
    assert figure("read_stat", big) > 0
    assert figure("create", names, 20) > 0
    assert figure("stat", names, 20) > 0
    assert figure("open_read", names, 20) > 0
    assert figure("epoch", names, 3) > 0
    assert figure("walk", tmp_path) > 0
    assert figure("unlink", names, 5) > 0
    assert len(os.listdir(names)) == 15
    assert figure("rename", names, tmp_path / "renamed") > 0
    assert figure("remove", tmp_path / "renamed") > 0
    assert figure("close", tmp_path / "closed", 1 << 20) > 1e9
    assert sorted(os.listdir(tmp_path)) == ["big", "closed"]


def test_a_small_run_measures_what_was_asked_for(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may drop the caches of the machine")
    wanted = {"stat", "cold-read-slow"}
    words = ["--quick", "--only", ",".join(wanted), "--json", tmp_path / "out.json", "--directory", tmp_path]
    done = programs.run(
        [sys.executable, "-m", "tests.bench.side_by_side", *words], cwd=REPO, timeout_s=280, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    assert {row["key"] for row in told["rows"]} == wanted
    for row in told["rows"]:
        assert set(row["medians"]) & set(MODES), row
        assert all(len(values) >= 2 for values in row["samples"].values()), row
    assert set(told["absent"]) | {mode for row in told["rows"] for mode in row["medians"]} >= set(MODES)
