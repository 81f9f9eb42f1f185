"""Whole reports: without a mount, over a directory, over a server, and beside a daemon that cannot answer."""

import json
import os
from pathlib import Path

import pytest

from tests.support.control_daemon import real_server
from tests.support.moto_server import MotoServer
from tierfs.cli import terminal, tierctl
from tierfs.cli.doctoring import report
from tierfs.cli.doctoring.report import Report, Subject
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.diagnosis import Severity


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def severities(found: Report) -> dict[str, Severity]:
    return {one.check: one.severity for one in found.findings}


def test_a_directory_as_bucket(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    found = severities(report.examine(Subject(source=f"file://{tmp_path}/bucket", cache=str(tmp_path / "cache"))))
    assert {"kernel", "fuse", "native", "config", "cache-filesystem", "cache-space", "log"} <= set(found)
    verbs = {name: severity for name, severity in found.items() if name.startswith("bucket-")}
    assert len(verbs) == 6 and set(verbs.values()) == {Severity.OK}
    assert found["clock"] is Severity.NOTE


def test_a_server_has_a_clock(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    options = {"store.endpoint_url": moto_server.endpoint_url}
    source = f"s3://{moto_server.create_bucket()}/a/prefix"
    found = severities(report.examine(Subject(source=source, cache=str(tmp_path), options=options)))
    assert found["clock"] is Severity.OK and found["bucket-put"] is Severity.OK
    options["mount.read_only"] = "true"
    found = severities(report.examine(Subject(source=source, cache=str(tmp_path), options=options)))
    assert "bucket-put" not in found and found["bucket-get"] is Severity.OK


def test_a_bucket_that_is_not_there(tmp_path: Path) -> None:
    found = report.examine(Subject(source=f"file://{tmp_path}/absent", cache=str(tmp_path)))
    assert severities(found)["bucket-list"] is Severity.ERROR and "server" not in severities(found)


def test_a_settings_file_that_was_half_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tierfs.toml"
    file.write_text('[export]\nquiet_s = "5s"\n[stor')
    code = tierctl.main(
        ["doctor", f"file://{tmp_path}", "--cache", str(tmp_path / "c"), "--config", str(file), "--json"]
    )
    out = json.loads(capsys.readouterr().out)
    assert code == ExitCode.FAULTY and out["worst"] == "error" and out["schema"] == terminal.SCHEMA
    broken = next(one for one in out["findings"] if one["check"] == "config")
    assert broken["severity"] == "error" and f"{file}:3:" in broken["message"]


def test_a_daemon_of_another_version_is_told_and_the_rest_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not know the verbs: doctor asks the bucket itself."""
    (tmp_path / "bucket").mkdir()
    with real_server(tmp_path) as (path, daemon):
        daemon.mountpoint = str(tmp_path / "mnt")
        entry = registry.Entry(
            "0" * 16, str(tmp_path / "mnt"), path, os.getpid(), f"file://{tmp_path}/bucket", "/cache"
        )
        registry.register(entry)
        code = tierctl.main(["doctor", "--all", "-o", "mount.read_only=true"])
    out = capsys.readouterr().out
    assert code == ExitCode.FAULTY and "unknown verb" in out and "list is allowed" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_daemon_that_is_gone(tmp_path: Path) -> None:
    entry = registry.Entry("0" * 16, str(tmp_path / "mnt"), str(tmp_path / "s"), 1, f"file://{tmp_path}", "/cache")
    found = report.examine(Subject(entry=entry))
    assert severities(found)["daemon"] is Severity.ERROR
    assert any("tierfs umount" in one.action for one in found.findings)


def test_without_any_mount_the_machine_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    tierctl.main(["doctor", "--all"])
    out = capsys.readouterr().out
    assert out.startswith("this machine") and "kernel" in out and "bucket-list" not in out
