"""What tierctl says of rules and files."""

from pathlib import Path
from typing import Any

import pytest

from tierfs.cli import tierctl
from tierfs.cli.tiering import explain_text, policy_text
from tierfs.control.exitcodes import ExitCode

DAY = 86_400.0
TOLD: dict[str, Any] = {
    "rule": "scratch", "rules_from": "settings", "age_s": 2 * DAY, "hot_bytes": 4096, "storage_class": "STANDARD",
    "pinned": False, "cached": True, "kept": None, "problems": [], "clock_set": False,
    "decisions": [{"action": "release", "in_s": 5 * DAY, "rule": "scratch", "storage_class": None}],
    "next": {
        "rule": "old", "in_s": 88 * DAY,
        "decisions": [{"action": "demote", "in_s": 0.0, "rule": "old", "storage_class": "GLACIER"}],
    },
}  # fmt: skip


def test_a_file_is_explained() -> None:
    assert explain_text("/mnt/f", TOLD).splitlines() == [
        "/mnt/f",
        "  rule      scratch",
        "  last use  2 d ago",
        "  here      4.0 KiB",
        "  class     STANDARD",
        "  then      leaves the local disk in 5 d",
        "  later     in 88 d, unless it is used: old",
        "            gets the class GLACIER now",
    ]


def test_a_file_without_a_rule_and_one_that_cannot_go_are_explained() -> None:
    bare = {**TOLD, "rule": None, "decisions": [], "next": None}
    assert "  stays     until room is needed" in explain_text("f", bare).splitlines()
    told = explain_text("f", {**bare, "kept": "pinned", "cached": False, "problems": ["/d: wrong"], "clock_set": True})
    assert "stays     pinned" in told and "past the hot tier" in told and "/d: wrong" in told and "it was set" in told


def test_rules_are_shown_as_they_are_written() -> None:
    found = {
        "source": "new.toml", "tree_rules": True, "rules": [{"path": '"a"', "pin": "true"}],
        "recalls": [{"command": '"tar"'}], "released": {"files": 2, "bytes": 8192}, "evicted_bytes": 0,
        "cold_opens": {"admitted": 3, "read_through": 2, "refused": 1},
    }  # fmt: skip
    text = policy_text(found)
    assert text.startswith("# from new.toml\n# released by age: 2 files, 8.0 KiB\n")
    rules = '[[tiering.rules]]\npath = "a"\npin = true\n\n[[tiering.recalls]]\ncommand = "tar"'
    assert text.endswith(f"[tiering]\ntree_rules = true\n\n{rules}")


def test_rules_are_checked_without_a_mount(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("[[tiering.rules]]\npin = true\n")
    assert tierctl.main(["policy", "check", str(file)]) == ExitCode.OK
    assert capsys.readouterr().out == f"{file}: 1 rule, 0 rules of recalls\n"
    file.write_text("[[tiering.rules]]\npin = true\ncach = false\n")
    assert tierctl.main(["policy", "check", str(file)]) == ExitCode.FAILED
    assert f"{file}:3: [[tiering.rules]] unknown key 'cach'; did you mean 'cache'?" in capsys.readouterr().err
    assert tierctl.main(["policy", "check", str(tmp_path / "absent")]) == ExitCode.FAILED
    assert "No such file" in capsys.readouterr().err
