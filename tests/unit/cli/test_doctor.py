"""The report as people read it, and which exit code it has."""

from typing import Any

import pytest

from tierfs.cli import doctor
from tierfs.control.exitcodes import ExitCode


def finding(severity: str, **fields: str) -> dict[str, str]:
    return {"check": "cache-filesystem", "severity": severity, "message": "m", "reason": "", "action": "", **fields}


def report(*findings: dict[str, str]) -> dict[str, Any]:
    return {"mountpoint": "/mnt/data", "source": "s3://b", "worst": "ok", "findings": list(findings)}


def test_what_is_well_is_counted_and_the_rest_told_with_its_cure() -> None:
    text = doctor.report_text(
        report(finding("ok"), finding("error", message="long " * 40, reason="why", action="what to do")), show_all=False
    )
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and lines[0] == "/mnt/data from s3://b"
    assert lines[1].startswith("error    cache-filesystem  long") and lines[2].startswith(" " * 27 + "long")
    assert "why" in text and "-> what to do" in text
    assert lines[-1] == "1 of 2 checks are well; --all shows them"


def test_with_all_nothing_is_left_out() -> None:
    text = doctor.report_text(report(finding("ok")), show_all=True)
    assert "ok       cache-filesystem  m" in text and text.endswith("1 of 1 checks are well")


def test_names_cannot_reach_the_terminal_as_control_codes() -> None:
    assert "\x1b" not in doctor.report_text(report(finding("error", message="\x1b[2J")), show_all=False)


@pytest.mark.parametrize(
    ("worst", "code"),
    [("ok", ExitCode.OK), ("note", ExitCode.OK), ("warning", ExitCode.DOUBTFUL), ("error", ExitCode.FAULTY)],
)
def test_the_worst_finding_is_the_exit_code(worst: str, code: ExitCode) -> None:
    assert doctor.CODES[worst] is code
