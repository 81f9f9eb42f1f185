"""tierctl config and restart, against the real control server."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_daemon import ScriptedDaemon, real_server
from tierfs.cli import configuring, tierctl
from tierfs.control import registry
from tierfs.control.arguments import Progress
from tierfs.control.exitcodes import ExitCode
from tierfs.control.protocol import Json, Request
from tierfs.control.verbs import Peer, Verb
from tierfs.errors import ConfigError, FsError


class ScriptedOperator:
    """A `VerbGroup` with two settings and a restart that ends as the test says."""

    def __init__(self) -> None:
        self.values = {"export.quiet_s": '"5s"', "index.durability": '"interval"'}
        self.refusal = ""
        self.daemon: ScriptedDaemon | None = None
        self.verbs = {"settings": Verb(self._show), "settings_set": Verb(self._set), "restart": Verb(self._restart)}

    async def _show(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        defaults = {"export.quiet_s": '"5s"', "index.durability": '"operation"'}
        return {
            "settings": [
                {
                    "key": key,
                    "value": value,
                    "default": defaults[key],
                    "is_default": value == defaults[key],
                    "is_live": key == "export.quiet_s",
                }
                for key, value in self.values.items()
            ]
        }

    async def _set(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        key = request.args["name"]
        if key not in self.values:
            raise ConfigError(f"unknown key {key}")
        before, self.values[key] = self.values[key], f'"{request.args["value"]}"'
        return {"key": key, "before": before, "value": self.values[key]}

    async def _restart(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """As if the next daemon listened on the same socket at once."""
        if self.refusal:
            raise FsError(95, self.refusal)
        assert self.daemon is not None
        status = self.daemon.status()
        self.daemon.status = lambda: {**status, "pid": 4343, "version": "0.2.0"}  # type: ignore[method-assign]
        return {}


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))


@contextmanager
def mount(tmp_path: Path) -> Iterator[ScriptedOperator]:
    operator = ScriptedOperator()
    with real_server(tmp_path, operator) as (path, daemon):
        operator.daemon = daemon
        registry.register(registry.Entry("0" * 16, str(tmp_path), path, os.getpid(), "s3://bucket", "/cache"))
        yield operator


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = tierctl.main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_show_marks_what_was_changed_and_what_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path):
        code, out, _ = run(capsys, "config", "show")
        assert code == 0
        assert [line.split() for line in out.splitlines()[1:]] == [
            ["+", "export.quiet_s", '"5s"'],
            ["*", "index.durability", '"interval"'],
        ]
        assert "quiet_s" not in run(capsys, "config", "show", "--changed")[1]
        rows = json.loads(run(capsys, "config", "show", "--json")[1])["settings"]
        assert [row["key"] for row in rows] == ["export.quiet_s", "index.durability"]


def test_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as operator:
        code, out, _ = run(capsys, "config", "set", "export.quiet_s=30s", "--mount", tmp_path)
        assert code == 0 and out == 'export.quiet_s = "30s" (was "5s") until the mount ends\n'
        done = json.loads(run(capsys, "config", "set", "export.quiet_s=31s", "--json")[1])
        assert done == {"schema": 1, "set": [{"key": "export.quiet_s", "before": '"30s"', "value": '"31s"'}]}
        code, _, err = run(capsys, "config", "set", "export.quiet_s=1s", "export.x=1")
        assert code == ExitCode.FAILED and "unknown key" in err and operator.values["export.quiet_s"] == '"1s"'


@pytest.mark.parametrize("pair", ["export.quiet_s", "=3", ""])
def test_what_is_no_pair_is_wrong_usage(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        tierctl.main(["config", "set", pair])
    assert ended.value.code == ExitCode.USAGE and "KEY=VALUE" in capsys.readouterr().err


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any mount."""
    file = tmp_path / "tierfs.toml"
    file.write_text('[export]\nquiet_s = "5s"\n')
    assert run(capsys, "config", "check", file)[:2] == (0, f"{file} can be used\n")
    assert json.loads(run(capsys, "config", "check", file, "--json")[1])["usable"]
    file.write_text('[export]\nquiet_s = "soon"\n')
    code, _, err = run(capsys, "config", "check", file)
    assert code == ExitCode.CONFIG and f"{file}:2: [export] quiet_s" in err


def test_restart_waits_for_the_next_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path):
        code, out, _ = run(capsys, "restart", "--json")
        result: dict[str, Any] = json.loads(out)
        assert code == 0 and result["before"]["pid"] == 4242
        assert result["after"] == {"pid": 4343, "version": "0.2.0"} and result["took_s"] >= 0


def test_a_restart_that_is_refused_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as operator:
        operator.refusal = "the next daemon would not start: no such bucket; this one goes on"
        code, _, err = run(capsys, "restart")
        assert code == ExitCode.FAILED and operator.refusal in err


def test_a_daemon_that_does_not_come_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mount(tmp_path) as operator:
        monkeypatch.setattr(configuring, "NEXT_LIMIT_S", 0.0)
        assert operator.daemon is not None
        status = operator.daemon.status()
        monkeypatch.setattr(operator.daemon, "status", lambda: {**status, "holder_pid": os.getpid()})
        code, _, err = run(capsys, "restart")
        assert code == ExitCode.FAILED and "tierfs umount" in err
