"""tierctl queue and watch against the real control server."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import watching
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def change(number: int, path: str, **others: Any) -> dict[str, Any]:
    return {
        "number": number,
        "time_ns": 1_700_000_000_000_000_000,
        "direction": "import",
        "what": "added",
        "path": path,
        "detail": "",
        **others,
    }


def test_the_queue_shows_the_oldest_and_counts_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "queue", place) == (0, "nothing waits for the bucket\n", "")
        daemon.pending = {b"a\x1b[31m": 3 << 20, b"b": 0, b"c": 1, b"dir/d": 2, b"dir/e": 3}
        code, out, err = run(capsys, "queue")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert max(map(len, lines)) <= 80 and "\x1b" not in out
        assert lines[0].split() == ["SINCE", "WHAT", "SIZE", "WHY", "PATH"]
        assert lines[1].startswith("1 min 15 s  upload  3.0 MiB  retry, tried 3 times, in 12 s  a")
        assert lines[3:] == ["and 3 more; --all shows them"]
        assert len(run(capsys, "queue", "--all")[1].splitlines()) == 6
        page = json.loads(run(capsys, "queue", "--json")[1])
        assert ([row["path"] for row in page["entries"]], page["rest"]) == (["a\x1b[31m", "b"], 3)
        page = json.loads(run(capsys, "queue", "--json", "--all", place / "dir")[1])
        assert ([row["path"] for row in page["entries"]], page["rest"]) == (["dir/d", "dir/e"], 0)


@contextlib.contextmanager
def watcher(*words: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tierfs.cli.tierctl", "watch", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_watcher_gets_a_line_for_each_change_and_ends_with_the_daemon(tmp_path: Path) -> None:
    with contextlib.ExitStack() as mounts:
        place, daemon = mounts.enter_context(mount(tmp_path))
        daemon.news = [change(1, "a"), change(2, "\udcff"), change(3, "c\n")]
        with watcher("--json") as process:
            assert process.stdout is not None
            lines = [json.loads(process.stdout.readline()) for _ in range(4)]
            assert lines[0] == {"schema": 1, "what": "watching", "mountpoint": str(place)}
            changes = (change(1, "a"), change(2, "\udcff"), change(3, "c\n"))
            assert lines[1:] == [{"schema": 1, **each} for each in changes]
            mounts.close()
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (ExitCode.NO_DAEMON, "")
    assert err == "tierctl: the daemon ended before it answered\n"


def test_a_watcher_ends_with_ctrl_c(tmp_path: Path) -> None:
    with mount(tmp_path) as (_, daemon):
        daemon.news = [change(1, "a")]
        daemon.missed = 7
        with watcher() as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "7 changes came too fast and are not shown\n"
            assert process.stdout.readline().endswith("  import  added     a\n")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (ExitCode.INTERRUPTED, "")
        assert err.splitlines()[1:] == ["tierctl: interrupted"]


def test_lines_for_people_are_lines() -> None:
    batch = {"missed": 0, "changes": [change(1, "a\nb", detail="c\x1b"), change(2, "", what="failed")]}
    first, second = watching._as_text(batch)
    assert first.endswith("import  added     a\\x0ab  (c\\x1b)")
    assert second.endswith("import  failed    .")
