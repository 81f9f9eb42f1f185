"""tierctl policy simulate: what it prints, and what it refuses."""

import json
from pathlib import Path

import pytest

from tierfs.cli import simulating, tierctl
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.caches import POLICIES

RULES = '[[tiering.rules]]\npath = "scratch"\ncache = false\n'


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    lines = [f"{second},read,{'scratch' if second % 2 else 'data'}/f,1000" for second in range(10)]
    path.write_text("\n".join(["time_s,op,key,size_bytes", *lines, ""]))
    return path


def test_policies_and_rules_are_told_line_by_line(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = trace.with_name("rules.toml")
    rules.write_text(RULES)
    words = ["policy", "simulate", "--trace", str(trace), "--policy", "lru", "--rules", str(rules), "--tier", "100%"]
    assert tierctl.main(words) == ExitCode.OK
    heading, _, lru, ruled = capsys.readouterr().out.splitlines()
    assert heading == "10 accesses of 2 files of 2.0 KiB in 9 s; a tier of 2.0 KiB"
    assert lru.split()[:8] == ["lru", "80.0", "%", "80.0", "%", "2.0", "KiB", "2"]
    assert ruled.split()[1:8] == ["40.0", "%", "40.0", "%", "5.9", "KiB", "6"]


def test_all_policies_for_programs(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["policy", "simulate", "--trace", str(trace), "--policy", "all", "--tier", "1KiB", "--json"]
    assert tierctl.main(words) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["outcomes"]] == list(POLICIES) == list(simulating._POLICIES)
    lru = told["outcomes"][1]
    assert (told["accesses"], told["tier_bytes"], lru["hits"], lru["requests"]) == (10, 1024, 0, 10)
    assert lru["cost"]["currency"] == "USD" and lru["cost"]["total"] > 0
    assert len(lru["hits_over_time_percent"]) == 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tier", "0%"], "a share is above 0"),
        (["--tier", "much"], "--tier much"),
        (["--rules", "missing.toml"], "cannot read missing.toml"),
        (["--prices", "missing.toml"], "missing.toml"),
    ],
)
def test_what_cannot_be_played_is_refused(
    trace: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert tierctl.main(["policy", "simulate", "--trace", str(trace), *words]) != ExitCode.OK
    assert expected in capsys.readouterr().err


def test_a_rule_with_an_error_is_told_with_its_line(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = trace.with_name("rules.toml")
    rules.write_text("[[tiering.rules]]\npin = 7\n")
    assert tierctl.main(["policy", "simulate", "--trace", str(trace), "--rules", str(rules)]) == ExitCode.FAILED
    assert "rules.toml:2" in capsys.readouterr().err
