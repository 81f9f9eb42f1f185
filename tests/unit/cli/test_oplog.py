"""tierctl oplog against the real control server."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.figures import figures
from tests.unit.cli.test_tierctl import mount, run_directory
from tierfs.cli import oplog
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def operation(number: int, path: str, **others: Any) -> dict[str, Any]:
    return {
        "number": number,
        "time_ns": 1_700_000_000_123_000_000,
        "operation": "read",
        "uid": 1000,
        "pid": 4242,
        "path": path,
        "size_bytes": 131072,
        "duration_ns": 12_300_000,
        "tier": "bucket",
        "error": "",
        **others,
    }


@contextlib.contextmanager
def watcher(*words: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tierfs.cli.tierctl", "oplog", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_each_operation_is_an_object_and_what_is_hidden_is_said(tmp_path: Path) -> None:
    with contextlib.ExitStack() as mounts:
        place, daemon = mounts.enter_context(mount(tmp_path))
        daemon.observing.figures = [figures(mode="passthrough")]
        daemon.observing.operations = [operation(1, "a"), operation(2, "\udcff"), operation(3, "c")]
        with watcher("--json") as process:
            assert process.stdout is not None
            first, *lines = [json.loads(process.stdout.readline()) for _ in range(4)]
            hidden = ["hot files", "new files"]
            assert first == {"schema": 1, "what": "watching", "mountpoint": str(place), "hidden": hidden}
            assert lines == [{"schema": 1, **operation(n, path)} for n, path in ((1, "a"), (2, "\udcff"), (3, "c"))]
            mounts.close()
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (ExitCode.NO_DAEMON, "")
    assert err == "tierctl: the daemon ended before it answered\n"


def test_people_get_a_header_and_lines_until_ctrl_c(tmp_path: Path) -> None:
    with mount(tmp_path) as (_, daemon):
        daemon.observing.figures = [figures(mode="passthrough")]
        daemon.observing.operations = [operation(1, "a")]
        daemon.observing.missed = 7
        with watcher() as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[0].split() == ["TIME", "OPERATION", "UID", "PID", "BYTES", "TOOK", "FROM", "PATH"]
            assert lines[1] == "7 operations came too fast and are not shown\n"
            assert lines[2].split()[1:] == ["read", "1000", "4242", "128.0", "KiB", "12.3ms", "bucket", "a"]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == ExitCode.INTERRUPTED
        assert "not shown: what is read and written without the daemon" in err


def test_lines_fit_and_harm_no_terminal() -> None:
    strange = operation(1, "d\n\x1b/" + "x" * 300, uid=-1, pid=-1, error="ENOENT", operation="copy_range", size_bytes=0)
    (line,) = oplog._as_text({"missed": 0, "operations": [strange]})
    assert len(line) == 80 and line.endswith(" (ENOENT)") and "\n" not in line and "\x1b" not in line
    assert line.split()[2:5] == ["-", "-", "-"]
