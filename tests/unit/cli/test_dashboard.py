"""tierctl dashboard as a command; its page is in test_page."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.test_page import ask
from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def test_the_command_says_where_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with mount(tmp_path) as (place, _):
        command = [sys.executable, "-m", "tierfs.cli.tierctl", "dashboard", str(place), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                said = json.loads(process.stdout.readline())
                assert said["mountpoint"] == str(place) and ask(said["url"]).status == 200
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert (process.returncode, err) == (ExitCode.INTERRUPTED, "tierctl: interrupted\n")


def test_a_port_in_use_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run(capsys, "dashboard", "--port", port)
    assert (code, err) == (ExitCode.FAILED, f"tierctl: cannot listen on 127.0.0.1:{port}: Address already in use\n")
