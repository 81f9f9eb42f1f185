"""Watching a real mount: what waits and why, what happens on both sides as it happens, and how far behind it is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.mounts import Mount, mounted
from tierfs.control.exitcodes import ExitCode

RESTFUL = {"export": {"quiet_s": 3600, "max_dirty_age_s": 86400}, "import": {"revalidate_s": 0}}


class Watcher:
    """`tierctl watch --json`, and the lines that it has printed."""

    def __init__(self, mount: Mount) -> None:
        command = [sys.executable, "-m", "tierfs.cli.tierctl", "watch", "--json", str(mount.path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(json.loads(line) for line in self.process.stdout)

    def has(self, **fields: object) -> bool:
        """Waits for a line."""
        return programs.wait_until(lambda: any(fields.items() <= line.items() for line in self.lines), 60)

    def ended(self) -> tuple[int, str]:
        """Waits for its end: (exit code, standard error)."""
        code = self.process.wait(60)
        self._reader.join()
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


@contextlib.contextmanager
def watching(mount: Mount) -> Iterator[Watcher]:
    watcher = Watcher(mount)
    try:
        assert watcher.has(what="watching", mountpoint=str(mount.path))
        yield watcher
    finally:
        watcher.process.kill()
        watcher.process.wait()
        watcher._reader.join()
        for pipe in (watcher.process.stdout, watcher.process.stderr):
            assert pipe is not None
            pipe.close()


def queue(mount: Mount, *words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mount.tierctl("queue", "--json", *words).stdout)
    return found


def test_the_queue_tells_what_waits_and_why(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    (bucket / "d").mkdir(parents=True)
    with mounted(f"file://{bucket}", tmp_path, settings=RESTFUL) as mount:
        assert mount.tierctl("queue", mount.path).stdout == "nothing waits for the bucket\n"
        metrics = mount.status()["metrics"]
        assert metrics == {
            "PendingExports": 0,
            "ExportAge": 0.0,
            "ExportFailures": 0,
            "ImportAge": None,
            "Conflicts": 0,
        }
        assert mount.status()["oldest_export_age_s"] is None
        (mount.path / "d/rests").write_bytes(b"bytes")
        with (mount.path / "d/open").open("wb", buffering=0) as file:
            file.write(b"more")
            rows = {row["path"]: row for row in queue(mount, mount.path / "d")["entries"]}
            assert (rows["d/rests"]["reason"], rows["d/rests"]["size_bytes"]) == ("quiet", 5)
            assert 0 < rows["d/rests"]["next_attempt_s"] <= 3600 < rows["d/open"]["next_attempt_s"] <= 86400
            assert (rows["d/open"]["reason"], rows["d/open"]["attempts"]) == ("open", 0)
        (bucket / "d").rename(tmp_path / "away")
        (bucket / "d").write_bytes(b"in its place")
        done = mount.tierctl("sync", mount.path / "d", check=False)
        assert done.returncode == ExitCode.FAILED
        row = queue(mount, mount.path / "d/rests")["entries"][0]
        assert (row["reason"], row["attempts"]) == ("retry", 1) and row["detail"] and row["next_attempt_s"] > 0
        metrics = mount.status()["metrics"]
        assert metrics["PendingExports"] >= 2 and metrics["ExportAge"] > 0 and metrics["ExportFailures"] >= 1
        assert "d/rests" in mount.tierctl("queue", mount.path / "d").stdout
        (bucket / "d").unlink()
        (tmp_path / "away").rename(bucket / "d")


def test_wait_is_about_its_path_alone_and_about_renames_above_it(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with mounted(f"file://{tmp_path}/bucket", tmp_path, settings=RESTFUL) as mount:
        for directory in ("a", "b"):
            (mount.path / directory).mkdir()
            (mount.path / directory / "file").write_bytes(b"bytes")
        (tmp_path / "bucket/b").write_bytes(b"in the way")
        done = mount.tierctl("wait", "--synced", mount.path / "a/absent", check=False)
        assert done.returncode == ExitCode.NOT_FOUND
        mount.tierctl("wait", "--synced", mount.path / "a/file")
        assert (tmp_path / "bucket/a/file").read_bytes() == b"bytes"
        (mount.path / "a").rename(mount.path / "c")
        mount.tierctl("wait", "--synced", mount.path / "c/file", "--timeout", "2min")
        assert (tmp_path / "bucket/c/file").read_bytes() == b"bytes"
        (tmp_path / "bucket/b").unlink()


def test_a_watcher_hears_of_both_sides_and_of_the_end(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "old").write_bytes(b"bytes")
    settings = {**RESTFUL, "export": {"quiet_s": 0.1}}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        assert os.listdir(mount.path) == ["old"]
        with watching(mount) as watcher, watching(mount) as other:
            (mount.path / "mine").write_bytes(b"bytes")
            assert watcher.has(direction="export", what="written", path="mine")
            (mount.path / "mine").unlink()
            assert watcher.has(direction="export", what="deleted", path="mine")
            (bucket / "new").write_bytes(b"bytes")
            (bucket / "old").write_bytes(b"other bytes")
            assert sorted(os.listdir(mount.path)) == ["new", "old"]
            assert watcher.has(direction="import", what="added", path="new")
            assert watcher.has(direction="import", what="changed", path="old")
            (bucket / "new").unlink()
            assert os.listdir(mount.path) == ["old"]
            assert watcher.has(direction="import", what="deleted", path="new")
            assert other.has(direction="import", what="deleted", path="new")
            other.process.send_signal(signal.SIGINT)
            assert other.ended() == (ExitCode.INTERRUPTED, "tierctl: interrupted\n")
            mount.umount()
            assert watcher.ended() == (ExitCode.NO_DAEMON, "tierctl: the daemon ended before it answered\n")
            numbers = [line["number"] for line in watcher.lines if "number" in line]
            assert numbers == sorted(set(numbers)) and not [line for line in watcher.lines if line["what"] == "missed"]


def test_a_watcher_hears_of_conflicts_and_failures(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    (bucket / "d").mkdir(parents=True)
    (bucket / "file").write_bytes(b"bytes")
    with mounted(f"file://{bucket}", tmp_path, settings=RESTFUL) as mount:
        assert (mount.path / "file").read_bytes() == b"bytes"
        os.listdir(mount.path / "d")
        with watching(mount) as watcher:
            (mount.path / "file").write_bytes(b"mine")
            (bucket / "file").write_bytes(b"of others")
            mount.wait_synced()
            assert watcher.has(direction="export", what="conflict", path="file")
            assert mount.status()["metrics"]["Conflicts"] == 1
            (mount.path / "d/new").write_bytes(b"bytes")
            (bucket / "d").rename(tmp_path / "away")
            (bucket / "d").write_bytes(b"in its place")
            assert mount.tierctl("sync", mount.path / "d", check=False).returncode == ExitCode.FAILED
            assert watcher.has(direction="export", what="failed", path="d/new")
            (bucket / "d").unlink()
            (tmp_path / "away").rename(bucket / "d")
